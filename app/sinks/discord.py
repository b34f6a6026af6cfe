"""Discord sink: executes a channel's webhook with one embed, and attaches whole what the embed cannot hold.

Limits of embeds: https://discord.com/developers/docs/resources/message#embed-object-embed-limits
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final

import httpx
import msgspec
from pydantic import AfterValidator, Field, HttpUrl, Secret
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Notification
from app.sinks import _markdown as markdown
from app.sinks import _text
from app.sinks._attachment import NAME, FormPart, attachment, multipart
from app.sinks._http import JSON_TYPE, Answer, Failure, HttpSink, HttpSinkConfig
from app.sinks.base import Pace, Rendering

TITLE_LIMIT: Final = 256
DESCRIPTION_LIMIT: Final = 4096
"""Characters; together with the title below the 6,000 that all embeds of a message may have."""
MARKUP: Final = markdown.markup(markdown.escaping("\\*_`~|[]"))

ADVICE: Final = {
    10015: "the webhook is deleted: make one in the channel's settings, Integrations, and copy its URL",
    50027: "the URL's token is wrong: copy the URL anew from the channel's settings, Integrations",
}
"""What to do by Discord's error codes.

https://discord.com/developers/docs/topics/opcodes-and-status-codes#json-json-error-codes
"""


def _webhook(url: Secret[HttpUrl]) -> Secret[HttpUrl]:
    if not re.search(r"/webhooks/[^/]+/[^/]+", url.get_secret_value().path or ""):
        raise ValueError("is no webhook; it should be like https://discord.com/api/webhooks/ID/TOKEN")
    return url


class DiscordConfig(HttpSinkConfig):
    """Options of the Discord sink."""

    url: Annotated[
        Secret[HttpUrl], AfterValidator(_webhook), Field(description="The webhook; shown nowhere but for its host.")
    ]
    send_files: Annotated[
        bool, Field(description="Attach what the message cannot hold, and whole logs, as a text file.")
    ] = True


class DiscordSink(HttpSink[DiscordConfig]):
    """Success is a 2xx, once Discord has saved the message. It may come twice: webhooks recognise no repeats."""

    Config = DiscordConfig
    # Discord documents no figure, only the headers of a bucket; webhooks were seen to take 5 in 2 seconds.
    # https://discord.com/developers/docs/topics/rate-limits
    pace: ClassVar[Pace | None] = Pace(5, 2.0)

    @override
    def render(self, notification: Notification) -> Rendering:
        return message(notification, self._file(notification))

    @override
    async def send(self, notification: Notification) -> None:
        # Long logs take a while to make, and this loop has API servers waiting.
        file = await asyncio.to_thread(self._file, notification)
        document = msgspec.json.encode(message(notification, file))
        url = awaited(self.config.url)
        if file is None:
            await self.post(url, document, JSON_TYPE)
            return
        fields = (
            FormPart("payload_json", document, "application/json"),
            FormPart("files[0]", file, filename=NAME),
        )
        await self.post(url, *multipart(notification, fields))

    def _file(self, notification: Notification) -> bytes | None:
        # At most 8 MiB; Discord takes 10: https://discord.com/developers/docs/reference#uploading-files
        return attachment(notification, MARKUP, DESCRIPTION_LIMIT, titled=False) if self.config.send_files else None

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        told = answer.json if isinstance(answer.json, dict) else {}
        if failure is None:
            return None
        code = told.get("code")
        return failure._replace(
            retry_after=_pause(told, answer.headers) or failure.retry_after,
            advice=ADVICE.get(code, "") if isinstance(code, int) else "",
        )


def awaited(url: Secret[HttpUrl]) -> str:
    """Return the webhook's URL for a message that is acknowledged.

    Otherwise "a message that is not saved does not return an error":
    https://discord.com/developers/docs/resources/webhook#execute-webhook
    """
    return str(httpx.URL(str(url.get_secret_value())).copy_set_param("wait", "true"))


def _pause(told: dict[str, Any], headers: httpx.Headers) -> timedelta | None:
    """Return what a 429 asks for: seconds with a fraction, in the body or until the bucket is reset."""
    for seconds in (told.get("retry_after"), headers.get("x-ratelimit-reset-after")):
        try:
            return timedelta(seconds=max(float(str(seconds)), 0))
        except (ValueError, OverflowError):
            continue
    return None


def description(notification: Notification) -> str:
    """Return the text of the embed beneath its title."""
    return _text.message(notification, MARKUP, DESCRIPTION_LIMIT, titled=False)


def message(notification: Notification, file: bytes | None) -> dict[str, Any]:
    """Return the webhook's JSON: one embed, and nobody who could be mentioned by it."""
    finding = notification.finding
    embed = {
        "title": plain.shorten(MARKUP.text(_text.title(notification)), TITLE_LIMIT),
        "description": description(notification),
        "color": int(_text.COLOURS[finding.severity].removeprefix("#"), 16),
        **({"url": notification.link} if notification.link else {}),
    }
    attachments = [{"id": 0, "filename": NAME}] if file else []
    return {"embeds": [embed], "allowed_mentions": {"parse": []}, **({"attachments": attachments} if file else {})}
