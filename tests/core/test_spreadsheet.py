"""A spreadsheet shows the cells that it is given, calculates none, and no row is more than a line."""

from __future__ import annotations

import csv
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.spreadsheet import LONGEST, line, number, value, word


def read(cell: str) -> str:
    """Return what a reader of CSV finds in a cell."""
    ((found,),) = csv.reader(io.StringIO(line([cell]), newline=""), strict=True)
    return found


@pytest.mark.parametrize("sign", "=+-@\uff1d\uff0b\uff0d\uff20\u2212")
@pytest.mark.parametrize("before", ["", " ", '"', "'", ' " ', "   '\""])
def test_no_text_is_a_formula(before: str, sign: str) -> None:
    assert read(word(f"{before}{sign}HYPERLINK(1)")) == f"'{before}{sign}HYPERLINK(1)"


@pytest.mark.parametrize(
    ("text", "cell"),
    [("a;=1+1", "a;'=1+1"), ('a; "-1', "a;' \"-1"), ("a;;@x;+y", "a;;'@x;'+y"), ("a,=1", "a,=1"), ("a;b=1", "a;b=1")],
)
def test_no_text_is_a_formula_where_semicolons_end_cells(text: str, cell: str) -> None:
    assert read(word(text)) == read(value(text)) == cell


@pytest.mark.parametrize("character", "\t\r\n\x00\x1b\u202e\u200b\u00a0\u2028")
def test_what_cannot_be_seen_is_written_out_and_hides_no_formula(character: str) -> None:
    assert read(word(f"{character}=1")) == f"\\u{ord(character):04x}=1"


@pytest.mark.parametrize("text", ["web", "a,b", 'say "hi"', "a;b", "1-2", "größer", "日本"])
def test_harmless_texts_stay_as_they_are(text: str) -> None:
    assert read(word(text)) == text


@given(st.text())
def test_a_row_is_one_line_whatever_a_text_holds(text: str) -> None:
    row = line([word(text), word("end")])

    assert row.count("\n") == row.count("\r") == 1
    assert next(csv.reader([row], strict=True))[1] == "end"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda some: st.lists(some, max_size=3)))
def test_no_value_is_a_formula_but_numbers_that_are_negative(raw: object) -> None:
    cell = read(value(raw))

    assert cell.lstrip("\"' ")[:1] not in {"=", "+", "@"} or cell.startswith("'")
    assert not cell.startswith("-") or (isinstance(raw, int) and int(cell) == raw)


@pytest.mark.parametrize("raw", [0, 3, -5, 999_999_999_999_999, 0.5, -12.25])
def test_numbers_stay_numbers(raw: float) -> None:
    assert value(raw) == str(raw)


@pytest.mark.parametrize(
    ("raw", "cell"),
    [
        (1_000_000_000_000_000, '"1000000000000000"'),
        (-1_000_000_000_000_000, '"\'-1000000000000000"'),
        (1e300, '"1e300"'),
        (0.1 + 0.2, '"0.30000000000000004"'),
    ],
)
def test_a_number_that_would_be_rounded_is_a_text(raw: float, cell: str) -> None:
    assert value(raw) == cell


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("nginx:1.25", "nginx:1.25"),
        ("1.10", '"1.10"'),
        ("true", '"true"'),
        ("", '""'),
        (None, "null"),
        (True, "true"),
        ([1, "a"], '[1,"a"]'),
        ("one\ntwo", '"one\\ntwo"'),
        ("-5", '\'"-5"'),
    ],
)
def test_values_of_different_types_read_differently(raw: object, found: str) -> None:
    assert read(value(raw)) == found


def test_what_is_absent_is_empty() -> None:
    assert value(msgspec.UNSET) == word("") == ""
    assert number(3) == "3"


@pytest.mark.parametrize("write", [word, value])
def test_a_cell_is_not_longer_than_a_spreadsheet_takes(write: object) -> None:
    found = read(write("x" * 100_000))  # type: ignore[operator]  # one of two functions

    assert len(found) == LONGEST
    assert found.endswith("x…")
