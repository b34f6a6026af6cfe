"""Clients of the scripted API server, with a kubeconfig as people write it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml

from app.kube.client import KubernetesApi
from app.kube.credentials import Credentials, Source
from app.kube.kubeconfig import Kubeconfig
from app.kube.session import Patience
from tests.kube.api_server import ApiServer

SHORT_PATIENCE = Patience(connect=2, call=2, begin=1, margin=0.2, log=2)


def write_kubeconfig(path: Path, url: str, user: dict[str, Any] | None = None, **cluster: str) -> Path:
    """Write a kubeconfig whose context is in the namespace `shop`."""
    options = {name.replace("_", "-"): value for name, value in cluster.items()}
    context = {"cluster": "here", "user": "me", "namespace": "shop"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "here", "cluster": {"server": url, **options}}],
        "users": [{"name": "me", "user": user or {"token": "t0ken"}}],
        "contexts": [{"name": "test", "context": context}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


class Pauses:
    """Waits that take no time, and are remembered."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@contextlib.asynccontextmanager
async def client_of(source: Source, pauses: Pauses | None = None) -> AsyncIterator[KubernetesApi]:
    credentials = await Credentials.read(source)
    api = KubernetesApi(credentials, patience=SHORT_PATIENCE, pause=pauses or Pauses())
    try:
        yield api
    finally:
        await api.close()


@contextlib.asynccontextmanager
async def client(server: ApiServer, folder: Path, pauses: Pauses | None = None) -> AsyncIterator[KubernetesApi]:
    """Give a client whose kubeconfig is in the folder, with a token."""
    path = write_kubeconfig(folder / "kubeconfig", server.url)
    async with client_of(Kubeconfig(paths=str(path)), pauses) as api:
        yield api
