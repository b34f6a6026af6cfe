"""Templates of titles and descriptions: `$name`, `${labels.app.kubernetes.io/name}`, `$$` for a dollar sign.

The syntax is Robusta's. Values come from strangers: they are inserted as they are and never read as templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from app.core.nearest import UnknownWordError, nearest

VARIABLES: Final = ("name", "namespace", "kind", "user", "operation", "cluster", "node")
MAPS: Final = ("labels", "annotations")
MISSING: Final = "<missing>"
"""What stands for a value that the object does not have, as in Robusta."""

_PLACEHOLDER: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<bare>(?:labels|annotations)(?:\.\w+)+|[A-Za-z_]\w*)|\{(?P<braced>[^}]*)\})"
)

Look = Callable[[str], str]
"""Returns the value of a variable such as `name` or `labels.app`, or the empty string."""


class Template(msgspec.Struct, frozen=True):
    """A compiled template: literal texts, and between them the names of variables."""

    texts: tuple[str, ...]
    variables: tuple[str, ...]

    def render(self, look: Look) -> str:
        """Return the text with every variable replaced; absent and empty ones read `<missing>`."""
        if not self.variables:
            return self.texts[0]
        values = (look(variable) or MISSING for variable in self.variables)
        rest = (value + text for value, text in zip(values, self.texts[1:], strict=True))
        return self.texts[0] + "".join(rest)


def compile_template(text: str) -> Template:
    """Compile a template; raises ValueError that names the variable which does not exist."""
    texts, variables, position = [""], [], 0
    for match in _PLACEHOLDER.finditer(text):
        texts[-1] += text[position : match.start()] + ("$" if match["dollar"] else "")
        position = match.end()
        if not match["dollar"]:
            variables.append(_known(match["bare"] or match["braced"]))
            texts.append("")
    texts[-1] += text[position:]
    return Template(tuple(texts), tuple(variables))


def _known(variable: str) -> str:
    head, _, key = variable.partition(".")
    if variable in VARIABLES or (head in MAPS and key):
        return variable
    names = ", ".join(f"${name}" for name in VARIABLES)
    near = nearest(head, VARIABLES + MAPS)
    raise UnknownWordError(
        f"unknown variable ${variable}; there are {names}, $labels.x and $annotations.x ($$ is a dollar sign)",
        f"${near}" if near else "",
    )
