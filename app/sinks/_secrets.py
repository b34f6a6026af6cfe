"""Secrets of the options, kept out of what people are shown of a receiver's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Secret, SecretStr

from app.core import text as plain

EXCERPT_LIMIT: Final = 200
"""Characters of a receiver's answer that an error message shows."""

LEAST_SECRET: Final = 4
"""Shorter pieces are ordinary words more often than secrets; blotting them out would garble the answer."""


# RFC 9110, 5.5, without the obsolete bytes above ASCII.
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")


def _header_value(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not _HEADER_VALUE.fullmatch(text):
        raise ValueError("has characters that a header cannot carry; copy it anew, printable ASCII is allowed")
    return SecretStr(text)


def _without_line_end(secret: SecretStr) -> SecretStr:
    return SecretStr(secret.get_secret_value().rstrip("\r\n"))


HeaderSecret = Annotated[SecretStr, AfterValidator(_header_value)]
"""A token that is sent in a header: without the line end that files and environments add, and without what is none."""

Password = Annotated[SecretStr, AfterValidator(_without_line_end)]
"""A password of any characters, but for the line end that files and environments add."""


def option_secrets(config: BaseModel) -> set[str]:
    """Return the secret values among options, also those of lists, mappings and models in them."""
    return {
        secret for value in dict(config).values() for secret in _inner_secrets(value) if len(secret) >= LEAST_SECRET
    }


def _inner_secrets(value: object) -> Iterator[str]:
    if isinstance(value, Secret | SecretStr):
        yield str(value.get_secret_value())
    elif isinstance(value, BaseModel):
        yield from option_secrets(value)
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _inner_secrets(inner)


def scrubbed(excerpt: str, secrets: Iterable[str]) -> str:
    """Return what a receiver said as one harmless line without secrets, of at most `EXCERPT_LIMIT` characters."""
    for secret in sorted(secrets, key=len, reverse=True):
        excerpt = excerpt.replace(secret, "***")
    return plain.one_line(excerpt, EXCERPT_LIMIT)
