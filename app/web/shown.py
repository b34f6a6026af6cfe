"""What a request shows of who asks: tokens and passwords, which are in no repr, no log and no message."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
from starlette.datastructures import Headers

TOKEN_HEADER: Final = "x-kubewitness-token"
"""Takes the token, too: the API server's service proxy keeps `Authorization` to itself, as that is for it."""

_MOST: Final = 4
"""What a request shows beyond that is not looked at: each may cost a call of the API server."""

_LONGEST: Final = 16 * 1024


class Shown(msgspec.Struct, frozen=True):
    """A token, or a password with the name of its user; a token may also be the password of whatever user."""

    secret: str
    user: str | None = None

    def __repr__(self) -> str:
        return f"Shown(user={self.user!r})"


def shown_in(headers: Headers) -> list[Shown]:
    """Return what a request shows: `Authorization`, as Bearer or Basic, and `X-Kubewitness-Token`."""
    return list(islice((each for each in _all(headers) if 0 < len(each.secret) <= _LONGEST), _MOST))


def _all(headers: Headers) -> Iterator[Shown]:
    for value in headers.getlist("authorization"):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "bearer":
            yield Shown(credentials.strip())
        elif scheme.lower() == "basic":
            yield from _basic(credentials.strip())
    yield from map(Shown, headers.getlist(TOKEN_HEADER))


def _basic(credentials: str) -> Iterator[Shown]:
    """Read user and password (RFC 7617); nothing where there is no such thing."""
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        return
    user, colon, password = text.partition(":")
    if colon:
        yield Shown(password, user)
