"""`{{ env.NAME }}` in the configuration: replaced in values, never in keys, and never read as YAML."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from app.config.problems import KeyPath
from app.core.nearest import nearest

PLACEHOLDER: Final = re.compile(r"\{\{\s*env\.(\w+)\s*\}\}")
_ALMOST: Final = re.compile(r"\{\{\s*\$?env\b[^}]*\}?\}?", re.IGNORECASE)

Report = Callable[[KeyPath, str, str], None]
"""Takes the path of a value, what is wrong with it, and a suggestion."""


def substitute(value: Any, environ: Mapping[str, str], report: Report, path: KeyPath = ()) -> Any:
    """Return the value with the variables in all its texts replaced; reports those that are not set."""
    if isinstance(value, dict):
        return {key: substitute(inner, environ, report, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [substitute(inner, environ, report, (*path, index)) for index, inner in enumerate(value)]
    return _replaced(value, environ, report, path) if isinstance(value, str) else value


def _replaced(text: str, environ: Mapping[str, str], report: Report, path: KeyPath) -> str:
    if _ALMOST.search(PLACEHOLDER.sub("", text)):
        report(path, "has a malformed variable; write {{ env.NAME }}", "")
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in environ:
            near = nearest(name, environ)
            report(path, f"the environment variable {name} is not set", f"{{{{ env.{near} }}}}" if near else "")
        elif is_no_text(environ[name]):
            report(path, f"the environment variable {name} is not UTF-8 text", "")
        return environ.get(name, match[0])

    return PLACEHOLDER.sub(value, text)


def is_no_text(value: str) -> bool:
    """Say whether a text of the environment or the command line is made of bytes that are no UTF-8.

    Python keeps them as lone surrogates, which neither SQLite nor JSON can hold.
    """
    return any("\ud800" <= character <= "\udfff" for character in value)
