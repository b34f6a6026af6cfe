"""The way to a console: what asks it, and how that fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from app.store.database import StoreError


class RemoteError(StoreError):
    """A console does not answer, or not with what was asked for; the message is for people and holds no secret.

    `status` is the HTTP status with which the console itself refused; 0 where nobody answered, or something between.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Transport(Protocol):
    """Asks one console. Blocks; may be used by several threads at once. Whoever made it closes it."""

    def get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """Return the body of a successful answer; raises RemoteError with a message for people otherwise.

        `path` is relative to the console, such as `api/v1/entries`, and escaped.
        """
