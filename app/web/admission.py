"""`POST /validate`: answers every admission review with "allowed", once its entry is durable.

An ASGI endpoint of its own: a FastAPI function with a parsed model costs several times what recording costs.
Wire format: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

import msgspec
from fastapi import FastAPI

from app.audit.recorder import Answer
from app.core.review import OPERATIONS, MalformedReviewError, Review, decode, decode_oversized
from app.telemetry.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PATH: Final = "/validate"
METHOD_NOT_ALLOWED: Final = 405
ENTRY_ID: Final = "entry-id"
"""Key of `auditAnnotations`; the API server's audit log shows it as `<webhook name>/entry-id`."""

_TAIL: Final = 64 * 1024
"""What is kept of the end of an oversized body: `dryRun` and `options` stand there."""

_encode: Final = msgspec.json.encode


def admission_app() -> FastAPI:
    """Return the application behind the endpoint: it knows no other path, and says so."""
    return FastAPI(title="kubewitness admission", docs_url=None, redoc_url=None, openapi_url=None)


class Records(Protocol):
    """What the endpoint needs of the recorder."""

    def record(self, read: Callable[[], Review]) -> Awaitable[Answer]:
        """Read a review and record what it says; raises what `read` raises."""


class ClientGoneError(Exception):
    """The connection ended before the request did."""


class BadRequestError(Exception):
    """The request cannot be an admission review; the message is the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class AdmissionEndpoint:
    """An ASGI endpoint in front of an application: it takes the reviews, everything else goes to the application.

    While `draining`, answers close their connection, so that the API server opens its next one elsewhere.
    """

    def __init__(self, app: ASGIApp, recorder: Records, metrics: Metrics, *, max_body: int) -> None:
        self.draining = False
        self._app = app
        self._recorder = recorder
        self._metrics = metrics
        self._max_body = max_body
        self._results: dict[tuple[str, str], Callable[[], None]] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a review, or hand the request on."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        try:
            _check(scope)
            read = await self._body(receive)
            started = time.perf_counter()
            answer = await self._recorder.record(read)
        except ClientGoneError:
            return
        except (BadRequestError, MalformedReviewError) as error:
            self._count("", "malformed")
            status = error.status if isinstance(error, BadRequestError) else 400
            await self._send(send, status, _encode({"error": str(error)}))
            return
        self._measure(answer)
        await self._send(send, 200, _allowed(answer))
        self._metrics.review_seconds.observe(time.perf_counter() - started)

    async def _body(self, receive: Receive) -> Callable[[], Review]:
        """Receive the body; return the way to read it."""
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body = message.get("body", b"")
            if len(body) <= self._max_body:
                return functools.partial(decode, body)
            return functools.partial(decode_oversized, body[: self._max_body], body[-_TAIL:])
        chunks, size, tail = list[bytes](), 0, b""
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self._max_body:
                chunks.append(chunk)
            else:
                room = max(0, self._max_body - (size - len(chunk)))
                chunks.append(chunk[:room])
                tail = (tail + chunk[room:])[-_TAIL:]
            if not message.get("more_body", False):
                break
            message = await receive()
        body = b"".join(chunks)
        if size <= self._max_body:
            return functools.partial(decode, body)
        return functools.partial(decode_oversized, body, (body[-_TAIL:] + tail)[-_TAIL:])

    def _measure(self, answer: Answer) -> None:
        if answer.review.truncated:
            self._metrics.truncated.inc()
        if answer.result == "fault":
            self._metrics.review_errors.inc()
            self._metrics.unrecorded.labels("fault").inc()
        self._count(answer.review.request.operation, "lost" if answer.result == "fault" else answer.result)

    def _count(self, operation: str, result: str) -> None:
        key = (operation if operation in OPERATIONS else "unknown", result)
        count = self._results.get(key)
        if count is None:
            count = self._results[key] = self._metrics.reviews.labels(*key).inc
        count()

    async def _send(self, send: Send, status: int, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        if status == METHOD_NOT_ALLOWED:
            headers.append((b"allow", b"POST"))
        if self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _check(scope: MutableMapping[str, Any]) -> None:
    if scope["method"] != "POST":
        raise BadRequestError(
            f"{PATH} takes POST with an AdmissionReview, not {scope['method'][:16]}", METHOD_NOT_ALLOWED
        )
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value.partition(b";")[0].strip().lower() == b"application/json":
                return
            raise BadRequestError("the content type must be application/json")
    raise BadRequestError("the content type is missing; it must be application/json")


def _allowed(answer: Answer) -> bytes:
    annotations = b""
    if answer.entry_id:
        annotations = b',"auditAnnotations":{"entry-id":"%b"}' % answer.entry_id.encode("ascii")
    return b'{"apiVersion":%b,"kind":"AdmissionReview","response":{"uid":%b,"allowed":true%b}}' % (
        _encode(answer.review.api_version),
        _encode(answer.review.request.uid),
        annotations,
    )
