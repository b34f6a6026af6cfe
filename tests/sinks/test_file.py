from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.sinks.base import TemporaryError
from app.sinks.file import FileConfig, FileSink
from tests.sinks import samples

SECRETS: tuple[str, ...] = ()


def options(folder: Path) -> dict[str, Any]:
    return {"file_name": folder / "changes.jsonl"}


class Stand:
    """A file that is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sink = file_sink(path)

    @property
    def arrived(self) -> list[str]:
        return self.path.read_text().splitlines()


@contextlib.asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[Stand]:
    own = Stand(folder / "changes.jsonl")
    async with contextlib.aclosing(own.sink):
        yield own


def file_sink(path: Path, **more: Any) -> FileSink:
    return FileSink(FileConfig(name="f", file_name=path, **more))


def titles(path: Path) -> list[str]:
    return [msgspec.json.decode(line)["finding"]["title"] for line in path.read_bytes().splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def send(sink: FileSink, *names: str) -> None:
    for name in names:
        await sink.send(samples.notification(title=name))


def earlier_line(title: str) -> bytes:
    return msgspec.json.encode({"finding": {"title": title}}) + b"\n"


async def test_each_notification_is_a_line_of_json_after_the_others(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    path.write_bytes(earlier_line("old"))

    await send(file_sink(path), "one", "two")

    assert titles(path) == ["old", "one", "two"]
    assert msgspec.json.decode(path.read_bytes().splitlines()[1]).keys() == {"delivery_id", "finding", "entry"}


async def test_folders_are_made_and_only_the_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "changes.jsonl"

    await send(file_sink(path), "one")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_the_line_is_synchronised_before_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronised: list[tuple[bool, int]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        synchronised.append((stat.S_ISREG(status.st_mode), status.st_size))

    monkeypatch.setattr(os, "fsync", watched)
    path = tmp_path / "changes.jsonl"
    await send(file_sink(path), "one")

    assert synchronised[0] == (True, path.stat().st_size)
    assert [is_file for is_file, _ in synchronised] == [True, False], "the folder of a new file is synchronised too"


async def test_it_rotates_before_it_grows_too_large_and_keeps_some(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"

    await send(file_sink(path, max_bytes=10, backups=2), "1", "2", "3", "4")

    assert titles(path) == ["4"]
    assert titles(tmp_path / "changes.jsonl.1") == ["3"]
    assert titles(tmp_path / "changes.jsonl.2") == ["2"]
    assert names(tmp_path) == ["changes.jsonl", "changes.jsonl.1", "changes.jsonl.2"]


async def test_a_line_that_is_larger_than_the_limit_needs_no_empty_backup(tmp_path: Path) -> None:
    await send(file_sink(tmp_path / "changes.jsonl", max_bytes=1), "1")

    assert names(tmp_path) == ["changes.jsonl"]


async def test_it_fills_a_file_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    await send(file_sink(path), "1")
    size = path.stat().st_size

    await send(file_sink(path, max_bytes=2 * size), "2", "3")

    assert titles(tmp_path / "changes.jsonl.1") == ["1", "2"]
    assert titles(path) == ["3"]


async def test_it_reopens_after_somebody_else_rotated(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    sink = file_sink(path)
    await send(sink, "one")

    path.rename(tmp_path / "moved")
    await send(sink, "two")

    assert titles(tmp_path / "moved") == ["one"]
    assert titles(path) == ["two"]


async def test_another_process_may_rotate_while_it_waits_for_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "changes.jsonl"
    waiting = threading.Event()
    flock = fcntl.flock

    def announced(descriptor: int, operation: int) -> None:
        waiting.set()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", announced)
    with path.open("xb") as held:
        flock(held, fcntl.LOCK_EX)
        sending = asyncio.create_task(send(file_sink(path), "one"))
        assert await asyncio.to_thread(waiting.wait, 5)
        path.rename(tmp_path / "moved")
    await sending

    assert titles(tmp_path / "moved") == []
    assert titles(path) == ["one"]


async def test_a_line_that_was_torn_by_a_crash_swallows_no_other(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    path.write_bytes(b'{"finding": {"ti')

    await send(file_sink(path), "one")

    assert path.read_bytes().startswith(b'{"finding": {"ti\n{"delivery_id"')


async def test_a_full_disk_is_temporary_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "changes.jsonl"
    sink = file_sink(path)
    await send(sink, "one")
    before = path.read_bytes()
    write = os.write

    def full_after_ten_bytes(descriptor: int, data: Any) -> int:
        if len(os.pread(descriptor, 10_000, len(before))) >= 10:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_after_ten_bytes)
        with pytest.raises(TemporaryError, match=r"changes\.jsonl: No space left on device"):
            await send(sink, "two")

    assert path.read_bytes() == before
    await send(sink, "two")
    assert titles(path) == ["one", "two"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_device_that_is_full_is_temporary() -> None:
    with pytest.raises(TemporaryError, match="/dev/full: No space left on device"):
        await send(file_sink(Path("/dev/full")), "one")


async def test_a_folder_in_the_place_of_the_file_is_temporary(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="Is a directory"):
        await send(file_sink(tmp_path), "one")


async def test_without_a_name_it_writes_to_the_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    await send(FileSink(FileConfig(name="f")), "one")

    assert '"title":"one"' in capfd.readouterr().out


async def test_a_pipe_needs_no_rotation(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    await send(file_sink(pipe, max_bytes=1), "one", "two")

    assert os.read(reader, 65536).count(b"\n") == 2
    os.close(reader)


async def test_two_sinks_can_share_and_rotate_one_file(tmp_path: Path) -> None:
    path = tmp_path / "changes.jsonl"
    sinks = [file_sink(path, max_bytes=2000, backups=1000) for _ in range(2)]

    await asyncio.gather(*(send(sink, *(f"{number}-{n}" for n in range(20))) for number, sink in enumerate(sinks)))

    written = [title for name in names(tmp_path) for title in titles(tmp_path / name)]
    assert sorted(written) == sorted(f"{number}-{n}" for number in range(2) for n in range(20))
