"""Why a change was not recorded: what is registered, and what the API server counts of it, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cli.troubles import CALLS, FAIL_OPEN, bundle_trouble, fail_open_trouble, registration_troubles
from app.kube.webhooks import ClientConfig, Configuration, Metadata, Requirement, Rule, Selector, Webhook
from app.tls.issue import issue_authority

NOW = datetime(2026, 5, 1, tzinfo=UTC)
OWN = Selector(match_expressions=(Requirement("kubernetes.io/metadata.name", "NotIn", ("kubewitness",)),))
UPDATES = Rule(operations=("UPDATE",), api_groups=("",), api_versions=("v1",), resources=("configmaps", "secrets"))
AUTHORITY = issue_authority("test", now=NOW, lifetime=timedelta(days=30)).certificate_pem


def registered(**options: Any) -> Configuration:
    client_config = ClientConfig(url="https://x", ca_bundle=AUTHORITY)
    usual: dict[str, Any] = {"name": "changes.kubewitness.svc", "rules": (UPDATES,), "namespace_selector": OWN}
    webhook = Webhook(client_config=client_config, **usual | options)
    return Configuration(Metadata("kubewitness"), (webhook,))


def troubles(*configurations: Configuration, namespace: str = "default", now: datetime = NOW) -> str:
    return "\n".join(registration_troubles(configurations, {"kubernetes.io/metadata.name": namespace}, now))


def test_a_registration_without_fault_is_said_to_be_one() -> None:
    assert troubles(registered()).endswith("its rules cover the change, and its caBundle holds an authority")


@pytest.mark.parametrize(
    "rule",
    [
        Rule(operations=("CREATE",), api_groups=("",), resources=("configmaps",)),
        Rule(operations=("UPDATE",), api_groups=("apps",), resources=("*",)),
        Rule(operations=("*",), api_groups=("*",), resources=("secrets", "*/scale", "configmaps/status")),
    ],
)
def test_rules_that_leave_the_change_out_are_told(rule: Rule) -> None:
    assert "no rule covers the update of ConfigMaps" in troubles(registered(rules=(rule,)))


@pytest.mark.parametrize("resources", [("*",), ("*/*",), ("configmaps/*",), ("secrets", "configmaps")])
def test_rules_that_cover_the_change_are_no_trouble(resources: tuple[str, ...]) -> None:
    rule = Rule(operations=("*",), api_groups=("*",), resources=resources)

    assert "no rule" not in troubles(registered(rules=(rule,)))


@pytest.mark.parametrize(
    ("selector", "is_left_out"),
    [
        (OWN, True),
        (Selector(), False),
        (Selector(match_labels={"team": "shop"}), True),
        (Selector(match_expressions=(Requirement("team", "Exists"),)), True),
        (Selector(match_expressions=(Requirement("team", "DoesNotExist"),)), False),
        (Selector(match_expressions=(Requirement("team", "NotIn", ("shop",)),)), False),
        (Selector(match_expressions=(Requirement("kubernetes.io/metadata.name", "In", ("kubewitness",)),)), False),
    ],
)
def test_a_namespace_that_is_left_out_is_told(selector: Selector, is_left_out: bool) -> None:
    found = troubles(registered(namespace_selector=selector), namespace="kubewitness")

    assert ("leaves this namespace out, as it does the release's own" in found) is is_left_out


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"nonsense", "cannot be read"),
        (AUTHORITY, "all of its caBundle has expired, the last one on 2026-05-31"),
    ],
)
def test_a_bundle_that_trusts_nobody_is_told(bundle: bytes, said: str) -> None:
    assert said in bundle_trouble(bundle, NOW + timedelta(days=40))


def test_a_bundle_with_one_authority_in_force_is_no_trouble() -> None:
    newer = issue_authority("newer", now=NOW, lifetime=timedelta(days=90)).certificate_pem

    assert bundle_trouble(AUTHORITY + newer, NOW + timedelta(days=40)) == ""


def test_nothing_registered_is_told_and_webhooks_of_others_do_not_count() -> None:
    assert "no webhook is registered" in troubles(registered(name="check.gatekeeper.sh"))


def counts(called: int = 0, failed: int = 0) -> str:
    lines = ["# TYPE other counter", "other 1"]
    if called:
        lines += [f"# TYPE {CALLS} histogram", f'{CALLS}_count{{name="a.kubewitness.svc",operation="UPDATE"}} {called}']
    if failed:
        lines += [f"# TYPE {FAIL_OPEN} counter", f'{FAIL_OPEN}{{name="a.kubewitness.svc",type="validating"}} {failed}']
    return "\n".join([*lines, f'{CALLS}_count{{name="b.kubewitness.svc"}} 7'])


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (counts(), "has not called a.kubewitness.svc yet"),
        (counts(5), "called a.kubewitness.svc 5 times and counts no call that failed"),
        (counts(5, 3), "went on without a.kubewitness.svc 3 times"),
    ],
)
def test_what_the_api_server_counts_is_told(metrics: str, said: str) -> None:
    [found] = fail_open_trouble(metrics, ["a.kubewitness.svc"])

    assert said in found
