"""What nobody was told although somebody should have been: deliveries that were given up, by sink."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from app.store.reading import Reader

_AT_ONCE: Final = 500
_MOST: Final = 20_000
"""Deliveries that are counted: of more than that the newest."""


class DeadLetters(msgspec.Struct, kw_only=True):
    """How many deliveries to a sink are dead, and when the oldest of them was made (RFC 3339), and
    why a late one failed.
    """

    sink: str
    total: int = 0
    oldest: str = ""
    last_error: str = ""


class Dead(msgspec.Struct, frozen=True):
    """The dead deliveries by sink, most first; `is_all` is False where only the newest were counted."""

    sinks: list[DeadLetters]
    is_all: bool = True


def dead_letters(ledgers: Iterable[Reader]) -> Dead:
    """Count the deliveries that are dead now, of each of the replicas."""
    found, is_all = dict[str, DeadLetters](), True
    for ledger in ledgers:
        is_all = _add(ledger, found) and is_all
    return Dead(sorted(found.values(), key=lambda each: (-each.total, each.sink)), is_all)


def _add(ledger: Reader, found: dict[str, DeadLetters]) -> bool:
    """Add those of a replica; say whether these are all."""
    number, before = 0, None
    while number < _MOST:
        page = ledger.deliveries(state="dead", before=before, limit=_AT_ONCE)
        for each in page:
            of_sink = found.setdefault(each.sink, DeadLetters(sink=each.sink, last_error=each.last_error))
            of_sink.total += 1
            of_sink.oldest = min(of_sink.oldest or each.created_at, each.created_at)
        number += len(page)
        if len(page) < _AT_ONCE:
            return True
        before = page[-1].id
    return False
