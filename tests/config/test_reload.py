from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import structlog

from app.config.model import Config
from app.config.problems import ConfigError
from app.config.reload import WatchedConfig
from app.sinks.base import SinkSetupError

GOOD = "globalConfig: {cluster_name: %s}\n"
HOUR = 3600.0


class Follower:
    """Takes what a watched configuration tells, and lets a test wait for it."""

    def __init__(self, path: Path | None, *, poll_seconds: float = HOUR) -> None:
        self.taken: list[str | None] = []
        self.results: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()
        self.failure: Exception | None = None
        self.watched = WatchedConfig(path, {}, self.take, self.result, poll_seconds=poll_seconds, settle_seconds=0.001)

    async def take(self, config: Config) -> None:
        if self.failure is not None:
            raise self.failure
        self.taken.append(config.global_config.cluster_name)

    def result(self, valid: bool, message: str) -> None:
        self.results.put_nowait((valid, message))

    @property
    def cluster(self) -> str | None:
        return self.watched.current.global_config.cluster_name


@asynccontextmanager
async def following(follower: Follower) -> AsyncIterator[None]:
    task = asyncio.create_task(follower.watched.run())
    for _ in range(5):  # the first steps: the watch begins, and the first poll finds nothing new
        await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(GOOD % "a")
    return file


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


async def test_a_changed_file_takes_effect(path: Path) -> None:
    follower = Follower(path)
    before = follower.watched.loaded_at
    write(path, GOOD % "b")

    await follower.watched.refresh()

    assert follower.cluster == "b"
    assert follower.taken == ["b"]
    assert follower.results.get_nowait() == (True, "")
    assert follower.watched.loaded_at > before
    assert follower.watched.last_error is None


async def test_an_unchanged_file_is_not_taken_again(path: Path) -> None:
    follower = Follower(path)
    write(path, GOOD % "a")

    await follower.watched.refresh()

    assert follower.taken == []
    assert follower.results.empty()


async def test_a_bad_file_is_refused_once_and_the_good_one_stays(path: Path) -> None:
    follower = Follower(path)
    write(path, "globalConfg: {}\n")

    await follower.watched.refresh()
    await follower.watched.refresh()

    assert follower.cluster == "a"
    assert follower.taken == []
    assert follower.results.qsize() == 1
    assert "(did you mean globalConfig?)" in (follower.watched.last_error or "")


async def test_going_back_to_the_good_file_clears_the_error(path: Path) -> None:
    follower = Follower(path)
    write(path, "- bad")
    await follower.watched.refresh()
    write(path, GOOD % "a")

    await follower.watched.refresh()

    assert follower.watched.last_error is None
    assert follower.cluster == "a"


async def test_a_file_that_disappears_is_told_and_the_good_one_stays(path: Path) -> None:
    follower = Follower(path)
    remove(path)

    await follower.watched.refresh()
    await follower.watched.refresh()

    assert follower.cluster == "a"
    assert follower.results.qsize() == 1
    assert "cannot be read" in (follower.watched.last_error or "")

    write(path, GOOD % "a")
    await follower.watched.refresh()

    assert follower.watched.last_error is None


@pytest.mark.parametrize("failure", [SinkSetupError("ca_file is not there"), RuntimeError("a bug")])
async def test_what_cannot_take_effect_is_refused_and_tried_again(path: Path, failure: Exception) -> None:
    follower = Follower(path)
    follower.failure = failure
    write(path, GOOD % "b")
    await follower.watched.refresh()

    assert follower.cluster == "a"
    assert follower.watched.last_error == str(failure)

    follower.failure = None
    await follower.watched.refresh()

    assert follower.cluster == "b"
    assert follower.watched.last_error is None


async def test_a_file_in_the_making_is_waited_for(path: Path) -> None:
    follower = Follower(path)
    write(path, "")
    refreshing = asyncio.create_task(follower.watched.refresh())
    await asyncio.sleep(0)
    write(path, GOOD % "b")

    await refreshing

    assert follower.taken == ["b"]


def test_a_bad_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("recrod: {}")

    with pytest.raises(ConfigError, match="did you mean record"):
        Follower(path)


async def test_without_a_file_there_are_the_defaults() -> None:
    follower = Follower(None)

    async with following(follower):
        await follower.watched.refresh()

    assert follower.watched.current == Config()
    assert follower.taken == []


async def seen(follower: Follower, cluster: str) -> None:
    async with asyncio.timeout(20):
        while follower.cluster != cluster:
            await follower.results.get()


async def test_a_file_written_in_place_is_seen(path: Path) -> None:
    follower = Follower(path)

    async with following(follower):
        write(path, GOOD % "b")
        await seen(follower, "b")


async def test_a_file_that_is_replaced_is_seen(path: Path) -> None:
    follower = Follower(path)

    async with following(follower):
        path.with_name("new").write_text(GOOD % "b")
        path.with_name("new").rename(path)
        await seen(follower, "b")


async def test_the_swap_of_a_mounted_config_map_is_seen(tmp_path: Path) -> None:
    for version, cluster in (("..1", "a"), ("..2", "b")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.yaml").write_text(GOOD % cluster)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    follower = Follower(tmp_path / "config.yaml")

    async with following(follower):
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await seen(follower, "b")


async def test_polling_sees_what_no_event_tells(path: Path) -> None:
    follower = Follower(path, poll_seconds=0.01)

    async with asyncio.TaskGroup() as group:
        polling = group.create_task(follower.watched._poll())
        write(path, GOOD % "b")
        await seen(follower, "b")
        polling.cancel()


async def test_a_folder_that_cannot_be_watched_leaves_the_polling(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "config.yaml"
    write(path, GOOD % "a")
    follower = Follower(path)

    await follower.watched._watch(tmp_path / "absent" / "config.yaml")

    assert follower.cluster == "a"


LATE = "sinksConfig: [{stdout_sink: {name: out, grouping: {interval: 60}}}]\n"


async def test_what_does_less_than_it_seems_is_logged_once_at_the_start_and_at_each_change(path: Path) -> None:
    write(path, LATE)
    with structlog.testing.capture_logs() as logged:
        follower = Follower(path)
        await follower.watched.refresh()
        at_start = [each for each in logged if each["event"] == "config_notes"]
        write(path, LATE + "record: {status: true}\n")
        await follower.watched.refresh()

    assert [each["log_level"] for each in at_start] == ["warning"]
    (note,) = at_start[0]["notes"]
    assert note.startswith("out: a stdout_sink has no threads, so its grouping tells each group in one message")
    assert [each["event"] for each in logged].count("config_notes") == 2


async def test_a_file_without_such_playbooks_has_no_notes(path: Path) -> None:
    with structlog.testing.capture_logs() as logged:
        Follower(path)

    assert logged == []


BROKEN = "sinksConfig: [{stdout_sink: {name: out}}, {webhook_sink: {name: hook, url: '{{ env.HOOK }}'}}]\n"
STRICT = "globalConfig: {continue_on_sink_errors: false}\n"


def left_out(follower: Follower) -> list[str]:
    return [sink.name for sink in follower.watched.left_out]


async def test_a_sink_that_is_left_out_is_said_with_its_place_and_does_not_refuse_the_file(path: Path) -> None:
    follower = Follower(path)
    write(path, BROKEN)
    with structlog.testing.capture_logs() as logged:
        await follower.watched.refresh()

    assert await follower.results.get() == (True, "")
    assert [sink.name for sink in follower.watched.current.sinks] == ["out"]
    assert left_out(follower) == ["hook"]
    (said,) = [each for each in logged if each["event"] == "sink_left_out"]
    assert (said["log_level"], said["sink"]) == ("error", "hook")
    assert said["problems"][0].startswith(f"{path}:1:")
    assert "the environment variable HOOK is not set" in said["problems"][0]


async def test_a_sink_that_is_mended_is_left_out_no_longer(path: Path) -> None:
    write(path, BROKEN)
    follower = Follower(path)
    assert left_out(follower) == ["hook"]

    write(path, BROKEN.replace("{{ env.HOOK }}", "https://example.com"))
    await follower.watched.refresh()

    assert left_out(follower) == []
    assert [sink.name for sink in follower.watched.current.sinks] == ["out", "hook"]


async def test_a_file_that_does_not_go_on_without_its_sinks_is_refused(path: Path) -> None:
    follower = Follower(path)
    write(path, STRICT + BROKEN)
    await follower.watched.refresh()

    taken, message = await follower.results.get()
    assert not taken
    assert "the environment variable HOOK is not set" in message
    assert follower.cluster == "a"
    with pytest.raises(ConfigError, match="HOOK is not set"):
        Follower(path)
