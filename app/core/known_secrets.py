"""Values that are secret in an object, so that they are found again where nothing gives them away, as in a log.

A program that fails may print the password that it was given, and its log does not say that it is one. The object
from which it was given does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

SHORTEST: Final = 8
LONGEST: Final = 4096
MOST: Final = 100
"""Shorter values are words of any log; longer or more ones are not what a program is given by its variables."""


def pattern_of(document: Any, shown: Any) -> re.Pattern[str] | None:
    """Return what finds, in any text, the strings of a document that its redacted form replaces as a whole.

    None where there are none. Linear in the size of the document.
    """
    values = {value.strip() for value in _hidden(document, shown)}
    known = sorted((value for value in values if SHORTEST <= len(value) <= LONGEST), key=len, reverse=True)[:MOST]
    return re.compile("|".join(map(re.escape, known))) if known else None


def _hidden(document: Any, shown: Any) -> Iterator[str]:
    """Yield the strings that stand at the same place as a fingerprint; keys that were hidden have no such place."""
    places = [(document, shown)]
    while places:
        value, seen = places.pop()
        if isinstance(value, dict) and isinstance(seen, dict):
            places.extend((inner, seen.get(key)) for key, inner in value.items())
        elif isinstance(value, list) and isinstance(seen, list):
            places.extend(zip(value, seen, strict=False))
        elif isinstance(value, str) and isinstance(seen, str) and value != seen and seen.startswith("redacted:"):
            yield value
