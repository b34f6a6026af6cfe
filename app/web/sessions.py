"""Sessions of browsers: a sealed cookie that all replicas open, and the tokens that bind forms to them.

Nothing is kept here. A cookie says who signed in and how, encrypted; whether that still counts is asked at every
request of the method by which it was. Fernet (https://github.com/fernet/spec) seals, with a key of HKDF (RFC 5869).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.datastructures import Headers

from app.web.identities import is_same

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

COOKIE: Final = "kubewitness-session"
FORM_COOKIE: Final = "kubewitness-form"
"""Binds the form in which somebody signs in to the browser that got it, before there is a session to bind it to."""

LIFETIME_SECONDS: Final = 12 * 3600
LONGEST: Final = 4000
"""Bytes that browsers take for a cookie with its attributes, and a little less (RFC 6265, 6.1)."""

_SALT: Final = b"kubewitness console"
_MOST: Final = 4
"""Cookies of one name that are looked at: a browser sends those of longer paths, too."""


class Session(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who signed in, by which method, and what that method needs to know them again, which is a secret."""

    method: str
    user: str
    keepsake: str
    id: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(12))

    def __repr__(self) -> str:
        return f"Session(method={self.method!r}, user={self.user!r})"


class Sessions:
    """Seals and opens sessions with a secret that replicas share. The clock gives unix seconds."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock
        self._forms = derived(secret, b"forms")

    @cached_property
    def _fernet(self) -> Fernet:
        from cryptography.fernet import Fernet  # noqa: PLC0415  a console that nobody signs in to does without

        return Fernet(urlsafe_b64encode(derived(self._secret, b"sessions")))

    def sealed(self, session: Session) -> str:
        """Return what a cookie holds; it may be longer than `LONGEST`, which browsers do not keep."""
        packed = zlib.compress(msgspec.msgpack.encode(session))
        return self._fernet.encrypt_at_time(packed, int(self._clock())).decode()

    def opened(self, sealed: str) -> Session | None:
        """Return the session of a cookie, None where it is too old, or none of ours."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  as above

        try:
            packed = self._fernet.decrypt_at_time(sealed.encode(), LIFETIME_SECONDS, int(self._clock()))
            return msgspec.msgpack.decode(zlib.decompress(packed), type=Session)
        except (InvalidToken, UnicodeEncodeError, zlib.error, msgspec.DecodeError):
            return None

    def of(self, headers: Headers) -> Iterator[Session]:
        """Yield the sessions that a browser shows."""
        for sealed in cookies(headers, COOKIE):
            session = self.opened(sealed)
            if session is not None:
                yield session

    def form_token(self, bound_to: str) -> str:
        """Return what a form must carry, which nobody learns who is not bound to the same."""
        return hmac.new(self._forms, bound_to.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    def is_form_token(self, shown: str, bound_to: str) -> bool:
        """Say whether this is that token."""
        return is_same(shown, self.form_token(bound_to))


def derived(secret: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes for one purpose (RFC 5869, with one block): what is known of one tells nothing of another."""
    extracted = hmac.new(_SALT, secret, hashlib.sha256).digest()
    return hmac.new(extracted, purpose + b"\x01", hashlib.sha256).digest()


def cookies(headers: Headers, name: str) -> list[str]:
    """Return the values of all cookies of a name, the one of the longest path first."""
    pairs = (each.strip().partition("=") for header in headers.getlist("cookie") for each in header.split(";"))
    return [value for found, _, value in pairs if found == name][:_MOST]


def set_cookie(name: str, value: str, seconds: int, *, is_https: bool) -> str:
    """Return a Set-Cookie header for the console alone; with 0 seconds the browser forgets it.

    Without `Path`: browsers take the folder of what they asked for (RFC 6265, 5.1.4), which is where the console is
    mounted, whatever proxies stand before it.
    """
    secure = "; Secure" if is_https else ""
    return f"{name}={value}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def is_https(scheme: str, headers: Headers) -> bool:
    """Say whether a browser asked by https, itself or through a proxy; who lies here only loses their own cookie."""
    said = (headers.get("x-forwarded-proto", ""), headers.get("origin", "").partition(":")[0])
    return scheme == "https" or any(each.strip().lower() == "https" for each in said)
