"""How somebody becomes known to the console: what every method answers, and the simplest one, a token.

UnavailableError      nobody can say at the moment who asks
TooManyAttemptsError  a peer has too many logins under way that nobody has proven yet
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from app.core.viewer import Viewer
from app.web.shown import Shown

Offer = Literal["token", "password"]


class UnavailableError(Exception):
    """Nobody can say at the moment who asks, or what they may see; the message says what to do, and holds no secret."""


class TooManyAttemptsError(Exception):
    """A peer has too many logins under way; soon there will be fewer."""


class Known(msgspec.Struct, frozen=True):
    """Somebody who was identified. `keepsake` lets a session be resumed; it is a secret."""

    viewer: Viewer
    keepsake: str

    def __repr__(self) -> str:
        return f"Known({self.viewer!r})"


class Method(Protocol):
    """One way to become known. Both questions raise UnavailableError and TooManyAttemptsError."""

    @property
    def name(self) -> str:
        """What sessions are marked with."""

    @property
    def offers(self) -> frozenset[Offer]:
        """What it takes at the moment from whoever is to sign in; nothing where nobody could."""

    async def identified(self, shown: Shown, peer: str) -> Known | None:
        """Return whose credentials these are, None where they are not this method's, or wrong."""

    async def resumed(self, user: str, keepsake: str, peer: str) -> Viewer | None:
        """Return who signed in before, as they may see it now; None where that does not count any more."""


class TokenMethod:
    """Lets in whoever shows one token, which is the one of the moment; an empty one lets nobody in."""

    def __init__(self, name: str, token: Callable[[], str], viewer: Viewer, *, is_offered: bool = True) -> None:
        self.name = name
        self._token = token
        self._viewer = viewer
        self._is_offered = is_offered

    @property
    def offers(self) -> frozenset[Offer]:
        """A token, where there is one."""
        return frozenset({"token"}) if self._is_offered and self._token() else frozenset()

    async def identified(self, shown: Shown, peer: str) -> Known | None:
        """Return the viewer if this is the token, whoever calls themselves what."""
        expected = self._token()
        if expected and is_same(shown.secret, expected):
            return Known(self._viewer, digest(expected))
        return None

    async def resumed(self, user: str, keepsake: str, peer: str) -> Viewer | None:
        """Return the viewer as long as the token has not changed."""
        expected = self._token()
        return self._viewer if expected and is_same(keepsake, digest(expected)) else None


def is_same(shown: str, expected: str) -> bool:
    """Compare in a time that tells neither where two secrets differ nor how long the right one is."""
    first, second = (hashlib.sha256(each.encode("utf-8", "surrogateescape")).digest() for each in (shown, expected))
    return hmac.compare_digest(first, second)


def digest(secret: str) -> str:
    """Return what says that a secret is still the same, for a place where it need not be itself."""
    return hashlib.sha256(secret.encode()).hexdigest()
