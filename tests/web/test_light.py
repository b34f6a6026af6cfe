"""The light console answers probes by itself, like the whole one, which it loads when somebody asks for more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from app.telemetry.metrics import Metrics
from app.web.health import Check, Health
from app.web.light import LightConsole
from tests.builders import make_record
from tests.web.asgi import Message, Reply, post
from tests.web.doors import as_viewer
from tests.web.ledgers import checks, console_of, write

DOWN = checks(watch=Check("unavailable", "the Jobs are being listed"))


class Loading:
    """The whole console, and how often it was loaded."""

    def __init__(self, data: Path = Path("/nowhere"), health: Health | None = None) -> None:
        self.count = 0
        self.metrics = Metrics()
        self._data = data
        self._health = health or checks()
        self.light = LightConsole(self._health, self.metrics, self._load)

    def _load(self) -> ASGIApp:
        self.count += 1
        return self.whole()

    def whole(self) -> ASGIApp:
        return console_of(self._data, self._health, self.metrics)


async def ask(app: ASGIApp, path: str, method: str = "GET") -> Reply:
    return await post(app, method=method, path=path)


@pytest.mark.parametrize("health", [checks(), DOWN], ids=["ready", "not ready"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_a_probe_is_answered_as_by_the_whole_console(health: Health, path: str, method: str) -> None:
    loading = Loading(health=health)

    light, whole = await ask(loading.light, path, method), await ask(loading.whole(), path, method)

    assert light == whole
    assert light.status == {"POST": 405, "PUT": 405}.get(method, 503 if (health, path) == (DOWN, "/readyz") else 200)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_for_a_probe_nothing_is_loaded(path: str, method: str) -> None:
    loading = Loading()

    reply = await ask(loading.light, path, method)

    assert (reply.status, loading.count) == (200, 0)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "OPTIONS", "X"])
async def test_nothing_is_loaded_for_whatever_else_strangers_want_of_a_probe(path: str, method: str) -> None:
    loading = Loading()

    reply = await ask(loading.light, path, method)

    assert (reply.status, loading.count) == (405, 0)


async def test_readiness_and_metrics_are_those_of_the_moment() -> None:
    loading = Loading(health=(health := checks()))
    await ask(loading.light, "/readyz")
    health.draining = True
    loading.metrics.failed_jobs.labels("told").inc()

    ready, metrics = await ask(loading.light, "/readyz"), await ask(loading.light, "/metrics")

    assert (ready.status, ready.document["status"]) == (503, "unavailable")
    assert b'kubewitness_failed_jobs_total{result="told"} 1.0' in metrics.body


async def test_the_whole_console_is_loaded_once_for_whatever_else_is_asked(tmp_path: Path) -> None:
    await write(tmp_path, make_record())
    loading = Loading(tmp_path)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(as_viewer(loading.light)), base_url="http://x"
    ) as client:
        replies = [await client.get(path) for path in ("/api/v1/entries", "/nothing", "/api/v1/entries")]

    assert [reply.status_code for reply in replies] == [200, 404, 200]
    assert len(replies[0].json()["items"]) == 1
    assert loading.count == 1


async def test_a_console_that_cannot_be_loaded_is_tried_again_and_probes_go_on() -> None:
    def load() -> ASGIApp:
        raise ImportError("no module")

    light = LightConsole(checks(), Metrics(), load)
    for _ in range(2):
        with pytest.raises(ImportError):
            await ask(light, "/api/v1/entries")

    assert (await ask(light, "/livez")).status == 200


async def test_what_is_no_request_goes_to_the_whole_console() -> None:
    seen: list[str] = []

    async def whole(scope: Message, _receive: object, _send: object) -> None:
        seen.append(scope["type"])

    light = LightConsole(checks(), Metrics(), lambda: whole)
    await light({"type": "websocket", "path": "/livez"}, None, None)  # type: ignore[arg-type]

    assert seen == ["websocket"]


def test_the_light_console_does_without_fastapi() -> None:
    code = "import sys, app.web.light; sys.exit('fastapi' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
