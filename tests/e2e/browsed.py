"""The program with data of a real API server, and what is hostile in every field, for a browser to look at."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from app.cli.controlplane import ControlPlane
from tests.builders import review_document
from tests.e2e.auditor import Auditor
from tests.e2e.jobs import Jobs
from tests.e2e.webhooks import eventually
from tests.sinks.stands import HttpReceiver, http_receiver

NAMESPACE: Final = "browsed"
LABELS: Final = {"witnessed": NAMESPACE}

PRINTABLE: Final = (
    '"\'><script>canary()</script><img src=x onerror=canary()><a href="javascript:canary()">{{7*7}}'
    '" onmouseover="canary()" style="position:fixed;inset:0" x="'
)
"""What runs a script, or covers the page, where an output forgets to escape it; no control character."""

HOSTILE: Final = f"{PRINTABLE}\u202e\u2066\x00\x1b[31m\x1b]8;;javascript:canary()\x07\r\n</pre></textarea></title>"
UNWATCHED: Final = frozenset({"ReplicaSet", "Pod", "ServiceAccount", "Namespace", "EndpointSlice"})
"""What controllers make of what people do; their pages show nothing that others do not."""

LARGE: Final = "<b>0123456789</b>" * 56_000
"""900 KB without a space: as much as a ConfigMap takes."""

CONFIGURATION: Final = """
- webhook_sink: {name: pager, url: "%(url)s"}
customPlaybooks:
- name: %(name)s
  triggers: [{on_deployment_update: {}}, {on_configmap_all_changes: {}}]
  actions: [{resource_babysitter: {}}]
- triggers: [{on_job_failure: {}}]
  actions:
  - create_finding: {title: "Job Failed", aggregation_key: job_failure}
  - job_info_enricher: {}
  - job_events_enricher: {}
  - job_pod_enricher: {}
"""


class Browsed(Auditor):
    """The server with its watcher, a playbook with a hostile name, and a sink that refuses what it is told."""

    def __init__(self, directory: Path, receiver: HttpReceiver, kubeconfig: Path) -> None:
        rules = CONFIGURATION % {"url": receiver.url, "name": json.dumps(PRINTABLE[:100])}
        watch = [f"--kubeconfig={kubeconfig}", "--watch", "--lease-name=browsed"]
        super().__init__(directory, rules, [*watch, "--console-requeue"])

    def review(self, **request: Any) -> None:
        """Show the webhook a review that no API server would send."""
        webhook = self.webhook("direct")
        context = ssl.create_default_context(cafile=str(webhook.authority))
        url = f"https://127.0.0.1:{webhook.port}/validate"
        document = review_document(uid=str(uuid.uuid4()), **request)
        httpx.post(url, json=document, verify=context, trust_env=False).raise_for_status()

    def addresses(self) -> dict[str, str]:
        """The pages of entries, one of each operation on each kind in the namespace, or in one that cannot be."""
        sorts = {
            (each["operation"], each["resource"]["kind"]): each["id"]
            for each in self.entries()
            if each["resource"]["kind"] not in UNWATCHED
        }
        return {
            f"entry-{number}-{operation.lower()}-{kind[:12] if kind.isalpha() else 'hostile'}": f"/entries/{identifier}"
            for number, ((operation, kind), identifier) in enumerate(sorts.items())
        }


@contextmanager
def browsed(directory: Path, cluster: ControlPlane, kubeconfig: Path) -> Iterator[Browsed]:
    """Run the program, with its webhook for one namespace."""
    refused = httpx.Response(400, text=HOSTILE)
    with (
        http_receiver(lambda _: refused) as receiver,
        Browsed(directory, receiver, kubeconfig) as running,
    ):
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl("label", "namespace", NAMESPACE, f"witnessed={NAMESPACE}")
        running.webhook(NAMESPACE, namespace_labels=LABELS).register(cluster, namespace=NAMESPACE)
        yield running


def people_work(cluster: ControlPlane) -> None:
    """Change what people change, with kubectl."""

    def kubectl(*arguments: str, **options: Any) -> None:
        cluster.kubectl(f"--namespace={NAMESPACE}", *arguments, **options)

    kubectl("create", "deployment", "web", "--image=nginx:1.24")
    kubectl("set", "image", "deployment/web", "nginx=nginx:1.25")
    kubectl("scale", "deployment/web", "--replicas=3")
    kubectl("create", "secret", "generic", "token", "--from-literal=token=one")
    kubectl("patch", "secret", "token", "-p", '{"stringData":{"token":"two"}}')
    kubectl("create", "configmap", "site", "--from-literal=nginx.conf=server {\n  listen 80;\n}\n")
    kubectl("patch", "configmap", "site", "-p", json.dumps({"data": {"nginx.conf": "server {\n  listen 8080;\n}\n"}}))
    kubectl("label", "configmap", "site", "tier=web", "--dry-run=server")
    kubectl("delete", "configmap", "site")


def strangers_work(cluster: ControlPlane, auditor: Browsed) -> None:
    """Be hostile wherever the API server allows it, and to the webhook itself where it does not."""
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "hostile", "annotations": {"example.com/note": HOSTILE.replace("\x00", "")}},
        "data": {"javascript_canary": PRINTABLE, "large": LARGE},
    }
    who = [f"--as={PRINTABLE}", "--as-group=system:masters", f"--as-group={PRINTABLE}"]
    written = json.dumps(manifest)
    kubectl = (f"--namespace={NAMESPACE}", "create", "-f", "-", f"--field-manager={PRINTABLE[:120]}")
    cluster.kubectl(*kubectl, *who, stdin=written)
    changed = json.dumps({"data": {"javascript_canary": HOSTILE.replace("\x00", ""), "large": LARGE[::-1]}})
    cluster.kubectl(
        f"--namespace={NAMESPACE}", "patch", "configmap", "hostile", *who, "--patch-file=/dev/stdin", stdin=changed
    )
    for text in (PRINTABLE, HOSTILE):
        auditor.review(**_review(text))


def _review(text: str) -> dict[str, Any]:
    kind = {"group": text, "version": text}
    document = {"metadata": {"name": text, "labels": {text: text}}, text: [text, {text: text}]}
    return {
        "kind": {**kind, "kind": text},
        "resource": {**kind, "resource": text},
        "subResource": text,
        "name": text,
        "namespace": text,
        "userInfo": {"username": text, "uid": text, "groups": [text], "extra": {text: [text]}},
        "object": {**document, "spec": {text: text, "large": LARGE}},
        "oldObject": {**document, "spec": {text: "before", "large": "small"}},
        "options": {"fieldManager": text},
    }


def a_job_fails(jobs: Jobs, auditor: Browsed) -> None:
    """Let a Job fail with a log that is as hostile as the rest."""
    log = "".join(f"row {number} imported\n" for number in range(200))
    jobs.fail("nightly-import", f"{log}{HOSTILE}\nFATAL: cannot connect to db:5432\n")
    eventually(lambda: auditor.entries(operation="FAILED", kind="Job"), "the failed Job is recorded")
