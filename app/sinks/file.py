"""File sink: appends each notification to one file as a line of JSON, on the disk before it counts as delivered."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field
from typing_extensions import override

from app.core.finding import Notification
from app.sinks._document import line
from app.sinks._thread import OwnThread
from app.sinks.base import Rendering, Sink, SinkConfig, TemporaryError

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700


class FileConfig(SinkConfig):
    """Options of the file sink."""

    keeps_records: ClassVar[bool] = True

    file_name: Annotated[Path, Field(description="File to append to; its folders are made.")] = Path("/dev/stdout")
    max_bytes: Annotated[
        int | None, Field(ge=1, description="Rotates before the file grows beyond this; null never does.")
    ] = None
    backups: Annotated[
        int, Field(ge=1, le=1000, description="Rotated files to keep, as NAME.1 (newest) and so on.")
    ] = 5


class FileSink(Sink[FileConfig]):
    """Writes JSON lines, readable by the owner alone. Several processes may append to the same file.

    The file is opened for every line, so that whoever renames or removes it (logrotate) need not tell. What the disk
    refuses is temporary, and leaves no half line behind.
    """

    Config = FileConfig

    def __init__(self, config: FileConfig) -> None:
        super().__init__(config)
        self._thread = OwnThread(f"sink-{config.name}")

    @override
    def render(self, notification: Notification) -> Rendering:
        return line(notification).decode()

    @override
    async def send(self, notification: Notification) -> None:
        data = line(notification)
        try:
            await self._thread.run(lambda: self._append(data))
        except OSError as error:
            raise TemporaryError(f"{self.config.file_name}: {error.strerror or error}") from error

    @override
    async def aclose(self) -> None:
        self._thread.close()

    def _append(self, data: bytes) -> None:
        path = self.config.file_name
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        with _locked(path) as descriptor:
            if not self._is_full(descriptor, len(data)):
                return _write(descriptor, path, data)
            rotate(path, self.config.backups)
        with _locked(path) as descriptor:
            return _write(descriptor, path, data)

    def _is_full(self, descriptor: int, more: int) -> bool:
        status = os.fstat(descriptor)
        size, limit = status.st_size, self.config.max_bytes
        return limit is not None and stat.S_ISREG(status.st_mode) and size > 0 and size + more > limit


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open the file for appending, alone among the processes that do the same."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Say whether the path still names the open file: another process may have rotated while we waited."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor)) or not _is_regular(descriptor)
    except FileNotFoundError:
        return False


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _write(descriptor: int, path: Path, data: bytes) -> None:
    if not _is_regular(descriptor):
        return _write_all(descriptor, data)
    size = os.fstat(descriptor).st_size
    # A process that was killed may have left half a line; it must not swallow this one.
    torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    try:
        _write_all(descriptor, b"\n" + data if torn else data)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
    if size == 0:
        _sync_folder(path.parent)
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    """Make a new name durable too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rotate(path: Path, backups: int) -> None:
    """Rename NAME to NAME.1, NAME.1 to NAME.2 and so on; the one beyond `backups` is overwritten."""
    names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, backups + 1))]
    for older, newer in reversed(list(zip(names[1:], names[:-1], strict=True))):
        with contextlib.suppress(FileNotFoundError):
            newer.replace(older)
