"""A label selector is said as queries say it, and nothing that somebody wrote into it says more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.label_selector import label_selector


def expression(key: Any, operator: Any, *values: Any) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ({"matchLabels": {"app": "import", "tier": ""}}, "app=import,tier="),
        ({"matchExpressions": [expression("app", "In", "a", "b")]}, "app in (a,b)"),
        ({"matchExpressions": [expression("example.com/app", "NotIn", "a")]}, "example.com/app notin (a)"),
        ({"matchExpressions": [expression("a", "Exists"), expression("b", "DoesNotExist")]}, "a,!b"),
        ({"matchLabels": {"x": "y"}, "matchExpressions": [expression("a", "Exists")]}, "x=y,a"),
        ({"matchExpressions": [expression("a", "In"), expression("a", "Gt", "1"), expression("", "Exists")]}, ""),
        ({"matchExpressions": [expression("a", "In", "b),c in (d"), expression("a,b", "Exists")]}, ""),
        ({"matchExpressions": [expression("a", "In", 7), {"key": "a"}, 7, None]}, ""),
        ({"matchLabels": 7, "matchExpressions": "x"}, ""),
        (None, ""),
    ],
)
def test_a_selector_is_said_as_a_query(selector: Any, said: str) -> None:
    assert label_selector(selector) == said


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_selector_is_read(selector: Any) -> None:
    label_selector({"matchLabels": selector, "matchExpressions": selector})
