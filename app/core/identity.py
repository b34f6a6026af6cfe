"""Identifiers of entries: UUIDv7 (RFC 9562, section 5.7) whose order is the order of arrival.

The 48 bits of milliseconds and the 12 bits of `rand_a`, used as a counter (method 1 of section 6.2), make the 60-bit
sequence number that the journal orders entries by; the 62 bits of `rand_b` are random, so that identifiers from several
journals never meet.
"""

from __future__ import annotations

import re
from typing import Final

_ID_BEGINNING: Final = re.compile(r"[0-9a-f]{4,8}(?:-[0-9a-f]{0,4}){0,3}(?:-[0-9a-f]{0,12})?")
_RANDOM_BITS: Final = 62
_RANDOM_MASK: Final = (1 << _RANDOM_BITS) - 1


class EntryIds:
    """Hands out identifiers that only ever grow, also when the clock goes back or stands still."""

    def __init__(self, last_sequence: int = 0) -> None:
        self._last = last_sequence

    def next(self, unix_milliseconds: int, random: int) -> tuple[int, str]:
        """Return the next sequence number and its UUID; `random` gives the 62 random bits."""
        self._last = max(unix_milliseconds << 12, self._last + 1)
        return self._last, entry_id(self._last, random)


def entry_id(sequence: int, random: int) -> str:
    """Return the UUID of a sequence number; `random` gives the 62 random bits."""
    value = (sequence >> 12) << 80 | 0x7 << 76 | (sequence & 0xFFF) << 64 | 0b10 << 62 | (random & _RANDOM_MASK)
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def random_of(entry_id: str) -> int:
    """Return the 62 random bits of an identifier, which with its sequence number make it again."""
    return int(entry_id[19:].replace("-", ""), 16) & _RANDOM_MASK


def sequence_of(entry_id: str) -> int:
    """Return the sequence number inside an identifier; raises ValueError for what is no UUIDv7."""
    digits = entry_id.replace("-", "")
    value = int(digits, 16)
    if len(digits) != 32 or digits[12] != "7":  # noqa: PLR2004  the layout of RFC 9562
        raise ValueError(f"{entry_id!r} is not the id of an entry")
    return (value >> 80) << 12 | (value >> 64) & 0xFFF


def first_sequence_at(unix_milliseconds: int) -> int:
    """Return the lowest sequence number that an entry of this millisecond can have."""
    return unix_milliseconds << 12


def sequence_range(beginning: str) -> tuple[int, int]:
    """Return the lowest and the highest sequence number of ids that begin so; raises ValueError for what none can."""
    digits = beginning.lower().replace("-", "")
    if not _ID_BEGINNING.fullmatch(beginning.lower()):
        raise ValueError(f"{beginning[:40]!r} cannot be the beginning of an id; take the one in the list")
    bounds = (int(digits.ljust(32, filler), 16) for filler in "0f")
    low, high = ((value >> 80) << 12 | (value >> 64) & 0xFFF for value in bounds)
    return low, high
