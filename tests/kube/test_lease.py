"""Of all candidates one leads, however the API server and the network behave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from app.kube.errors import ApiError
from app.kube.lease import Election, Terms
from tests.kube.lease_store import Client, LeaseStore, in_no_time

STARTED = datetime(2026, 3, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
FORBIDDEN = ApiError("PUT leases: 403 Forbidden: User cannot", status=403, reason="Forbidden")
UNAVAILABLE = ApiError("GET leases: 503 ServiceUnavailable", status=503)
REFUSED = ApiError("GET leases: connection refused")


def now() -> float:
    return asyncio.get_running_loop().time()


def wall() -> datetime:
    return STARTED + timedelta(seconds=now())


def election(api: Client, identity: str = "a", *, random: float = 0.5, offset: float = 0.0) -> Election:
    """Return a candidate; its clock shows `offset` seconds more than the others'."""
    terms = Terms(clock=lambda: now() + offset, wall=wall, random=lambda: random)
    return Election(api, namespace="tools", name="leader", identity=identity, terms=terms)


@contextlib.asynccontextmanager
async def running(*elections: Election) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run()) for each in elections]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(each is None or isinstance(each, asyncio.CancelledError) for each in ended), ended


def held(by: str = "b", **spec: Any) -> LeaseStore:
    """Return a store whose Lease somebody holds."""
    store = LeaseStore()
    document = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": by, **spec}}
    store.answer("POST", "", msgspec.json.encode(document))
    store.requests.clear()
    return store


@in_no_time
async def test_the_first_candidate_makes_the_lease_and_leads() -> None:
    store = LeaseStore()
    candidate = election(Client(store))

    async with running(candidate):
        await candidate.wait_until_leading()

        assert candidate.leading
        assert candidate.holder == "a"
        assert candidate.last_error is None
        assert store.spec() == {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-03-01T12:00:00.000000Z",
            "renewTime": "2026-03-01T12:00:00.000000Z",
            "leaseTransitions": 0,
        }


@in_no_time
async def test_a_leader_renews_with_one_request_every_two_seconds() -> None:
    store = LeaseStore()
    candidate = election(Client(store))

    async with running(candidate):
        await candidate.wait_until_leading()
        await asyncio.sleep(7)

    assert store.requests == ["GET", "POST", "PUT", "PUT", "PUT"]
    assert store.spec()["renewTime"] > "2026-03-01T12:00:06"
    assert store.spec()["acquireTime"] == "2026-03-01T12:00:00.000000Z"


@in_no_time
async def test_what_others_wrote_into_the_lease_stays() -> None:
    store = held(by="", strategy="OldestEmulationVersion")
    store.edit("leader", annotations={"owner": "platform"})

    async with running(election(Client(store))):
        await asyncio.sleep(5)

    assert store.stored["leader"]["metadata"]["annotations"] == {"owner": "platform"}
    assert store.spec()["strategy"] == "OldestEmulationVersion"


@in_no_time
async def test_of_many_candidates_one_leads() -> None:
    store = LeaseStore()
    candidates = [election(Client(store, delay=0.01), name, random=0.1 * n) for n, name in enumerate("abcde")]

    async with running(*candidates):
        for _ in range(100):
            await asyncio.sleep(0.5)
            assert sum(each.leading for each in candidates) == 1
            assert {each.last_error for each in candidates} == {None}
    assert store.spec()["leaseTransitions"] == 0


@in_no_time
async def test_a_lease_is_taken_when_it_was_seen_unchanged_for_its_duration_whatever_the_clocks_of_machines_say() -> (
    None
):
    store = held(by="b", leaseDurationSeconds=15, renewTime="1999-01-01T00:00:00.000000Z", leaseTransitions=4)
    candidate = election(Client(store), offset=1_000_000, random=0)

    async with running(candidate):
        await asyncio.sleep(14.9)
        assert not candidate.leading
        await candidate.wait_until_leading()

    assert now() < 18
    assert store.spec()["leaseTransitions"] == 5


@in_no_time
async def test_a_lease_that_changes_is_not_taken() -> None:
    store = held(by="b", leaseDurationSeconds=15)
    candidate = election(Client(store))

    async with running(candidate):
        for beat in range(20):
            await asyncio.sleep(10)
            store.edit("leader", leaseTransitions=beat)

        assert not candidate.leading
        assert candidate.holder == "b"


@in_no_time
async def test_the_duration_in_the_lease_counts() -> None:
    candidate = election(Client(held(by="b", leaseDurationSeconds=60)), random=0)

    async with running(candidate):
        await candidate.wait_until_leading()

    assert 60 <= now() < 63


@in_no_time
async def test_a_duration_that_no_replica_would_write_is_not_waited_for() -> None:
    candidate = election(Client(held(by="b", leaseDurationSeconds=2**31 - 1)), random=0)

    async with running(candidate):
        await candidate.wait_until_leading()

    assert 60 <= now() < 63


@in_no_time
async def test_as_many_transitions_as_can_be_counted_keep_nobody_from_leading() -> None:
    store = held(by="", leaseTransitions=2**31 - 1)
    candidate = election(Client(store))

    async with running(candidate):
        await candidate.wait_until_leading()

    assert store.spec()["leaseTransitions"] == 2**31 - 1


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": None}, {"holderIdentity": "", "leaseDurationSeconds": 500}])
def test_a_lease_that_nobody_holds_is_taken_at_once(spec: dict[str, Any]) -> None:
    @in_no_time
    async def scenario() -> None:
        store = held(by="")
        store.stored["leader"]["spec"] = spec or None
        candidate = election(Client(store))

        async with running(candidate):
            await candidate.wait_until_leading()

        assert now() < 1

    scenario()


@in_no_time
async def test_a_leader_that_comes_back_under_its_identity_goes_on_at_once() -> None:
    store = held(by="a", acquireTime="2026-02-01T00:00:00.000000Z", leaseTransitions=3)
    candidate = election(Client(store), "a")

    async with running(candidate):
        await candidate.wait_until_leading()

    assert now() < 1
    assert store.spec()["acquireTime"] == "2026-02-01T00:00:00.000000Z"
    assert store.spec()["leaseTransitions"] == 3


def hang(client: Client) -> None:
    client.hangs = True


def refuse(error: ApiError) -> Callable[[Client], None]:
    def cut(client: Client) -> None:
        client.refusal = error

    return cut


@pytest.mark.parametrize("cut", [hang, refuse(REFUSED), refuse(UNAVAILABLE), refuse(FORBIDDEN)])
def test_a_leader_that_cannot_renew_stops_before_another_can_lead(cut: Callable[[Client], None]) -> None:
    @in_no_time
    async def scenario() -> None:
        store = LeaseStore()
        lost = Client(store)
        leader, other = election(lost, "a"), election(Client(store), "b", random=0, offset=-500)
        async with running(leader):
            await leader.wait_until_leading()
            async with running(other):
                await asyncio.sleep(3)
                cut(lost)
                await leader.wait_until_lost()
                ended = now()
                assert not other.leading

                await other.wait_until_leading()
                assert not leader.leading
                assert ended <= 2 + 10 + 0.1
                assert now() >= ended + 4
                assert leader.last_error

    scenario()


@in_no_time
async def test_a_short_failure_does_not_cost_the_lead() -> None:
    client = Client(LeaseStore())
    candidate = election(client)

    async with running(candidate):
        await candidate.wait_until_leading()
        lost = asyncio.create_task(candidate.wait_until_lost())
        client.refusal = UNAVAILABLE
        await asyncio.sleep(8)
        client.refusal = None
        await asyncio.sleep(30)

        assert candidate.leading
        assert not lost.done()
        lost.cancel()


@in_no_time
async def test_one_lost_answer_does_not_cost_the_lead() -> None:
    client = Client(LeaseStore())
    candidate = election(client)

    async with running(candidate):
        await candidate.wait_until_leading()
        client.hangs = True
        await asyncio.sleep(3)
        client.hangs = False  # what was sent by now is never answered
        lost = asyncio.create_task(candidate.wait_until_lost())
        await asyncio.sleep(20)
        assert not lost.done()
        lost.cancel()

        client.answers_get_lost = True
        await asyncio.sleep(5)
        client.answers_get_lost = False
        await asyncio.sleep(5)
        assert candidate.leading


@in_no_time
async def test_a_lead_that_was_lost_is_won_again() -> None:
    client = Client(LeaseStore())
    candidate = election(client)

    async with running(candidate):
        await candidate.wait_until_leading()
        client.refusal = REFUSED
        await candidate.wait_until_lost()
        assert candidate.last_error == "Lease tools/leader: GET leases: connection refused"

        client.refusal = None
        await candidate.wait_until_leading()
        assert candidate.last_error is None


@in_no_time
async def test_a_busy_event_loop_does_not_prolong_a_lead() -> None:
    late = 0.0
    terms = Terms(clock=lambda: now() + late, wall=wall)
    candidate = Election(Client(LeaseStore()), namespace="tools", name="leader", identity="a", terms=terms)

    async with running(candidate):
        await candidate.wait_until_leading()
        late = 10.0
        assert not candidate.leading


@in_no_time
async def test_a_lead_counts_from_when_the_renewal_was_sent() -> None:
    client = Client(LeaseStore(), delay=1.5)
    candidate = election(client)

    async with running(candidate):
        await candidate.wait_until_leading()
        # 1.5 s until it was known that there is no Lease; then one was sent, and came back after 3 s.
        client.hangs = True
        await candidate.wait_until_lost()

    assert now() == pytest.approx(1.5 + 10, abs=0.1)


@in_no_time
async def test_a_leader_that_sees_another_stops_at_once() -> None:
    store = LeaseStore()
    candidate = election(Client(store))

    async with running(candidate):
        await candidate.wait_until_leading()
        store.edit("leader", holderIdentity="b")
        await candidate.wait_until_lost()

        assert now() <= 2.1
        assert candidate.holder == "b"
        assert candidate.last_error is None


@in_no_time
async def test_a_lease_that_is_deleted_is_made_again_by_its_leader() -> None:
    store = LeaseStore()
    candidate = election(Client(store))

    async with running(candidate):
        await candidate.wait_until_leading()
        store.stored.clear()
        await asyncio.sleep(3)

        assert candidate.leading
        assert store.spec()["holderIdentity"] == "a"


@in_no_time
async def test_a_released_lease_is_another_s_without_waiting() -> None:
    store = LeaseStore()
    leader, other = election(Client(store), "a"), election(Client(store), "b", random=1)

    async with running(leader):
        await leader.wait_until_leading()
        async with running(other):
            await asyncio.sleep(20)
            await leader.release()
            released = now()
            assert not leader.leading
            assert store.spec()["holderIdentity"] == ""

            await other.wait_until_leading()
            assert now() <= released + 2 * 2.2 + 0.1
            assert store.spec()["leaseTransitions"] == 1


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 2.0), (1.0, 4.4)])
def test_candidates_ask_at_different_times(random: float, seconds: float) -> None:
    @in_no_time
    async def scenario() -> None:
        store = held(by="b", leaseDurationSeconds=1_000)

        async with running(election(Client(store), random=random)):
            await asyncio.sleep(10 * seconds - 0.1)

        assert store.requests == ["GET"] * 10

    scenario()


@in_no_time
async def test_who_released_does_not_lead_again_and_ends() -> None:
    store = LeaseStore()
    client = Client(store, delay=0.5)
    candidate = election(client)
    run = asyncio.create_task(candidate.run())
    await candidate.wait_until_leading()
    await asyncio.sleep(2.2)  # a renewal is on its way, and slower than what comes later
    client.delay = 0.05

    release = asyncio.create_task(candidate.release())
    await candidate.wait_until_lost()
    won_again = asyncio.create_task(candidate.wait_until_leading())
    await release
    await run

    assert not candidate.leading
    assert not won_again.done()
    won_again.cancel()
    assert store.spec()["holderIdentity"] == ""


@in_no_time
async def test_who_steps_down_leaves_the_lead_to_another() -> None:
    store = LeaseStore()
    leader, other = election(Client(store), "a"), election(Client(store), "b", random=1)

    async with running(leader, other):
        await leader.wait_until_leading()
        await leader.step_down(30)
        assert not leader.leading
        await other.wait_until_leading()
        assert now() <= 2 * 2.2 + 0.1
        await asyncio.sleep(60)

        assert (leader.leading, leader.holder, leader.last_error) == (False, "b", None)


@in_no_time
async def test_who_steps_down_and_is_alone_leads_again_after_a_while() -> None:
    candidate = election(Client(LeaseStore()))

    async with running(candidate):
        await candidate.wait_until_leading()
        await candidate.step_down(30)
        await candidate.wait_until_leading()

    assert 30 <= now() < 35


@in_no_time
async def test_a_renewal_that_is_on_its_way_does_not_bring_the_lead_back_to_who_steps_down() -> None:
    client = Client(LeaseStore(), delay=0.5)
    candidate = election(client)

    async with running(candidate):
        await candidate.wait_until_leading()
        await asyncio.sleep(2.2)
        step = asyncio.create_task(candidate.step_down(30))
        await candidate.wait_until_lost()
        won_again = asyncio.create_task(candidate.wait_until_leading())
        await step

        assert not won_again.done()
        assert client.store.spec()["holderIdentity"] == ""
        won_again.cancel()


@in_no_time
async def test_a_fault_ends_neither_the_election_nor_at_once_the_lead() -> None:
    client = Client(LeaseStore())
    candidate = election(client)

    async with running(candidate):
        await candidate.wait_until_leading()
        answer = client.store.answer
        client.store.answer = broken  # type: ignore[method-assign]
        await asyncio.sleep(3)
        assert candidate.leading
        assert candidate.last_error == "Lease tools/leader: a fault that the log tells: ZeroDivisionError"
        await candidate.wait_until_lost()

        client.store.answer = answer  # type: ignore[method-assign]
        await candidate.wait_until_leading()
        assert candidate.last_error is None


def broken(method: str, path: str, body: bytes = b"") -> bytes:
    raise ZeroDivisionError


@in_no_time
async def test_releasing_what_another_holds_changes_nothing() -> None:
    store = held(by="b")

    await election(Client(store)).release()

    assert store.spec() == {"holderIdentity": "b"}


@in_no_time
async def test_what_cannot_be_released_does_not_keep_anybody() -> None:
    client = Client(LeaseStore())
    candidate = election(client)

    async with running(candidate):
        await candidate.wait_until_leading()
        client.hangs = True
        await candidate.release()

    assert now() <= 3.1
    assert not candidate.leading


@in_no_time
async def test_a_candidate_that_is_cancelled_does_not_lead() -> None:
    candidate = election(Client(LeaseStore()))

    async with running(candidate):
        await candidate.wait_until_leading()

    assert not candidate.leading
    await candidate.wait_until_lost()


@in_no_time
async def test_a_missing_right_is_named() -> None:
    candidate = election(Client(LeaseStore(), refusal=FORBIDDEN, refused=frozenset({"POST"})))

    async with running(candidate):
        await asyncio.sleep(1)

    assert candidate.last_error == (
        "Lease tools/leader: not allowed; grant get, create and update on leases (coordination.k8s.io) "
        "in namespace tools (PUT leases: 403 Forbidden: User cannot)"
    )


@pytest.mark.parametrize(
    "page",
    [
        b"<html>Bad Gateway</html>",
        b"",
        b"[]",
        b"null",
        b'{"metadata": {}}',
        b'{"metadata": {"resourceVersion": "5"}, "spec": {"holderIdentity": 5}}',
        b'{"metadata": {"resourceVersion": "5"}, "spec": []}',
        b'{"x": ' + b"[" * 100_000,
        b"\xff",
    ],
)
def test_an_answer_that_is_no_lease_is_an_error_that_passes(page: bytes) -> None:
    @in_no_time
    async def scenario() -> None:
        client = Client(held(by=""), page=page or b" ")
        candidate = election(client)

        async with running(candidate):
            await asyncio.sleep(1)
            assert candidate.last_error is not None
            assert "the answer is no Lease" in candidate.last_error
            assert not candidate.leading

            client.page = b""
            await candidate.wait_until_leading()

    scenario()


def test_an_empty_identity_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody leads"):
        Election(Client(LeaseStore()), namespace="tools", name="leader", identity="")


@pytest.mark.parametrize(("duration", "deadline", "period"), [(10, 10, 2), (15, 2.4, 2), (15, 10, 0)])
def test_terms_that_cannot_keep_the_promise_are_refused(duration: float, deadline: float, period: float) -> None:
    with pytest.raises(ValueError, match="lease_duration must be longer"):
        Terms(
            lease_duration=timedelta(seconds=duration),
            renew_deadline=timedelta(seconds=deadline),
            retry_period=timedelta(seconds=period),
        )


@in_no_time
async def test_times_are_utc_with_six_digits_and_durations_never_shorter_than_meant() -> None:
    store = LeaseStore()
    terms = Terms(lease_duration=timedelta(seconds=15.5), clock=now, wall=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    candidate = Election(Client(store), namespace="tools", name="leader", identity="a", terms=terms)

    async with running(candidate):
        await candidate.wait_until_leading()

    assert store.spec()["renewTime"] == "2026-01-01T00:00:00.000000Z"
    assert store.spec()["leaseDurationSeconds"] == 16
