"""Commands whose help ends with examples, under the name by which the program was called."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from app.cli.examples import EXAMPLES


class Command(TyperCommand):
    """A command with the examples of `EXAMPLES`."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        program = ctx.find_root().info_name or "kubewitness"
        words = ctx.command_path.removeprefix(program).strip()
        examples = EXAMPLES.get(words, ())
        if examples:
            with formatter.section("Examples"):
                # Lines to copy are not to be wrapped.
                for example in examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{program} {words} {example}\n")
