"""Zulip sink: a bot sends each notification to a topic of a channel.

API: https://zulip.com/api/send-message. Zulip's Markdown knows no escapes, so marks in prose become look-alikes;
values are code, in which Zulip reads nothing.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar, Final
from urllib.parse import urlencode

from pydantic import Field, HttpUrl
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Notification
from app.sinks import _markdown as markdown
from app.sinks import _text
from app.sinks._attachment import NAME, FormPart, has_files, multipart, with_files
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, basic_authorization, below
from app.sinks._override import Override, overridden
from app.sinks._secrets import HeaderSecret
from app.sinks.base import Pace, Rendering

CONTENT_LIMIT: Final = 10_000
"""Code points of a message: https://zulip.com/api/send-message#parameter-content"""

TOPIC_LIMIT: Final = 60
"""Code points of a topic: https://zulip.com/api/send-message#parameter-topic"""

MARKUP: Final = markdown.markup(markdown.lookalike)
_LONGEST_LINK: Final = 2000

ADVICE: Final = {
    "INVALID_API_KEY": "look at `bot_email` and `bot_api_key` in Zulip's settings, Bots",
    "UNAUTHORIZED": "look at `bot_email` and `bot_api_key` in Zulip's settings, Bots",
    "STREAM_DOES_NOT_EXIST": "make the channel, or set `stream_name` to one that the bot may see",
    "USER_DEACTIVATED": "activate the bot in Zulip's settings, Bots",
    "NONEXISTENT_SUBDOMAIN": "look at `api_url`: there is no organisation at this address",
}
"""What to do by the codes in Zulip's errors: https://zulip.com/api/rest-error-handling"""


class ZulipConfig(HttpSinkConfig):
    """Options of the Zulip sink."""

    api_url: Annotated[HttpUrl, Field(description="The organisation, such as https://example.zulipchat.com.")]
    bot_email: Annotated[str, Field(min_length=3, description="The bot's address.")]
    bot_api_key: Annotated[HeaderSecret, Field(min_length=1, description="The bot's API key.")]
    stream_name: Annotated[str, Field(min_length=1, description="The channel to send to.")] = "Monitoring"
    topic_name: Annotated[str, Field(min_length=1, description="The channel's topic to send to.")] = "kubewitness"
    topic_override: Annotated[
        Override | None,
        Field(description="Takes the topic from labels, annotations or the cluster's name, such as `labels.app`."),
    ] = None
    log_preview_char_limit: Annotated[
        int,
        Field(
            ge=0, description="Characters of the end of a log that are shown; with 0 everything comes as a text file."
        ),
    ] = 500


class ZulipSink(HttpSink[ZulipConfig]):
    """Success is a 2xx. A message may come twice: Zulip recognises repeats of its own clients only."""

    Config = ZulipConfig
    # 200 requests a minute by default: https://zulip.com/api/rest-error-handling#rate-limit-exceeded
    pace: ClassVar[Pace | None] = Pace(200, 60.0)

    @override
    def render(self, notification: Notification) -> Rendering:
        return self._content(notification, CONTENT_LIMIT)

    def _content(self, notification: Notification, limit: int) -> str:
        return _text.message(with_files(notification, self.config.log_preview_char_limit), MARKUP, limit)

    @override
    async def send(self, notification: Notification) -> None:
        async with self.attempt(str(self.config.api_url)):
            await self._send(notification)

    async def _send(self, notification: Notification) -> None:
        content = self._content(notification, CONTENT_LIMIT)
        if self.config.log_preview_char_limit == 0 and has_files(notification):
            link = await self._upload(notification)
            content = f"{self._content(notification, CONTENT_LIMIT - len(link) - 1)}\n{link}"
        form = {
            "type": "stream",
            "to": self.config.stream_name,
            "topic": self.topic(notification),
            "content": content,
        }
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        await self._api("messages", urlencode(form).encode(), kind)

    async def _upload(self, notification: Notification) -> str:
        """Upload everything as a text file, and return a link to it."""
        text = await asyncio.to_thread(_text.whole_text, notification)
        file = FormPart("file", text.encode(), filename=NAME)
        answer = await self._api("user_uploads", *multipart(notification, [file]))
        told = answer.json if isinstance(answer.json, dict) else {}
        url = str(told.get("url") or told.get("uri") or "")  # `uri` before Zulip 9
        return markdown.link(url, NAME) if 0 < len(url) <= _LONGEST_LINK else ""

    async def _api(self, path: str, content: bytes, headers: dict[str, str]) -> Answer:
        authorization = {"Authorization": basic_authorization(self.config.bot_email, self.config.bot_api_key)}
        url = below(self.config.api_url, f"api/v1/{path}")
        return await self.post(url, content, {**headers, **authorization})

    def topic(self, notification: Notification) -> str:
        """Return the topic, as one line within Zulip's limit."""
        chosen = overridden(self.config.topic_override, notification) if self.config.topic_override else ""
        return plain.one_line(chosen, TOPIC_LIMIT) or plain.one_line(self.config.topic_name, TOPIC_LIMIT)

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        told = answer.json if isinstance(answer.json, dict) else {}
        if failure is None or failure.temporary:
            return failure
        return failure._replace(reason=str(told.get("msg", "")), advice=ADVICE.get(str(told.get("code", "")), ""))
