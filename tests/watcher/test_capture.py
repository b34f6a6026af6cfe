"""What Pods of a failing Job leave behind is held from the moment they fail, whatever becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import structlog

from app.core.actions import JobPodEnricher
from app.core.evidence import LOGS_OF_A_POD, NOT_KEPT, Log, PodEvidence
from app.core.finding import FileBlock
from app.core.job_pods import log_blocks
from app.core.redact import Redactor
from app.store.database import connect_reader
from app.store.journal import Journal
from app.watcher.capture import Capture
from app.watcher.holding import Dropped, Holding
from app.watcher.logs import GONE, LogLimits, LogSource
from app.watcher.sightings import Glimpse, Sighting
from tests.builders import KEY
from tests.kube.api_server import Exchange, document, failure, lost, serving
from tests.kube.clients import client
from tests.store.observed import impatient, locked, opened
from tests.watcher.journals import SlowJournal
from tests.watcher.pods import RUNNING, Logs, container, ended, failed, pod, refusal, waiting

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Counted:
    """Remembers what capturing reports."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.reasons: list[str] = []

    def captured(self, result: Literal["read", "failed"]) -> None:
        self.results.append(result)

    def dropped(self, reason: Dropped) -> None:
        self.reasons.append(reason)


class Watcher:
    """A capture at work, and what is around it."""

    def __init__(self, journal: Journal, api: LogSource | None = None) -> None:
        self.open = {"job", "other"}
        self.logs = Logs()
        self.counted = Counted()
        self.capture = Capture(
            api or self.logs,
            journal,
            Redactor(KEY),
            lambda uid: uid in self.open,
            observer=self.counted,
            clock=lambda: NOW,
            pauses=(0, 0),
        )

    async def sees(self, *pods: msgspec.Raw, event: Literal["MODIFIED", "DELETED"] = "MODIFIED") -> None:
        """Show these states one after the other, and wait until each is worked off."""
        for each in pods:
            self.capture.changed(event, each)
            await self.capture.settled("job", 5)

    async def lists(self, *pods: msgspec.Raw) -> None:
        self.capture.begin()
        for each in pods:
            self.capture.listed(each)
        self.capture.end()
        await self.capture.settled("job", 5)

    async def held(self, job: str = "job") -> list[PodEvidence]:
        return list(await self.capture.held(job))

    async def texts(self) -> dict[tuple[str, int], str]:
        """What is held of the logs of the Job's Pods, by container and run."""
        return {(log.container, log.run): log.text or log.note for pod in await self.held() for log in pod.logs}


@asynccontextmanager
async def watching(data_dir: Path, api: LogSource | None = None) -> AsyncIterator[Watcher]:
    async with opened(data_dir) as (journal, _):
        watcher = Watcher(journal, api)
        await watcher.capture.open()
        writing = asyncio.create_task(watcher.capture.run())
        try:
            yield watcher
        finally:
            await watcher.capture.close()
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing


@pytest.fixture
async def watcher(tmp_path: Path) -> AsyncIterator[Watcher]:
    async with watching(tmp_path) as watcher:
        yield watcher


async def test_a_crash_is_held_with_its_status_and_log(watcher: Watcher) -> None:
    watcher.logs.say("starting\npanic\n")

    await watcher.sees(failed())

    [pod] = await watcher.held()
    assert (pod.name, pod.phase, pod.containers[0].ended and pod.containers[0].ended.exit_code) == (
        "crash-1",
        "Failed",
        1,
    )
    assert pod.logs == (Log(container="app", text="starting\npanic\n", whole_run=True),)
    assert watcher.counted.results == ["read"]


async def test_the_end_of_the_log_is_asked_for_with_room_for_long_secrets(watcher: Watcher) -> None:
    await watcher.sees(failed())

    assert watcher.logs.parameters == [
        {"container": "app", "tailLines": 300, "timestamps": "false", "previous": "false"}
    ]
    assert watcher.logs.limits == [(32 + 16) * 1024]


async def test_a_pod_that_is_well_costs_nothing(watcher: Watcher) -> None:
    await watcher.sees(pod(container(RUNNING)), pod(container(waiting("ContainerCreating"))), pod(phase="Pending"))

    assert await watcher.held() == []
    assert watcher.logs.asked == []


async def test_every_run_of_a_container_that_is_restarted_is_held(watcher: Watcher) -> None:
    watcher.logs.say("first\n", "second\n")

    await watcher.sees(
        pod(container(ended(1))),
        pod(container(RUNNING, run=1, last=ended(1))),
        pod(container(ended(2), run=1, last=ended(1))),
        pod(container(waiting("CrashLoopBackOff"), run=1, last=ended(2))),
    )

    assert await watcher.texts() == {("app", 0): "first\n", ("app", 1): "second\n"}


async def test_the_log_of_a_run_that_ended_unseen_is_that_of_the_run_before(watcher: Watcher) -> None:
    watcher.logs.say("of run 1\n")
    watcher.logs.say("of run 0\n", previous=True)

    await watcher.sees(pod(container(RUNNING, run=1, last=ended(137, "OOMKilled"))))

    assert await watcher.texts() == {("app", 0): "of run 0\n", ("app", 1): "of run 1\n"}
    [held] = await watcher.held()
    assert [log.whole_run for log in held.logs] == [True, False]


async def test_a_log_that_was_read_while_its_container_was_started_again_is_not_taken_for_the_wrong_run(
    watcher: Watcher,
) -> None:
    watcher.logs.say("of run 1, maybe\n", "of run 1\n")
    watcher.logs.say("of run 0\n", previous=True)
    watcher.logs.hold()
    watcher.capture.changed("MODIFIED", pod(container(ended(1))))
    await watcher.logs.reading.wait()

    watcher.capture.changed("MODIFIED", pod(container(RUNNING, run=1, last=ended(1))))
    watcher.logs.release()
    await watcher.capture.settled("job", 5)

    assert await watcher.texts() == {("app", 0): "of run 0\n", ("app", 1): "of run 1\n"}


async def test_a_pod_that_is_deleted_while_it_runs_is_read_before_and_after_its_end(watcher: Watcher) -> None:
    watcher.logs.say("working\n", "working\nterminated\n")

    await watcher.sees(pod(container(RUNNING), deleted=True))
    assert await watcher.texts() == {("app", 0): "working\n"}

    await watcher.sees(pod(container(ended(143)), deleted=True, phase="Failed"))
    await watcher.sees(pod(container(ended(143)), deleted=True, phase="Failed"), event="DELETED")

    assert await watcher.texts() == {("app", 0): "working\nterminated\n"}
    assert [pod.gone for pod in await watcher.held()] == [True]


async def test_the_status_is_held_of_a_pod_that_is_deleted_right_after_it_failed(watcher: Watcher) -> None:
    watcher.logs.say(refusal(404, 'pods "crash-1" not found', "NotFound"))

    await watcher.sees(failed())

    [held] = await watcher.held()
    assert held.containers[0].ended is not None
    assert held.logs == (Log(container="app", note=GONE, whole_run=True),)
    assert watcher.counted.results == ["failed"]


async def test_a_pod_of_which_only_the_end_is_seen_is_held_without_asking_for_its_log(watcher: Watcher) -> None:
    await watcher.sees(failed(deleted=True), event="DELETED")

    [held] = await watcher.held()
    assert held.gone
    assert [log.note for log in held.logs] == [GONE]
    assert watcher.logs.asked == []


async def test_init_containers_and_sidecars_are_read_too(watcher: Watcher) -> None:
    await watcher.sees(
        pod(
            container(ended(1)),
            container(RUNNING, name="helper"),
            container(waiting("PodInitializing"), name="later"),
            init=(container(ended(0), name="prepare"), container(RUNNING, name="proxy")),
            sidecars=("proxy",),
        )
    )

    assert set(await watcher.texts()) == {("app", 0), ("helper", 0), ("prepare", 0), ("proxy", 0)}
    assert watcher.logs.asked[0] == ("crash-1", "app", False)
    [held] = await watcher.held()
    assert {each.name: each.role for each in held.containers}["proxy"] == "sidecar"


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CreateContainerConfigError"])
async def test_a_pod_that_cannot_start_is_held_without_a_log(watcher: Watcher, reason: str) -> None:
    await watcher.sees(pod(container(waiting(reason)), phase="Pending"))

    assert [pod.containers[0].reason for pod in await watcher.held()] == [reason]
    assert watcher.logs.asked == []


async def test_a_pod_that_no_node_takes_is_held_with_the_scheduler_s_reason(watcher: Watcher) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}

    await watcher.sees(pod(phase="Pending", conditions=[condition]))

    assert [(pod.reason, pod.message) for pod in await watcher.held()] == [("Unschedulable", "0/3 nodes")]


async def test_a_pod_that_starts_after_all_is_held_as_it_is_now(watcher: Watcher) -> None:
    await watcher.sees(pod(container(waiting("ImagePullBackOff"))), pod(container(RUNNING)))

    assert [pod.containers[0].state for pod in await watcher.held()] == ["running"]


def bytes_in(folder: Path) -> bytes:
    """All bytes of all files, and what they would be if the evidence in them were not deflated."""
    with closing(connect_reader(folder / "journal.db")) as connection:
        bodies = [zlib.decompress(body) for (body,) in connection.execute("SELECT body FROM evidence")]
    assert bodies
    return b"".join([*bodies, *(path.read_bytes() for path in folder.iterdir())])


async def test_no_secret_of_a_log_is_in_the_files(tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "Zm9vYmFyYmF6cXV4\n" * 30 + "-----END PRIVATE KEY-----\n"
    async with watching(tmp_path) as watcher:
        watcher.logs.say("x\n" * 280 + key + "DB_PASSWORD=hunter2-and-more\n" + "y\n" * 90)
        watcher.logs.say("z" * 100_000 + "\npassword=topsecret-and-more\n", of="init")

        await watcher.sees(
            pod(container(ended(), name="app"), init=(container(ended(), name="init"),), message="token=abcdef123456")
        )

        texts = await watcher.texts()
        assert "DB_PASSWORD=redacted:" in texts["app", 0]
        assert "password=redacted:" in texts["init", 0]

    for secret in (b"hunter2", b"topsecret", b"Zm9vYmFy", b"abcdef123456"):
        assert secret not in bytes_in(tmp_path)


async def test_what_the_pod_was_given_as_a_secret_is_found_in_its_log_and_its_messages(tmp_path: Path) -> None:
    password = "correct horse battery"
    async with watching(tmp_path) as watcher:
        watcher.logs.say(f"connecting as import with {password}\nrefused\n")
        told = container({"terminated": {"exitCode": 1, "message": f"refused: {password}"}})

        await watcher.sees(pod(told, phase="Failed", env={"DB_PASSWORD": password, "MODE": "connecting"}))

        texts = await watcher.texts()
    assert re.fullmatch(r"connecting as import with redacted:[0-9a-f]{16}\nrefused\n", texts["app", 0])
    assert password.encode() not in bytes_in(tmp_path)


async def test_what_is_kept_of_a_log_follows_the_configuration(watcher: Watcher) -> None:
    watcher.logs.say("".join(f"line {number} of acme\n" for number in range(50)))
    await watcher.sees(failed("crash-1"))

    watcher.capture.reconfigure(Redactor(b"other" * 8), LogLimits(lines=3))
    watcher.logs.say("password=abc\n" * 9, name="crash-2")
    await watcher.sees(failed("crash-2"))

    first, second = await watcher.held()
    assert first.logs[0].text.count("\n") == 50
    assert (second.logs[0].text.count("\n"), second.logs[0].cut) == (3, True)


async def test_of_a_log_of_10_megabytes_the_end_is_kept(tmp_path: Path) -> None:
    async def log(exchange: Exchange) -> None:
        await exchange.respond(b"a line of some length, with a number\n" * 290_000 + b"the end\n")

    async with serving() as server, client(server, tmp_path) as api, watching(tmp_path / "data", api) as watcher:
        server.answers.append(log)

        await watcher.sees(failed())

        [held] = await watcher.held()
        assert held.logs[0].cut
        assert held.logs[0].text.endswith("number\nthe end\n")
        assert 3_000 < len(held.logs[0].text) <= 32 * 1024
        assert [request.path for request in server.requests] == ["/api/v1/namespaces/shop/pods/crash-1/log"]


async def test_what_the_api_server_answers_becomes_a_note(tmp_path: Path) -> None:
    async with serving() as server, client(server, tmp_path) as api, watching(tmp_path / "data", api) as watcher:
        server.answers.append(failure(404, "NotFound", 'pods "crash-1" not found'))
        server.answers.extend([failure(500, "InternalError", "no route to host"), lost, document({})])
        server.answers.append(failure(403, "Forbidden", "nobody may"))

        for number in (1, 2, 3):
            await watcher.sees(failed(f"crash-{number}"))

        [gone], [read], [forbidden] = [pod.logs for pod in await watcher.held()]
        assert (gone.note, read.text) == (GONE, "{}")
        assert "grant the verb get on pods/log" in forbidden.note


async def test_never_more_than_8_logs_are_read_at_a_time_however_many_pods_fail(watcher: Watcher) -> None:
    watcher.open = {f"job-{number}" for number in range(1000)}
    for number in range(1000):
        watcher.capture.changed("MODIFIED", failed(f"crash-{number}", job=f"job-{number}"))

    for job in watcher.open:
        await watcher.capture.settled(job, 30)

    assert watcher.logs.most_in_flight == 8
    assert len(watcher.logs.asked) == 1000
    assert watcher.counted.reasons == []
    assert [pod.logs[0].text for pod in await watcher.held("job-999")] == ["app of crash-999\n"]


async def test_of_many_pods_of_one_job_only_those_are_read_that_are_held(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.watcher.capture.MOST_AT_ONCE", 11)
    for number in range(100, 150):
        watcher.capture.changed("MODIFIED", failed(f"crash-{number}"))

    await watcher.capture.settled("job", 5)

    names = ["crash-100", *(f"crash-{number}" for number in range(141, 150))]
    assert [pod.name for pod in await watcher.held()] == names
    assert sorted({name for name, _, _ in watcher.logs.asked}) == ["crash-100", "crash-148", "crash-149"]
    assert watcher.counted.reasons == []


async def test_the_logs_that_are_held_are_those_that_are_shown(watcher: Watcher) -> None:
    for number in range(5):
        created = f"2026-01-02T03:04:0{number}Z"
        await watcher.sees(failed(f"crash-{number}", created=created))
    await watcher.sees(pod(container(waiting("ImagePullBackOff")), name="stuck", created="2026-01-02T03:05:00Z"))

    held = await watcher.held()
    shown = [block.name for block in log_blocks(held, JobPodEnricher()) if isinstance(block, FileBlock)]
    assert shown == ["crash-4-app.log", "crash-3-app.log", "crash-0-app.log"]
    assert [pod.name for pod in held if pod.logs] == ["crash-0", "crash-3", "crash-4"]


async def test_a_pod_that_succeeds_leaves_the_view_as_it_was_and_is_not_gone(watcher: Watcher) -> None:
    watcher.logs.say("working\n", "working\ndone\n")
    last_seen = pod(container(RUNNING, run=1, last=ended(1)))
    await watcher.sees(last_seen)

    await watcher.sees(last_seen, event="DELETED")

    [held] = await watcher.held()
    assert (held.phase, held.gone) == ("Succeeded", False)
    assert held.logs[-1] == Log(container="app", run=1, text="working\ndone\n", whole_run=True)

    watcher.capture.seen("job", pod(container(ended(0), run=1, last=ended(1)), phase="Succeeded"))
    await watcher.capture.settled("job", 5)

    [held] = await watcher.held()
    assert (held.phase, held.gone, held.containers[0].state) == ("Succeeded", False, "terminated")
    assert held.logs[-1] == Log(container="app", run=1, text="working\ndone\n", whole_run=True)


async def test_a_pod_that_failed_cannot_leave_the_view_otherwise_than_by_going(watcher: Watcher) -> None:
    await watcher.sees(failed())

    await watcher.sees(failed(), event="DELETED")

    assert [(pod.phase, pod.gone) for pod in await watcher.held()] == [("Failed", True)]


async def test_a_pod_that_succeeded_and_is_deleted_is_gone(watcher: Watcher) -> None:
    await watcher.sees(pod(container(RUNNING, run=1, last=ended(1))))

    await watcher.sees(pod(container(ended(0), run=1), phase="Succeeded", deleted=True), event="DELETED")

    assert [pod.gone for pod in await watcher.held()] == [True]


async def test_a_pod_that_was_taken_for_gone_is_not_when_it_is_seen_before_it_is_told(watcher: Watcher) -> None:
    watcher.logs.say(refusal(500))
    await watcher.sees(failed())
    await watcher.lists()
    assert [pod.gone for pod in await watcher.held()] == [True]

    watcher.logs.say("after all\n")
    watcher.capture.seen("job", failed())
    await watcher.capture.settled("job", 5)

    assert [pod.gone for pod in await watcher.held()] == [False]
    assert await watcher.texts() == {("app", 0): "after all\n"}


@pytest.mark.parametrize("containers", [50, 300])
async def test_the_logs_of_many_containers_are_written_in_few_steps(
    tmp_path: Path, containers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = SlowJournal(tmp_path)
    journal.free.set()
    journal.start()
    watcher = Watcher(journal)
    kept: list[PodEvidence] = []
    keep = Holding.keep

    def noted(holding: Holding, job_uid: str, pod: PodEvidence) -> None:
        kept.append(pod)
        keep(holding, job_uid, pod)

    monkeypatch.setattr(Holding, "keep", noted)
    for number in range(containers):
        watcher.logs.say("x" * 20_000 + "\n", of=f"c{number}")

    await watcher.sees(pod(*(container(ended(), name=f"c{number}") for number in range(containers))))
    [held] = await watcher.held()
    await watcher.capture.close()
    await journal.close(5)

    assert len(kept) <= 2 + containers.bit_length()
    assert len(kept[0].logs) == 0
    assert sum(len(log.text) for log in held.logs) <= LOGS_OF_A_POD
    assert sum(bool(log.text) for log in held.logs) == min(containers, LOGS_OF_A_POD // 20_001 + 1)
    assert {log.note for log in held.logs if not log.text} <= {NOT_KEPT}
    assert len(watcher.logs.asked) == min(containers, LOGS_OF_A_POD // 20_001 + 1)


class Stuck(Logs):
    """A kubelet that never gives the log of the last container."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_last = asyncio.Event()

    async def tail(self, path: str, parameters: Mapping[str, str | int], limit_bytes: int) -> tuple[bytes, bool]:
        if parameters["container"] == "last":
            self.asked_last.set()
            await asyncio.Event().wait()
        return await super().tail(path, parameters, limit_bytes)


async def test_logs_that_were_read_are_held_when_the_capture_stops(tmp_path: Path) -> None:
    names = ("one", "two", "three", "four")
    stuck = Stuck()
    async with watching(tmp_path, stuck) as before:
        before.capture.changed("MODIFIED", pod(*(container(ended(), name=name) for name in (*names, "last"))))
        await stuck.asked_last.wait()

    async with watching(tmp_path) as after:
        assert set(await after.texts()) == {(name, 0) for name in names}


async def test_a_part_of_an_argument_that_is_secret_is_found_in_the_log(watcher: Watcher) -> None:
    watcher.logs.say("cannot use cmdlinesecret2\n")
    document = msgspec.json.decode(failed())
    document["spec"]["containers"][0]["args"] = ["--token=cmdlinesecret2"]
    document["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = "bad cmdlinesecret2"

    await watcher.sees(msgspec.Raw(msgspec.json.encode(document)))

    [held] = await watcher.held()
    assert held.logs[0].text.startswith("cannot use redacted:")
    assert held.containers[0].ended is not None
    assert held.containers[0].ended.message.startswith("bad redacted:")


async def test_a_pod_is_searched_for_secrets_once_and_only_if_it_stays(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []
    sighting = Glimpse.sighting

    def noted(glimpse: Glimpse, job_uid: str, redactor: Redactor) -> Sighting:
        searched.append(glimpse.pod.name)
        return sighting(glimpse, job_uid, redactor)

    monkeypatch.setattr(Glimpse, "sighting", noted)
    watcher.open.clear()
    for number in range(100, 200):
        watcher.capture.changed("MODIFIED", failed(f"crash-{number}"))
    watcher.capture.changed("MODIFIED", pod(container(RUNNING), name="well"))

    watcher.capture.opened("job")

    assert searched == ["crash-100", *(f"crash-{number}" for number in range(191, 200))]


async def test_more_pods_than_can_be_worked_on_are_counted(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.watcher.capture.MOST_AT_ONCE", 2)

    await watcher.lists(failed("crash-1"), failed("crash-2"), failed("crash-3"))

    assert [pod.name for pod in await watcher.held()] == ["crash-1", "crash-2"]
    assert watcher.counted.reasons == ["too_many"]


async def test_after_a_restart_evidence_is_there_and_no_log_is_read_twice(tmp_path: Path) -> None:
    async with watching(tmp_path) as before:
        before.logs.say("the only chance\n")
        await before.sees(failed())

    async with watching(tmp_path) as after:
        await after.lists(failed())

        assert await after.texts() == {("app", 0): "the only chance\n"}
        assert after.logs.asked == []
        assert after.capture.held_jobs() == {"job"}


async def test_a_capture_that_stops_keeps_what_it_has_seen(tmp_path: Path) -> None:
    async with watching(tmp_path) as before:
        before.logs.hold()
        before.capture.changed("MODIFIED", failed())
        await before.logs.reading.wait()

    async with watching(tmp_path) as after:
        await after.lists(failed())

        assert await after.texts() == {("app", 0): "app of crash-1\n"}


async def test_held_pods_that_a_list_does_not_have_are_gone(watcher: Watcher) -> None:
    await watcher.sees(failed("crash-1"), failed("crash-2"))

    await watcher.lists(failed("crash-2"))

    assert {pod.name: pod.gone for pod in await watcher.held()} == {"crash-1": True, "crash-2": False}
    assert await watcher.texts() == {("app", 0): "app of crash-2\n"}


async def test_pods_that_went_while_nobody_watched_are_gone(tmp_path: Path) -> None:
    async with watching(tmp_path) as before:
        await before.sees(failed())

    async with watching(tmp_path) as after:
        await after.lists()

        assert [pod.gone for pod in await after.held()] == [True]
        assert await after.texts() == {("app", 0): "app of crash-1\n"}


async def test_a_job_that_becomes_known_during_a_list_has_no_pod_that_is_gone(watcher: Watcher) -> None:
    watcher.open.clear()
    watcher.capture.begin()
    watcher.capture.listed(failed())

    watcher.open.add("job")
    watcher.capture.opened("job")
    watcher.capture.end()
    await watcher.capture.settled("job", 5)

    assert [pod.gone for pod in await watcher.held()] == [False]
    assert await watcher.texts() == {("app", 0): "app of crash-1\n"}


async def test_a_list_that_was_broken_off_makes_nothing_gone(watcher: Watcher) -> None:
    await watcher.sees(failed("crash-1"))
    watcher.capture.begin()

    await watcher.lists(failed("crash-1"))

    assert [pod.gone for pod in await watcher.held()] == [False]


async def test_what_is_held_of_a_decided_job_is_dropped(watcher: Watcher, tmp_path: Path) -> None:
    await watcher.sees(failed())
    watcher.capture.changed("MODIFIED", failed("crash-2", job="other"))
    await watcher.capture.settled("other", 5)

    watcher.open.remove("job")
    watcher.capture.decided("job")
    await watcher.sees(failed())
    await watcher.capture.close()

    assert await watcher.held() == []
    assert [pod.name for pod in await watcher.held("other")] == ["crash-2"]
    assert watcher.capture.held_jobs() == {"other"}


async def test_a_job_that_is_decided_while_its_logs_are_read_leaves_nothing(watcher: Watcher) -> None:
    watcher.logs.hold()
    watcher.capture.changed("MODIFIED", pod(container(ended()), container(ended(), name="second")))
    await watcher.logs.reading.wait()
    [task] = watcher.capture._tasks.values()

    watcher.capture.decided("job")
    watcher.logs.release()
    await task
    await watcher.capture.close()

    assert await watcher.held() == []
    assert len(watcher.logs.asked) == 1


async def test_a_job_that_is_decided_leaves_nothing_also_if_the_journal_is_slow_to_forget_it(tmp_path: Path) -> None:
    journal = SlowJournal(tmp_path)
    journal.free.set()
    journal.start()
    watcher = Watcher(journal)
    await watcher.sees(failed())
    await watcher.capture.close()
    journal.free.clear()
    watcher.logs.hold()
    watcher.capture.changed("MODIFIED", pod(container(ended(), run=1)))
    await watcher.logs.reading.wait()
    [task] = watcher.capture._tasks.values()

    watcher.capture.decided("job")
    watcher.logs.release()
    await task
    journal.free.set()
    await watcher.capture.close()

    assert await watcher.held() == []
    await journal.close(5)


async def test_a_job_that_is_decided_while_its_pod_is_looked_up_leaves_nothing(watcher: Watcher) -> None:
    watcher.capture.changed("MODIFIED", failed())
    [task] = watcher.capture._tasks.values()
    await asyncio.sleep(0)  # the task has begun

    watcher.capture.decided("job")
    await task
    await watcher.capture.close()

    assert await watcher.held() == []


async def test_a_pod_that_waits_for_its_job_is_forgotten_when_the_job_is_decided(watcher: Watcher) -> None:
    watcher.open.clear()
    await watcher.sees(failed())

    watcher.capture.decided("job")
    watcher.open.add("job")
    watcher.capture.opened("job")
    await watcher.capture.settled("job", 5)

    assert await watcher.held() == []


async def test_a_state_that_is_seen_again_is_not_written_again(tmp_path: Path) -> None:
    journal = SlowJournal(tmp_path)
    journal.free.set()
    journal.start()
    watcher = Watcher(journal)
    await watcher.sees(failed())
    await watcher.capture.close()
    before = journal.calls

    await watcher.sees(failed(), failed())
    await watcher.lists(failed())
    await watcher.capture.close()

    assert journal.calls == before > 0
    await journal.close(5)


async def test_of_states_that_follow_fast_none_is_forgotten(watcher: Watcher) -> None:
    watcher.capture.changed("MODIFIED", pod(container(ended(3))))
    watcher.capture.changed("MODIFIED", pod(container(RUNNING, run=1)))
    await watcher.capture.settled("job", 5)

    [held] = await watcher.held()
    assert held.containers[0].ended_before is not None
    assert held.containers[0].ended_before.exit_code == 3
    assert set(await watcher.texts()) == {("app", 0), ("app", 1)}


async def test_a_pod_that_is_seen_before_its_job_is_taken_when_the_job_is(watcher: Watcher) -> None:
    watcher.open.clear()
    await watcher.sees(pod(container(RUNNING)), failed())
    assert watcher.logs.asked == []

    watcher.open.add("job")
    watcher.capture.opened("job")
    await watcher.capture.settled("job", 5)

    assert await watcher.texts() == {("app", 0): "app of crash-1\n"}


async def test_a_pod_that_went_before_its_job_was_seen_is_held_as_gone(watcher: Watcher) -> None:
    watcher.open.clear()
    await watcher.sees(failed())
    await watcher.sees(failed(deleted=True), event="DELETED")

    watcher.open.add("job")
    watcher.capture.opened("job")
    await watcher.capture.settled("job", 5)

    assert [pod.gone for pod in await watcher.held()] == [True]
    assert await watcher.texts() == {("app", 0): GONE}


async def test_what_is_wanting_of_a_failed_job_is_read_before_it_is_told(watcher: Watcher) -> None:
    watcher.logs.say(refusal(500), refusal(500), refusal(500), "after all\n")
    await watcher.sees(failed())
    watcher.open.clear()

    watcher.capture.seen("job", failed())
    await watcher.capture.settled("job", 5)

    assert await watcher.texts() == {("app", 0): "after all\n"}


async def test_pods_of_others_and_what_is_no_pod_are_passed_over(watcher: Watcher) -> None:
    foreign = failed()
    decoded = msgspec.json.decode(foreign)
    decoded["metadata"]["ownerReferences"][0]["kind"] = "ReplicaSet"
    nonsense: list[Any] = [{}, [], None, {"metadata": {"uid": "x", "ownerReferences": None}}]
    for item in (decoded, *nonsense):
        await watcher.sees(msgspec.Raw(msgspec.json.encode(item)))
    await watcher.sees(msgspec.Raw(bytes(foreign).replace(b"busybox", b"\xff")))

    assert await watcher.held() == []


PLAIN_NOTES = [
    (refusal(400, 'container "app" in pod "crash-1" is waiting to start'), "The container had not started"),
    (refusal(400, 'previous terminated container "app" not found'), "no longer kept on the node"),
    (refusal(403, "forbidden"), "grant the verb get on pods/log in the namespace shop"),
    (refusal(500, "dial tcp 10.0.0.7:10250: connect: connection refused"), "could not be read: GET .* refused"),
    (refusal(0, "connection\nlost\n"), "connection lost$"),
    (refusal(502, "Authorization: Bearer abcdef123456"), "Authorization: redacted:"),
]


@pytest.mark.parametrize(("error", "note"), PLAIN_NOTES, ids=lambda each: str(each)[-30:])
async def test_a_log_that_cannot_be_read_leaves_a_note_that_says_why(watcher: Watcher, error: Any, note: str) -> None:
    watcher.logs.say(error)

    await watcher.sees(failed())

    [held] = await watcher.held()
    assert held.logs[0].text == ""
    assert re.search(note, held.logs[0].note)
    assert "abcdef123456" not in held.logs[0].note


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (503, 3), (0, 3), (404, 1), (403, 1), (400, 1)])
async def test_what_may_pass_is_tried_three_times(watcher: Watcher, status: int, tries: int) -> None:
    watcher.logs.say(refusal(status))

    await watcher.sees(failed())

    assert len(watcher.logs.asked) == tries


async def test_a_kubelet_that_answers_again_costs_nothing(watcher: Watcher) -> None:
    watcher.logs.say(refusal(500), refusal(0), "here it is\n")

    await watcher.sees(failed())

    assert await watcher.texts() == {("app", 0): "here it is\n"}
    assert watcher.counted.results == ["read"]


async def test_the_log_of_a_pod_that_is_gone_is_not_tried_again(watcher: Watcher) -> None:
    watcher.logs.say(refusal(500))
    watcher.logs.hold()
    watcher.capture.changed("MODIFIED", failed())
    await watcher.logs.reading.wait()

    watcher.capture.changed("DELETED", failed(deleted=True))
    watcher.logs.release()
    await watcher.capture.settled("job", 5)

    assert len(watcher.logs.asked) == 1


async def test_a_kubelet_that_does_not_answer_is_given_up(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.watcher.logs.ANSWER_SECONDS", 0.01)
    watcher.logs.hold()

    await watcher.sees(failed())

    assert await watcher.texts() == {("app", 0): "The log could not be read: no answer within 0.01 s"}


async def test_nobody_waits_longer_than_they_want_for_logs(watcher: Watcher) -> None:
    watcher.logs.hold()
    watcher.capture.changed("MODIFIED", failed())

    await watcher.capture.settled("job", 0.01)

    assert [pod.name for pod in await watcher.held()] == ["crash-1"]
    assert await watcher.texts() == {}


async def test_while_the_disk_refuses_evidence_is_told_from_memory_and_written_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, observer):
        await impatient(journal)
        watcher = Watcher(journal)
        await watcher.capture.open()
        await watcher.sees(failed("crash-1"))
        await watcher.capture.close()
        with locked(journal.path):
            writing = asyncio.create_task(watcher.capture.run())
            await watcher.sees(failed("crash-2"))
            await observer.failure()

            assert [pod.logs[0].text for pod in await watcher.held()] == ["app of crash-1\n", "app of crash-2\n"]
        await watcher.capture.close()
        writing.cancel()

    async with watching(tmp_path) as after:
        assert [pod.name for pod in await after.held()] == ["crash-1", "crash-2"]


async def test_one_pod_s_fault_keeps_no_other_from_being_captured(watcher: Watcher) -> None:
    watcher.logs.answers["crash-1", "app", False] = []  # the far side breaks in a way that nobody thought of

    with structlog.testing.capture_logs() as logged:
        await watcher.sees(failed("crash-1"), failed("crash-2"))

    assert [each["event"] for each in logged] == ["capture failed"]
    assert [len(pod.logs) for pod in await watcher.held()] == [0, 1]
