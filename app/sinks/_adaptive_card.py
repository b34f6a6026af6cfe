"""Adaptive Cards for Microsoft Teams, in the schema that Workflows can show.

Every text from the cluster is a TextRun, which knows no Markdown
(https://learn.microsoft.com/adaptive-cards/schema-explorer/text-run), and the card has no `msteams.entities`, without
which `<at>` mentions nobody. Workflows show nothing of a card that claims more than schema 1.4
(https://github.com/microsoft/AdaptiveCards/issues/8965), so tables are column sets.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from app.core.finding import Notification, Severity
from app.sinks import _cards
from app.sinks._attachment import with_files
from app.sinks._cards import Part
from app.sinks._text import title

MESSAGE_BYTES: Final = 28 * 1024
"""https://learn.microsoft.com/microsoftteams/limits-specifications-teams: about 28 KB, everything included."""

CARD_BYTES: Final = 24 * 1024
"""Most bytes of a card as JSON inside a JSON string: so Teams counts it, with properties of its own beside it.

Seen in https://github.com/MicrosoftDocs/msteams-docs/issues/11274: a body of 24,453 bytes was refused as 28,897 bytes
of message properties, of which 28,672 are allowed. A workflow refuses it after its 202, when nobody hears of it, so
there is room to spare.
"""

STYLES: Final = {
    Severity.DEBUG: "emphasis",
    Severity.INFO: "accent",
    Severity.LOW: "good",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "attention",
}
"""Colours of the card's head, in the words of its schema."""

# Adaptive Cards replace {{DATE(...)}} and {{TIME(...)}} in every text; a word joiner shows them as they are.
_DATE: Final = re.compile(r"\{\{(?=\s*(?:DATE|TIME)\s*\()")
_LITERAL_BRACES: Final = "{\u2060{"
# Weights of columns: characters, but no column so wide that the others vanish.
_NARROW: Final = 4
_WIDE: Final = 40


def message(notification: Notification, *, files: bool = True) -> dict[str, Any]:
    """Return the message around the card, as Workflows' templates and connectors take it."""
    shown = notification if files else with_files(notification, 0)
    content = _cards.fitted(shown, lambda kept, note: card(shown, kept, note), CARD_BYTES, counted_bytes)
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def counted_bytes(content: dict[str, Any]) -> int:
    """Count a card as Teams does at worst: JSON within a JSON string, all but ASCII escaped."""
    return len(json.dumps(json.dumps(content, separators=(",", ":"))))


def card(notification: Notification, kept: Sequence[Part], note: str) -> dict[str, Any]:
    """Return the card of these parts; `note` says what is left out."""
    severity = notification.finding.severity
    action = {"type": "Action.OpenUrl", "title": "Open the entry", "url": notification.link}
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
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
            yield from _table(group)
        case "code":
            lines = [_text(_run(part.texts[0], fontType="Monospace", size="Small"), spacing="None") for part in group]
            yield {"type": "Container", "style": "emphasis", "items": lines}
        case "heading":
            yield from (_text(_run(part.texts[0], weight="Bolder")) for part in group)
        case "change":
            yield from (_change(*part.texts) for part in group)
        case _:
            yield from (_text(_run(part.texts[0]), spacing="Small") for part in group)


def _change(path: str, old: str, new: str) -> dict[str, Any]:
    return _text(
        _run(f"{path}: ", fontType="Monospace"),
        _run(old, color="Attention"),
        _run(" → "),
        _run(new, color="Good", weight="Bolder"),
    )


def _table(rows: list[Part]) -> Iterator[dict[str, Any]]:
    columns = itertools.zip_longest(*(row.texts for row in rows), fillvalue="")
    widths = [min(max(_NARROW, *map(len, column)), _WIDE) for column in columns]
    for row in rows:
        bold = {"weight": "Bolder"} if row.kind == "header" else {}
        cells = zip(widths, row.texts, strict=False)
        yield {
            "type": "ColumnSet",
            "spacing": "Small",
            "columns": [
                {"type": "Column", "width": width, "items": [_text(_run(text, **bold))]} for width, text in cells
            ],
        }


def _text(*inlines: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", **properties, "inlines": list(inlines)}


def _run(text: str, **properties: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": literal(text), **properties}


def literal(text: str) -> str:
    """Return the text so that Adaptive Cards show it as it is."""
    return _DATE.sub(_LITERAL_BRACES, text)
