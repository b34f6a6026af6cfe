"""Activity and mute intervals: which minutes count, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from app.config.yaml_lines import parse
from app.core.windows import Activity, MuteInterval, compile_windows

DOCUMENTED = """
timezone: CET
intervals:
- days: ['mon', 'tue', 'sun']
  hours:
  - start: 10:00
    end: 11:00
  - start: 16:00
    end: 17:00
- days: ['thr']
  hours:
  - start: 10:00
    end: 16:00
  - start: 16:05
    end: 23:00
- days: ['fri']  # all hours on friday
"""
"""The example of Robusta's documentation."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def active(activity: dict[str, Any], moment: str) -> bool:
    silence = compile_windows(Activity.model_validate(activity), None)
    return silence is None or silence(at(moment)) is None


def muted(moment: str, *intervals: dict[str, Any]) -> bool:
    silence = compile_windows(None, [MuteInterval.model_validate(each) for each in intervals])
    assert silence is not None
    return silence(at(moment)) is not None


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-23T09:59:59+01:00", False),  # a Monday
        ("2026-11-23T10:00:00+01:00", True),
        ("2026-11-23T11:00:59.999999+01:00", True),
        ("2026-11-23T11:01:00+01:00", False),
        ("2026-11-23T16:30:00+01:00", True),
        ("2026-11-25T10:30:00+01:00", False),  # a Wednesday, which no interval names
        ("2026-11-26T16:00:59+01:00", True),  # a Thursday
        ("2026-11-26T16:01:00+01:00", False),
        ("2026-11-26T16:05:00+01:00", True),
        ("2026-11-27T00:00:00+01:00", True),  # Friday, all day
        ("2026-11-27T23:59:59+01:00", True),
        ("2026-11-28T00:00:00+01:00", False),
        ("2026-11-22T23:30:00+00:00", False),  # Monday there already, but half past midnight
        ("2026-11-23T09:30:00+00:00", True),
        ("2026-11-26T23:30:00+00:00", True),  # Friday there
    ],
)
@pytest.mark.parametrize("load", [lambda text: parse(text.encode()).value, yaml.safe_load], ids=["ours", "YAML 1.1"])
def test_the_documented_activity_is_kept_to_the_minute(load: Any, moment: str, expected: bool) -> None:
    assert active(load(DOCUMENTED), moment) is expected


def test_without_activity_or_with_an_empty_one_a_sink_is_always_active() -> None:
    assert compile_windows(None, None) is None
    assert compile_windows(None, []) is None
    assert compile_windows(Activity.model_validate({}), None) is None


def test_an_interval_without_hours_means_the_whole_days() -> None:
    whole = {"intervals": [{"days": ["sun"]}]}

    assert active(whole, "2026-11-22T00:00:00Z")
    assert active(whole, "2026-11-22T23:59:59.999Z")
    assert not active(whole, "2026-11-23T00:00:00Z")


@pytest.mark.parametrize("day", ["thr", "thu", "THU", "Thr"])
def test_thursday_has_two_spellings(day: str) -> None:
    assert active({"intervals": [{"days": [day]}]}, "2026-11-26T12:00:00Z")


@pytest.mark.parametrize("moment", ["00:00:00", "11:59:59", "12:00:30", "23:59:59"])
def test_two_shifts_leave_no_minute_out(moment: str) -> None:
    """Robusta's example: from 00:00 to 12:00, and from 12:00 to 23:59."""
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    shifts = [
        {"intervals": [{"days": days, "hours": [{"start": start, "end": end}]}]}
        for start, end in [("00:00", "12:00"), ("12:00", "23:59")]
    ]

    assert any(active(shift, f"2026-11-22T{moment}Z") for shift in shifts)


NIGHT = {"timezone": "Europe/Berlin", "intervals": [{"days": ["sun"], "hours": [{"start": "02:00", "end": "02:59"}]}]}


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-10-25T00:30:00Z", True),  # 02:30 summer time
        ("2026-10-25T01:30:00Z", True),  # 02:30 again, winter time
        ("2026-10-25T02:00:00Z", False),  # 03:00
        ("2026-03-29T00:59:59Z", False),  # 01:59:59, after which comes 03:00
        ("2026-03-29T01:00:00Z", False),
    ],
)
def test_an_hour_that_comes_twice_counts_twice_and_one_that_is_skipped_never(moment: str, expected: bool) -> None:
    assert active(NIGHT, moment) is expected


HOLIDAY = {"start_date": "2025-12-24 00:00", "end_date": "2025-12-26 23:59", "timezone": "CET"}
NEW_YEAR = {"start_date": "2026-01-01 00:00", "end_date": "2026-01-01 23:59", "timezone": "US/Eastern"}


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2025-12-23T23:59:59+01:00", False),
        ("2025-12-24T00:00:00+01:00", True),
        ("2025-12-26T23:59:59+01:00", True),
        ("2025-12-27T00:00:00+01:00", False),
        ("2024-12-25T12:00:00+01:00", False),  # exact dates, with a year
        ("2026-01-01T04:59:59Z", False),
        ("2026-01-01T05:00:00Z", True),
        ("2026-01-02T04:59:59Z", True),
        ("2026-01-02T05:00:00Z", False),
    ],
)
def test_any_mute_interval_mutes_in_its_own_time_zone(moment: str, expected: bool) -> None:
    assert muted(moment, HOLIDAY, NEW_YEAR) is expected


def test_mute_intervals_are_meant_in_utc_without_a_time_zone() -> None:
    interval = {"start_date": "2026-01-01 00:00", "end_date": "2026-01-01 00:00"}

    assert muted("2026-01-01T00:00:59Z", interval)
    assert not muted("2026-01-01T00:01:00Z", interval)


def test_a_date_without_leading_zeros_means_the_same() -> None:
    interval = {"start_date": "2026-1-5 8:00", "end_date": "2026-1-5 18:00"}

    assert muted("2026-01-05T09:00:00Z", interval)
    assert not muted("2026-01-05T07:00:00Z", interval)


def test_a_sink_must_be_active_and_not_muted_and_says_which_it_is_not() -> None:
    silence = compile_windows(
        Activity.model_validate({"intervals": [{"days": ["mon"]}]}), [MuteInterval.model_validate(HOLIDAY)]
    )

    assert silence is not None
    assert silence(at("2026-11-23T12:00:00Z")) is None
    inactive, mute = silence(at("2026-11-24T12:00:00Z")), silence(at("2025-12-25T12:00:00Z"))
    assert inactive is not None
    assert (inactive.rule, inactive.text) == ("activity", "not active on tue at 12:00 UTC")
    assert mute is not None
    assert (mute.rule, mute.text) == ("mute_intervals", "muted from 2025-12-24 00:00 to 2025-12-26 23:59 CET")


@pytest.mark.parametrize(
    ("activity", "message"),
    [
        ({"timezone": "UTC"}, "needs intervals"),
        ({"intervals": []}, "needs intervals"),
        ({"intervals": [{"days": []}]}, "at least 1 item"),
        ({"intervals": [{"days": ["someday"]}]}, "is not a day; there are mon, tue, wed, thr, fri, sat, sun"),
        ({"intervals": [{"days": ["mon"], "hours": [{"start": "9:00", "end": "10:00"}]}]}, "write it as '16:30'"),
        ({"intervals": [{"days": ["mon"], "hours": [{"start": "09:00", "end": "24:00"}]}]}, "write it as '16:30'"),
        ({"intervals": [{"days": ["mon"], "hours": [{"start": "22:00", "end": "06:00"}]}]}, "22:00 to 23:59 and 00:00"),
        ({"timezone": "Europe/Berln", "intervals": [{"days": ["mon"]}]}, "is not a time zone"),
    ],
)
def test_a_malformed_activity_is_refused_with_a_reason(activity: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Activity.model_validate(activity)


@pytest.mark.parametrize(
    ("interval", "message"),
    [
        ({"start_date": "2026-02-30 00:00", "end_date": "2026-03-01 00:00"}, "write it as '2026-12-24 18:00'"),
        ({"start_date": "2026-01-01", "end_date": "2026-03-01 00:00"}, "write it as '2026-12-24 18:00'"),
        ({"start_date": "2026-01-02 00:00", "end_date": "2026-01-01 00:00"}, "ends at 2026-01-01 00:00, before"),
    ],
)
def test_a_malformed_mute_interval_is_refused_with_a_reason(interval: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MuteInterval.model_validate(interval)


def test_any_moment_can_be_asked() -> None:
    assert not muted(datetime.min.replace(tzinfo=UTC, year=2).isoformat(), HOLIDAY)
