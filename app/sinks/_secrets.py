"""Secrets of the options, kept out of what people are shown of a receiver's words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import BaseModel, Secret, SecretStr

from app.core import text as plain

EXCERPT_LIMIT: Final = 200
"""Characters of a receiver's answer that an error message shows."""

LEAST_SECRET: Final = 4
"""Shorter pieces are ordinary words more often than secrets; blotting them out would garble the answer."""


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
