"""A console that is asked over HTTP."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from typing import Final

import httpx
import msgspec

from app.core.text import one_line
from app.remote.headers import NAMESPACES, NARROWED
from app.remote.transport import RemoteError

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0
"""How long an answer may take in all: a page of the other ledger takes a fraction of a second."""

LARGEST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes; a page ends with the entry that reaches 8 MiB, and a review has 8 MiB at most."""

_LONGEST_DETAIL: Final = 300
_UNNARROWED: Final = "does not say that it keeps to some namespaces; it may be of an older version"

Headers = Callable[[], Mapping[str, str]]
Heed = Callable[[Mapping[str, str]], None]


class _Refusal(msgspec.Struct):
    detail: str


def client(*, secure: bool = True) -> httpx.Client:
    """Return what all transports of a process share: it keeps connections, and asks no proxy. Close it at the end.

    Without `secure` it cannot ask over TLS, and does not read the public authorities, which takes a while.
    """
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    verify = ssl.create_default_context() if secure else False
    return httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False, verify=verify)


class HttpTransport:
    """Asks the console at a URL, showing the headers of the moment. An answer takes so many seconds at most.

    Where these name namespaces, an answer that does not say that it keeps to them is none.

    `heed` gets the headers of each answer, before its body is read.
    """

    def __init__(
        self,
        http: httpx.Client,
        url: str,
        headers: Headers,
        heed: Heed = lambda _: None,
        *,
        seconds: float | None = None,
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._headers = headers
        self._heed = heed
        self._seconds = seconds or ANSWER_SECONDS

    def get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """Return the body of a successful answer; raises RemoteError with a message for people otherwise."""
        return self._asked("GET", path, params=dict(parameters))

    def post(self, path: str, parameters: Mapping[str, str], document: object) -> bytes:
        """Send a JSON document, and return the body of a successful answer; raises RemoteError otherwise."""
        body, headers = msgspec.json.encode(document), {"Content-Type": "application/json"}
        return self._asked("POST", path, params=dict(parameters), content=body, headers=headers)

    def _asked(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str],
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        shown = {**self._headers(), **(headers or {})}
        deadline = time.monotonic() + self._seconds
        try:
            with self._http.stream(
                method, f"{self._url}/{path}", params=params, content=content, headers=shown
            ) as answer:
                self._heed(answer.headers)
                if answer.is_success and NAMESPACES in shown and NARROWED not in answer.headers:
                    raise RemoteError(_UNNARROWED)
                body = _body(answer, deadline, self._seconds)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteError(_reason(error, self._http.timeout.connect, self._seconds)) from error
        if not answer.is_success:
            raise _refusal(answer.status_code, body)
        return body


def _body(answer: httpx.Response, deadline: float, seconds: float) -> bytes:
    """Read an answer; raises RemoteError for one that is too large, or does not come to an end."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise RemoteError(f"the answer is larger than {LARGEST_ANSWER // 1024**2} MiB")
        if time.monotonic() > deadline:
            raise RemoteError(f"the answer takes longer than {seconds:g} s")
    return bytes(body)


def _reason(error: Exception, connect_seconds: float | None, seconds: float) -> str:
    """Say in a few words why nobody answered; never with what was sent."""
    if isinstance(error, httpx.ConnectTimeout):
        return f"cannot be reached within {connect_seconds:g} s"
    if isinstance(error, httpx.TimeoutException):
        return f"does not answer within {seconds:g} s"
    if isinstance(error, httpx.ConnectError):
        return f"cannot be reached ({one_line(str(error))})"
    if isinstance(error, httpx.InvalidURL):
        return f"cannot be asked that ({one_line(str(error))})"
    return f"breaks off ({type(error).__name__})"


def _refusal(status: int, body: bytes) -> RemoteError:
    try:
        detail = one_line(msgspec.json.decode(body, type=_Refusal).detail, _LONGEST_DETAIL)
    except msgspec.MsgspecError:
        return RemoteError(f"answers {status}, and not as a console does")
    return RemoteError(f"answers {status}: {detail}", status)
