"""A line for each step of a command that takes its time, with its outcome when it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from rich.text import Text

from app.cli.output import console


class Steps:
    """Prints a line per step: colours on a terminal, plain text in a pipe."""

    def __init__(self, total: int) -> None:
        self._console = console()
        self._total = total
        self._done = 0

    async def step(self, what: str, work: Callable[[], Awaitable[str]]) -> None:
        """Do one step; raises what it raises, after saying which step failed."""
        self._done += 1
        begin = f"[{self._done}/{self._total}] {what}"
        if self._console.is_terminal:
            self._console.print(Text(begin + " ..."), end="\r")
        try:
            outcome = await work()
        except BaseException:
            self._console.print(Text.assemble(begin, ": ", ("failed", "bold red")))
            raise
        self._console.print(Text.assemble(begin, ": ", (outcome, "green")))

    def show(self, *parts: Any) -> None:
        """Print what was found."""
        self._console.print()
        for part in parts:
            # What is to be copied into a shell must not be broken into lines.
            self._console.print(part, soft_wrap=isinstance(part, Text) or None)
