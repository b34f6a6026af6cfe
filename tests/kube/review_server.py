"""An API server that knows tokens and rights, as far as reviews go."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from app.kube.errors import ApiError
from app.kube.reviews import ACCESS_REVIEWS, TOKEN_REVIEWS


class ReviewServer:
    """Answers reviews. `rights` are of user, verb, resource and namespace, where an empty one is everywhere."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.audiences: dict[str, list[str]] = {}
        self.rights: set[tuple[str, str, str, str]] = set()
        self.asked: list[dict[str, Any]] = []
        self.fault: ApiError | None = None
        self.answer: bytes | None = None
        self.at_once = 0
        self.most_at_once = 0

    def admit(self, token: str, username: str, **more: Any) -> None:
        """Have a token be somebody's."""
        self.tokens[token] = {"username": username, **more}

    async def send(self, method: str, path: str, body: bytes, /, *, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        assert (method, timeout) == ("POST", 5.0)
        review = msgspec.json.decode(body)
        self.asked.append(review)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.fault is not None:
            raise self.fault
        if self.answer is not None:
            return self.answer
        status = {TOKEN_REVIEWS: self._token, ACCESS_REVIEWS: self._access}[path](review["spec"])
        return msgspec.json.encode({**review, "status": status})

    def _token(self, spec: dict[str, Any]) -> dict[str, Any]:
        user = self.tokens.get(spec["token"])
        if user is None:
            return {"user": {}, "error": "[invalid bearer token]"}
        wanted = spec.get("audiences")
        audiences = self.audiences.get(spec["token"], [])
        if wanted and not set(wanted) & set(audiences):
            return {"user": {}, "error": "token audiences are invalid"}
        return {"authenticated": True, "user": user, "audiences": audiences}

    def _access(self, spec: dict[str, Any]) -> dict[str, Any]:
        wanted = spec["resourceAttributes"]
        assert wanted["group"] == "kubewitness.io"
        place = (spec["user"], wanted["verb"], wanted["resource"])
        return {"allowed": bool({(*place, wanted["namespace"]), (*place, "")} & self.rights)}
