"""Webex sink: a bot posts each notification to a room as Markdown, with a file for what does not fit.

API: https://developer.webex.com/docs/api/v1/messages/create-a-message
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Final

from pydantic import Field, HttpUrl
from typing_extensions import override

from app.core.finding import Notification
from app.sinks import _markdown as markdown
from app.sinks import _text
from app.sinks._attachment import NAME, FormPart, attachment, multipart
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, below
from app.sinks._override import Override, overridden
from app.sinks._secrets import HeaderSecret
from app.sinks.base import PermanentError, Rendering

MESSAGE_BYTES: Final = 7439
"""Bytes of a message, in text and in Markdown."""

# Mentions (<@all>, <@personEmail:...>) are looked for in code too, as far as is known.
MARKUP: Final = markdown.markup(markdown.escaping("\\*_`~[]"), quiet=True)

NEWLINE: Final = "  \n"
"""Two blanks make a newline a line break in Markdown."""

ADVICE: Final = {
    401: "make a new access token for the bot at developer.webex.com and set it as `bot_access_token`",
    403: "add the bot to the room",
    404: "add the bot to the room, and look whether `room_id` is right",
}

_ROOM: Final = re.compile(r"[A-Za-z0-9_=-]{16,256}")


class WebexConfig(HttpSinkConfig):
    """Options of the Webex sink."""

    bot_access_token: Annotated[HeaderSecret, Field(min_length=1, description="The bot's access token.")]
    room_id: Annotated[str, Field(min_length=1, description="The room to post to; the bot is a member of it.")]
    room_id_override: Annotated[
        Override | None,
        Field(description="Takes the room from labels or annotations of the object, such as `annotations.webex-room`."),
    ] = None
    namespace_room_id_override: Annotated[
        Override | None,
        Field(description="Accepted for Robusta's sake; labels and annotations of namespaces are not known here."),
    ] = None
    send_to_default_if_missing: Annotated[
        bool,
        Field(description="Post to `room_id` where an override has no value; else such a delivery fails, and says so."),
    ] = True
    disable_platform_links: Annotated[
        bool, Field(description="Accepted for Robusta's sake; there is one link, to the entry.")
    ] = False
    send_files: Annotated[
        bool, Field(description="Attach what the message cannot hold, and whole logs, as a text file.")
    ] = True
    api_url: Annotated[HttpUrl, Field(description="Where Webex's API is, for proxies and Webex for Government.")] = (
        HttpUrl("https://webexapis.com")
    )


class WebexSink(HttpSink[WebexConfig]):
    """Success is a 2xx. A message may come twice: Webex has no means to recognise repeats.

    Webex documents no pace, only 429 with Retry-After: https://developer.webex.com/docs/basics
    """

    Config = WebexConfig

    @override
    def lane(self, notification: Notification) -> str:
        return self._room(notification) or ""

    @override
    def render(self, notification: Notification) -> Rendering:
        return message(notification)

    @override
    async def send(self, notification: Notification) -> None:
        room = self._room(notification)
        if room is None:
            raise PermanentError("room_id_override has no value here, and send_to_default_if_missing is false")
        url = below(self.config.api_url, "v1/messages")
        headers = {"Authorization": f"Bearer {self.config.bot_access_token.get_secret_value()}"}
        text = message(notification)
        file = await asyncio.to_thread(self._file, notification)
        if file is None:
            await self.post_json(url, {"roomId": room, "markdown": text}, headers)
            return
        parts = (
            FormPart("roomId", room.encode()),
            FormPart("markdown", text.encode()),
            FormPart("files", file, filename=NAME),
        )
        body, kind = multipart(notification, parts)
        await self.post(url, body, {**headers, **kind})

    def _file(self, notification: Notification) -> bytes | None:
        return attachment(notification, MARKUP, MESSAGE_BYTES) if self.config.send_files else None

    def _room(self, notification: Notification) -> str | None:
        """Return the room's id; None if an override has no value and the default is not wanted."""
        if self.config.room_id_override is None:
            return self.config.room_id
        chosen = overridden(self.config.room_id_override, notification)
        if _ROOM.fullmatch(chosen):
            return chosen
        return self.config.room_id if self.config.send_to_default_if_missing else None

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        if failure is None or failure.temporary:
            return failure
        said = answer.json.get("message") if isinstance(answer.json, dict) else ""
        return failure._replace(reason=str(said or ""), advice=ADVICE.get(answer.status, ""))


def message(notification: Notification) -> str:
    """Return the message as Markdown within Webex's limit."""
    return _text.message(notification, MARKUP, MESSAGE_BYTES, lambda text: len(text.encode()), NEWLINE)
