"""What can go wrong between us and an API server.

KubernetesSetupError   there is nothing to call, or nothing to call it with: a person has to act
ApiError               a call failed: the API server refused it, or did not answer
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

EXCERPT: Final = 200
"""Characters that are shown of an answer that is no Status, such as a proxy's page."""

LONGEST_ANSWER: Final = 16 * 1024
"""Bytes that are kept of one."""


class KubernetesSetupError(Exception):
    """The API server cannot be called; the message says which file or setting is wrong, and what to do."""


class ApiError(Exception):
    """A call failed. The message names method and path, never a token or a query.

    `status` is the HTTP status or an ERROR event's code, 0 if there was no answer (connection, TLS, time-out).
    `reason` is `reason` of metav1.Status. `retry_after` is in seconds, None if the server did not ask for any.
    `proceed` is the token with which an expired list can be completed, at a later version than it was begun.
    `answer` is the beginning of an answer that is no Status: of whoever the API server passed the call on to.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        retry_after: float | None = None,
        proceed: str = "",
        answer: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.proceed = proceed
        self.answer = answer

    @property
    def is_gone(self) -> bool:
        """The resource version or continue token is too old."""
        return self.status == HTTPStatus.GONE or self.reason in {"Expired", "Gone"}

    @property
    def is_invalid(self) -> bool:
        """The API server does not understand the request, such as a version or a continue token of another time."""
        return self.status == HTTPStatus.BAD_REQUEST

    @property
    def is_unauthorized(self) -> bool:
        """The API server does not know who we are."""
        return self.status == HTTPStatus.UNAUTHORIZED

    @property
    def is_forbidden(self) -> bool:
        """The API server knows us, and we may not."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def is_not_found(self) -> bool:
        """There is no such object, or no such resource."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_conflict(self) -> bool:
        """The object exists already, or was changed since it was read."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def is_version_ahead(self) -> bool:
        """The API server has not yet seen the resource version; another one may have, or it was restored.

        From `NewTooLargeResourceVersionError` of k8s.io/apiserver, which has no reason of its own.
        """
        return self.status == HTTPStatus.GATEWAY_TIMEOUT and "Too large resource version" in self.message

    @property
    def is_temporary(self) -> bool:
        """Later the same call may succeed, as far as the answer tells."""
        return self.status in {0, 429, 500, 502, 503, 504}


class _Metadata(msgspec.Struct, rename={"proceed": "continue"}):
    proceed: str = ""


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: float = 0


class _Status(msgspec.Struct):
    """The fields of metav1.Status that say what happened."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    metadata: _Metadata | None = None
    details: _Details | None = None


def refusal(call: str, body: bytes | msgspec.Raw, *, status: int = 0, retry_after: float | None = None) -> ApiError:
    """Return the error that an answer's body, or an ERROR event's object, describes.

    `call` is method and path. The body's own code and `retryAfterSeconds` count where the arguments say nothing.
    """
    said = _status(body)
    code = status or said.code
    asked = said.details.retry_after_seconds if said.details else 0
    return ApiError(
        f"{call}: {code} {said.reason or 'refused'}: {said.message}".rstrip(": "),
        status=code,
        reason=said.reason,
        retry_after=retry_after if retry_after is not None else asked or None,
        proceed=said.metadata.proceed if said.metadata else "",
        answer=b"" if said.kind else bytes(body)[:LONGEST_ANSWER],
    )


def _status(body: bytes | msgspec.Raw) -> _Status:
    try:
        said = msgspec.json.decode(body, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Status(message=_excerpt(bytes(body)))
    return said if said.kind == "Status" else _Status(message=_excerpt(bytes(body)))


def _excerpt(body: bytes) -> str:
    text = body[: EXCERPT * 4].decode(errors="replace")
    return " ".join(text.split())[:EXCERPT]
