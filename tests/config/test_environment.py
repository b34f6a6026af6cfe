from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from app.config.environment import substitute
from app.config.problems import KeyPath


def substituted(value: Any, environ: Mapping[str, str]) -> tuple[Any, list[tuple[KeyPath, str, str]]]:
    reports: list[tuple[KeyPath, str, str]] = []
    return substitute(value, environ, lambda *report: reports.append(report)), reports


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ env.A }}", "1"),
        ("{{env.A}}-{{ env.B }}", "1-{{ env.A }}"),
        ("Bearer {{ env.A }}", "Bearer 1"),
        ("{{ other }}", "{{ other }}"),
        ("$A ${A}", "$A ${A}"),
    ],
)
def test_variables_are_replaced_once(text: str, expected: str) -> None:
    assert substituted(text, {"A": "1", "B": "{{ env.A }}"}) == (expected, [])


def test_variables_are_replaced_in_all_values_but_no_key() -> None:
    value, reports = substituted({"{{ env.A }}": ["{{ env.A }}", 1, None]}, {"A": "x: [y"})

    assert value == {"{{ env.A }}": ["x: [y", 1, None]}
    assert reports == []


def test_a_variable_that_is_not_set_is_reported_with_the_nearest() -> None:
    _, reports = substituted({"a": ["{{ env.SLACK_TOKN }}"]}, {"SLACK_TOKEN": "x"})

    assert reports == [(("a", 0), "the environment variable SLACK_TOKN is not set", "{{ env.SLACK_TOKEN }}")]


@pytest.mark.parametrize("text", ["{{ env.A-B }}", "{{ env A }}", "{{ ENV.A }}", "{{ env.A }", "{{ $env.A }}"])
def test_a_malformed_variable_is_reported(text: str) -> None:
    _, reports = substituted(text, {"A": "1"})

    assert [message for _, message, _ in reports] == ["has a malformed variable; write {{ env.NAME }}"]


def test_a_variable_that_is_no_text_is_reported() -> None:
    _, reports = substituted("{{ env.A }}", {"A": "caf\udce9"})

    assert reports == [((), "the environment variable A is not UTF-8 text", "")]
