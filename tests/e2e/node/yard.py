"""A namespace in which tests run Pods."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tests.e2e.node.ground import Ground
from tests.e2e.servers import Document
from tests.e2e.webhooks import eventually

SERVER: Final = """
import http.server, os, signal, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        missing = self.path == "/readyz" and not os.path.exists("/tmp/ready")
        body = os.environ["HOSTNAME"].encode()
        self.send_response(503 if missing else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
signal.signal(signal.SIGTERM, lambda *_: threading.Timer(float(sys.argv[1]), os._exit, [0]).start())
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
"""Answers with the name of its Pod; `/readyz` only while there is `/tmp/ready`; ends some time after it is told to."""


def shell(script: str, **fields: Any) -> Document:
    """Return a container that runs a script."""
    return {"name": "main", "image": "busybox:1.37.0", "command": ["sh", "-c", script], **fields}


def python(script: str, *arguments: str, **fields: Any) -> Document:
    """Return a container with the product's image whose interpreter runs a script."""
    command = [sys.executable, "-c", script, *arguments]
    return {"name": "main", "image": "example.com/kubewitness:1", "command": command, **fields}


def server(linger_seconds: float = 0, **fields: Any) -> Document:
    """Return a container that answers at port 8080, which is called `http`."""
    ports = [{"name": "http", "containerPort": 8080}]
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    return {**python(SERVER, str(linger_seconds)), "ports": ports, "readinessProbe": probe, **fields}


class Yard:
    """A namespace of its own; what is in it stays until its ground goes."""

    def __init__(self, ground: Ground, namespace: str) -> None:
        self.ground = ground
        self.namespace = namespace
        ground.kubectl("create", "namespace", namespace)
        eventually(lambda: self.kubectl("get", "serviceaccounts", "-o", "name"), "a service account")

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Return what kubectl printed."""
        return self.ground.kubectl(f"--namespace={self.namespace}", *arguments, **options).stdout

    def get(self, *arguments: str) -> Document:
        """Return an object, or a list."""
        document: Document = msgspec.json.decode(self.kubectl("get", *arguments, "--output=json"))
        return document

    def create(self, document: Document) -> None:
        """Create an object."""
        self.kubectl("create", "--filename=-", stdin=msgspec.json.encode(document).decode())

    def run(self, name: str, *containers: Document, labels: Mapping[str, str] | None = None, **spec: Any) -> None:
        """Create a Pod."""
        metadata = {"name": name, "labels": labels or {}}
        body = {"containers": containers, "restartPolicy": "Never", **spec}
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body})

    def wait(self, name: str, wanted: Callable[[Document], object], what: str) -> Document:
        """Return the status of a Pod when it is as wanted."""
        return eventually(lambda: self._status(name, wanted), f"{name}: {what}")

    def output(self, name: str, *containers: Document, **spec: Any) -> str:
        """Run a Pod to its end, and return what it printed; it must end well."""
        self.run(name, *containers, **spec)
        status = self.wait(name, lambda status: status["phase"] in ("Succeeded", "Failed"), "ends")
        printed = self.kubectl("logs", name)
        assert status["phase"] == "Succeeded", (status, printed)
        return printed

    def ready(self, *names: str) -> None:
        """Return when Pods are ready."""
        for name in names:
            self.wait(name, is_ready, "ready")

    def serve(self, name: str, *names: str, selector: Mapping[str, str], **spec: Any) -> str:
        """Create a Service on port 80 and return its cluster IP when these Pods, and no others, are behind it."""
        ports = [{"port": 80, "targetPort": "http"}]
        body = {"selector": selector, "ports": ports, **spec}
        self.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body})
        self.behind(name, *names)
        return str(self.get("service", name)["spec"]["clusterIP"])

    def behind(self, service: str, *names: str) -> None:
        """Return when exactly these Pods are behind a Service."""
        eventually(lambda: self._behind(service) == sorted(names), f"{names} behind {service}")

    def processes(self, marker: str) -> Sequence[str]:
        """Return the processes of the machine whose command has a word in it."""
        found = subprocess.run(["pgrep", "--full", marker], capture_output=True, text=True, check=False)
        return found.stdout.split()

    def _status(self, name: str, wanted: Callable[[Document], object]) -> Document | None:
        status: Document = self.get("pod", name)["status"]
        return status if wanted(status) else None

    def _behind(self, service: str) -> list[str]:
        subsets = self.get("endpoints", service).get("subsets") or []
        addresses = [address for subset in subsets for address in subset.get("addresses") or []]
        return sorted(address["targetRef"]["name"] for address in addresses)


def is_ready(status: Document) -> bool:
    """Whether a Pod is."""
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    return conditions.get("Ready") == "True"


def only(status: Document) -> Document:
    """Return the status of the only container."""
    (container,) = status["containerStatuses"]
    document: Document = container
    return document
