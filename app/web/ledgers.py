"""The ledger that a request reads: opened for who asks, in the thread that answers, and closed after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

from fastapi import Depends, HTTPException, Query, Request

from app.core.nearest import nearest
from app.core.viewer import Viewer
from app.remote import headers
from app.remote.merged import MergedLedger
from app.remote.peers import Peer, Peers
from app.store.ledger import Ledger
from app.store.reading import Reader

Replica = Annotated[
    str, Query(max_length=253, description="Read only what this replica has recorded; without it, what all have.")
]


class UnknownReplicaError(ValueError):
    """There is no such replica; the message names those that there are."""


class Ledgers:
    """Opens the ledger of this process, and with it those of the other replicas."""

    def __init__(self, journal: Path, peers: Peers | None = None) -> None:
        self.journal = journal
        self._peers = peers

    @property
    def instance(self) -> str:
        """What other replicas know this process by; empty where there are none."""
        return self._peers.instance if self._peers is not None else ""

    @property
    def replicas(self) -> Sequence[str]:
        """The names of all replicas, first that of this process; none where it is the only one."""
        peers = self._peers
        return [peers.name, *(each.name for each in peers.others)] if peers is not None and peers.others else []

    def open(self, viewer: Viewer, *, replica: str = "", is_local: bool = False) -> Reader:
        """Return the ledger as far as somebody may see it; the caller closes it. Raises StoreError.

        `replica` leaves it at what one has recorded, `is_local` at what this process has; raises UnknownReplicaError.
        """
        peer = self.peer(replica)
        if peer is not None:
            return peer.ledger(viewer.namespaces)
        own = Ledger(self.journal, viewer.namespaces)
        if self._peers is None or is_local or replica:
            return own
        return self._peers.merged(own, viewer.namespaces)

    def peer(self, replica: str) -> Peer | None:
        """Return another replica by its name, None where this process is meant; raises UnknownReplicaError."""
        names = self.replicas
        if not replica or replica in names[:1]:
            return None
        for each in self._peers.others if self._peers is not None else ():
            if each.name == replica:
                return each
        near = nearest(replica, names)
        known = (
            f"did you mean {near}?" if near else f"there are {', '.join(names)}" if names else "this is the only one"
        )
        raise UnknownReplicaError(f"there is no replica {replica[:40]!r}: {known}")


def ledgers_of(request: Request) -> Ledgers:
    """Return what opens the ledger of the console that is asked."""
    found: Ledgers = request.app.state.ledgers
    return found


def viewer_of(request: Request) -> Viewer:
    """Return who asks, as the guard of the console has found out; raises HTTPException 401 where there was none."""
    found: Viewer | None = request.scope.get("state", {}).get("viewer")
    if found is None:
        raise HTTPException(401, "Nobody has found out who asks.")
    return found


def is_local(request: Request) -> bool:
    """Say whether a request asks for what this process has recorded alone, as other replicas do."""
    return headers.LOCAL in request.headers


def missing_of(ledger: Reader | None) -> Mapping[str, str]:
    """Return which replicas did not answer, and why, as far as a ledger was read."""
    return ledger.missing if isinstance(ledger, MergedLedger) else {}


def opened_at(request: Request, replica: str) -> Reader:
    """Open the ledger for whoever asks; raises HTTPException 400 for a replica that there is not."""
    try:
        return ledgers_of(request).open(viewer_of(request), replica=replica, is_local=is_local(request))
    except UnknownReplicaError as error:
        raise HTTPException(400, str(error)) from None


def opened(request: Request, replica: Replica = "") -> Iterator[Reader]:
    """Yield the ledger for the time of a request; raises HTTPException 400 for a replica that there is not."""
    with closing(opened_at(request, replica)) as ledger:
        request.state.ledger = ledger
        yield ledger


def opened_whole(request: Request) -> Iterator[Reader]:
    """Yield the ledger of all replicas for the time of a request, whatever it says of one of them."""
    yield from opened(request)


OpenedLedger = Annotated[Reader, Depends(opened)]
WholeLedger = Annotated[Reader, Depends(opened_whole)]
