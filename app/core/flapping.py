"""Flapping: the same fields of an object changed back and forth."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from app.core.recent import Recent
from app.core.sighting import Sighting, fingerprint

_MOST: Final = 65_536
"""Changes that are remembered in all: some 15 MB."""

_LONGEST_HISTORY: Final = 16
_LEAST_HOLD: Final = 2_000
"""Milliseconds before its end in which a hold takes nothing in: what comes then might be written too late for it."""


class Flapping(BaseModel):
    """When changes that bring the same fields back to a value that they had are told together."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    after: Annotated[
        int, Field(ge=1, lt=_LONGEST_HISTORY, description="How many changes of the same fields are told at once.")
    ] = 2
    window_seconds: Annotated[int, Field(ge=1, le=86_400, description="How long a change counts.")] = 600
    hold_seconds: Annotated[
        int,
        Field(ge=3, le=86_400, description="For how long further ones are gathered, to be told as one with a count."),
    ] = 60


class Hold(NamedTuple):
    """Until when a change is held, in milliseconds, and what stands for the changes that it is held with."""

    until: int
    key: bytes


class _Change(NamedTuple):
    """When, from which state, to which, by whom."""

    at: int
    old: bytes
    new: bytes
    who: bytes


class _Fields(NamedTuple):
    """The last changes of the same fields, the end of the last hold, and how many messages it is to be so far."""

    history: tuple[_Change, ...] = ()
    until: int = 0
    part: int = 0


class Flaps:
    """Remembers which states the fields of objects had. Bounded in number of changes; it keeps no values."""

    def __init__(self) -> None:
        self._fields: Recent[bytes, _Fields] = Recent(_MOST)

    def clear(self) -> None:
        """Forget all."""
        self._fields.clear()

    def hold(self, seen: Sighting, options: Flapping) -> Hold | None:
        """Return until when to hold a change that is about to be told, None where it is to be told at once.

        While changes of the fields are held, further ones are, whatever they bring: what is told last is the newest.
        Of what is told as one only the last change is shown, so a new value, and the first change by somebody new, is
        held by itself: nobody hides a change among those of others.
        """
        if seen.change.operation != "UPDATE" or not seen.paths or not (seen.uid or seen.place):
            return None
        key = fingerprint([seen.uid or seen.place.hex(), seen.paths])
        known = self._fields.get(key) or _Fields()
        recent = [each for each in known.history if seen.at - each.at < options.window_seconds * 1000]
        change = _Change(seen.at, *seen.states, fingerprint(seen.change.user.username))
        is_back = any(change.new in (each.old, each.new) for each in recent)
        is_news = not is_back or all(change.who != each.who for each in recent)
        flaps = is_back and len(recent) >= options.after
        until = _until(known.until, seen.at, options.hold_seconds * 1000, flaps=flaps)
        part = known.part + is_news
        history = (*recent[1 - _LONGEST_HISTORY :], change)
        self._fields.put(key, _Fields(history, until, part + is_news), len(history))
        return Hold(until, fingerprint([key.hex(), part])) if until > seen.at else None


def _until(until: int, at: int, hold: int, *, flaps: bool) -> int:
    """Return the end of the hold that runs, or of a new one where the change flaps; else one that is past."""
    if _LEAST_HOLD <= until - at <= hold:
        return until
    return at + hold if flaps or until > at else 0
