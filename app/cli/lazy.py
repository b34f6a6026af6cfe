"""Commands that are loaded when they are called: a long-running one should not carry what only the others need."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from app.cli.command import Command

COMMANDS: Final = {
    "serve": "app.cli.serve:serve",
    "watch": "app.cli.serve:watch",
    "demo": "app.cli.demo:demo",
    "entries": "app.cli.export:entries_app",
    "history": "app.cli.history:history",
    "blame": "app.cli.blame:blame",
    "diff": "app.cli.diff:diff",
    "undo": "app.cli.undo:undo",
    "report": "app.cli.report:report",
    "deliveries": "app.cli.deliveries:deliveries_app",
    "sinks": "app.cli.sinks:sinks_app",
    "route": "app.cli.route:route_app",
    "verify": "app.cli.verify:verify",
    "webhook": "app.cli.webhook:webhook_app",
    "config": "app.cli.config:config_app",
    "certs": "app.cli.certs:certs_app",
}
"""Where each command is, in the order of the help: a function, or a group."""


class LazyGroup(TyperGroup):
    """A group whose commands are those of `COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, None if there is none of this name."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _loaded(cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of a line; an unknown one is compared with all that there are."""
        if args and args[0] not in COMMANDS:
            self.load()
        return super().resolve_command(ctx, args)

    def load(self) -> None:
        """Load every command."""
        for name in COMMANDS:
            self.get_command(None, name)


def _loaded(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        found.rich_markup_mode = None
        return get_group(found)
    alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    alone.command(name, cls=Command)(found)
    return get_command(alone)
