"""The label selector of an object as a query says it: `app=import,tier in (a,b),!debug`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from app.core.raw import items, mapping, string

_KEY: Final = re.compile(r"[-./\w]+", re.ASCII)
_VALUE: Final = re.compile(r"[-.\w]*", re.ASCII)
_SETS: Final = {"In": "in", "NotIn": "notin"}
_SIGNS: Final = {"Exists": "", "DoesNotExist": "!"}


def label_selector(selector: Any) -> str:
    """Return what selects the same objects, or more: what Kubernetes would not accept is left out."""
    return ",".join((*_labels(selector), *_expressions(selector)))


def _labels(selector: Any) -> Iterator[str]:
    for key, value in mapping(selector, "matchLabels").items():
        if _KEY.fullmatch(key) and _VALUE.fullmatch(str(value)):
            yield f"{key}={value}"


def _expressions(selector: Any) -> Iterator[str]:
    for each in items(selector, "matchExpressions"):
        key, operator, values = string(each, "key"), string(each, "operator"), items(each, "values")
        if not _KEY.fullmatch(key):
            continue
        if operator in _SIGNS:
            yield f"{_SIGNS[operator]}{key}"
        elif operator in _SETS and values and all(isinstance(one, str) and _VALUE.fullmatch(one) for one in values):
            yield f"{key} {_SETS[operator]} ({','.join(values)})"
