"""Users with a password of their own, from the file of the operator; each sees everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from app.core.viewer import Viewer
from app.web.attempts import Attempts
from app.web.identities import Known, Offer, digest, is_same
from app.web.remembered import Remembered
from app.web.shown import Shown

_AT_ONCE: Final = 2
"""Passwords that are checked together: each takes a core for a fraction of a second, on purpose."""

_KEPT_SECONDS: Final = 60.0
"""How long a password that was right is known again without that."""

_LONGEST: Final = 72
"""Bytes of a password that bcrypt looks at, and `htpasswd` with it."""


class Users:
    """Knows users by their password. A name that there is not takes as long as a wrong password."""

    name: Final = "users"

    def __init__(
        self,
        users: Callable[[], Mapping[str, str]],
        attempts: Attempts,
        *,
        may_requeue: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._users = users
        self._attempts = attempts
        self._may_requeue = may_requeue
        self._proven = Remembered[bool](clock)
        self._checking = asyncio.Semaphore(_AT_ONCE)

    @property
    def offers(self) -> frozenset[Offer]:
        """A password, where there are users."""
        return frozenset({"password"}) if self._users() else frozenset()

    async def identified(self, shown: Shown, peer: str) -> Known | None:
        """Return the user whose password this is."""
        users = self._users()
        if shown.user is None or not users:
            return None
        hashed = users.get(shown.user, "")
        key = self._proven.key(shown.user, hashed, shown.secret)
        if not self._proven.get(key):
            async with self._attempts.place(peer):
                is_right = await self._check(shown.secret, hashed or _slowest(users))
                if not (hashed and is_right):
                    await self._attempts.failed()
                    return None
            self._proven.put(key, True, _KEPT_SECONDS)
        return Known(self._viewer(shown.user), digest(hashed))

    async def resumed(self, user: str, keepsake: str, peer: str) -> Viewer | None:
        """Return the user as long as there is one, with the same password."""
        hashed = self._users().get(user, "")
        return self._viewer(user) if hashed and is_same(keepsake, digest(hashed)) else None

    def _viewer(self, user: str) -> Viewer:
        return Viewer(name=user, may_requeue=self._may_requeue)

    async def _check(self, password: str, hashed: str) -> bool:
        async with self._checking:
            given = password.encode("utf-8", "surrogateescape")[:_LONGEST]
            return await asyncio.to_thread(_is_right, given, hashed.encode())


def _is_right(password: bytes, hashed: bytes) -> bool:
    from bcrypt import checkpw  # noqa: PLC0415  what nobody signs in with need not be in memory

    try:
        return checkpw(password, hashed)
    except ValueError:  # a salt that no bcrypt has made
        return False


def _slowest(users: Mapping[str, str]) -> str:
    """Return the hash of the highest cost: a name that there is not takes no less than any other."""
    return max(users.values(), key=lambda hashed: hashed[4:6])  # $2b$12$...
