"""An API server that knows of Services and Secrets, and passes on what is for a console behind one of them."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec

from app.remote.headers import MISSING
from tests.kube.api_server import status
from tests.servers import Answering, Listening

NAMESPACE = "watching"


def service(name: str, namespace: str = NAMESPACE, *, port: str = "console", address: str = "10.0.0.1") -> Any:
    labels = {"app.kubernetes.io/name": "kubewitness", "app.kubernetes.io/instance": name}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"clusterIP": address, "ports": [{"name": "admission"}, {"name": port}]},
    }


class _Handler(Answering):
    server: Proxy

    def do_GET(self) -> None:  # noqa: N802  http.server calls it so
        code, body, headers = self.server.take(self.path, dict(self.headers.items()))
        self.answer(code, body, Content_Type="application/json", **headers)


class Proxy(Listening):
    """Inside its `with` block. `forbidden` are beginnings of paths; `asked` is what was asked, with its headers."""

    def __init__(self, console: str, *services: Any, token: str = "") -> None:
        super().__init__(_Handler)
        self.console = console
        self.services = services or (service("kubewitness"), service("kubewitness-replicas", address="None"))
        self.token = token
        self.forbidden: tuple[str, ...] = ()
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def shown(self) -> list[str]:
        """The tokens that consoles were shown."""
        return [headers.get("X-Kubewitness-Token", "") for path, headers in self.asked if "/proxy/" in path]

    def take(self, path: str, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        self.asked.append((path, headers))
        if path.startswith(self.forbidden):
            message = f'User "jane" cannot get {path}'
            return 403, msgspec.json.encode(status(403, "Forbidden", message)), {}
        if "/proxy/" in path:
            answer = httpx.get(
                f"{self.console}/{path.partition('/proxy/')[2]}", headers=_passed_on(headers), timeout=10
            )
            told = {MISSING: answer.headers[MISSING]} if MISSING in answer.headers else {}
            return answer.status_code, answer.content, told
        return *self._own(path), {}

    def _own(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(path)
        if parts.path.endswith("/services"):
            return 200, msgspec.json.encode({"items": [each for each in self.services if _is_meant(each, parts)]})
        if "/secrets/" in parts.path and self.token:
            return 200, msgspec.json.encode({"data": {"console-token": base64.b64encode(self.token.encode()).decode()}})
        return 404, msgspec.json.encode(status(404, HTTPStatus(404).phrase))


def _is_meant(each: Any, parts: Any) -> bool:
    metadata = each["metadata"]
    selector = parse_qs(parts.query)["labelSelector"][0]
    release = selector.partition("app.kubernetes.io/instance=")[2]
    is_there = f"/namespaces/{metadata['namespace']}/" in parts.path or "/namespaces/" not in parts.path
    return is_there and release in ("", metadata["labels"]["app.kubernetes.io/instance"])


def _passed_on(headers: dict[str, str]) -> dict[str, str]:
    # An API server keeps to itself what is for it, and says on whose behalf it asks.
    kept = {name: value for name, value in headers.items() if name.startswith("X-")}
    return {**kept, "X-Forwarded-For": "192.0.2.1"}
