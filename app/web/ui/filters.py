"""The filters of the timeline: what an address asks for, and addresses that ask for something else."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec
from fastapi import HTTPException
from pydantic import ConfigDict, ValidationError, validate_call
from starlette.datastructures import QueryParams

from app.core.nearest import nearest
from app.store.ledger import Query
from app.web.api import decode_cursor, entry_query

NAMES: Final = tuple(inspect.signature(entry_query).parameters)
"""The filters of the API: the page has the same, so that one can be taken to the other."""

_BESIDE: Final = ("cursor",)
_LONGEST_NAME: Final = 40
_read: Final[Callable[..., Query]] = validate_call(config=ConfigDict(hide_input_in_errors=True))(entry_query)


class FilterError(ValueError):
    """An address asks for what there is not; the message says which filter, and what it takes."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What an address asks for: `given` as it was written, without empty ones, `query` and `before` as understood."""

    given: Mapping[str, str] = {}
    query: Query = Query()
    before: int | None = None

    def __getitem__(self, name: str) -> str:
        return self.given.get(name, "")

    def address(self, **changes: str) -> str:
        """Return the query string of the same filters but for the changes; an empty one is left out."""
        wanted = {**{name: text for name, text in self.given.items() if name not in _BESIDE}, **changes}
        return urlencode({name: text for name, text in wanted.items() if text})

    def query_string(self) -> str:
        """Return the same filters as an address ends with them; empty where there are none."""
        address = self.address()
        return f"?{address}" if address else ""

    def period(self) -> str:
        """Return the times alone, as an address ends with them."""
        return Filters(given={name: self[name] for name in ("since", "until")}).query_string()


def given(parameters: QueryParams) -> Filters:
    """Return the filters as they are written, not yet understood: what a form shows again."""
    known = {*NAMES, *_BESIDE}
    return Filters(given={name: text for name, text in parameters.items() if text and name in known})


def understood(parameters: QueryParams, beside: Iterable[str] = ()) -> Filters:
    """Return the filters of an address; raises FilterError. `beside` names the parameters that are no filters."""
    _check_names(parameters, {*NAMES, *_BESIDE, *beside})
    written = given(parameters)
    try:
        query = _read(**{name: text for name, text in written.given.items() if name not in _BESIDE})
        before = decode_cursor(written["cursor"] or None)
    except ValidationError as error:
        first = error.errors()[0]
        raise FilterError(f"{first['loc'][0]}: {first['msg'].lower()}") from None
    except HTTPException as error:
        raise FilterError(error.detail) from None
    return msgspec.structs.replace(written, query=query, before=before)


def _check_names(parameters: QueryParams, known: set[str]) -> None:
    """Refuse filters that are unknown or given twice: one with a typo must not show what it would leave out."""
    for name, times in Counter(name for name, _ in parameters.multi_items()).items():
        if name not in known:
            near = nearest(name, sorted(known))
            hint = f"did you mean {near}?" if near else f"there are {', '.join(NAMES)}"
            raise FilterError(f"there is no filter {name[:_LONGEST_NAME]!r}: {hint}")
        if times > 1:
            raise FilterError(f"{name} can be given once")
