"""Asks the API server whose token something is, and what they may: TokenReview and SubjectAccessReview.

The resources are ours alone and need not exist: rights on `entries` and `deliveries` of the group `kubewitness.io` are
granted by roles like any others. Formats: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/
"""

from __future__ import annotations

import shlex
from typing import Any, Final, Protocol

import msgspec

from app.kube.access import is_token
from app.kube.errors import ApiError

GROUP: Final = "kubewitness.io"
TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_CALL_SECONDS: Final = 5.0
_ACCOUNT: Final = "system:serviceaccount:"


class ReviewApi(Protocol):
    """What is needed of a Kubernetes API client; failures are ApiError."""

    async def send(self, method: str, path: str, body: bytes, /, *, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  as the client's
        """Create a review, and return it with its status."""


class Right(msgspec.Struct, frozen=True):
    """A verb on one of our resources."""

    verb: str
    resource: str


SEE: Final = Right("get", "entries")
REQUEUE: Final = Right("update", "deliveries")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is to the API server."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = {}


class _TokenStatus(msgspec.Struct):
    authenticated: bool = False
    user: Identity = Identity()
    audiences: tuple[str, ...] = ()


class _TokenReview(msgspec.Struct):
    status: _TokenStatus


class _AccessStatus(msgspec.Struct):
    allowed: bool = False
    denied: bool = False


class _AccessReview(msgspec.Struct):
    status: _AccessStatus


class Reviews:
    """Creates reviews. All failures are ApiError, whose messages never show a token.

    With an audience only tokens count that were made for it; without one, those that the API server itself takes.
    """

    def __init__(self, api: ReviewApi, audience: str = "") -> None:
        self._api = api
        self._audience = audience

    async def identity(self, token: str) -> Identity | None:
        """Return whose token this is, None where it is nobody's, or was made for somebody else."""
        if not is_token(token):
            return None
        spec = {"token": token, **({"audiences": [self._audience]} if self._audience else {})}
        status = (await self._created(TOKEN_REVIEWS, "TokenReview", spec, _TokenReview)).status
        # An API server that knows nothing of audiences would take any token, and names none.
        if not status.authenticated or (self._audience and self._audience not in status.audiences):
            return None
        return status.user if status.user.username else None

    async def may(self, who: Identity, right: Right, namespace: str = "") -> bool:
        """Say whether somebody has a right: in a namespace, or everywhere where none is named."""
        attributes = {"group": GROUP, "resource": right.resource, "verb": right.verb, "namespace": namespace}
        spec = {
            "user": who.username,
            "uid": who.uid,
            "groups": who.groups,
            "extra": who.extra,
            "resourceAttributes": attributes,
        }
        status = (await self._created(ACCESS_REVIEWS, "SubjectAccessReview", spec, _AccessReview)).status
        return status.allowed and not status.denied

    async def _created(self, path: str, kind: str, spec: dict[str, Any], answer: type[Any]) -> Any:
        version = path.removeprefix("/apis/").rpartition("/")[0]
        body = msgspec.json.encode({"apiVersion": version, "kind": kind, "metadata": {}, "spec": spec})
        try:
            return msgspec.json.decode(
                await self._api.send("POST", path, body, timeout=_CALL_SECONDS), type=answer, strict=False
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ApiError(f"POST {path}: the answer cannot be read") from None


def binding_command(username: str) -> str:
    """Return the command that lets somebody see a namespace; NAMESPACE is to be filled in."""
    if username.startswith(_ACCOUNT):
        subject = f"--serviceaccount={shlex.quote(username.removeprefix(_ACCOUNT))}"
    else:
        subject = f"--user={shlex.quote(username)}"
    return f"kubectl create rolebinding kubewitness-view --clusterrole=view {subject} --namespace=NAMESPACE"
