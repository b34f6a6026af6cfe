"""A stand-in for Slack on loopback: its Web API, uploads and incoming webhooks, with its limits and its errors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.sinks.stands import HttpReceiver, Request, http_receiver

TOKEN = "xoxb-1234-5678-tokenSecret"
WEBHOOK_PATH = "services/T0001/B0001/webhookSecret"

Json = dict[str, Any]


class RefusedError(Exception):
    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.answer = {"ok": False, "error": code, **more}


@dataclass
class Slack:
    channels: dict[str, str] = field(default_factory=lambda: {"alerts": "C00000ALERTS", "checkout": "C0000CHECKOUT"})
    archived: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=lambda: {"chat:write", "files:write"})
    messages: dict[str, Json] = field(default_factory=dict)
    uploads: dict[str, Json] = field(default_factory=dict)
    hooked: list[Json] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    instead: dict[str, httpx.Response | None] = field(default_factory=dict)
    """What a call answers instead, by its name or `*`; None is no answer at all."""
    receiver: HttpReceiver | None = None

    @property
    def url(self) -> str:
        assert self.receiver
        return self.receiver.url

    @property
    def api_url(self) -> str:
        return f"{self.url}api/"

    @property
    def message(self) -> Json:
        return next(reversed(self.messages.values()))

    def handle(self, request: Request) -> httpx.Response | None:
        url = urlsplit(request.path)
        place, _, name = url.path.strip("/").partition("/")
        self.calls.append(name if place != "services" else place)
        for key in (self.calls[-1], "*"):
            if key in self.instead:
                return self.instead[key]
        if place == "services":
            return self.webhook(url.path.strip("/"), request)
        if place == "upload":
            return self.upload(name, request)
        arguments: Json = {key: values[0] for key, values in parse_qs(url.query).items()}
        arguments |= json.loads(request.body) if request.body else {}
        return httpx.Response(200, json=self.called(name, arguments, request))

    def called(self, name: str, arguments: Json, request: Request) -> Json:
        assert TOKEN not in request.path
        assert TOKEN.encode() not in request.body
        methods = {
            "chat.postMessage": self.post,
            "chat.update": self.update,
            "files.getUploadURLExternal": self.upload_url,
            "files.completeUploadExternal": self.complete,
        }
        given = request.headers.get("authorization")
        if given != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth" if given else "not_authed"}
        try:
            return {"ok": True, **methods[name](arguments)}
        except RefusedError as refused:
            return refused.answer

    def post(self, arguments: Json) -> Json:
        channel = self.channel(arguments["channel"].removeprefix("#"))
        if arguments.get("thread_ts") and arguments["thread_ts"] not in self.messages:
            raise RefusedError("thread_not_found")
        check(arguments)
        timestamp = f"1700000000.{len(self.messages) + 1:06}"
        self.messages[timestamp] = {**arguments, "channel": channel}
        return {"channel": channel, "ts": timestamp, "message": {"text": arguments["text"]}}

    def update(self, arguments: Json) -> Json:
        if self.channel(arguments["channel"], by_name=False) and arguments["ts"] not in self.messages:
            raise RefusedError("message_not_found")
        check(arguments)
        self.messages[arguments["ts"]] |= arguments
        return {"channel": arguments["channel"], "ts": arguments["ts"], "text": arguments["text"]}

    def channel(self, name: str, *, by_name: bool = True) -> str:
        found = self.channels.get(name, "") if by_name else ""
        found = found or next((each for each in self.channels.values() if each == name), "")
        if not found:
            raise RefusedError("channel_not_found")
        if found in self.archived:
            raise RefusedError("is_archived")
        return found

    def upload_url(self, arguments: Json) -> Json:
        if "files:write" not in self.scopes:
            raise RefusedError("missing_scope", needed="files:write", provided=",".join(sorted(self.scopes)))
        name = f"F{len(self.uploads):08}"
        self.uploads[name] = {**arguments, "content": None, "channel": "", "thread": ""}
        return {"file_id": name, "upload_url": f"{self.url}upload/{name}"}

    def upload(self, name: str, request: Request) -> httpx.Response:
        assert "authorization" not in request.headers, "the token is for the API alone"
        if len(request.body) != int(self.uploads[name]["length"]):
            return httpx.Response(400, text="bad length")
        self.uploads[name]["content"] = request.body.decode()
        return httpx.Response(200, text=f"OK - {len(request.body)}")

    def complete(self, arguments: Json) -> Json:
        channel = self.channel(arguments["channel_id"], by_name=False)
        if arguments["thread_ts"] not in self.messages:
            raise RefusedError("invalid_thread_ts")
        files = arguments["files"] if isinstance(arguments["files"], list) else json.loads(arguments["files"])
        for each in files:
            self.uploads[each["id"]] |= {"channel": channel, "thread": arguments["thread_ts"]}
        return {"files": files}

    def webhook(self, path: str, request: Request) -> httpx.Response:
        if path != WEBHOOK_PATH:
            return httpx.Response(403, text="invalid_token")
        document = json.loads(request.body)
        try:
            check(document)
        except RefusedError as refused:
            return httpx.Response(400, text=refused.answer["error"])
        self.hooked.append(document)
        return httpx.Response(200, text="ok")


def check(message: Json) -> None:
    """Refuse what Slack refuses."""
    every = [*message.get("blocks", ()), *(b for each in message.get("attachments", ()) for b in each["blocks"])]
    if len(message.get("text", "")) > 40_000:
        raise RefusedError("msg_too_long")
    if not message.get("text") and not every:
        raise RefusedError("no_text")
    errors = [problem for number, block in enumerate(every) for problem in problems(block, f"/blocks/{number}")]
    if len(every) > 50:
        errors.append("no more than 50 items allowed [json-pointer:/blocks]")
    if errors:
        raise RefusedError("invalid_blocks", errors=errors, response_metadata={"messages": errors})
    if len(json.dumps(every, ensure_ascii=False)) > 13_200:
        raise RefusedError("msg_blocks_too_long")


def problems(block: Json, where: str) -> list[str]:
    texts = block.get("elements") or [block["text"]]
    most = 150 if block["type"] == "header" else 3000
    found = ["no more than 10 items allowed"] if len(texts) > 10 else []
    for text in texts:
        length = len(text["text"].encode("utf-16-le")) // 2
        if not 1 <= length <= most:
            found.append(f"must be between 1 and {most} characters [json-pointer:{where}/text/text]")
        if text["type"] == "plain_text" and "verbatim" in text:
            found.append(f"unknown field verbatim [json-pointer:{where}/text]")
        if block["type"] == "header" and text["type"] != "plain_text":
            found.append(f"must be plain_text [json-pointer:{where}/text]")
    return found


@contextlib.contextmanager
def slack_server() -> Iterator[Slack]:
    slack = Slack()
    with http_receiver(slack.handle) as slack.receiver:
        yield slack
