"""A node for a control plane without nodes: it stays ready, runs nothing, and serves the logs that tests write."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import httpx
from typing_extensions import override

from app.cli.controlplane import ControlPlane
from app.tls.issue import issue_authority, issue_leaf
from tests.e2e.servers import Document
from tests.servers import Answering, Listening

HEARTBEAT_SECONDS: Final = 10.0
"""As a real kubelet; after 40 s without one the node lifecycle controller calls the node not ready."""

STRATEGIC: Final = {"Content-Type": "application/strategic-merge-patch+json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one container: the current one, or with `previous` the one before."""

    namespace: str
    pod: str
    container: str
    previous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """What the API server asked for; `query` has the last value of each parameter."""

    run: Run
    query: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str) -> Self | None:
        """Read `/containerLogs/{namespace}/{pod}/{container}?...`; None for any other path."""
        parts = urlsplit(path)
        match parts.path.split("/"):
            case ["", "containerLogs", namespace, pod, container]:
                query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                previous = query.get("previous") == "true"
                return cls(run=Run(namespace=namespace, pod=pod, container=container, previous=previous), query=query)
        return None

    def cut(self, text: str) -> bytes:
        """Return the part of a log that is asked for: the last lines, and of those the first bytes."""
        lines = text.splitlines(keepends=True)
        if "tailLines" in self.query:
            lines = lines[max(len(lines) - int(self.query["tailLines"]), 0) :]
        if self.query.get("timestamps") == "true":
            lines = [f"{now()} {line}" for line in lines]
        data = "".join(lines).encode()
        return data[: int(self.query["limitBytes"])] if "limitBytes" in self.query else data


class _KubeletHandler(Answering):
    server: Kubelet

    def do_GET(self) -> None:  # noqa: N802  the name is that of http.server
        request = LogRequest.read(self.path)
        if request is None:
            self.answer(404, b"404 page not found\n")
        else:
            self.answer(*self.server.reply(request))


class Kubelet(Listening):
    """A Node whose kubelet endpoint is this process; ready inside its `with` block.

    Only the control plane's own identities are let in, as a real kubelet does.
    """

    def __init__(self, cluster: ControlPlane, name: str = "node-1") -> None:
        super().__init__(_KubeletHandler)
        self.name = name
        self.requests: list[LogRequest] = []
        self._logs: dict[Run, str] = {}
        self._refusals: dict[str, int] = {}
        self._holds: dict[str, threading.Event] = {}
        self._stopped = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._api = cluster.client()
        # The handshake happens in the connection's own thread, so that a slow client holds up nobody.
        context = _tls(cluster, name)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @override
    def __enter__(self) -> Self:
        super().__enter__()
        self._api.post("/api/v1/nodes", json=self._node()).raise_for_status()
        self._heart.start()
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        for hold in list(self._holds.values()):
            hold.set()
        self._heart.join()
        self._api.close()
        super().__exit__(kind, error, traceback)

    def write(self, run: Run, text: str) -> None:
        """Set what a run of a container has printed."""
        self._logs[run] = text

    def refuse(self, pod: str, status: int) -> None:
        """Answer every request for logs of Pods of this name with an error."""
        self._refusals[pod] = status

    def hold(self, pod: str) -> threading.Event:
        """Let requests for logs of Pods of this name wait until the event is set."""
        return self._holds.setdefault(pod, threading.Event())

    def reply(self, request: LogRequest) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        run = request.run
        self.requests.append(request)
        if run.pod in self._holds:
            self._holds[run.pod].wait()
        if run.pod in self._refusals:
            return self._refusals[run.pod], b"refused by the test\n"
        if run in self._logs:
            return 200, request.cut(self._logs[run])
        if run.previous:
            return 400, f'previous terminated container "{run.container}" in pod "{run.pod}" not found'.encode()
        return 404, f'pod "{run.pod}" does not exist\n'.encode()

    def _node(self) -> Document:
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
                "capacity": {"cpu": "8", "memory": "16Gi", "pods": "500"},
                "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "500"},
                "conditions": [_ready()],
            },
        }

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            try:
                status = {"status": {"conditions": [_ready()]}}
                self._api.patch(f"/api/v1/nodes/{self.name}/status", json=status, headers=STRATEGIC)
            except httpx.TransportError:
                # The API server may be restarting; the next beat is early enough.
                continue


def now() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ready() -> dict[str, Any]:
    return {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "the test serves",
        "lastHeartbeatTime": now(),
    }


def _tls(cluster: ControlPlane, name: str) -> ssl.SSLContext:
    moment = datetime.now(UTC)
    authority = issue_authority(f"authority of {name}", now=moment, lifetime=timedelta(days=1))
    leaf = issue_leaf(authority, dns_names=[name], ip_addresses=["127.0.0.1"], now=moment)
    certificate, key = (cluster.directory / f"{name}.{ending}" for ending in ("crt", "key"))
    certificate.write_bytes(leaf.certificate_pem)
    key.write_bytes(leaf.private_key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(cluster.directory / "identities/ca.crt"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    return context
