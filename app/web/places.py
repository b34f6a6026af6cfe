"""A few places for what takes long, so that nobody can ask for so much of it that others get none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.viewer import Viewer


class Places:
    """Counts who has a place: `most` in all, and `of_one` for each of those who see only some namespaces.

    Who sees everything is not held to that: they answer for the installation, and several may be one to the console.
    """

    def __init__(self, most: int, of_one: int) -> None:
        self._most = most
        self._of_one = of_one
        self._taken = Counter[str]()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken.total()

    def full(self, viewer: Viewer) -> int:
        """Return how many places are taken where there is none for somebody; 0 where there is one."""
        if self.taken >= self._most:
            return self._most
        return self._of_one if not viewer.sees_all and self._taken[viewer.name] >= self._of_one else 0

    @contextmanager
    def place(self, viewer: Viewer) -> Iterator[None]:
        """Take a place, without asking whether there is one."""
        self._taken[viewer.name] += 1
        try:
            yield
        finally:
            self._taken[viewer.name] -= 1
            if not self._taken[viewer.name]:
                del self._taken[viewer.name]
