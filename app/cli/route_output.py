"""How `route test` says what it found: tables for people, one document for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from app.cli.output import harmless_json
from app.cli.route_subject import Case
from app.core import text as plain
from app.core.explanation import FindingVerdict, PlaybookVerdict, SinkVerdict, TriggerVerdict
from app.core.refusal import Refusal
from app.sinks.base import Rendering
from app.sinks.stdout import SEVERITY_STYLES

Messages = Mapping[tuple[int, str], Rendering]
"""What a sink would get, by the place of the finding among all findings and the sink's name."""

_CELL: Final = 60
_WHY: Final = 500


def findings_of(case: Case) -> list[tuple[PlaybookVerdict, FindingVerdict]]:
    """Return every finding with the playbook that tells it, in their order."""
    return [(playbook, finding) for playbook in case.explanation.playbooks for finding in playbook.findings]


def told_sinks(case: Case, only: str = "") -> list[str]:
    """Return the names of the sinks that would be told, of `only` one if it is named."""
    if case.nobody:
        return []
    names = (each.sink for _, finding in findings_of(case) for each in finding.sinks if each.takes)
    return [name for name in dict.fromkeys(names) if only in ("", name)]


def document(case: Case, messages: Messages, only: str = "") -> dict[str, Any]:
    """Return the answer for programs."""
    entry = case.entry
    numbers = iter(range(len(findings_of(case))))
    return {
        "entry": {
            "id": entry.id,
            "operation": entry.operation,
            "dry_run": entry.dry_run,
            "resource": entry.resource,
            "user": entry.user.username,
        },
        "at": case.at.isoformat(),
        "told": told_sinks(case, only),
        "notes": case.notes,
        "playbooks": [_playbook_document(each, messages, only, numbers) for each in case.explanation.playbooks],
    }


def _playbook_document(
    playbook: PlaybookVerdict, messages: Messages, only: str, numbers: Iterator[int]
) -> dict[str, Any]:
    return {
        "playbook": playbook.playbook,
        "fires": playbook.fires,
        "triggers": playbook.triggers,
        "refusals": playbook.refusals,
        "undecided": playbook.undecided,
        "findings": [_finding_document(each, messages, only, next(numbers)) for each in playbook.findings],
    }


def _finding_document(verdict: FindingVerdict, messages: Messages, only: str, number: int) -> dict[str, Any]:
    finding = verdict.finding
    return {
        "title": finding.title,
        "severity": finding.severity,
        "identifier": finding.aggregation_key,
        "type": verdict.type,
        "sinks": [
            {**_plain(each), **({"message": messages[number, each.sink]} if (number, each.sink) in messages else {})}
            for each in verdict.sinks
            if only in ("", each.sink)
        ],
    }


def _plain(verdict: SinkVerdict) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(verdict)
    return found


def renderables(case: Case, messages: Messages, only: str = "") -> Iterator[RenderableType]:
    """Yield what people read, from the subject to the answer; texts from strangers are made harmless."""
    entry = case.entry
    who = plain.who(entry)
    yield Text(f"{plain.what(entry).partition(' at ')[0]}{f' by {who}' if who else ''}", style="bold")
    yield Text(f"as of {case.at.astimezone():%Y-%m-%d %H:%M:%S %z}", style="dim")
    for note in case.notes:
        yield Text(f"note: {note}", style="yellow")
    yield Text("")
    yield _playbooks_table(case.explanation.playbooks)
    for number, (playbook, verdict) in enumerate(findings_of(case)):
        yield from _finding(playbook, verdict, only)
        for sink in verdict.sinks:
            if (number, sink.sink) in messages:
                yield from _message(sink.sink, messages[number, sink.sink])
    yield Text("")
    yield _answer(case, only)


def _playbooks_table(playbooks: Sequence[PlaybookVerdict]) -> RenderableType:
    if not playbooks:
        return Text("the configuration has no playbooks", style="dim")
    table = _table("PLAYBOOK", "TRIGGER", "FIRES", "WHY")
    for playbook in playbooks:
        for index, row in enumerate(_playbook_rows(playbook)):
            table.add_row(_cell(playbook.playbook if index == 0 else ""), *row)
    return table


def _playbook_rows(playbook: PlaybookVerdict) -> Iterator[tuple[Text, Text, Text]]:
    fired = next((each for each in playbook.triggers if each.fires), None)
    shown = playbook.triggers if fired is None else (fired,)
    if playbook.fires or not playbook.refusals:
        for trigger in shown:
            yield _cell(trigger.trigger), _yes(trigger, is_yes=trigger.fires), _why(trigger.refusal, trigger.undecided)
    for found in playbook.refusals:
        silent = Text("tells nothing" if playbook.fires else "not asked", style="yellow")
        yield Text(""), silent, _why(found, playbook.undecided)


def _finding(playbook: PlaybookVerdict, verdict: FindingVerdict, only: str) -> Iterator[RenderableType]:
    finding = verdict.finding
    yield Text("")
    yield Text.assemble(
        (f"{finding.severity} ", f"bold {dict(SEVERITY_STYLES)[finding.severity]}"),
        (plain.one_line(finding.title, _WHY), "bold"),
        (f"  {plain.one_line(finding.aggregation_key, _CELL)}, {verdict.type}", "dim"),
        (f", by {plain.one_line(playbook.playbook, _CELL)}", "dim"),
    )
    sinks = [each for each in verdict.sinks if only in ("", each.sink)]
    if not sinks:
        yield Text("the configuration has no sinks", style="dim")
        return
    table = _table("SINK", "TOLD", "WHY")
    for each in sinks:
        table.add_row(_cell(each.sink), _yes(each, is_yes=each.takes), _why(each.refusal, each.undecided))
    yield table


def _message(sink: str, rendering: Rendering) -> Iterator[RenderableType]:
    yield Text("")
    yield Text(f"what {plain.one_line(sink, _CELL)} would get:", style="dim")
    if isinstance(rendering, str):
        # A sink may colour what it prints on a terminal; all else that a terminal would obey is shown as an escape.
        for line in Text.from_ansi(rendering).plain.splitlines():
            yield Text(plain.visible(line))
    else:
        yield Text(harmless_json(msgspec.json.format(msgspec.json.encode(rendering), indent=2)))


def _answer(case: Case, only: str) -> Text:
    names = told_sinks(case, only)
    if not names:
        return Text(f"{plain.one_line(only, _CELL) if only else 'nobody'} would not be told" if only else
                    "nobody would be told", style="bold yellow")  # fmt: skip
    shown = ", ".join(plain.one_line(name, _CELL) for name in names)
    return Text(f"{len(names)} sink{'' if len(names) == 1 else 's'} would be told: {shown}", style="bold green")


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=header in {"FIRES", "TOLD"})
    return table


def _cell(text: str) -> Text:
    return Text(plain.one_line(text, _CELL))


def _yes(verdict: TriggerVerdict | SinkVerdict, *, is_yes: bool) -> Text:
    word = "yes" if is_yes else "no"
    return Text(f"{word}?" if verdict.undecided else word, style="green" if is_yes else "dim")


def _why(refusal: Refusal | None, undecided: Sequence[str]) -> Text:
    open_question = f"not certain: {', '.join(undecided)} not known" if undecided else ""
    parts = [plain.one_line(refusal.text, _WHY) if refusal else "", open_question]
    return Text("; ".join(part for part in parts if part))
