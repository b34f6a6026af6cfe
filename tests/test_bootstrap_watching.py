"""The watcher within a process: what it asks an API server for, and what `/readyz` says while it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest

from app.bootstrap.auditor import Auditor
from app.bootstrap.watcher import Watcher
from app.bootstrap.watcher_parts import identity
from app.settings import Settings, WatchSettings
from app.tls.files import ensure_dev_certificates
from tests.kube.api_server import ApiServer, Exchange, document, failure, serving
from tests.kube.clients import write_kubeconfig

LIST = {"metadata": {"resourceVersion": "7"}, "items": []}


async def answer(exchange: Exchange) -> None:
    """Answer lists with nothing, let watches wait, and know no Lease."""
    request = exchange.request
    if "watch" in request.parameters:
        await exchange.begin()
        await asyncio.Event().wait()
    elif "/leases" in request.path:
        answers = {"POST": document({"metadata": {"resourceVersion": "1"}, "spec": {}}, 201)}
        await answers.get(request.method, failure(404, "NotFound"))(exchange)
    else:
        await document(LIST)(exchange)


def options(folder: Path) -> dict[str, Any]:
    return {"data_dir": folder / "data", "console_port": 0, "flush_seconds": 1}


@asynccontextmanager
async def serving_with_watch(folder: Path, **more: Any) -> AsyncIterator[Auditor]:
    """`serve --watch`, listening on free ports."""
    ensure_dev_certificates(folder / "certs", now=datetime.now(UTC))
    settings = Settings(
        tls_dir=folder / "certs",
        admission_host="127.0.0.1",
        admission_port=0,
        watch=True,
        **options(folder),
        **more,
    )
    auditor = Auditor(settings)
    await auditor.start()
    try:
        yield auditor
    finally:
        assert await auditor.stop(0) == 0


async def asked(server: ApiServer, path: str, **parameters: str) -> None:
    """Wait until this was asked."""

    def was() -> bool:
        wanted = parameters.items()
        return any(each.path == path and wanted <= each.parameters.items() for each in server.requests)

    async with asyncio.timeout(10), server.asked:
        await server.asked.wait_for(was)


async def test_jobs_are_followed_everywhere_and_of_pods_those_of_jobs_that_have_not_succeeded(tmp_path: Path) -> None:
    async with serving() as server:
        server.otherwise = answer
        watcher = Watcher(
            WatchSettings(kubeconfig=write_kubeconfig(tmp_path / "kubeconfig", server.url), **options(tmp_path))
        )
        await watcher.start()
        try:
            pods = {"labelSelector": "job-name", "fieldSelector": "status.phase!=Succeeded"}
            for path, selectors in (("/apis/batch/v1/jobs", {}), ("/api/v1/pods", pods)):
                await asked(server, path, **selectors)
                await asked(server, path, watch="true", allowWatchBookmarks="true", resourceVersion="7", **selectors)
            ready, report = watcher.backbone.health.report()
            scraped = generate_latest(watcher.backbone.metrics.registry).decode()
        finally:
            await watcher.watching.close()
            await watcher.backbone.background.cancel()
            assert await watcher.backbone.close() == 0

    first_pods = next(number for number, each in enumerate(server.requests) if each.path == "/api/v1/pods")
    assert any(each.path == "/apis/batch/v1/jobs" for each in server.requests[:first_pods])
    assert (ready, report["checks"]["watch"]) == (True, {"state": "ok"})
    assert "\nkubewitness_watcher_leading " in scraped


async def test_reviews_are_taken_while_nobody_can_be_asked_about_jobs(tmp_path: Path) -> None:
    async with serving_with_watch(tmp_path, kubeconfig=tmp_path / "absent") as auditor, asyncio.timeout(10):
        while str(tmp_path / "absent") not in (check := watched(auditor))["message"]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        ready, _ = auditor.backbone.health.report()

    assert (ready, check["state"]) == (True, "degraded")
    assert check["message"].startswith("--watch cannot reach an API server: ")


async def test_a_watcher_that_ended_leaves_the_server_ready(tmp_path: Path) -> None:
    async with serving() as server:
        server.otherwise = answer
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", server.url)
        async with serving_with_watch(tmp_path, kubeconfig=kubeconfig) as auditor:
            await asked(server, "/api/v1/pods")
            (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "teller"]
            task.cancel()
            await asyncio.wait({task})
            ready, _ = auditor.backbone.health.report()
            check = watched(auditor)

    assert ready
    assert check == {"state": "degraded", "message": "ended, which needs a restart; the log says why: teller"}


def watched(auditor: Auditor) -> dict[str, str]:
    check: dict[str, str] = auditor.backbone.health.report()[1]["checks"]["watch"]
    return check


async def test_a_watcher_that_was_told_to_end_does_not_ask_for_a_restart(tmp_path: Path) -> None:
    async with serving() as server:
        server.otherwise = answer
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", server.url)
        async with serving_with_watch(tmp_path, kubeconfig=kubeconfig) as auditor:
            await asked(server, "/apis/batch/v1/jobs")
            assert auditor.watching is not None

            await auditor.watching.close()

            _, report = auditor.backbone.health.report()
            assert report["checks"]["watch"]["message"] == "another replica may watch: this one is about to end"


def test_a_replica_keeps_its_name_and_no_other_has_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    names = [identity(tmp_path / name) for name in ("a", "b", "a")]

    assert names[0] == names[2] != names[1]
