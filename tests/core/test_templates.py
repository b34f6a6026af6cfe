from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.nearest import UnknownWordError
from app.core.templates import compile_template

VALUES = {"name": "web", "namespace": "shop", "labels.app": "front", "labels.app.kubernetes.io/name": "full"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$name in $namespace", "web in shop"),
        ("${name}s", "webs"),
        ("$name-suffix", "web-suffix"),
        ("$name.", "web."),
        ("$labels.app, ${labels.app.kubernetes.io/name}", "front, full"),
        ("$kind ${annotations.x}", "<missing> <missing>"),
        ("$$name costs $5 or 5$", "$name costs $5 or 5$"),
        ("$$$name", "$web"),
    ],
)
def test_variables_are_replaced(text: str, expected: str) -> None:
    assert compile_template(text).render(lambda variable: VALUES.get(variable, "")) == expected


@pytest.mark.parametrize(
    ("text", "suggestion"), [("$nmae", "$name"), ("$Name", "$name"), ("${label.app}", "$labels"), ("${}", "")]
)
def test_an_unknown_variable_names_the_nearest(text: str, suggestion: str) -> None:
    with pytest.raises(UnknownWordError, match="unknown variable") as caught:
        compile_template(text)

    assert caught.value.suggestion == suggestion


@given(st.text(alphabet="$a{}name. "))
def test_a_value_is_inserted_as_it_is(value: str) -> None:
    assert compile_template("<$name>").render(lambda _: value) == f"<{value or '<missing>'}>"
