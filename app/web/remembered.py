"""What was found out of a secret, for a while: kept by a keyed digest, so that memory holds no secret."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_MOST: Final = 1000


class Remembered(Generic[T]):
    """Remembers answers for some seconds of a clock; beyond a thousand it forgets the oldest."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._found: dict[bytes, tuple[float, T]] = {}

    def key(self, *parts: str) -> bytes:
        """Return the digest of texts, which nobody else could make."""
        text = b"\0".join(hashlib.sha256(part.encode("utf-8", "surrogateescape")).digest() for part in parts)
        return hmac.digest(self._key, text, "sha256")

    def get(self, key: bytes) -> T | None:
        """Return what was found; None where that was never, or too long ago."""
        until, found = self._found.get(key, (0.0, None))
        return found if self._clock() < until else None

    def put(self, key: bytes, found: T, seconds: float) -> None:
        """Remember for so many seconds."""
        self._found.pop(key, None)
        if len(self._found) >= _MOST:
            del self._found[next(iter(self._found))]
        self._found[key] = (self._clock() + seconds, found)
