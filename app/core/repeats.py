"""Repeats: reviews of a change that was reviewed before, because the first attempt at it was not stored.

The API server validates a change again whenever its write meets one that came in between, was made to an old copy of
its cache, or was too large with its managed fields; a deletion is validated when it begins and when it ends (apiserver,
pkg/registry/generic/registry/store.go: `Update`, `Delete`; endpoints/handlers/create.go). Each of these reviews has a
uid of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from app.core.recent import Recent
from app.core.sighting import Sighting

LONGEST_REQUEST: Final = 40_000
"""Milliseconds in which a repeat comes: the API server gives up a write after 34 s (endpoints/handlers/rest.go)."""

UNPROVEN: Final = 10_000
"""Milliseconds in which an equal change counts as a repeat where nothing else shows that the first was not stored."""

LONGEST_DELETION: Final = 3_600_000
"""Milliseconds in which the end of a deletion is told apart from a new one."""

_ATTEMPTS: Final = 64
_PATHS: Final = 32
_MOST: Final = 16_384
_UNIT: Final = 512
"""What is remembered of an object, and in all: an attempt weighs one, and one for so many characters of paths."""

_VERSION: Final = 32
"""Characters of a resource version, a number of 64 bits, that is believed to be one."""

Told = frozenset[tuple[str, str]]
"""Playbooks with the sinks that their findings were routed to."""


class Attempt(NamedTuple):
    """A change that somebody was to be told of. `others` counts the generations that others may have made since.

    Without `paths`, there were too many: then it may be about any field.
    """

    entry: str
    told: Told
    at: int
    content: bytes = b""
    generation: int = 0
    is_counted: bool = False
    version: str = ""
    paths: tuple[str, ...] = ()
    others: int = 0


class Repeats:
    """Remembers the last changes of each object, to know one that comes again. Bounded in number and bytes."""

    def __init__(self) -> None:
        self._updates: Recent[str | bytes, tuple[Attempt, ...]] = Recent(_MOST)
        self._created: Recent[bytes, Attempt] = Recent(_MOST)
        self._deleted: Recent[str, Attempt] = Recent(_MOST)

    def clear(self) -> None:
        """Forget all."""
        for memory in (self._updates, self._created, self._deleted):
            memory.clear()

    def first(self, seen: Sighting) -> Attempt | None:
        """Return the attempt that the change repeats; of all others, take note that it came."""
        match seen.change.operation:
            case "UPDATE":
                return self._first_update(seen)
            case "CREATE":
                return self._first_create(seen)
            case "DELETE":
                return self._first_delete(seen)
        return None

    def notice(self, seen: Sighting) -> None:
        """Take note of a change that nobody is told of: attempts before it at the same fields are over."""
        operation = seen.change.operation
        if operation == "UPDATE" and self._updates:
            self._note(seen, _key(seen))
        elif operation == "DELETE" and self._created:
            self._created.drop(seen.place)

    def remember(self, seen: Sighting, entry: str, told: Told) -> None:
        """Remember a change that repeats none."""
        match seen.change.operation:
            case "UPDATE" if key := _key(seen):
                attempts = (*(self._updates.get(key) or ())[1 - _ATTEMPTS :], _attempt(seen, entry, told))
                self._keep(key, attempts)
            case "CREATE" if seen.place:
                self._created.put(seen.place, Attempt(entry, told, seen.at, seen.content))
            case "DELETE" if seen.uid:
                self._deleted.put(seen.uid, Attempt(entry, told, seen.at, seen.content))

    def _first_update(self, seen: Sighting) -> Attempt | None:
        key = _key(seen)
        for attempt in self._updates.get(key) or ():
            if attempt.content == seen.content and _was_not_stored(attempt, seen):
                self._note(seen, key, attempt)
                return attempt
        self._note(seen, key)
        return None

    def _first_create(self, seen: Sighting) -> Attempt | None:
        found = self._created.get(seen.place)
        is_repeat = found is not None and found.content == seen.content and _age(found, seen) <= LONGEST_REQUEST
        return found if is_repeat else None

    def _first_delete(self, seen: Sighting) -> Attempt | None:
        self._created.drop(seen.place)
        found = self._deleted.get(seen.uid)
        if found is None:
            return None
        if seen.is_deleting:
            return found if _age(found, seen) <= LONGEST_DELETION else None
        # Somebody else's deletion is another one: the first may have been refused after its review.
        is_repeat = found.content == seen.content and _age(found, seen) <= LONGEST_REQUEST
        return found if is_repeat else None

    def _note(self, seen: Sighting, key: str | bytes, repeated: Attempt | None = None) -> None:
        """Take note that a change of the object came, and that attempts at the same fields are over but for one."""
        attempts = self._updates.get(key)
        if attempts:
            self._keep(key, tuple(_left(attempts, seen, repeated)))

    def _keep(self, key: str | bytes, attempts: tuple[Attempt, ...]) -> None:
        if attempts:
            characters = sum(len(path) for attempt in attempts for path in attempt.paths)
            self._updates.put(key, attempts, len(attempts) + characters // _UNIT)
        else:
            self._updates.drop(key)


def _key(seen: Sighting) -> str | bytes:
    return seen.uid or seen.place


def _age(attempt: Attempt, seen: Sighting) -> int:
    """Return how long ago the attempt was; where the clock was set back, by how much at least."""
    return abs(seen.at - attempt.at)


def _attempt(seen: Sighting, entry: str, told: Told) -> Attempt:
    return Attempt(
        entry,
        told,
        seen.at,
        seen.content,
        seen.generation,
        seen.is_counted,
        seen.version if len(seen.version) <= _VERSION else "",
        tuple(seen.paths) if len(seen.paths) <= _PATHS else (),
    )


def _was_not_stored(attempt: Attempt, seen: Sighting) -> bool:
    """Say whether an equal change shows that the attempt was not stored: else its old value would not be there.

    Had it been stored and undone since, two generations would have been made, beside those of others that were seen.
    """
    age = _age(attempt, seen)
    if age > LONGEST_REQUEST:
        return False
    if attempt.version and attempt.version == seen.version:
        return True
    if attempt.is_counted:
        return seen.generation - attempt.generation <= attempt.others + 1
    return age <= UNPROVEN


def _left(attempts: tuple[Attempt, ...], seen: Sighting, repeated: Attempt | None) -> Iterator[Attempt]:
    for attempt in attempts:
        is_over = _age(attempt, seen) > LONGEST_REQUEST
        if attempt is repeated or not (is_over or _meet(attempt.paths, seen.paths)):
            yield attempt._replace(others=attempt.others + seen.is_counted)


def _meet(some: tuple[str, ...], others: list[str]) -> bool:
    """Say whether two changes are about the same field, or one about a part of what the other is about."""
    if not some or len(others) > _PATHS:
        return True
    return any(_is_inside(one, other) or _is_inside(other, one) for one in some for other in others)


def _is_inside(path: str, outer: str) -> bool:
    return path.startswith(outer) and path[len(outer) : len(outer) + 1] in {"", ".", "["}
