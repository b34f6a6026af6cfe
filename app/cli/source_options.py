"""The options by which a command is told where the ledger is: in a folder here, at a console, or in a cluster."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
import typer

from app.cli.called import is_plugin
from app.cli.output import DataDirOption

_PLACES: Final = {"data_dir": "--data-dir", "console": "--console", "cluster": "--cluster"}
_NEEDS_CLUSTER: Final = {
    "witness_namespace": "--witness-namespace",
    "release": "--release",
    "kubeconfig": "--kubeconfig",
    "context": "--context",
}
_OF_THE_API_SERVER: Final = frozenset({"kubeconfig", "context"})
"""What also counts for a command that asks the API server for the object itself, wherever the ledger is."""

_OPTIONS: Final[dict[str, tuple[Any, Any]]] = {
    "data_dir": (DataDirOption, None),
    "console": (
        Annotated[
            str, typer.Option("--console", help="Read the console at this URL instead.", envvar="KUBEWITNESS_CONSOLE")
        ],
        "",
    ),
    "token_file": (
        Annotated[
            Path | None,
            typer.Option("--token-file", help="File with the console's token.", envvar="KUBEWITNESS_TOKEN_FILE"),
        ],
        None,
    ),
    "cluster": (
        Annotated[
            bool,
            typer.Option(
                "--cluster",
                help="Read the console of the cluster, through its API server; what kubectl witness does anyway.",
                envvar="KUBEWITNESS_CLUSTER",
            ),
        ],
        False,
    ),
    "kubeconfig": (
        Annotated[
            Path | None,
            typer.Option("--kubeconfig", help="How to reach the API server; by default as kubectl finds it."),
        ],
        None,
    ),
    "context": (
        Annotated[str, typer.Option("--context", help="Context of the kubeconfig; by default its current one.")],
        "",
    ),
    "witness_namespace": (
        Annotated[
            str,
            typer.Option(
                "--witness-namespace",
                help="Namespace of the installation; needed where several are found, or none may be looked for.",
                envvar="KUBEWITNESS_WITNESS_NAMESPACE",
            ),
        ],
        "",
    ),
    "release": (
        Annotated[
            str,
            typer.Option("--release", help="Release of the chart, needed as above.", envvar="KUBEWITNESS_RELEASE"),
        ],
        "",
    ),
}
"""Each option as typer takes it, and its default."""


class SourceOptions(msgspec.Struct, frozen=True):
    """Where a ledger is, as a person says it: at a console, in the cluster, or else in a folder."""

    data_dir: Path | None = None
    console: str = ""
    token_file: Path | None = None
    cluster: bool = False
    kubeconfig: Path | None = None
    context: str = ""
    witness_namespace: str = ""
    release: str = ""

    @property
    def is_local(self) -> bool:
        """The ledger is a file here."""
        return not (self.console or self.cluster)


def reads_ledger(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where the ledger is; it gets what they come to as `source`."""
    return _with_options(command, _NEEDS_CLUSTER.keys())


def reads_ledger_and_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Do so for a command that asks the API server as well: by the kubeconfig, wherever the ledger is."""
    return _with_options(command, _NEEDS_CLUSTER.keys() - _OF_THE_API_SERVER)


def chosen(ctx: typer.Context, given: Mapping[str, Any], needing: frozenset[str] | set[str]) -> SourceOptions:
    """Return what the options come to; raises BadParameter where they contradict each other.

    What is written on the command line comes before what the environment says. `needing` are options that mean nothing
    without the cluster.
    """
    place = _place(ctx, given)
    others: dict[str, Any] = {"data_dir": None, "console": "", "cluster": False}
    options = SourceOptions(**{**given, **others, place: given[place] or others[place]})
    if place == "cluster":
        return msgspec.structs.replace(options, cluster=True)
    for name in sorted(needing):
        if given[name] and _is_written(ctx, name):
            raise typer.BadParameter(
                f"is for the cluster's console, not for {_PLACES[place]}", param_hint=_NEEDS_CLUSTER[name]
            )
    if place == "data_dir" and given["token_file"] and _is_written(ctx, "token_file"):
        raise typer.BadParameter("is for a console: say which with --console or --cluster", param_hint="--token-file")
    return options


def _with_options(command: Callable[..., None], needing: Any) -> Callable[..., None]:
    signature, hints = inspect.signature(command), get_type_hints(command, include_extras=True)

    @functools.wraps(command)
    def with_source(ctx: typer.Context, **arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in _OPTIONS}
        command(**arguments, source=chosen(ctx, given, set(needing)))

    kept = [
        each.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, each in signature.parameters.items()
        if name != "source"
    ]
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    ours = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in _OPTIONS.items()
    ]
    whole = signature.replace(parameters=[context, *kept, *ours])
    with_source.__signature__ = whole  # type: ignore[attr-defined]  # typer reads what inspect.signature says
    with_source.__annotations__ = {name: each.annotation for name, each in whole.parameters.items()}
    return with_source


def _place(ctx: typer.Context, given: Mapping[str, Any]) -> str:
    for is_of in (_is_written, _is_of_the_environment):
        said = [name for name in _PLACES if given[name] and is_of(ctx, name)]
        if len(said) > 1:
            raise typer.BadParameter(f"{' and '.join(_PLACES[name] for name in said)} name different ledgers; say one")
        if said:
            return said[0]
    return "cluster" if is_plugin(ctx) else "data_dir"


def _is_written(ctx: typer.Context, name: str) -> bool:
    return _origin(ctx, name) == "COMMANDLINE"


def _is_of_the_environment(ctx: typer.Context, name: str) -> bool:
    return _origin(ctx, name) == "ENVIRONMENT"


def _origin(ctx: typer.Context, name: str) -> str:
    found = ctx.get_parameter_source(name)
    return found.name if found else ""
