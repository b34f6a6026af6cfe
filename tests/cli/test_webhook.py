"""`kubewitness webhook`: what is registered is shown, and removed for good."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import Result

from app.kube.webhooks import CONFIGURATIONS
from app.tls.issue import issue_authority
from tests.cli.commands import harmful, kubewitness
from tests.kube.api_server import status
from tests.kube.clients import write_kubeconfig
from tests.servers import Answering, Listening

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITIES = [issue_authority("test", now=NOW, lifetime=timedelta(days=days)) for days in (30, 60)]


class _Handler(Answering):
    server: Registered

    def do_GET(self) -> None:  # noqa: N802  http.server calls it so
        self._respond()

    def do_DELETE(self) -> None:  # noqa: N802  as above
        self._respond()

    def _respond(self) -> None:
        self.server.calls.append(f"{self.command} {self.path.removeprefix(CONFIGURATIONS).removeprefix('/')}".strip())
        code, document = self.server.answer(self.command, self.path)
        self.answer(code, msgspec.json.encode(document))


class Registered(Listening):
    """An API server with webhook configurations. `refusals` are its first answers to each method: status codes."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.configurations: dict[str, dict[str, Any]] = {}
        self.refusals: dict[str, list[int]] = {}
        self.calls: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        if refusals := self.refusals.get(method):
            code = refusals.pop(0)
            return code, status(code, HTTPStatus(code).phrase)
        name = path.removeprefix(CONFIGURATIONS).removeprefix("/")
        if not name:
            return 200, {"items": list(self.configurations.values())}
        if name not in self.configurations:
            return 404, status(404, "NotFound")
        found = self.configurations[name]
        if method == "DELETE" and not found["metadata"].get("finalizers"):
            del self.configurations[name]
        return 200, found

    def register(self, name: str, webhook: str = "changes.kubewitness.svc", **fields: Any) -> None:
        service = {"namespace": "kubewitness", "name": name, "path": "/validate", "port": 443}
        bundle = base64.b64encode(b"".join(each.certificate_pem for each in AUTHORITIES)).decode()
        rule = {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "*"}
        usual = {"name": webhook, "clientConfig": {"service": service, "caBundle": bundle}, "rules": [rule]}
        self.configurations[name] = {"metadata": {"name": name}, "webhooks": [usual | fields]}


@pytest.fixture
def server() -> Iterator[Registered]:
    with Registered() as running:
        yield running


@pytest.fixture
def webhook(server: Registered, tmp_path: Path) -> Any:
    """Return what runs a `kubewitness webhook` command against the server."""
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", server.url)

    def run(*arguments: str) -> Result:
        return kubewitness("webhook", *arguments, "--kubeconfig", kubeconfig)

    return run


def test_a_configuration_is_deleted_until_it_is_gone(server: Registered, webhook: Any) -> None:
    server.register("kubewitness")
    server.register("other")

    result = webhook("remove", "--name", "kubewitness")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "the webhook configuration kubewitness is gone: the API server calls it no longer\n"
    assert list(server.configurations) == ["other"]
    assert server.calls == ["GET kubewitness", "DELETE kubewitness", "DELETE kubewitness"]


def test_none_there_is_success(webhook: Any) -> None:
    assert webhook("remove", "--name", "kubewitness").exit_code == 0


@pytest.mark.parametrize("code", [409, 429, 500, 503])
def test_what_may_pass_is_tried_again(server: Registered, webhook: Any, code: int) -> None:
    server.register("kubewitness")
    server.refusals["DELETE"] = [code, code]

    assert webhook("remove", "--name", "kubewitness").exit_code == 0
    assert server.configurations == {}


def test_who_may_delete_need_not_be_allowed_to_read(server: Registered, webhook: Any) -> None:
    server.register("kubewitness")
    server.refusals["GET"] = [403]

    assert webhook("remove", "--name", "kubewitness").exit_code == 0
    assert server.configurations == {}


def test_a_right_that_is_missing_is_told(server: Registered, webhook: Any) -> None:
    server.register("kubewitness")
    server.refusals["DELETE"] = [403]

    result = webhook("remove", "--name", "kubewitness")

    assert result.exit_code == 1
    assert f"DELETE {CONFIGURATIONS}/kubewitness: 403 Forbidden" in result.stderr


def test_a_configuration_that_stays_is_told_with_what_holds_it(server: Registered, webhook: Any) -> None:
    server.register("kubewitness")
    server.configurations["kubewitness"]["metadata"]["finalizers"] = ["example.com/held"]

    result = webhook("remove", "--name", "kubewitness", "--timeout", "0.3")

    assert result.exit_code == 1
    assert "kubewitness is not gone after 0.3 s; its finalizers are example.com/held" in result.stderr


def test_somebody_elses_configuration_is_left_alone(server: Registered, webhook: Any) -> None:
    server.register("gatekeeper", "check.gatekeeper.sh")

    result = webhook("remove", "--name", "gatekeeper")

    assert result.exit_code == 1
    assert "gatekeeper is no configuration of kubewitness: it has check.gatekeeper.sh" in result.stderr
    assert server.calls == ["GET gatekeeper"]


def test_a_configuration_without_webhooks_is_removed(server: Registered, webhook: Any) -> None:
    server.configurations["kubewitness"] = {"metadata": {"name": "kubewitness"}}

    assert webhook("remove", "--name", "kubewitness").exit_code == 0


def shown(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_what_is_registered_is_shown_without_what_others_have(server: Registered, webhook: Any) -> None:
    requirement = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kubewitness"]}
    selector = {"matchLabels": {"team": "shop"}, "matchExpressions": [requirement]}
    server.register("gatekeeper", "check.gatekeeper.sh")
    condition = {"name": "no-leases", "expression": "true"}
    more: dict[str, Any] = {"failurePolicy": "Ignore", "timeoutSeconds": 2, "matchConditions": [condition]}
    server.register("kubewitness", namespaceSelector=selector, **more)

    [document] = shown(webhook("show", "-o", "json"))

    assert document == {
        "configuration": "kubewitness",
        "webhook": "changes.kubewitness.svc",
        "calls": "service kubewitness/kubewitness:443/validate",
        "authorities_valid_until": [each.not_after.isoformat() for each in AUTHORITIES],
        "trouble": "",
        "failure_policy": "Ignore",
        "timeout_seconds": 2,
        "namespace_selector": ["team=shop", "kubernetes.io/metadata.name NotIn kubewitness"],
        "match_conditions": ["no-leases"],
        "rules": ["UPDATE: core/v1: pods"],
    }


def test_the_table_has_a_line_for_each_rule_and_nothing_harmful(server: Registered, webhook: Any) -> None:
    rules = [
        {"operations": ["*"], "apiGroups": ["apps", ""], "apiVersions": ["v1"], "resources": ["*"], "scope": "Cluster"},
        {"operations": ["UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["\x1b[2J"]},
    ]
    server.register("kubewitness", rules=rules)

    result = webhook("show", "--name", "kubewitness")

    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "rules *: apps/v1 core/v1: * (cluster)" in lines
    assert not any(line.startswith(("trouble", "match conditions")) for line in lines)
    assert harmful(result.stdout) == []


@pytest.mark.parametrize(("bundle", "said"), [("", "is empty"), ("bm9uc2Vuc2U=", "cannot be read")])
def test_a_bundle_that_trusts_nobody_is_shown_as_trouble(
    server: Registered, webhook: Any, bundle: str, said: str
) -> None:
    server.register("kubewitness", clientConfig={"url": "https://x", "caBundle": bundle})

    [document] = shown(webhook("show", "-o", "json"))

    assert said in document["trouble"]
    assert document["authorities_valid_until"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "no webhook of kubewitness is registered"), (("--name", "x"), "there is no webhook configuration x")],
)
def test_nothing_registered_is_a_failure(webhook: Any, arguments: Sequence[str], said: str) -> None:
    result = webhook("show", *arguments)

    assert result.exit_code == 1
    assert said in result.stderr


def test_an_answer_that_cannot_be_read_is_told(server: Registered, webhook: Any) -> None:
    server.configurations["odd"] = {"metadata": {"name": "odd"}, "webhooks": [{"name": 7}]}

    result = webhook("show")

    assert result.exit_code == 1
    assert "the answer cannot be read" in result.stderr
