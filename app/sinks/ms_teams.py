"""Microsoft Teams sink: posts each notification as an Adaptive Card to a Workflows webhook.

Every text from the cluster is a TextRun, which knows no Markdown
(https://learn.microsoft.com/adaptive-cards/schema-explorer/text-run), and the card has no `msteams.entities`, without
which `<at>` mentions nobody. The `Table` needs schema 1.5, which Teams takes from webhooks.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final

import httpx
import msgspec
from pydantic import AfterValidator, Field, HttpUrl, Secret
from typing_extensions import override

from app.core.finding import Notification, Severity
from app.sinks import _cards
from app.sinks._attachment import with_files
from app.sinks._cards import Part
from app.sinks._channel import compile_override
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig
from app.sinks._override import Override, overridden
from app.sinks._text import title
from app.sinks.base import Pace, Rendering

MESSAGE_BYTES: Final = 28 * 1024
"""https://learn.microsoft.com/microsoftteams/limits-specifications-teams: about 28 KB, everything included."""

CARD_BYTES: Final = MESSAGE_BYTES - 2048
"""Most bytes of a card as Teams counts it: as JSON inside a JSON string, beside properties of its own.

Seen in https://github.com/MicrosoftDocs/msteams-docs/issues/11274: a body of 24,453 bytes was refused as 28,897 bytes
of message properties, of which 28,672 are allowed.
"""

STYLES: Final = {
    Severity.DEBUG: "emphasis",
    Severity.INFO: "accent",
    Severity.LOW: "good",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "attention",
}
"""Colours of the card's head, in the words of its schema."""

CLOUDS: Final = (".logic.azure.com", ".api.powerplatform.com", ".webhook.office.com", ".logic.azure.us")
"""Where Microsoft serves webhooks; an annotation may lead nowhere else."""

ADVICE: Final = {
    "WorkflowTriggerIsNotEnabled": "the workflow is turned off or deleted: turn it on, or make one and copy its URL",
    "WorkflowNotFound": "the workflow is deleted: make one and copy its URL",
    "DirectApiAuthorizationRequired": "copy the whole URL with its `sig`, and let `Anyone` trigger the workflow",
    "MissingApiVersionParameter": "copy the whole URL with all that follows the question mark",
}
_GONE: Final = "the webhook is gone or its URL is not whole: copy it anew from the channel's Workflows"
_ADVICE_BY_STATUS: Final = {401: _GONE, 403: _GONE, 404: _GONE, 410: _GONE}
_SIZE: Final = "the card is larger than Teams takes; this is a fault of the sink"

# A connector answers 200 and says in the body that Teams refused:
# https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
_CONNECTOR: Final = re.compile(r"Webhook message delivery failed|System\.Net\.Http\.HttpRequestException")
_CONNECTOR_STATUS: Final = re.compile(r"HTTP error (\d{3})")
_AGAIN: Final = re.compile(r"[Tt]ry again in (\d{1,6}) seconds?")
# Adaptive Cards replace {{DATE(...)}} and {{TIME(...)}} in every text; a word joiner shows them as they are.
_DATE: Final = re.compile(r"\{\{(?=\s*(?:DATE|TIME)\s*\()")
_LITERAL_BRACES: Final = "{\u2060{"
_CLIENT_ERROR: Final = range(400, 500)
_TEMPORARY: Final = frozenset({408, 425, 429})


def _webhook(url: Secret[HttpUrl]) -> Secret[HttpUrl]:
    if url.get_secret_value().host == "teams.microsoft.com":
        raise ValueError(
            "is the link to a channel; take the URL of a webhook: the channel's menu, Workflows, `webhook`"
        )
    return url


def _by_annotation(text: str) -> str:
    if not all(variable.startswith("annotations.") for variable in compile_override(text).variables):
        raise ValueError("takes the URL from annotations alone; write annotations.NAME or ${annotations.NAME}")
    return text


class MsTeamsConfig(HttpSinkConfig):
    """Options of the Microsoft Teams sink."""

    webhook_url: Annotated[
        Secret[HttpUrl],
        AfterValidator(_webhook),
        Field(description="URL of the channel's workflow; shown nowhere but for its host."),
    ]
    webhook_override: Annotated[
        Override | None,
        AfterValidator(lambda text: text and _by_annotation(text)),
        Field(
            description="Takes the URL from an annotation of the object, such as `annotations.teams-webhook`, if it is "
            "one of Microsoft's or of the host in `webhook_url`, or a name in `webhook_urls`. Else it is `webhook_url`."
        ),
    ] = None
    webhook_urls: Annotated[
        dict[str, Secret[HttpUrl]],
        Field(
            default_factory=dict,
            description='URLs by the names that annotations may hold, as in `payments: "{{ env.PAYMENTS_URL }}"`.',
        ),
    ]
    send_files: Annotated[
        bool | None, Field(description="Whether the ends of files, such as logs, are shown; by default they are.")
    ] = None
    prefer_redirect_to_platform: Annotated[
        bool, Field(description="Accepted for Robusta's sake; there is one link, to the entry.")
    ] = True


class MsTeamsSink(HttpSink[MsTeamsConfig]):
    """Success is a 2xx: a workflow answers 202 when it has taken the card, before it posts it.

    A message may come twice: Teams has no means to recognise repeats.
    """

    Config = MsTeamsConfig
    # Four requests a second are documented for webhooks. A workflow answers before it posts, and what is throttled
    # behind it nobody hears of, so this stays well below.
    pace: ClassVar[Pace | None] = Pace(1, 1.0)

    @override
    def lane(self, notification: Notification) -> str:
        return hashlib.sha256(self._url(notification).encode()).hexdigest()[:12]

    @override
    def render(self, notification: Notification) -> Rendering:
        return message(notification, files=self.config.send_files is not False)

    @override
    async def send(self, notification: Notification) -> None:
        await self.post_json(self._url(notification), self.render(notification))

    def _url(self, notification: Notification) -> str:
        default = str(self.config.webhook_url.get_secret_value())
        if self.config.webhook_override is None:
            return default
        chosen = overridden(self.config.webhook_override, notification).strip()
        if chosen in self.config.webhook_urls:
            return str(self.config.webhook_urls[chosen].get_secret_value())
        return chosen if is_allowed(chosen, default) else default

    @override
    def failure(self, answer: Answer) -> Failure | None:
        if answer.succeeded:
            return connector_failure(answer.text)
        failure = super().failure(answer) or Failure(temporary=False)
        code = error_code(answer)
        advice = (
            _SIZE if answer.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE else _ADVICE_BY_STATUS.get(answer.status, "")
        )
        return failure._replace(
            retry_after=failure.retry_after or (pause(answer.text) if failure.temporary else None),
            advice=ADVICE.get(code, "" if failure.temporary else advice),
        )


def is_allowed(url: str, default: str) -> bool:
    """Say whether an annotation may send notifications to this URL: Microsoft's hosts over TLS, or the default's."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    known = httpx.URL(default)
    same = (parsed.scheme, parsed.host, parsed.port) == (known.scheme, known.host, known.port)
    return same or (parsed.scheme == "https" and parsed.port is None and parsed.host.endswith(CLOUDS))


def error_code(answer: Answer) -> str:
    """Return the code in a workflow's answer, `{"error": {"code", "message"}}`; empty if there is none."""
    error = answer.json.get("error") if isinstance(answer.json, dict) else None
    return str(error.get("code", "")) if isinstance(error, dict) else ""


def pause(text: str) -> timedelta | None:
    """Return how long the sentence `Try again in N seconds` asks to wait, as throttled workflows say it."""
    found = _AGAIN.search(text)
    return timedelta(seconds=int(found[1])) if found else None


def connector_failure(text: str) -> Failure | None:
    """Return what the body of a 200 tells of a failure behind it, None if it tells of none."""
    if not _CONNECTOR.search(text):
        return None
    found = _CONNECTOR_STATUS.search(text)
    status = int(found[1]) if found else 0
    temporary = status not in _CLIENT_ERROR or status in _TEMPORARY
    advice = _SIZE if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE else _ADVICE_BY_STATUS.get(status, "")
    return Failure(temporary=temporary, advice=advice)


def message(notification: Notification, *, files: bool = True) -> dict[str, Any]:
    """Return the message around the card, as Workflows' templates and connectors take it."""
    shown = notification if files else with_files(notification, 0)
    content = _cards.fitted(shown, lambda kept, note: card(shown, kept, note), CARD_BYTES, counted_bytes)
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def counted_bytes(content: dict[str, Any]) -> int:
    """Count a card as Teams does at worst: JSON within a JSON string, all but ASCII escaped."""
    encoded = msgspec.json.encode(content).decode()
    escapes = encoded.count('"') + encoded.count("\\")
    beyond = sum(13 if ord(character) > 0xFFFF else 6 for character in encoded if not character.isascii())  # noqa: PLR2004
    return len(encoded) + escapes + beyond


def card(notification: Notification, kept: Sequence[Part], note: str) -> dict[str, Any]:
    """Return the card of these parts; `note` says what is left out."""
    severity = notification.finding.severity
    action = {"type": "Action.OpenUrl", "title": "Open the entry", "url": notification.link}
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "msteams": {"width": "Full"},
        "body": [
            {
                "type": "Container",
                "style": STYLES[severity],
                "bleed": True,
                "items": [_text(_run(title(notification), size="Large", weight="Bolder"))],
            },
            *(element for _, group in itertools.groupby(kept, _together) for element in _elements(list(group))),
            *([_text(_run(note, isSubtle=True))] if note else []),
        ],
        **({"actions": [action]} if notification.link else {}),
    }


def _together(part: Part) -> tuple[int, str]:
    return part.block, "table" if part.kind in ("header", "row") else part.kind


def _elements(group: list[Part]) -> Iterator[dict[str, Any]]:
    match group[0].kind:
        case "header" | "row":
            yield _table(group)
        case "code":
            lines = [_text(_run(part.texts[0], fontType="Monospace", size="Small"), spacing="None") for part in group]
            yield {"type": "Container", "style": "emphasis", "items": lines}
        case "heading":
            yield from (_text(_run(part.texts[0], weight="Bolder")) for part in group)
        case "change":
            yield from (_change(*part.texts) for part in group)
        case _:
            yield from (_text(literal(part.texts[0]), spacing="Small") for part in group)


def _change(path: str, old: str, new: str) -> dict[str, Any]:
    return _text(
        _run(path, fontType="Monospace"),
        ": ",
        _run(old, color="Attention"),
        " → ",
        _run(new, color="Good", weight="Bolder"),
    )


def _table(rows: list[Part]) -> dict[str, Any]:
    width = max(len(row.texts) for row in rows)
    return {
        "type": "Table",
        "firstRowAsHeader": rows[0].kind == "header",
        "columns": [{"width": 1}] * width,
        "rows": [{"type": "TableRow", "cells": [_cell(row, text) for text in row.texts]} for row in rows],
    }


def _cell(row: Part, text: str) -> dict[str, Any]:
    inline = _run(text, weight="Bolder") if row.kind == "header" else literal(text)
    return {"type": "TableCell", "items": [_text(inline)]}


def _text(*inlines: str | dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", **properties, "inlines": list(inlines)}


def _run(text: str, **properties: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": literal(text), **properties}


def literal(text: str) -> str:
    """Return the text so that Adaptive Cards show it as it is."""
    return _DATE.sub(_LITERAL_BRACES, text)
