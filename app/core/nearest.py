"""The nearest right word for a wrong one, so that every error about a name can say what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

ALIKE: Final = 0.7
"""Below this ratio a suggestion puzzles more than it helps: `on_pod_crash_loop` is not `on_pod_create`."""


class UnknownWordError(ValueError):
    """A word is not one of the valid ones; `suggestion` is the nearest of these, or empty."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.suggestion = suggestion


def nearest(word: str, words: Iterable[str], *, alike: float = ALIKE) -> str:
    """Return the word most like the given one, in its own spelling; empty if none is alike."""
    spellings = {each.lower(): each for each in sorted(words)}
    found = difflib.get_close_matches(word.lower(), spellings, n=1, cutoff=alike)
    return spellings[found[0]] if found else ""
