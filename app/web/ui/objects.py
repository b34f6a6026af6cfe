"""The page of an object: its whole history as one story, and what any two points of it differ in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

import msgspec
from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.core import text as plain
from app.core.change import Entry
from app.core.history import Chapter, Life
from app.core.moments import TAKES, parse_moment
from app.store.reading import Reader
from app.web.ui import data, sides, unified, words
from app.web.ui.render import page, path

_LONGEST: Final = 64
_PARTS: Final = 3
_TAKES: Final = f"takes an entry of this object, {TAKES}"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A chapter as it is shown."""

    event: str
    row: words.Row
    is_repeat: bool
    point: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A life of the object, newest step first."""

    uid: str
    is_over: bool
    steps: tuple[Step, ...]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What two points differ in."""

    since: str
    until: str
    changes: tuple[sides.Shown, ...]
    unified: tuple[unified.Line, ...]


class PointError(ValueError):
    """What an address compares is no point of the object's history."""


def page_of(request: Request, ledger: Reader) -> Response:
    """Return the page; where two points were asked for, with their difference above the story."""
    identity = _identity(request)
    entries = data.of_object(ledger, *identity)
    kind, namespace, name = (plain.one_line(each, 253) for each in identity)
    problem, difference = "", None
    try:
        difference = _difference(request, entries)
    except PointError as error:
        problem = str(error)
    return page(
        request,
        "object.html",
        status=400 if problem else 200 if entries else 404,
        section="timeline",
        kind=kind,
        namespace=namespace,
        name=name,
        query={"kind": identity[0], "namespace": identity[1], "name": identity[2]},
        parts_of_story=[_part(life) for life in reversed(data.lives(entries))],
        count=len(entries),
        is_cut=len(entries) >= data.STORY,
        asked=(request.query_params.get("from", ""), request.query_params.get("to", "")),
        difference=difference,
        problem=problem,
    )


def _identity(request: Request) -> tuple[str, str, str]:
    """Return kind, namespace and name; raises HTTPException 404 for another number of them.

    They are read before they are unescaped: an escaped slash is part of a name.
    """
    parts = [unquote(each) for each in path(request).partition("/objects/")[2].split("/")]
    if len(parts) != _PARTS or not all(parts):
        raise HTTPException(404, "The address of an object has its kind, its namespace (or -) and its name.")
    kind, namespace, name = parts
    return kind, "" if namespace == "-" else namespace, name


def _part(life: Life) -> Part:
    return Part(
        uid=plain.one_line(life.uid),
        is_over=life.deleted is not None,
        steps=tuple(map(_step, reversed(life.chapters))),
    )


def _step(chapter: Chapter) -> Step:
    entry = chapter.entry
    return Step(event=chapter.event, row=words.row(entry), is_repeat=chapter.is_repeat, point=entry.id)


def _difference(request: Request, entries: Sequence[Entry]) -> Difference | None:
    texts = [request.query_params.get(name, "")[:_LONGEST] for name in ("from", "to")]
    if not any(texts) or not entries:
        return None
    now = datetime.now(UTC)
    since, until = (_point(text, name, entries, now) for text, name in zip(texts, ("from", "to"), strict=True))
    since, until = min(since, until), max(since, until)
    changes = data.net_changes(entries, since, until)
    return Difference(
        since=since.isoformat(),
        until=until.isoformat(),
        changes=tuple(map(sides.shown, changes)),
        unified=tuple(unified.unified(changes)),
    )


def _point(text: str, name: str, entries: Sequence[Entry], now: datetime) -> datetime:
    """Return the moment of an entry or of a written time; without one, before the first entry or now."""
    if not text:
        return now
    chosen = next((entry for entry in entries if entry.id == text), None)
    try:
        return datetime.fromisoformat(chosen.at) if chosen else parse_moment(text, now)
    except ValueError:
        raise PointError(f"{name} {_TAKES}") from None
