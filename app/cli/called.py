"""By which name the program was called."""

from __future__ import annotations

from typing import Final

import typer

PLUGIN: Final = "kubectl witness"
"""As a plugin of kubectl; then it reads the ledger of the cluster where nothing else is said."""


def is_plugin(ctx: typer.Context) -> bool:
    """Whether the program was called as a plugin of kubectl."""
    return ctx.find_root().info_name == PLUGIN
