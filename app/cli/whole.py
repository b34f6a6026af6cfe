"""Files that are whole or not there, and ledgers of which nothing is missing."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.cli.source import Elsewhere
from app.remote.ledger import RemoteLedger
from app.remote.transport import RemoteError
from app.store.reading import Reader


@contextmanager
def written(path: Path | None) -> Iterator[BinaryIO]:
    """Yield what to write to: standard output, or what takes the place of the file at a path once all is written.

    Only its owner may read the file.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():  # a device or a pipe, whose place nothing else may take
        with path.open("wb") as file:
            yield file
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def replicas(ledger: Reader) -> Sequence[Reader]:
    """Return the ledgers of the replicas that a console shows as one; the ledger itself where it is of one."""
    if not isinstance(ledger, RemoteLedger):
        return [ledger]
    return [ledger.of_replica(name) for name in ledger.replicas()] or [ledger]


def require_all(ledger: Reader) -> None:
    """Raise RemoteError that names a replica which does not answer: what it has recorded would be missing.

    So does one that answers again, but was not in something that was read already.
    """
    if isinstance(ledger, Elsewhere) and ledger.missing:
        raise RemoteError(f"what a replica has recorded would be missing: {ledger.missing}")
    if isinstance(ledger, RemoteLedger):
        for name in ledger.replicas():
            try:
                ledger.of_replica(name).newest()
            except RemoteError as error:
                raise RemoteError(f"what the replica {name} has recorded would be missing: {error}") from error
