"""Receivers of one delivery that have it already, so that a retry for the others does not repeat it to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_MOST: Final = 1000


class Taken:
    """Remembers who took a delivery, for the newest deliveries, as long as the process runs."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = {}

    def note(self, delivery_id: str, receivers: Iterable[str]) -> None:
        """Remember that these receivers have the delivery."""
        self._taken.setdefault(delivery_id, set()).update(receivers)
        while len(self._taken) > _MOST:
            self._taken.pop(next(iter(self._taken)))

    def without(self, delivery_id: str, receivers: Iterable[str]) -> list[str]:
        """Return the receivers that do not have the delivery yet."""
        taken = self._taken.get(delivery_id, set())
        return [receiver for receiver in receivers if receiver not in taken]

    def forget(self, delivery_id: str) -> None:
        """All have it."""
        self._taken.pop(delivery_id, None)
