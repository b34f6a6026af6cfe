"""Every example of `config/` is loaded, and told what it is about."""

from __future__ import annotations

import itertools
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.config.file import load
from app.config.model import Config, schema
from app.config.problems import ConfigError
from app.core.finding import Finding, TextBlock
from app.core.playbook import FailedJobSituation
from app.core.review import Change
from app.sinks.base import ACCEPTED
from app.sinks.registry import SINKS
from tests.core.changes import REDACTOR, change, image_change, paths, recorded, workload

FOLDER = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
VARIABLE = re.compile(r"\{\{\s*env\.(\w+)\s*\}\}")
ENVIRONMENT = {"HOOK_URL": "http://localhost/hook", "CHANGES_TOKEN": "x"}
CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"


@cache
def config(name: str) -> Config:
    return load(FOLDER / f"{name}.yaml", ENVIRONMENT)


def told(name: str, about: Change) -> list[Finding]:
    return [each.finding for each in config(name).compile().evaluate(about, REDACTOR, "production")]


def titles(name: str, about: Change) -> list[str]:
    return [finding.title for finding in told(name, about)]


def failed_job() -> FailedJobSituation:
    return FailedJobSituation(
        facts={"name": "nightly", "namespace": "shop", "kind": "Job", "labels": {}, "annotations": {}},
        look=lambda variable: variable,
        account="The Job failed for good.",
        enriched=lambda enricher: (TextBlock(type(enricher).__name__),),
    )


def owned(kind: str, by: str, **options: Any) -> Change:
    body = {"metadata": {"ownerReferences": [{"kind": by, "name": "web", "uid": "1"}]}}
    return change("CREATE", kind, new=body, **options)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_loads_and_tells_somebody(name: str) -> None:
    assert config(name).custom_playbooks
    assert config(name).sinks


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_in_the_overview(name: str) -> None:
    assert f"[{name}.yaml]({name}.yaml)" in (FOLDER / "README.md").read_text()


def test_the_tutorial_tells_an_image_change_to_the_sink_that_it_names() -> None:
    playbooks = config("tutorial-image-change").compile()

    (each,) = playbooks.evaluate(recorded("deployment-update-set-image"), REDACTOR, "")

    assert each.sinks == ("some_sink_name",)
    assert paths(each.finding) == ["spec.template.spec.containers[nginx].image"]


def test_the_tutorials_failed_job_is_told_with_what_all_three_enrichers_attach() -> None:
    playbooks = config("tutorial-failed-job").compile()

    (each,) = playbooks.evaluate_failed_job(failed_job(), REDACTOR)

    assert each.sinks == ("some_sink_name",)
    assert (each.finding.title, each.finding.aggregation_key) == ("Job Failed", "job_failure")
    assert [block.text for block in each.finding.blocks if isinstance(block, TextBlock)] == [
        "JobInfoEnricher",
        "JobEventsEnricher",
        "JobPodEnricher",
    ]


@pytest.mark.parametrize(
    "about",
    [
        image_change(),
        image_change(kind="StatefulSet"),
        image_change(kind="DaemonSet"),
        image_change(kind="CronJob"),
        change("UPDATE", "Pod", old={"spec": {"containers": [{"name": "a", "image": "x"}]}},
               new={"spec": {"containers": [{"name": "a", "image": "y"}]}}),
        change("UPDATE", "Pod", subresource="ephemeralcontainers", old={"spec": {}},
               new={"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}}),
        change("CREATE", "Pod", new={"spec": {"containers": [{"name": "a", "image": "x"}]}}),
        owned("Pod", "SparkApplication"),
        owned("ReplicaSet", "Rollout"),
    ],
    ids=lambda about: f"{about.operation} {about.resource.kind}",
)  # fmt: skip
def test_any_new_image_is_told_once(about: Change) -> None:
    assert len(told("any-pod-image", about)) == 1


@pytest.mark.parametrize(
    "about",
    [
        change("UPDATE", old=workload("a", 1), new=workload("a", 2)),
        owned("ReplicaSet", "Deployment", user="system:serviceaccount:kube-system:deployment-controller"),
        owned("Pod", "ReplicaSet", user=CONTROLLER),
        owned("Pod", "DaemonSet"),
        owned("Pod", "Job"),
        owned("Pod", "Node"),
        recorded("replicaset-create-by-controller"),
        recorded("replicaset-update-by-controller"),
        recorded("pod-delete-first-review"),
        change("CREATE", "Pod", subresource="eviction"),
    ],
    ids=lambda about: f"{about.operation} {about.resource.kind}",
)
def test_what_follows_from_a_told_image_is_not_told_again(about: Change) -> None:
    assert told("any-pod-image", about) == []


def ingress(host: str, **options: Any) -> Change:
    return change(
        "UPDATE",
        "Ingress",
        old={"spec": {"rules": [{"host": "a"}]}},
        new={"spec": {"rules": [{"host": host}]}},
        **options,
    )


def test_an_ingress_is_told_when_it_routes_differently() -> None:
    assert titles("ingresses", ingress("b")) == ["Ingress shop/web: update by alice"]
    assert titles("ingresses", change("DELETE", "Ingress")) == ["Ingress shop/web: delete by alice"]
    assert titles("ingresses", change("CREATE", "IngressClass", namespace="")) == ["IngressClass/web created"]
    assert titles("ingresses", ingress("a")) == []


def test_an_ingress_is_told_when_its_options_change() -> None:
    about = change(
        "UPDATE",
        "Ingress",
        old={"metadata": {"annotations": {"a": "1"}}},
        new={"metadata": {"annotations": {"a": "2"}}},
    )

    assert paths(told("ingresses", about)[0]) == ["metadata.annotations.a"]


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        (
            change("CREATE", "ClusterRoleBinding", namespace=""),
            ["Permissions: ClusterRoleBinding web, create by alice"],
        ),
        (
            change("UPDATE", "Role", old={"rules": []}, new={"rules": [{"verbs": ["*"]}]}),
            ["Permissions: Role web, update by alice"],
        ),
        (
            change(
                "UPDATE",
                "ClusterRole",
                old={"rules": []},
                new={"rules": [{}]},
                user="system:serviceaccount:kube-system:clusterrole-aggregation-controller",
            ),
            [],
        ),
        (change("CREATE", "ServiceAccount"), ["ServiceAccount/shop/web created"]),
        (change("CREATE", "ServiceAccount", subresource="token"), []),
        (recorded("secret-update"), ["Secret/default/s updated"]),
        (change("CREATE", "Secret", new={"type": "helm.sh/release.v1"}), []),
        (change("DELETE", "NetworkPolicy"), ["NetworkPolicy/shop/web deleted"]),
        (
            change(
                "UPDATE",
                "Namespace",
                name="shop",
                old={"metadata": {"labels": {}}},
                new={"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}},
            ),
            ["Namespace/shop updated"],
        ),
        (
            change("CONNECT", "Pod", subresource="exec", new={"command": ["sh"]}),
            ["alice entered Pod shop/web"],
        ),
        (change("CONNECT", "Pod", subresource="exec", user="system:serviceaccount:ci:runner"), []),
        (change("CONNECT", "Pod", subresource="proxy"), []),
        (image_change(), []),
    ],
)
def test_security_tells_who_may_do_what_and_who_entered_a_pod(about: Change, expected: list[str]) -> None:
    assert titles("security", about) == expected


def test_security_shows_no_secret() -> None:
    (finding,) = told("security", recorded("secret-update"))

    (block,) = finding.blocks
    assert all(value.startswith("redacted:") for value in [block.changes[0].old, block.changes[0].new])  # type: ignore[union-attr]


def certificate(operation: str, names: list[str], **options: Any) -> Change:
    return change(
        operation,
        "Certificate",
        group="cert-manager.io",
        old={"spec": {"dnsNames": ["a"], "revisionHistoryLimit": 1}},
        new={"spec": {"dnsNames": names, "revisionHistoryLimit": 2}},
        **options,
    )


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        (certificate("UPDATE", ["a", "b"]), ["Certificate/shop/web updated"]),
        (certificate("UPDATE", ["a"]), []),
        (certificate("DELETE", []), ["Certificate/shop/web deleted"]),
        (change("CREATE", "Application", group="argoproj.io"), ["Application/shop/web created"]),
        (change("CREATE", "Workflow", group="argoproj.io"), []),
        (change("CREATE", "CustomResourceDefinition", namespace=""), ["CustomResourceDefinition/web created"]),
    ],
)
def test_custom_resources_are_told(about: Change, expected: list[str]) -> None:
    assert titles("custom-resource", about) == expected


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("alice", ["alice scaled Deployment shop/web"]),
        ("system:serviceaccount:kube-system:horizontal-pod-autoscaler", []),
    ],
)
@pytest.mark.parametrize("subresource", ["", "scale"])
def test_scaling_by_people_is_told(user: str, subresource: str, expected: list[str]) -> None:
    about = change(old={"spec": {"replicas": 1}}, new={"spec": {"replicas": 3}}, subresource=subresource, user=user)

    assert titles("scale", about) == expected


def test_a_recorded_kubectl_scale_is_told() -> None:
    (finding,) = told("scale", recorded("deployment-scale-subresource"))

    assert paths(finding) == ["spec.replicas"]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("deployment-update-label", 1),
        ("deployment-scale-subresource", 1),
        ("configmap-create", 1),
        ("replicaset-create-by-controller", 1),
        ("secret-update", 1),
        ("deployment-status-update-by-controller", 0),
        ("deployment-update-managed-fields-only", 0),
    ],
)
def test_everything_tells_every_change_but_that_of_the_status(name: str, count: int) -> None:
    assert len(told("everything-to-stdout", recorded(name))) == count


def takers(about: Change, at: str = "2026-11-23T12:00:00+01:00") -> list[tuple[str, ...]]:
    """Who is told of a change by the example of routing; the namespace `shop` is that of the team sales."""
    teams = {"shop": {"team": "sales"}, "bank": {"team": "money"}, "prod-1": {}}
    playbooks = config("routing").compile(teams.get)
    return [each.sinks for each in playbooks.evaluate(about, REDACTOR, "", datetime.fromisoformat(at))]


def test_routing_tells_each_team_the_office_and_those_on_call() -> None:
    assert takers(image_change(namespace="shop")) == [("team-sales",)]
    assert takers(image_change(namespace="shop", labels={"app": "canary-2"})) == [("office", "everything")]
    assert takers(image_change(namespace="bank")) == [("office", "everything")]
    assert takers(image_change(namespace="bank"), "2026-11-22T12:00:00+01:00") == [("everything",)]
    assert takers(image_change(namespace="bank"), "2026-12-24T12:00:00+01:00") == [("everything",)]
    assert takers(change("DELETE", "Service", namespace="prod-1")) == [("on-call", "everything")]
    assert takers(change("DELETE", "Service", namespace="prod-1", user=CONTROLLER)) == []


SECRETS = (
    "witness",
    "https://localhost/hook",
    "0123456789abcdef" * 2,
    "01234567-89ab-cdef-0123-456789abcdef",
    "123456789:" + "AAE0123" * 5,
    "xoxb-1234567890-abcdef",
    "azGDORePK8gMaC0QOYAMyEEuzJnyUi",
    "https://discord.com/api/webhooks/165511591545143296/0123456789abcdef",
    "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=abc&token=def",
)
"""What secrets look like: sinks know a token of theirs when they see one."""


def loaded_with_likely_secrets(path: Path) -> Config:
    """Load an example with those secrets that it takes in its variables, if there are any."""
    variables = sorted(set(VARIABLE.findall(path.read_text())))
    problems = set()
    for secrets in itertools.product(SECRETS, repeat=len(variables)):
        try:
            return load(path, dict(zip(variables, secrets, strict=True)))
        except ConfigError as error:
            problems.update(str(error).splitlines())
    raise AssertionError("\n".join(sorted(problems)))


@pytest.mark.parametrize("key", SINKS)
def test_every_sink_has_an_example_that_loads(key: str) -> None:
    loaded = loaded_with_likely_secrets(FOLDER / "sinks" / f"{key.removesuffix('_sink')}.yaml")

    assert key in [item.key for item in loaded.sinks_config]


def keys_of(schema: dict[str, Any], *models: str) -> set[str]:
    """Return the options that do something."""
    every = [each for model in models for each in schema["$defs"][model]["properties"].items()]
    return {key for key, what in every if not what.get("description", "").startswith(ACCEPTED)}


def test_the_full_example_has_every_option() -> None:
    models = (
        "Playbook", "ChangeTrigger", "ChangeFilters", "ChangeScope", "ScopeItem", "OperationTrigger",
        "CustomResourceTrigger", "ActionItem", "ResourceBabysitter", "CreateFinding", "CustomiseFinding",
        "JsonChangeTracker", "JobEventsEnricher", "JobPodEnricher", "Record", "GlobalConfig", "Redact", "StdoutConfig",
        "Activity", "ActivityHours", "MuteInterval", "Grouping", "NotificationMode", "SummaryMode", "RegularMode",
        "NoiseOptions", "Flapping",
    )  # fmt: skip
    text = (FOLDER / "full.yaml").read_text()

    missing = {key for key in keys_of(schema(), *models) if f"{key}:" not in text}

    assert missing == set()
