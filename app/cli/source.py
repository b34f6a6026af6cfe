"""The ledger that a command reads, wherever it is, as one interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import typer
from typing_extensions import override

from app.cli.output import journal_path
from app.cli.source_options import SourceOptions, chosen
from app.config.token_file import TokenFileError, read_token
from app.core.text import one_line
from app.kube.errors import KubernetesSetupError
from app.remote.headers import MISSING
from app.remote.ledger import RemoteLedger
from app.remote.transport import Transport
from app.store.database import StoreError
from app.store.reading import Reader

__all__ = ["Elsewhere", "SourceOptions", "source", "source_of"]

UNREADABLE: Final = (StoreError, TokenFileError, KubernetesSetupError)
"""What a ledger raises that is not there, or does not answer; sqlite3.Error and OSError of a file are beside these."""

SECONDS: Final = 30.0
COMPLETION_SECONDS: Final = 2.0
"""How long a shell waits for words from elsewhere."""


_LONGEST: Final = 1000


def _warn(missing: str) -> None:
    typer.echo(f"warning: what some replicas have recorded is missing: {missing}", err=True)


def source(options: SourceOptions, seconds: float = SECONDS, tell: Callable[[str], None] = _warn) -> Reader:
    """Open the ledger, to be closed by the caller.

    Raises StoreError where there is none, and TokenFileError; one that is elsewhere is asked when it is read, and may
    raise RemoteError and KubernetesSetupError then. Whoever answers has so many seconds. `tell` gets, once each, what
    its answers say of replicas that are not in them.
    """
    if options.is_local:
        from app.store.ledger import Ledger  # noqa: PLC0415  as below

        return Ledger(journal_path(options.data_dir))
    token = read_token(options.token_file) if options.token_file else ""
    missing = Missing(tell)
    if options.console:
        return Elsewhere(_console(options.console, token, seconds, missing), missing)
    # What only one of the places needs takes its time to be imported.
    from app.cli.cluster_transport import ClusterTransport, Place  # noqa: PLC0415

    place = Place(options.kubeconfig, options.context, options.witness_namespace, options.release)
    return Elsewhere(ClusterTransport(place, token, seconds, missing), missing)


def _console(url: str, token: str, seconds: float, missing: Missing) -> _Transport:
    from app.cli.console_transport import ConsoleTransport  # noqa: PLC0415  as above

    try:
        return ConsoleTransport(url, token, seconds, missing)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--console") from error


def source_of(ctx: typer.Context) -> Reader | None:
    """Return the ledger for a completion, by what is written so far; None where that makes no sense yet."""
    try:
        given = {name: ctx.params.get(name) for name in SourceOptions.__struct_fields__}
        defaults = SourceOptions()
        filled = {name: value if value is not None else getattr(defaults, name) for name, value in given.items()}
        return source(chosen(ctx, filled, frozenset()), COMPLETION_SECONDS, lambda _: None)
    except (typer.BadParameter, TokenFileError):
        return None


class Missing:
    """Takes note of what answers say of replicas that are not in them, and tells it once each."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.said: list[str] = []
        self._tell = tell

    def __call__(self, headers: Mapping[str, str]) -> None:
        """Look at the headers of an answer."""
        text = one_line(headers.get(MISSING, ""), _LONGEST)
        if text and text not in self.said:
            self.said.append(text)
            self._tell(text)


class Elsewhere(RemoteLedger):
    """A ledger elsewhere, with a way to it that is its own."""

    def __init__(self, transport: _Transport, missing: Missing) -> None:
        super().__init__(transport)
        self._way = transport
        self._missing = missing

    @property
    def missing(self) -> str:
        """What was said of replicas that were not in one of the answers; empty where all were in all."""
        return "; ".join(self._missing.said)

    @override
    def close(self) -> None:
        self._way.close()


class _Transport(Transport, Protocol):
    def close(self) -> None: ...
