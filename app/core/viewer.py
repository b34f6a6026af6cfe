"""Who looks at the ledger, and how much of it they may see."""

from __future__ import annotations

from typing import Final

import msgspec


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may read: entries of objects in `namespaces`, where the empty one stands for objects of none.

    None stands for all namespaces, and for what is not of any: deliveries and the state of the installation. `name` is
    empty for who need not say who they are.
    """

    name: str = ""
    namespaces: frozenset[str] | None = None
    may_requeue: bool = False

    @property
    def sees_all(self) -> bool:
        """Whether nothing is kept from them."""
        return self.namespaces is None

    def narrowed(self, namespaces: frozenset[str]) -> Viewer:
        """Return them as somebody who sees no more than these, and changes nothing."""
        seen = namespaces if self.namespaces is None else self.namespaces & namespaces
        return Viewer(name=self.name, namespaces=seen)


ANYBODY: Final = Viewer()
"""Who asks from the machine itself."""
