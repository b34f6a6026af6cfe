"""`kubewitness undo`: what would make an object as it was before a change, shown or done."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Annotated, Any, Final

import msgspec
import typer

from app.cli.failures import FAILED, complain, told
from app.cli.output import Format, OutputOption, console, print_documents
from app.cli.recorded import recorded
from app.cli.source import source as opened
from app.cli.source_options import SourceOptions, reads_ledger_and_cluster
from app.cli.undo_cluster import carry_out, live_object
from app.cli.undo_output import outcome, show, show_command
from app.core import undo as core
from app.core.change import Entry
from app.core.identity import first_sequence_at, sequence_of
from app.core.text import one_line
from app.core.undo import Refusal, Undo
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError, KubernetesSetupError

_TEXT_LIMIT: Final = 1000
_UNPROCESSABLE: Final = 422
"""What an API server answers to a patch of which a test fails, without saying which."""


class _Story(msgspec.Struct, frozen=True):
    entry: Entry
    later: tuple[Entry, ...]

    def undo(self, live: dict[str, Any] | None) -> Undo | Refusal:
        return core.undo(self.entry, live, later=self.later)


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `unseen` says why the live object was not looked at; `answer` is the API server's."""

    found: Undo | Refusal
    unseen: str = ""
    answer: dict[str, Any] | None = None
    trouble: str = ""


@reads_ledger_and_cluster
def undo(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the entry, or its beginning as listed.")],
    apply: Annotated[bool, typer.Option("--apply", help="Do it, as the user of the kubeconfig.")] = False,
    output: OutputOption = "table",
    *,
    source: SourceOptions,
) -> None:
    """Show how a recorded change is undone: the fields as they are and as they were, and the line of kubectl.

    Nothing is changed without --apply. Exit 1 where it cannot be undone, or the API server refuses it; what was secret,
    or has changed since, is never overwritten.
    """
    with told():
        story = _recorded(entry_id, source)
        result = asyncio.run(_work(story, apply, source))
    _report(story.entry, result, output)
    if isinstance(result.found, Refusal) or result.trouble:
        raise typer.Exit(FAILED)


def _recorded(entry_id: str, source: SourceOptions) -> _Story:
    with closing(opened(source)) as ledger:
        entry = recorded(ledger, entry_id)
        place, since = entry.resource, sequence_of(entry.id) // first_sequence_at(1)
        later = ledger.of_object(place.kind, place.namespace, place.name, group=place.group, since=since)
        return _Story(entry, tuple(later))


async def _work(story: _Story, apply: bool, source: SourceOptions) -> _Result:
    recorded = story.undo(None)
    if isinstance(recorded, Refusal) and recorded.reason not in ("moved", "gone"):
        return _Result(found=recorded)  # whatever the object is now
    try:
        api = await KubernetesApi.connect(source.kubeconfig, source.context)
    except KubernetesSetupError as error:
        if apply or source.kubeconfig or source.context:
            raise
        return _Result(found=recorded, unseen=str(error))
    try:
        return await _with(api, story, recorded, apply)
    finally:
        await api.close()


async def _with(api: KubernetesApi, story: _Story, recorded: Undo | Refusal, apply: bool) -> _Result:
    found, unseen = recorded, ""
    try:
        found = story.undo(await live_object(api, story.entry.resource))
    except ApiError as error:
        unseen = str(error)
        if apply and not error.is_forbidden:  # to change it may be allowed to those who may not read it
            return _Result(found=found, unseen=unseen, trouble=f"nothing was done: {error}")
    if isinstance(found, Refusal) or not apply:
        return _Result(found=found, unseen=unseen)
    try:
        answer = await carry_out(api, found)
    except ApiError as error:
        return _Result(found=found, unseen=unseen, trouble=_trouble(error))
    return _Result(found=found, unseen=unseen, answer=answer, trouble=_insisted(story, found, answer))


def _trouble(error: ApiError) -> str:
    if not error.status:
        return f"whether it is undone is not known: {error}"
    hint = "; it has changed since, or may not be as it was any more" if error.status == _UNPROCESSABLE else ""
    return f"the API server refused, and nothing was changed: {error}{hint}"


def _insisted(story: _Story, found: Undo, answer: dict[str, Any]) -> str:
    """Say so where the API server stored again what was to be undone: another webhook may want it so."""
    if found.action != "patch" or isinstance(core.undo(story.entry, answer), Refusal):
        return ""
    return "the API server took it, but the object is as before: something in the cluster sets these fields"


def _report(entry: Entry, result: _Result, output: Format) -> None:
    found, is_refused = result.found, isinstance(result.found, Refusal)
    if output != "table":
        said = {"undo": None if is_refused else found, "refusal": found if is_refused else None}
        seen = {"is_live": not result.unseen, "applied": result.answer is not None and not result.trouble}
        print_documents(msgspec.to_builtins({"entry_id": entry.id, **said, **seen}), output)
    elif isinstance(found, Undo):
        show(console(), entry, found)
        if result.answer is None and not result.trouble:
            show_command(console(), found)
        elif not result.trouble and result.answer is not None:
            console().print(f"\n{outcome(found, result.answer)}", style="bold green")
    if isinstance(found, Refusal):
        complain(f"not undone: {one_line(found.text, _TEXT_LIMIT)}")
    if result.unseen and not result.trouble:
        complain(f"the live object was not looked at: {one_line(result.unseen, _TEXT_LIMIT)}")
    if result.trouble:
        complain(one_line(result.trouble, _TEXT_LIMIT))
