"""The composed service in this process: what its background work does, and what `/readyz` says of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from starlette.types import ASGIApp

from app.bootstrap.auditor import Auditor
from app.bootstrap.process import every
from app.config.file import read
from app.settings import Settings
from app.sinks.base import SinkSetupError
from app.store.absent import ERROR
from app.store.database import connect_reader
from app.store.delivery_lists import list_deliveries
from app.tls.files import ensure_dev_certificates
from app.web.health import Check
from app.web.warm import warm
from tests.builders import make_record
from tests.sinks.stands import Handler, Request, http_receiver

HOOKS = """
sinksConfig:
- webhook_sink: {name: same, url: "http://localhost/a", headers: {X-Key: secret}}
- webhook_sink: {name: other, url: "http://localhost/%s"}
"""

LINKS = "globalConfig: {console_url: '%s'}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    ensure_dev_certificates(directory, now=datetime.now(UTC))
    return directory


@asynccontextmanager
async def running(directory: Path, certificates: Path, config: str = "", **options: Any) -> AsyncIterator[Auditor]:
    """A service that listens on free ports, and is stopped at the end."""
    file = directory / "config.yaml"
    file.write_text(config)
    auditor = Auditor(
        Settings(
            config=file,
            data_dir=directory / "data",
            tls_dir=certificates,
            admission_host="127.0.0.1",
            admission_port=0,
            console_port=0,
            flush_seconds=1,
            **options,
        )
    )
    await auditor.start()
    try:
        yield auditor
    finally:
        assert await auditor.stop(0) == 0


def states(auditor: Auditor) -> dict[str, Check]:
    return {name: check() for name, check in auditor.backbone.health._checks.items()}


def metric(auditor: Auditor, name: str) -> float | None:
    return auditor.metrics.registry.get_sample_value(name)


def sink_up(auditor: Auditor, name: str) -> float | None:
    return auditor.metrics.registry.get_sample_value("kubewitness_sink_up", {"sink": name})


async def test_the_console_has_been_asked_before_it_listens(
    tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[bool]()

    async def noted(app: ASGIApp) -> None:
        await warm(app)
        asked.append(hasattr(auditor.backbone, "_console_socket"))

    auditor = Auditor(Settings(data_dir=tmp_path, tls_dir=certificates, admission_port=0, console_port=0))
    monkeypatch.setattr("app.bootstrap.auditor.warm", noted)
    await auditor.start()
    assert await auditor.stop(0) == 0

    assert asked == [False]


async def test_all_is_well_at_first_and_the_size_is_told(tmp_path: Path, certificates: Path) -> None:
    async with running(tmp_path, certificates) as auditor:
        await auditor.backbone.forget()
        await auditor.backbone.measure_queue()

        assert {check.state for check in states(auditor).values()} == {"ok"}
        assert (metric(auditor, "kubewitness_journal_size_bytes") or 0) >= 4096
        assert metric(auditor, "kubewitness_journal_over_limit") == 0


async def test_a_journal_that_cannot_shrink_is_told_until_it_can(tmp_path: Path, certificates: Path) -> None:
    async with running(tmp_path, certificates, retention_days=0, retention_size=200_000) as auditor:
        for _ in range(30):
            await auditor.backbone.journal.append(make_record("gone", cluster="x" * 2000))
        await auditor.backbone.journal.append(make_record(object={"blob": random.Random(1).randbytes(200_000).hex()}))
        await auditor.backbone.forget()
        over, over_metric = states(auditor)["journal"], metric(auditor, "kubewitness_journal_over_limit")
        entries = await auditor.backbone.journal.call(lambda c: c.execute("SELECT count(*) FROM entries").fetchone()[0])

        await auditor.backbone.journal.call(lambda c: c.execute("UPDATE deliveries SET state = 'dead'").rowcount)
        await auditor.backbone.forget()

        assert entries == 31
        assert (over.state, over_metric) == ("degraded", 1)
        assert "more than --retention-size allows: entries wait for their deliveries" in over.message
        assert states(auditor)["journal"] == Check("ok")
        assert metric(auditor, "kubewitness_journal_over_limit") == 0


@pytest.mark.parametrize(("step", "due"), [(7200, True), (30, False)])
async def test_a_clock_that_is_set_back_delays_no_delivery(
    tmp_path: Path, certificates: Path, step: float, due: bool
) -> None:
    ahead = "UPDATE deliveries SET updated_at = updated_at + 7200000, next_attempt_at = next_attempt_at + 7200000"
    async with running(tmp_path, certificates, HOOKS % "b") as auditor:
        await auditor.backbone.dispatcher.close(timedelta(0))  # nobody sends anything here
        await auditor.backbone.journal.append(make_record("same"))
        await auditor.backbone.journal.call(lambda c: c.execute(ahead).rowcount)

        auditor.backbone._clock_ahead += step
        await auditor.backbone.forget()

        claimed = await auditor.backbone._deliveries.claim("same", limit=1, lease=timedelta(minutes=1))
        assert bool(claimed.deliveries) is due


async def test_deliveries_to_a_sink_that_is_not_configured_are_given_up_and_others_are_not(
    tmp_path: Path, certificates: Path
) -> None:
    async with running(tmp_path, certificates, HOOKS % "b") as auditor:
        await auditor.backbone.dispatcher.close(timedelta(0))  # nobody sends anything here
        await auditor.backbone.journal.append(make_record("gone", "same"))
        await auditor.backbone.forget()
        age = "UPDATE absent_sinks SET since = 0", "UPDATE deliveries SET updated_at = 0"
        await auditor.backbone.journal.call(lambda c: [c.execute(each).rowcount for each in age])
        await auditor.backbone.forget()

        with closing(connect_reader(auditor.backbone.journal.path)) as connection:
            found = {each.sink: (each.state, each.last_error) for each in list_deliveries(connection, limit=9)}
        assert found == {"gone": ("dead", ERROR), "same": ("pending", "")}


async def test_a_sink_whose_options_stay_is_kept_when_the_configuration_changes(
    tmp_path: Path, certificates: Path
) -> None:
    async with running(tmp_path, certificates, HOOKS % "b") as auditor:
        before = dict(auditor.backbone.employed.sinks)
        employed = {name: worker for name, (worker, _) in auditor.backbone.dispatcher._running.items()}

        await auditor.backbone._apply(read((HOOKS % "c").encode(), "c.yaml", {}))

        assert auditor.backbone.employed.sinks["same"] is before["same"]
        assert auditor.backbone.employed.sinks["other"] is not before["other"]
        assert auditor.backbone.dispatcher._running["same"][0] is employed["same"]
        assert auditor.backbone.dispatcher._running["other"][0] is not employed["other"]


MISSING = """
globalConfig: {continue_on_sink_errors: %s}
sinksConfig:
- file_sink: {name: works, file_name: %s/out.jsonl}
- webhook_sink: {name: later, url: "http://127.0.0.1:9/secret-path", ca_file: %s/ca.pem}
%s"""
NONSENSE = '- webhook_sink: {name: nonsense, url: "{{ env.KUBEWITNESS_NOT_SET }}"}'


async def test_sinks_that_cannot_be_made_stop_neither_the_start_nor_the_others(
    tmp_path: Path, certificates: Path
) -> None:
    config = MISSING % ("true", tmp_path, tmp_path, NONSENSE)
    with structlog.testing.capture_logs() as logged:
        async with running(tmp_path, certificates, config) as auditor:
            check, up = (
                states(auditor)["sinks"],
                {name: sink_up(auditor, name) for name in ("works", "later", "nonsense")},
            )
            ready, _ = auditor.backbone.health.report()

    assert ready
    assert check.state == "degraded"
    assert f"{tmp_path}/config.yaml:6:" in check.message
    assert "the environment variable KUBEWITNESS_NOT_SET is not set" in check.message
    assert f"{tmp_path}/config.yaml:5:3: sink 'later': ca_file {tmp_path}/ca.pem: No such file" in check.message
    assert up == {"works": 1, "later": 0, "nonsense": 0}
    said = {each["event"]: each for each in logged if each["log_level"] == "error"}
    assert said["sink_left_out"]["sink"] == "nonsense"
    assert said["sink cannot be made"]["at"] == f"{tmp_path}/config.yaml:5:3"
    assert "secret-path" not in repr(logged) + check.message


def arrivals(arrived: asyncio.Event) -> Handler:
    """Take what comes and say so to the loop that runs now."""
    loop = asyncio.get_running_loop()

    def handle(request: Request) -> httpx.Response:
        loop.call_soon_threadsafe(arrived.set)
        return httpx.Response(204)

    return handle


async def test_what_is_meant_for_a_missing_sink_waits_until_it_can_be_made(tmp_path: Path, certificates: Path) -> None:
    arrived = asyncio.Event()
    with http_receiver(arrivals(arrived)) as receiver:
        config = (MISSING % ("true", tmp_path, tmp_path, "")).replace("http://127.0.0.1:9/", receiver.url)
        async with running(tmp_path, certificates, config) as auditor:
            backbone = auditor.backbone
            await backbone.journal.append(make_record("later", "works"))
            await backbone.employ_missing()
            await backbone.forget()
            age = "UPDATE absent_sinks SET since = 0", "UPDATE deliveries SET updated_at = 0"
            await backbone.journal.call(lambda c: [c.execute(each).rowcount for each in age])
            await backbone.forget()
            await backbone.measure_queue()
            before = backbone.metrics.registry.get_sample_value("kubewitness_deliveries_pending", {"sink": "later"})
            works = backbone.employed.sinks["works"]

            (tmp_path / "ca.pem").write_bytes((certificates / "ca.crt").read_bytes())
            await backbone.employ_missing()
            await backbone.measure_queue()
            await asyncio.wait_for(arrived.wait(), 10)

            assert before == 1
            assert states(auditor)["sinks"] == Check("ok")
            assert sink_up(auditor, "later") == 1
            assert backbone.employed.sinks["works"] is works


async def test_a_sink_that_cannot_be_made_stops_the_start_where_that_is_wished(
    tmp_path: Path, certificates: Path
) -> None:
    with pytest.raises(SinkSetupError, match=r"sink 'later': ca_file .*: No such file or directory"):
        async with running(tmp_path, certificates, MISSING % ("false", tmp_path, tmp_path, "")):
            raise AssertionError


async def test_a_change_that_breaks_a_sink_keeps_to_the_same_rule(tmp_path: Path, certificates: Path) -> None:
    file = tmp_path / "config.yaml"
    async with running(tmp_path, certificates, HOOKS % "b") as auditor:
        file.write_text(MISSING % ("false", tmp_path, tmp_path, NONSENSE))
        await auditor.backbone.config.refresh()
        refused = states(auditor)
        kept = set(auditor.backbone.employed.sinks)

        file.write_text("# one more line\n" + MISSING % ("true", tmp_path, tmp_path, NONSENSE))
        with structlog.testing.capture_logs() as logged:
            await auditor.backbone.config.refresh()
        await auditor.backbone.measure_queue()

        assert [each["at"] for each in logged if each["event"] == "sink cannot be made"] == [f"{file}:6:3"]
        assert (refused["config"].state, refused["sinks"].state) == ("degraded", "ok")
        assert kept == {"same", "other"}
        assert states(auditor)["config"] == Check("ok")
        assert states(auditor)["sinks"].state == "degraded"
        assert set(auditor.backbone.employed.sinks) == {"works"}
        assert sink_up(auditor, "same") is None


async def test_links_lead_to_where_the_configuration_in_effect_says(tmp_path: Path, certificates: Path) -> None:
    async with running(tmp_path, certificates, LINKS % "https://one.example/witness/") as auditor:
        link, file = auditor.backbone._link, tmp_path / "config.yaml"
        assert link("e1") == "https://one.example/witness/entries/e1"

        file.write_text(LINKS % "https://two.example")
        await auditor.backbone.config.refresh()
        assert link("e1") == "https://two.example/entries/e1"

        file.write_text("{}")
        await auditor.backbone.config.refresh()
        assert link("e1") == ""


@pytest.mark.parametrize("name", ["config", "certificate", "retention", "queue", "sinks", "admission listener"])
async def test_background_work_that_ends_makes_the_process_unready(
    tmp_path: Path, certificates: Path, name: str
) -> None:
    async with running(tmp_path, certificates) as auditor:
        (task,) = [each for each in asyncio.all_tasks() if each.get_name() == name]
        task.cancel()
        await asyncio.wait({task})

        assert states(auditor)["tasks"] == Check(
            "unavailable", f"ended, which needs a restart; the log says why: {name}"
        )
        assert auditor.backbone.health.report()[0] is False


def failing(error: Exception, rounds: asyncio.Semaphore) -> Callable[[], Any]:
    async def work() -> None:
        rounds.release()
        raise error

    return work


@pytest.mark.parametrize("error", [OSError("disk"), ValueError("a fault of ours"), KeyError("x")])
async def test_a_round_that_fails_is_followed_by_the_next(error: Exception) -> None:
    rounds = asyncio.Semaphore(0)
    task = asyncio.create_task(every(0, failing(error, rounds)))

    async with asyncio.timeout(5):
        for _ in range(3):
            await rounds.acquire()

    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
