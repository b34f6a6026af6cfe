"""The ledger that a request reads: opened for who asks, in the thread that answers, and closed after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from app.core.viewer import ANYBODY, Viewer
from app.store.ledger import Ledger
from app.store.reading import Reader


class Ledgers:
    """Opens the ledger of this process."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal

    def open(self, viewer: Viewer) -> Reader:
        """Return the ledger as far as somebody may see it; the caller closes it. Raises StoreError."""
        return Ledger(self.journal, viewer.namespaces)


def ledgers_of(request: Request) -> Ledgers:
    """Return what opens the ledger of the console that is asked."""
    found: Ledgers = request.app.state.ledgers
    return found


def viewer_of(request: Request) -> Viewer:
    """Return who asks, as the guard of the console has found out."""
    found: Viewer = request.scope.get("state", {}).get("viewer", ANYBODY)
    return found


def opened(request: Request) -> Iterator[Reader]:
    """Yield the ledger for the time of a request."""
    with closing(ledgers_of(request).open(viewer_of(request))) as ledger:
        yield ledger


OpenedLedger = Annotated[Reader, Depends(opened)]
