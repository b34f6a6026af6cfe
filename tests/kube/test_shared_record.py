"""Replicas change one document: each change is made once, on top of all others."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable

import msgspec
import pytest

from app.core.claims import NewerVersionError
from app.kube.errors import ApiError
from app.kube.shared_record import ANNOTATION, MOST_CONFLICTS, Format, SharedRecord
from tests.kube.lease_store import Client, LeaseStore, in_no_time

Numbers = list[int]
FORBIDDEN = ApiError("GET leases/record: 403 Forbidden", status=403, reason="Forbidden")


def decode(text: bytes) -> Numbers:
    if text == b"newer":
        raise NewerVersionError("it has version 2")
    return msgspec.json.decode(text, type=Numbers)


def record(api: Client, start: Callable[[], Numbers] = list) -> SharedRecord[Numbers]:
    form = Format(encode=msgspec.json.encode, decode=decode, start=start)
    return SharedRecord(api, namespace="tools", name="record", form=form, random=random.Random(1).random)


def with_number(number: int) -> Callable[[Numbers], Numbers]:
    return lambda numbers: [*numbers, number]


def stored(store: LeaseStore) -> str:
    text: str = store.stored["record"]["metadata"]["annotations"][ANNOTATION]
    return text


@in_no_time
async def test_the_first_update_begins_the_document_and_makes_the_lease() -> None:
    store = LeaseStore()

    result = await record(Client(store), start=lambda: [7]).update(with_number(8))

    assert result == [7, 8]
    assert stored(store) == "[7,8]"
    assert store.requests == ["GET", "POST"]


@in_no_time
async def test_the_beginning_is_written_even_if_nothing_is_added() -> None:
    store = LeaseStore()

    assert await record(Client(store), start=lambda: [7]).update(lambda _: None) == [7]
    assert stored(store) == "[7]"


@in_no_time
async def test_a_lease_that_is_there_already_keeps_what_others_wrote() -> None:
    store = LeaseStore()
    store.answer("POST", "", b'{"metadata":{"name":"record","annotations":{"owner":"platform"}}}')

    await record(Client(store)).update(with_number(1))

    assert store.stored["record"]["metadata"]["annotations"] == {"owner": "platform", ANNOTATION: "[1]"}


@in_no_time
async def test_an_update_without_a_conflict_is_one_request_and_nothing_to_write_is_none() -> None:
    store = LeaseStore()
    shared = record(Client(store))
    await shared.update(with_number(1))
    store.requests.clear()

    assert await shared.update(with_number(2)) == [1, 2]
    assert await shared.update(lambda _: None) == [1, 2]
    assert store.requests == ["PUT"]


@in_no_time
async def test_a_change_is_made_again_on_top_of_what_another_wrote() -> None:
    store = LeaseStore()
    here, there = record(Client(store)), record(Client(store))
    await here.update(with_number(1))
    await there.update(with_number(2))

    assert await here.update(with_number(3)) == [1, 2, 3]
    assert await there.read() == [1, 2, 3]


@in_no_time
async def test_many_at_once_lose_nothing() -> None:
    store = LeaseStore()
    records = [record(Client(store, delay=0.001 * (1 + number % 3))) for number in range(20)]

    await asyncio.gather(*(each.update(with_number(number)) for number, each in enumerate(records)))

    assert sorted(msgspec.json.decode(stored(store))) == list(range(20))


@in_no_time
async def test_one_record_makes_its_changes_one_after_another() -> None:
    store = LeaseStore()
    shared = record(Client(store, delay=0.01))

    await asyncio.gather(*(shared.update(with_number(number)) for number in range(5)))

    assert stored(store) == "[0,1,2,3,4]"
    assert store.requests == ["GET", "POST", "PUT", "PUT", "PUT", "PUT"]


@in_no_time
async def test_conflicts_without_end_are_an_error() -> None:
    store = LeaseStore()
    shared = record(Client(store))
    await shared.update(with_number(1))
    versions = itertools.count()

    def disturbed(numbers: Numbers) -> Numbers:
        store.edit("record", leaseTransitions=next(versions))
        return [*numbers, 2]

    with pytest.raises(ApiError, match="409 Conflict"):
        await shared.update(disturbed)

    assert next(versions) == MOST_CONFLICTS
    assert shared.last_error == "Lease tools/record: PUT record: 409 Conflict"


@in_no_time
async def test_after_an_answer_that_got_lost_the_document_is_read_again() -> None:
    client = Client(LeaseStore())
    shared = record(client)
    client.answers_get_lost = True
    with pytest.raises(ApiError):
        await shared.update(with_number(1))
    client.answers_get_lost = False

    assert await shared.update(lambda numbers: None if 1 in numbers else [*numbers, 1]) == [1]
    assert shared.last_error is None


@in_no_time
async def test_after_a_cancelled_update_the_document_is_read_again() -> None:
    client = Client(LeaseStore())
    shared = record(client)
    await shared.update(with_number(1))
    client.delay = 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):  # sent, and not yet answered
            await shared.update(with_number(2))

    assert await shared.update(with_number(3)) == [1, 2, 3]
    assert client.store.requests == ["GET", "POST", "PUT", "GET", "PUT"]


@in_no_time
async def test_reading_finds_nothing_where_nothing_was_written() -> None:
    store = LeaseStore()

    assert await record(Client(store)).read() is None
    assert store.requests == ["GET"]


@in_no_time
async def test_a_missing_right_is_named() -> None:
    shared = record(Client(LeaseStore(), refusal=FORBIDDEN))

    with pytest.raises(ApiError, match="403"):
        await shared.read()

    assert shared.last_error is not None
    assert "grant get, create and update on leases" in shared.last_error


@in_no_time
async def test_a_document_that_cannot_be_read_is_begun_anew_and_that_is_said() -> None:
    store = LeaseStore()
    await record(Client(store)).update(with_number(1))
    store.edit("record", annotations={ANNOTATION: "[1, "})
    shared = record(Client(store), start=lambda: [7])

    assert await shared.read() is None
    assert shared.last_error is not None
    assert shared.last_error.startswith("Lease tools/record: annotation kubewitness/failed-jobs cannot be read (")
    assert await shared.update(lambda _: None) == [7]
    assert stored(store) == "[7]"

    await shared.update(with_number(8))
    assert shared.last_error is None


@pytest.mark.parametrize("damage", ["edited", "removed", "deleted"])
def test_what_is_damaged_under_its_writer_goes_on_as_it_was(damage: str) -> None:
    @in_no_time
    async def scenario() -> None:
        store = LeaseStore()
        shared = record(Client(store), start=lambda: [7])
        await shared.update(with_number(8))
        if damage == "deleted":
            del store.stored["record"]
        else:
            store.edit("record", annotations={ANNOTATION: "no"} if damage == "edited" else {})

        assert await shared.update(with_number(9)) == [7, 8, 9]
        assert stored(store) == "[7,8,9]"

    scenario()


@pytest.mark.parametrize("call", ["read", "update", "update without a look"])
def test_what_a_later_program_wrote_stays_as_it_is(call: str) -> None:
    @in_no_time
    async def scenario() -> None:
        store = LeaseStore()
        shared = record(Client(store))
        await shared.update(with_number(1))
        newer = shared if call == "update without a look" else record(Client(store))
        store.edit("record", annotations={ANNOTATION: "newer"})

        for _ in range(2):
            with pytest.raises(ApiError, match="was written by a newer kubewitness: it has version 2"):
                await (newer.read() if call == "read" else newer.update(with_number(2)))

            assert stored(store) == "newer"
            assert newer.last_error is not None
            assert newer.last_error.startswith(
                "Lease tools/record: annotation kubewitness/failed-jobs was written by a"
            )

        store.edit("record", annotations={ANNOTATION: "[5]"})
        assert await newer.update(with_number(6)) == [5, 6]

    scenario()


@in_no_time
async def test_reading_forgets_what_was_seen_before() -> None:
    store = LeaseStore()
    shared = record(Client(store), start=lambda: [7])
    await shared.update(with_number(8))
    del store.stored["record"]

    assert await shared.read() is None
    assert await shared.update(with_number(9)) == [7, 9]


@in_no_time
async def test_a_change_that_fails_changes_nothing() -> None:
    store = LeaseStore()
    shared = record(Client(store))
    await shared.update(with_number(1))

    with pytest.raises(ZeroDivisionError):
        await shared.update(lambda _: [1 // 0])

    assert await shared.update(with_number(2)) == [1, 2]
