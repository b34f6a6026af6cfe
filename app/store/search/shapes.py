"""Shapes: the set of fields that an entry changed. Few shapes cover many entries, so a pattern is tried on these."""

from __future__ import annotations

import functools
import hashlib
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from app.core.paths import Item, Pattern, compile_pattern, parse, subpaths

UNKNOWN: Final = 0
"""The shape of entries with too many fields, or that cannot be read: they may match whatever is asked."""

_MOST: Final = 200
"""Paths that a shape has at most; an object of thousands of fields that comes as one value would fill the index."""

_DIGEST_BYTES: Final = 16


class Change(msgspec.Struct):
    """What a pattern is tried on: a field that changed, and the fields inside of what came or went."""

    path: str
    old: Any = None
    new: Any = None


_encoder: Final = msgspec.json.Encoder()
_lists: Final = msgspec.json.Decoder(list[msgspec.Raw])
_path: Final = msgspec.json.Decoder(tuple[str | Item, ...])


def shape_of(changes: Sequence[Change]) -> bytes | None:
    """Return the paths that patterns are tried on, as JSON, sorted; None where there are too many."""
    paths = set(itertools.islice(_paths(changes), _MOST + 1))
    return None if len(paths) > _MOST else b"[" + b",".join(sorted(paths)) + b"]"


def digest_of(shape: bytes) -> bytes:
    """Return what a shape is found by."""
    return hashlib.blake2b(shape, digest_size=_DIGEST_BYTES).digest()


def matching(connection: sqlite3.Connection, pattern_text: str) -> list[int]:
    """Return the shapes that have a field which the pattern means, and the unknown one."""
    pattern = compile_pattern(pattern_text)
    condition, parameters = _literals(pattern)
    known: dict[bytes, bool] = {}
    found = [UNKNOWN]
    for identifier, paths in connection.execute(f"SELECT id, paths FROM shapes WHERE {condition}", parameters):
        if any(_matches(pattern, bytes(path), known) for path in _lists.decode(paths)):
            found.append(identifier)
    return found


def _paths(changes: Sequence[Change]) -> Iterator[bytes]:
    for change in changes:
        path = _written(change.path)
        if path is not None:
            yield path
            for value in (change.old, change.new):
                if type(value) in (dict, list):
                    yield from map(_encoder.encode, subpaths(parse(change.path), value))


@functools.lru_cache(maxsize=4096)
def _written(path: str) -> bytes | None:
    """Return a path as JSON; None for one with an empty name, which no pattern can mean."""
    try:
        return _encoder.encode(parse(path))
    except ValueError:
        return None


def _literals(pattern: Pattern) -> tuple[str, list[str]]:
    """Return a condition that lets shapes pass in which every name of the pattern occurs somewhere."""
    alternatives, parameters = list[str](), list[str]()
    for alternative in pattern.alternatives:
        names = [_encoder.encode(name)[1:-1].decode("utf-8") for name in alternative if name != "*"]
        alternatives.append(" AND ".join(["1", *("instr(paths, ?)" for _ in names)]))
        parameters += names
    return " OR ".join(alternatives), parameters


def _matches(pattern: Pattern, path: bytes, known: dict[bytes, bool]) -> bool:
    if path not in known:
        known[path] = pattern.matches(_path.decode(path))
    return known[path]
