"""`kubewitness verify` and `kubewitness webhook` against a real API server, as people and the chart run them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from app.cli.controlplane import ControlPlane
from app.tls.issue import issue_authority
from tests.e2e.auditor import Auditor
from tests.e2e.program import PROGRAM
from tests.e2e.webhooks import Webhook, eventually

pytestmark = pytest.mark.e2e

LABEL: Final = "verify"
"""The label of namespaces by which the webhooks of these tests are called for one of them only."""

NOWHERE: Final = {LABEL: "nowhere"}


def started(cluster: ControlPlane, *arguments: str, user: str = "admin") -> subprocess.Popen[str]:
    command = [str(PROGRAM), *arguments, f"--kubeconfig={cluster.kubeconfig(user)}"]
    environment = {"PATH": os.defpath, "HOME": str(cluster.directory)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, encoding="utf-8"
    )


def run(cluster: ControlPlane, *arguments: str, user: str = "admin") -> subprocess.CompletedProcess[str]:
    with started(cluster, *arguments, user=user) as process:
        out, err = process.communicate(timeout=50)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def config_maps(cluster: ControlPlane, namespace: str) -> list[str]:
    found = cluster.kubectl("get", "configmaps", "-n", namespace, "-o", "name").stdout.split()
    return [name for name in found if "kubewitness-verify-" in name]


@pytest.fixture
def namespace(cluster: ControlPlane, numbers: Iterator[int]) -> str:
    name = f"verify-{next(numbers)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, f"{LABEL}={name}")
    return name


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Auditor]:
    """Return a server of these tests' own, so that nobody else misses the webhooks that lead to it."""
    with Auditor(tmp_path_factory.mktemp("own"), "") as running:
        yield running


Register = Callable[..., Webhook]


@pytest.fixture
def register(cluster: ControlPlane, own: Auditor) -> Iterator[Register]:
    """Return what registers a webhook until the end of the test, without waiting until it is called."""
    made: list[Webhook] = []

    def registered(name: str, **options: object) -> Webhook:
        made.append(webhook := own.webhook(name, **options))
        cluster.kubectl("apply", "-f", "-", stdin=msgspec.json.encode(webhook.manifest()).decode())
        return webhook

    yield registered
    for each in made:
        cluster.kubectl("delete", "validatingwebhookconfiguration", each.full_name, "--ignore-not-found")


def test_a_change_is_made_found_and_cleaned_up(
    cluster: ControlPlane, own: Auditor, namespace: str, register: Register
) -> None:
    register("verified", namespace_labels={LABEL: namespace})
    done = run(cluster, "verify", f"--namespace={namespace}", f"--console-url={own.console_url}", user="alice")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line[:5] for line in lines[:5]] == [f"[{number}/5]" for number in range(1, 6)]
    assert lines[0].endswith("1 of 1 addresses show their ledger")
    assert re.search(r": recorded by 127\.0\.0\.1 within \d+\.\d s", lines[3])
    assert lines[4].endswith(": gone")
    assert "UPDATE" in lines[7]
    assert "alice" in lines[7]
    assert config_maps(cluster, namespace) == []
    update = own.entries(namespace=namespace, kind="ConfigMap", operation="UPDATE")[0]
    assert update["field_manager"] == "kubewitness-verify"


def test_a_webhook_that_is_registered_meanwhile_is_enough(
    cluster: ControlPlane, own: Auditor, namespace: str, register: Register
) -> None:
    with started(cluster, "verify", f"--namespace={namespace}", f"--console-url={own.console_url}") as process:
        changed = ("get", "configmaps", "-n", namespace, "-o", "jsonpath={.items[*].data.change}")
        eventually(lambda: "1" in cluster.kubectl(*changed).stdout, "a change that nobody sees")
        register("late", namespace_labels={LABEL: namespace})
        out, err = process.communicate(timeout=40)

    assert (process.returncode, err) == (0, "")
    assert re.search(r"; not recorded: \d+ before the API server had learned of the webhook", out)


def test_what_keeps_a_change_from_the_ledger_is_said(
    cluster: ControlPlane, own: Auditor, namespace: str, register: Register
) -> None:
    # Of ConfigMaps alone: no selector of namespaces keeps a webhook from what has none, such as roles of other tests.
    register("elsewhere", namespace_labels=NOWHERE, resources=("configmaps",))
    register("secrets", namespace_labels={LABEL: namespace}, resources=("secrets",))

    done = run(cluster, "verify", f"--namespace={namespace}", f"--console-url={own.console_url}", "--timeout=3")

    assert done.returncode == 1
    assert "finding the change in the ledger: failed" in done.stdout
    assert "deleting it: gone" in done.stdout
    assert re.search(r"error: after 3 s no change of ConfigMap .* is in the ledger \(\d were made\)", done.stderr)
    assert "- 127.0.0.1 is ready" in done.stderr
    assert "elsewhere.kubewitness.svc: its namespaceSelector leaves this namespace out" in done.stderr
    assert "secrets.kubewitness.svc: no rule covers the update of ConfigMaps" in done.stderr
    assert "has not called elsewhere.kubewitness.svc yet" in done.stderr
    assert config_maps(cluster, namespace) == []


def test_an_api_server_that_does_not_trust_the_server_is_asked_what_it_counts(
    cluster: ControlPlane, own: Auditor, namespace: str, register: Register, tmp_path: Path
) -> None:
    stranger = tmp_path / "ca.crt"
    stranger.write_bytes(issue_authority("stranger", now=datetime.now(UTC)).certificate_pem)
    webhook = replace(own.webhook("distrusted"), authority=stranger, namespace_labels={LABEL: namespace})
    register("distrusted")
    cluster.kubectl("apply", "-f", "-", stdin=msgspec.json.encode(webhook.manifest()).decode())

    done = run(cluster, "verify", f"--namespace={namespace}", f"--console-url={own.console_url}", "--timeout=5")

    assert done.returncode == 1
    # Releases before 1.24 do not count what failed.
    counted = r"(went on without|called) distrusted\.kubewitness\.svc [1-9]\d* times"
    assert re.search(f"the API server {counted}", done.stderr)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_whoever_interrupts_it_leaves_nothing_behind(
    cluster: ControlPlane, own: Auditor, namespace: str, how: signal.Signals
) -> None:
    with started(cluster, "verify", f"--namespace={namespace}", f"--console-url={own.console_url}") as process:
        eventually(lambda: config_maps(cluster, namespace), "a ConfigMap")
        process.send_signal(how)
        out, err = process.communicate(timeout=20)

    assert process.returncode == (130 if how == signal.SIGINT else 1)
    assert "deleting it: gone" in out
    assert "Traceback" not in err
    assert config_maps(cluster, namespace) == []


def test_a_namespace_that_is_not_there_is_told(cluster: ControlPlane, own: Auditor) -> None:
    done = run(cluster, "verify", "--namespace=nowhere", f"--console-url={own.console_url}")

    assert done.returncode == 1
    assert 'namespaces "nowhere" not found' in done.stderr
    assert "is there a namespace nowhere?" in done.stderr


def test_a_webhook_configuration_is_removed_once_and_twice(cluster: ControlPlane, register: Register) -> None:
    webhook = register("doomed", namespace_labels=NOWHERE)
    for _ in range(2):
        done = run(cluster, "webhook", "remove", f"--name={webhook.full_name}")
        assert (done.returncode, done.stderr) == (0, "")
        assert "is gone" in done.stdout

    listed = cluster.kubectl("get", "validatingwebhookconfigurations", "-o", "name").stdout
    assert webhook.full_name not in listed


def test_a_finalizer_that_holds_a_configuration_is_named(cluster: ControlPlane, register: Register) -> None:
    webhook = register("held", namespace_labels=NOWHERE)
    held = '{"metadata":{"finalizers":["example.com/held"]}}'
    cluster.kubectl("patch", "validatingwebhookconfiguration", webhook.full_name, "--type=merge", "-p", held)

    done = run(cluster, "webhook", "remove", f"--name={webhook.full_name}", "--timeout=1")

    free = '{"metadata":{"finalizers":null}}'
    cluster.kubectl("patch", "validatingwebhookconfiguration", webhook.full_name, "--type=merge", "-p", free)
    assert done.returncode == 1
    assert "is not gone after 1 s; its finalizers are example.com/held" in done.stderr


def test_somebody_elses_configuration_is_left_alone(cluster: ControlPlane, register: Register) -> None:
    document = register("foreign", namespace_labels=NOWHERE).manifest()
    document["metadata"]["name"] = "gatekeeper"
    document["webhooks"][0]["name"] = "check.gatekeeper.example.com"
    cluster.kubectl("apply", "-f", "-", stdin=msgspec.json.encode(document).decode())

    done = run(cluster, "webhook", "remove", "--name=gatekeeper")

    assert done.returncode == 1
    assert "gatekeeper is no configuration of kubewitness: it has check.gatekeeper.example.com" in done.stderr
    cluster.kubectl("delete", "validatingwebhookconfiguration", "gatekeeper")


def test_what_is_registered_is_shown(cluster: ControlPlane, register: Register) -> None:
    webhook = register("shown", namespace_labels=NOWHERE, resources=("pods", "pods/exec"))

    table = run(cluster, "webhook", "show", f"--name={webhook.full_name}")
    [document] = msgspec.json.decode(run(cluster, "webhook", "show", f"--name={webhook.full_name}", "-ojson").stdout)

    assert (table.returncode, table.stderr) == (0, "")
    assert "*: */*: pods pods/exec" in table.stdout
    assert document["calls"] == f"https://127.0.0.1:{webhook.port}/validate"
    assert document["namespace_selector"] == ["verify=nowhere"]
    assert document["trouble"] == ""
    assert len(document["authorities_valid_until"]) == 1
