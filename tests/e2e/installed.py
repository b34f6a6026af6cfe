"""A release of the chart in a cluster with a node, and what all its replicas have in their ledgers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx
import msgspec

from app.cli.controlplane import ControlPlane
from app.remote.headers import LOCAL
from tests.chart.helm import CHART, Helm
from tests.e2e.servers import Document
from tests.e2e.webhooks import eventually

WEBHOOK: Final = "changes.kubewitness.svc"
CONSOLE_PORT: Final = 8080
PATIENCE: Final = "90s"
SHOWN_SECONDS: Final = 60.0
PROBED: Final = "default"
"""Where a change shows that an installation works."""


class Release:
    """The chart, installed by the real helm as `name` in a namespace of the same name; gone after the `with` block."""

    def __init__(self, helm: Helm, cluster: ControlPlane, name: str) -> None:
        self.name = name
        self._helm = helm
        self._cluster = cluster
        self._client = httpx.Client(trust_env=False, timeout=10)
        self._values: dict[str, Any] = {}

    def __enter__(self) -> Release:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()
        self.helm("uninstall", self.name, "--ignore-not-found", "--wait", f"--timeout={PATIENCE}")

    def install(self, values: Mapping[str, Any]) -> str:
        """Install it, wait until the API server is seen to show it changes, and return what helm printed."""
        printed = self._put("install", values, "--create-namespace")
        self._cluster.kubectl("create", "configmap", f"probe-{self.name}", f"--namespace={PROBED}")
        eventually(self._is_shown_changes, "the API server shows changes", seconds=SHOWN_SECONDS)
        return printed

    def upgrade(self, values: Mapping[str, Any]) -> str:
        """Upgrade it to these values, wait until it is ready, and return what helm printed."""
        return self._put("upgrade", values)

    def helm(self, *arguments: str, stdin: str = "") -> str:
        """Run helm in the release's namespace; raises HelmError."""
        namespaced = (*arguments, f"--namespace={self.name}")
        return self._helm.run(*namespaced, stdin=stdin, kubeconfig=self._cluster.kubeconfig(), timeout=120)

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the release's namespace."""
        return self._cluster.kubectl(f"--namespace={self.name}", *arguments).stdout

    def get(self, *arguments: str) -> Document:
        """Return what `kubectl get` says, such as one object, or a list."""
        document: Document = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return document

    def pods(self, component: str = "server") -> list[Document]:
        """Return the Pods of a component."""
        items: list[Document] = self.get("pods", f"--selector=app.kubernetes.io/component={component}")["items"]
        return items

    @property
    def token(self) -> str:
        """The token of the console."""
        return base64.b64decode(self.get("secret", self.name)["data"]["console-token"]).decode()

    def ask(self, pod: Document, path: str, *, is_local: bool = False, **parameters: str) -> httpx.Response:
        """GET a page of a Pod's console, with what other replicas have recorded or without; only 2xx returns."""
        url = f"http://{pod['status']['podIP']}:{CONSOLE_PORT}{path}"
        headers = {"Authorization": f"Bearer {self.token}", **({LOCAL: "true"} if is_local else {})}
        answer = self._client.get(url, params=parameters, headers=headers)
        assert answer.is_success, f"GET {answer.url} answered {answer.status_code}: {answer.text}"
        return answer

    def entries(self, **filters: str) -> Iterator[Document]:
        """Yield the entries of all replicas that the filters leave."""
        for pod in self.pods():
            cursor: dict[str, str] = {}
            while True:
                page = self.ask(pod, "/api/v1/entries", is_local=True, limit="500", **cursor, **filters).json()
                yield from page["items"]
                if not page["next"]:
                    break
                cursor = {"cursor": page["next"]}

    def log(self, pod: str) -> list[Document]:
        """Return what a Pod has logged."""
        return [msgspec.json.decode(line) for line in self.kubectl("logs", pod).splitlines() if line.startswith("{")]

    def ready(self, replicas: int) -> None:
        """Return when so many replicas are ready."""

        def all_ready() -> bool:
            status = self.get("statefulset", self.name)["status"]
            return int(status.get("readyReplicas", 0)) == replicas

        eventually(all_ready, f"{replicas} ready replicas")

    def _is_shown_changes(self) -> bool:
        """Make a change, and say whether one was recorded: Services and webhooks take a moment to be in force."""
        name = f"probe-{self.name}"
        at = f"at={time.monotonic_ns()}"
        self._cluster.kubectl("label", "configmap", name, at, "--overwrite", f"--namespace={PROBED}")
        return any(self.entries(kind="ConfigMap", name=name))

    def _put(self, verb: str, values: Mapping[str, Any], *options: str) -> str:
        text = msgspec.json.encode(values).decode()
        wait = ("--wait", f"--timeout={PATIENCE}")
        return self.helm(verb, self.name, str(CHART), "--values=-", *wait, *options, stdin=text)
