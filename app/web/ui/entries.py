"""The page of one entry: who, what, how, when, from which value to which, and who was told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.core import text as plain
from app.core.change import Entry
from app.core.finding import Block, DiffBlock, FileBlock, Finding, JsonBlock, TableBlock
from app.core.undo import Undo
from app.store.reading import Reader
from app.web.ui import data, deliveries, sides, unified, words
from app.web.ui.render import page

_DOCUMENT_LINES = 3000
_LOG_LINES = 2000
_CELL = 2000
_LONGEST_TEXT = 64 * 1024


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A block of a finding in harmless texts; `more` lines before those of a file are left out."""

    kind: str
    title: str = ""
    lines: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    more: int = 0


def page_of(request: Request, ledger: Reader, entry_id: str) -> Response:
    """Return the page; raises HTTPException 404 for an entry that there is not."""
    told = _told(ledger, entry_id)
    entry = told.entry
    return page(
        request,
        "entry.html",
        section="timeline",
        told=told,
        entry=entry,
        row=words.row(entry),
        facts=list(_facts(entry, told.replica)),
        groups=[plain.one_line(group) for group in entry.user.groups],
        changes=[sides.shown(change) for change in entry.changes],
        unified=unified.unified(entry.changes),
        patch=_short(_document([_operation(each) for each in entry.patch])),
        command=_short(told.undo.command) if isinstance(told.undo, Undo) else "",
        document=_yaml(entry.object),
        evidence=list(_evidence(told.findings)),
        undo=told.undo,
        is_undoable=isinstance(told.undo, Undo),
        token=deliveries.requeue_token(request),
        queued=request.query_params.get("queued", ""),
    )


def _short(text: str) -> str:
    """Leave out what nobody reads or pastes, and a browser takes seconds to lay out; the API has it."""
    return text if len(text) <= _LONGEST_TEXT else ""


def _told(ledger: Reader, entry_id: str) -> data.Told:
    try:
        told = data.tell(ledger, entry_id)
    except ValueError:
        raise HTTPException(404, "This is not the id of an entry.") from None
    except msgspec.ValidationError:
        raise HTTPException(404, "This entry cannot be read: it is damaged, or a newer version wrote it.") from None
    if told is None:
        raise HTTPException(404, "There is no such entry. It may have been forgotten by retention.")
    return told


def _facts(entry: Entry, replica: str) -> Iterator[tuple[str, str]]:
    """Yield how the change was made, as far as that is known, and who recorded it."""
    actor, resource = entry.actor, entry.resource
    facts = {
        "tool": " · ".join(part for part in (entry.field_manager, actor.manager_operation) if part),
        "Pod": actor.pod,
        "node": actor.node,
        "API": "/".join(part for part in (resource.group, resource.version) if part),
        "subresource": resource.subresource,
        "cluster": entry.cluster,
        "object's uid": resource.uid,
        "recorded by": replica,
    }
    yield from ((name, plain.one_line(fact)) for name, fact in facts.items() if fact)


def _operation(operation: dict[str, Any]) -> dict[str, Any]:
    """Return an operation in the order in which RFC 6902 writes it."""
    names = [name for name in ("op", "path", "from", "value") if name in operation]
    return {name: operation[name] for name in [*names, *(each for each in operation if each not in names)]}


def _document(value: Any) -> str:
    """Return JSON to be copied: what could not be seen is written as an escape, which JSON reads as the same."""
    if not value:
        return ""
    written = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return "\n".join(plain.visible(line) if _is_short(line) else line for line in written.split("\n"))


def _is_short(line: str) -> bool:
    # Beyond the Basic Multilingual Plane JSON writes two escapes where `visible` writes one.
    return all(ord(character) < 0x10000 for character in line)  # noqa: PLR2004  see above


def _yaml(document: Any) -> list[str]:
    if document is msgspec.UNSET:
        return []
    lines = plain.lines(sides.yaml_of(document), _CELL)
    more = len(lines) - _DOCUMENT_LINES
    return lines if more <= 0 else [*lines[:_DOCUMENT_LINES], f"# … {more} more lines; the JSON has them"]


def _evidence(findings: Sequence[Finding]) -> Iterator[Shown]:
    """Yield each block once that says more than the entry, such as the logs of a failed Job."""
    seen: list[Block] = []
    for block in (block for finding in findings for block in finding.blocks):
        if not isinstance(block, DiffBlock | JsonBlock) and block not in seen:
            seen.append(block)
            yield _block(block)


def _block(block: Block) -> Shown:
    if isinstance(block, TableBlock):
        rows = tuple(tuple(plain.one_line(cell, _CELL) for cell in row) for row in block.rows)
        headers = tuple(plain.one_line(header) for header in block.headers)
        return Shown(kind="table", title=plain.one_line(block.title), headers=headers, rows=rows)
    if isinstance(block, FileBlock):
        lines, more = plain.last_lines(block.content, _LOG_LINES, _CELL)
        return Shown(kind="file", title=plain.one_line(block.name), lines=tuple(lines), more=more)
    text = block.text if not isinstance(block, DiffBlock | JsonBlock) else ""
    return Shown(kind="text", lines=tuple(plain.lines(text, _CELL)))
