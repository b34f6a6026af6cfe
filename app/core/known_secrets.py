"""Values that are secret in an object, so that they are found again where nothing gives them away, as in a log.

A program that fails may print the password that it was given, and its log does not say that it is one. The object
from which it was given does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from app.core.free_text import hide

SHORTEST: Final = 8
LONGEST: Final = 4096
MOST: Final = 100
"""Shorter values are words of any log; longer or more ones are not what a program is given by its variables."""

_FINGERPRINT: Final = re.compile(r"redacted:[0-9a-f]{16}")
_PLACEHOLDER: Final = "redacted:0000000000000000"
_AROUND: Final = " \t\r\n\"'\\"
"""What may stand around a value in a text, and is not printed with it."""


def pattern_of(document: Any, shown: Any) -> re.Pattern[str] | None:
    """Return what finds, in any text, what the redacted form of a document replaces in its strings.

    That is the whole of a string or a part of it (`--token=...`); of a string that is hidden as a whole, also what
    looks like a credential in it: the password of a URL. None where there are none. Linear in the document's size.
    """
    values = {form.strip(_AROUND) for value in _hidden(document, shown) for form in (value, unquote(value))}
    values |= {value.strip() for value in _hidden(document, shown)}
    usable = (value for value in values if SHORTEST <= len(value) <= LONGEST and not _FINGERPRINT.fullmatch(value))
    known = sorted(usable, key=lambda value: (-len(value), value))[:MOST]
    return re.compile("|".join(map(re.escape, known))) if known else None


def _hidden(document: Any, shown: Any) -> Iterator[str]:
    """Yield what is hidden of the strings of both; keys that were hidden have no such place."""
    places = [(document, shown)]
    while places:
        value, seen = places.pop()
        if isinstance(value, dict) and isinstance(seen, dict):
            places.extend((inner, seen.get(key)) for key, inner in value.items())
        elif isinstance(value, list) and isinstance(seen, list):
            places.extend(zip(value, seen, strict=False))
        elif isinstance(value, str) and isinstance(seen, str) and value != seen:
            inner = _documents(value, seen)
            places.extend(inner)
            yield from () if inner else _parts(value, seen)


def _documents(value: str, seen: str) -> list[tuple[Any, Any]]:
    """Return what both texts stand for where they are JSON: it may be written otherwise in the redacted form."""
    if seen[:1] not in {"{", "["}:
        return []
    try:
        return [(msgspec.json.decode(value), msgspec.json.decode(seen))]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return []


def _parts(value: str, seen: str) -> Iterator[str]:
    """Yield what stands in the one string where the other has fingerprints."""
    first, *others = _FINGERPRINT.split(seen)
    if not others or not value.startswith(first):
        return
    if others == [""] and not first:
        yield value
        yield from _inside(value)
        return
    start = len(first)
    for index, literal in enumerate(others):
        is_last = index == len(others) - 1
        end = len(value) - len(literal) if is_last else value.find(literal, start)
        if end < start or value[end : end + len(literal)] != literal:
            return
        yield value[start:end]
        start = end + len(literal)


def _inside(value: str) -> list[str]:
    """Return what looks like a credential in a value that is secret as a whole."""
    found: list[str] = []

    def found_too(part: str) -> str:
        found.append(part)
        return _PLACEHOLDER

    hide(value, found_too)
    return [part for part in found if _PLACEHOLDER not in part]
