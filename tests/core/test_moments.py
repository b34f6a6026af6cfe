"""Times are read as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.moments import milliseconds, parse_moment, written

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PLUS_TWO = timezone(timedelta(hours=2))

WRITTEN = [
    ("90m", "2026-03-04T03:36:07+00:00"),
    ("2h", "2026-03-04T03:06:07+00:00"),
    ("7d", "2026-02-25T05:06:07+00:00"),
    ("1w", "2026-02-25T05:06:07+00:00"),
    ("1d12h", "2026-03-02T17:06:07+00:00"),
    (" 30s ", "2026-03-04T05:05:37+00:00"),
    ("today", "2026-03-04T00:00:00+00:00"),
    ("Yesterday", "2026-03-03T00:00:00+00:00"),
    ("now", "2026-03-04T05:06:07+00:00"),
    ("today 9:00", "2026-03-04T09:00:00+00:00"),
    ("yesterday 18:30", "2026-03-03T18:30:00+00:00"),
    ("monday", "2026-03-02T00:00:00+00:00"),
    ("Monday  9:00", "2026-03-02T09:00:00+00:00"),
    ("thursday 23:59:58", "2026-02-26T23:59:58+00:00"),
    ("wednesday", "2026-03-04T00:00:00+00:00"),
    ("wednesday 05:06", "2026-03-04T05:06:00+00:00"),
    ("wednesday 5:07", "2026-02-25T05:07:00+00:00"),
    ("2026-01-31", "2026-01-31T00:00:00+00:00"),
    ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00+00:00"),
    ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00+00:00"),
    ("2026-01-31 10:00", "2026-01-31T10:00:00+00:00"),
    ("1969-01-01", "1970-01-01T00:00:00+00:00"),
    ("99999d", "1970-01-01T00:00:00+00:00"),
]


@pytest.mark.parametrize(("text", "expected"), WRITTEN)
def test_a_time_is_read(text: str, expected: str) -> None:
    assert parse_moment(text, NOW).isoformat() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", "2026-03-04T00:00:00+02:00"),
        ("monday 9:00", "2026-03-02T09:00:00+02:00"),
        ("2026-01-31", "2026-01-30T22:00:00+00:00"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00+00:00"),
        ("2h", "2026-03-04T03:06:07+00:00"),
    ],
)
def test_what_has_no_offset_is_meant_in_the_readers_zone(text: str, expected: str) -> None:
    assert parse_moment(text, NOW, PLUS_TWO) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2h ago",
        "h",
        "2026-13-01",
        "12:00",
        "999999w",
        "-2h",
        "1.5h",
        "\x00",
        "monday 24:00",
        "mon",
        "monday9:00",
        "monday -1",
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time; write how long ago"):
        parse_moment(text, NOW)


def moment_or_message(text: str) -> datetime | str:
    try:
        return parse_moment(text, NOW)
    except ValueError as error:
        return str(error)


@given(st.text(max_size=30) | st.from_regex(r"[0-9TZ:+-]{1,30}", fullmatch=True))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    read = moment_or_message(text)

    assert "is not a time" in read if isinstance(read, str) else read >= datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(min_value=0, max_value=253_402_300_799_999))
def test_milliseconds_stay_what_they_are_when_they_are_written_and_read(unix_milliseconds: int) -> None:
    assert milliseconds(parse_moment(written(unix_milliseconds), NOW)) == unix_milliseconds
