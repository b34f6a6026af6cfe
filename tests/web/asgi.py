"""Requests to an ASGI application in this process, chunk by chunk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
JSON = ((b"content-type", b"application/json"),)


class Reply(msgspec.Struct, frozen=True):
    """What an application answered; `status` 0 if it did not."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def response(self) -> Any:
        """`response` of the AdmissionReview."""
        return self.document["response"]


async def post(
    app: App,
    *chunks: bytes,
    method: str = "POST",
    path: str = "/validate",
    headers: Iterable[tuple[bytes, bytes]] = JSON,
    leaves: bool = False,
) -> Reply:
    """Send the chunks of a body; with `leaves`, the client is gone before the last one."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks or (b"",)]
    if leaves:
        messages.append({"type": "http.disconnect"})
    else:
        messages[-1]["more_body"] = False
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "https",
        "query_string": b"timeout=2s",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "http_version": "1.1",
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return Reply(sent[0]["status"], dict(sent[0]["headers"]), body) if sent else Reply(0, {}, b"")
