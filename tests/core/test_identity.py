"""Identifiers are UUIDv7, only ever grow, and can be found by their beginning."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.identity import EntryIds, entry_id, first_sequence_at, random_of, sequence_of, sequence_range

milliseconds = st.integers(0, (1 << 48) - 1)
random_bits = st.integers(0, (1 << 70) - 1)


@given(milliseconds, random_bits)
def test_an_identifier_is_a_uuid_of_version_7_that_holds_time_and_sequence(now: int, random: int) -> None:
    sequence, text = EntryIds().next(now, random)

    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7 if now else parsed.version, uuid.RFC_4122)
    assert parsed.int >> 80 == sequence >> 12
    assert sequence_of(text) == sequence


@given(milliseconds, random_bits)
def test_sequence_and_random_bits_make_the_identifier_again(now: int, random: int) -> None:
    sequence, text = EntryIds().next(now, random)

    assert random_of(text) < 1 << 62
    assert entry_id(sequence, random_of(text)) == text


@given(st.lists(milliseconds, min_size=2, max_size=20))
def test_identifiers_grow_whatever_the_clock_does(moments: list[int]) -> None:
    ids = EntryIds()

    given_out = [ids.next(now, 0) for now in moments]

    assert given_out == sorted(given_out)
    assert len(set(given_out)) == len(moments)


def test_more_identifiers_than_fit_into_a_millisecond_borrow_from_the_next() -> None:
    ids = EntryIds()

    sequences = [ids.next(1000, 0)[0] for _ in range(5000)]

    assert sequences == list(range(first_sequence_at(1000), first_sequence_at(1000) + 5000))


def test_identifiers_go_on_above_the_highest_one_of_the_journal() -> None:
    assert EntryIds(last_sequence=first_sequence_at(5000)).next(1000, 0)[0] == first_sequence_at(5000) + 1


@pytest.mark.parametrize("text", ["", "x", "0" * 32, "01910000-0000-4000-8000-000000000001", "7" * 31, "7" * 33, "é"])
def test_what_is_no_identifier_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not the id|invalid literal"):
        sequence_of(text)


@given(st.integers(1, (1 << 48) - 1), random_bits, st.integers(4, 36))
def test_the_beginning_of_an_identifier_leads_to_it(now: int, random: int, length: int) -> None:
    sequence, text = EntryIds().next(now, random)

    low, high = sequence_range(text[:length].upper())

    assert low <= sequence <= high


@pytest.mark.parametrize("text", ["", "abc", "xyz0", "0191-0000-0000-0000-0000-0", "0191 0000", "0191%"])
def test_what_cannot_begin_an_identifier_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be the beginning of an id"):
        sequence_range(text)
