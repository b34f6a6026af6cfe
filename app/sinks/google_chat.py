"""Google Chat sink: posts each notification as a card to a space's webhook.

Cards know a few HTML tags and no mentions (https://developers.google.com/workspace/chat/format-messages): every text
is escaped.
"""

from __future__ import annotations

import hashlib
import html
import itertools
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Final

import httpx
import msgspec
from pydantic import AfterValidator, Field, HttpUrl, Secret
from typing_extensions import override

from app.core.finding import Notification
from app.sinks import _cards
from app.sinks import _markdown as markdown
from app.sinks._cards import Part
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig
from app.sinks._text import title
from app.sinks.base import Pace, Rendering

MESSAGE_BYTES: Final = 32_000
"""Bytes of a message with its card.

https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/create
"""

WIDGETS: Final = 100
"""More than so many parts of a card might not be shown."""

ADVICE: Final = {
    400: "the URL may not be whole: copy it anew from the space's menu, Apps & integrations, Webhooks",
    401: "the URL's key or token is wrong: copy it anew from the space's menu, Apps & integrations, Webhooks",
    403: "the webhook may not post here: look whether the organisation still allows webhooks",
    404: "the webhook or its space is deleted: make one in the space's menu, Apps & integrations, Webhooks",
}


def _webhook(url: Secret[HttpUrl]) -> Secret[HttpUrl]:
    if not re.search(r"/spaces/[^/]+/messages/?$", url.get_secret_value().path or ""):
        raise ValueError(
            "is no webhook; it should be like https://chat.googleapis.com/v1/spaces/SPACE/messages?key=KEY&token=TOKEN"
        )
    return url


class GoogleChatConfig(HttpSinkConfig):
    """Options of the Google Chat sink."""

    webhook_url: Annotated[
        Secret[HttpUrl],
        AfterValidator(_webhook),
        Field(description="The space's webhook; shown nowhere but for its host."),
    ]
    thread_per_object: Annotated[
        bool, Field(description="Put all messages about the same object into one thread of the space.")
    ] = False


class GoogleChatSink(HttpSink[GoogleChatConfig]):
    """Success is 200. Every request carries an id that is the same over retries, so that a repeat posts nothing."""

    Config = GoogleChatConfig
    # 60 writes a minute in a space: https://developers.google.com/workspace/chat/limits
    pace: ClassVar[Pace | None] = Pace(1, 1.0)

    @override
    def render(self, notification: Notification) -> Rendering:
        return message(notification, in_thread=self.config.thread_per_object)

    @override
    async def send(self, notification: Notification) -> None:
        url = httpx.URL(str(self.config.webhook_url.get_secret_value()))
        more = {"requestId": str(uuid.uuid5(uuid.NAMESPACE_OID, notification.delivery_id))}
        if self.config.thread_per_object:
            more["messageReplyOption"] = "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
        await self.post_json(str(url.copy_merge_params(more)), self.render(notification))

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        if failure is None or failure.temporary:
            return failure
        return failure._replace(reason=_reason(answer), advice=ADVICE.get(answer.status, ""))


def _reason(answer: Answer) -> str:
    """Return the sentence in `{"error": {"code", "message", "status"}}`; empty if there is none."""
    error = answer.json.get("error") if isinstance(answer.json, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""


def message(notification: Notification, *, in_thread: bool) -> dict[str, Any]:
    """Return the message around the card of as many parts as fit."""

    def made(kept: Sequence[Part], note: str) -> dict[str, Any]:
        return {
            "fallbackText": markdown.inert(title(notification)),
            "cardsV2": [{"cardId": "notification", "card": card(notification, kept, note)}],
            **({"thread": {"threadKey": thread_key(notification)}} if in_thread else {}),
        }

    return _cards.fitted(notification, made, MESSAGE_BYTES, _measure)


def _measure(document: dict[str, Any]) -> int:
    widgets = document["cardsV2"][0]["card"]["sections"][0]["widgets"]
    return len(msgspec.json.encode(document)) if len(widgets) <= WIDGETS else MESSAGE_BYTES + 1


def thread_key(notification: Notification) -> str:
    """Return what is the same for all messages about one object, and tells nothing of it."""
    entry = notification.entry
    return hashlib.sha256(f"{entry.cluster}\n{entry.resource}".encode()).hexdigest()[:32]


def card(notification: Notification, kept: Sequence[Part], note: str) -> dict[str, Any]:
    """Return the card of these parts; `note` says what is left out."""
    groups = (list(group) for _, group in itertools.groupby(kept, lambda part: (part.block, part.kind == "change")))
    widgets = [_paragraph("\n".join(_lines(group))) for group in groups]
    if note:
        widgets.append(_paragraph(f"<i>{html.escape(note, quote=False)}</i>"))
    if notification.link:
        button = {"text": "Open the entry", "onClick": {"openLink": {"url": notification.link}}}
        widgets.append({"buttonList": {"buttons": [button]}})
    return {"header": {"title": title(notification)}, "sections": [{"widgets": widgets}]}


def _paragraph(text: str) -> dict[str, Any]:
    return {"textParagraph": {"text": text}}


def _lines(group: Sequence[Part]) -> Iterator[str]:
    for part in group:
        texts = [html.escape(text, quote=False) for text in part.texts]
        match part.kind:
            case "change":
                path, old, new = texts
                yield f'<font color="#5f6368">{path}</font>\n{old} → <b>{new}</b>'
            case "heading":
                yield f"<b>{texts[0]}</b>"
            case "header":
                yield f"<i>{' | '.join(texts)}</i>"
            case _:
                yield " | ".join(texts)
