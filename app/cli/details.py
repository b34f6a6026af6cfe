"""One entry with everything about it, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.cli.output import View
from app.cli.tables import deliveries_table, differences, object_name, table_of
from app.cli.times import age, local
from app.core import text as plain
from app.core.change import Entry
from app.core.delivery import Delivery
from app.core.finding import Block, DiffBlock, FileBlock, Finding, JsonBlock
from app.sinks.stdout import renderable


def entry_details(
    entry: Entry, findings: Sequence[Finding], deliveries: Sequence[Delivery], view: View
) -> RenderableType:
    """Return everything about one entry: who, what, how, the field changes, findings and deliveries.

    Of the findings' blocks those are left out that repeat the entry: field changes, and the object.
    """
    parts: list[RenderableType] = [_facts(entry, view)]
    if entry.changes:
        parts += [Text(""), differences(entry.changes, view)]
    if entry.findings:
        parts += [Text(""), _findings_table(entry)]
    for block in _evidence(findings):
        parts += [Text(""), _block(block)]
    if deliveries:
        parts += [Text(""), deliveries_table(deliveries, view)]
    return Group(*parts)


def _facts(entry: Entry, view: View) -> Table:
    facts = Table.grid(padding=(0, 2))
    rows = {
        "id": entry.id,
        "when": f"{local(entry.at)} ({age(entry.at, view.now)} ago)",
        "cluster": entry.cluster,
        "what": f"{entry.operation} {object_name(entry)}" + (" (dry run: nothing was stored)" if entry.dry_run else ""),
        "who": f"{entry.user.username} ({entry.actor.kind})" if entry.user.username else "",
        "groups": ", ".join(entry.user.groups),
        "how": " ".join(part for part in (entry.field_manager, entry.actor.manager_operation) if part),
        "from": " on node ".join(part for part in (entry.actor.pod, entry.actor.node) if part),
        "repeats": entry.repeat_of or "",
        "follows": entry.story or "",
        "note": "the review was too large to be read whole" if entry.truncated is True else "",
    }
    for name, value in rows.items():
        if value:
            facts.add_row(Text(name, style="dim"), Text(plain.one_line(value, 1000), overflow="fold"))
    return facts


def _evidence(findings: Sequence[Finding]) -> Iterator[Block]:
    """Yield each block once that says more than the entry, such as the logs of a failed Job."""
    shown: list[Block] = []
    for block in (block for finding in findings for block in finding.blocks):
        if not isinstance(block, DiffBlock | JsonBlock) and block not in shown:
            shown.append(block)
            yield block


def _block(block: Block) -> RenderableType:
    """Return a block; a file without a frame around it, which would be in the way of who copies from it."""
    if not isinstance(block, FileBlock):
        return renderable(block)
    name = Text(f"--- {plain.one_line(block.name)}", style="bold")
    return Group(name, *(Text(line, overflow="fold") for line in plain.lines(block.content)))


def _findings_table(entry: Entry) -> Table:
    table = table_of(("PLAYBOOK", "SEVERITY", "FINDING"))
    for finding in entry.findings:
        cells = (plain.one_line(finding.playbook), finding.severity, plain.one_line(finding.title))
        table.add_row(*map(Text, cells))
    return table
