"""Every failed Job is told, and told once, whatever happens to those who tell."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.core.claims import (
    LATE,
    MOST_CLAIMS,
    MOST_LIMITS,
    SIZE_LIMIT,
    Claim,
    NewerVersionError,
    Record,
    baseline,
    claim,
    decode,
    encode,
    give_up,
    held_by,
    limit_key,
    limited,
    orphans,
    pruned,
    settle,
    status,
    take_over,
    with_limits,
)

NOW = 1_790_000_000
HOUR = 3600
ANNOTATIONS_LIMIT = 256 * 1024


def uid(number: int) -> str:
    return str(uuid.UUID(int=number, version=4))


def claimed(number: int, *, by: str = "a", failed_at: int = NOW, at: int = NOW) -> Claim:
    return Claim(uid=uid(number), by=by, namespace="shop", name=f"job-{number}", failed_at=failed_at, at=at)


def told(*failures: tuple[int, int]) -> Record:
    """Return a record in which these failures (number, second) went the whole way."""
    record, won = claim(Record(), [claimed(number, failed_at=second) for number, second in failures])
    return settle(record, won)


def status_of(record: Record, number: int, failed_at: int = NOW, now: int = NOW) -> str:
    return status(record, uid(number), failed_at, HOUR, now)


def test_a_failure_is_new_then_claimed_then_told() -> None:
    record = Record()
    before = status_of(record, 1)
    record, won = claim(record, [claimed(1)])
    during = status_of(record, 1)
    record = settle(record, won)

    assert (before, during, status_of(record, 1)) == ("new", "claimed", "told")
    assert status_of(record, 2) == "new"


def test_what_failed_too_long_ago_is_old_unless_it_is_claimed_already() -> None:
    record, _ = claim(Record(), [claimed(1, failed_at=NOW - HOUR - 1)])

    assert status_of(record, 1, NOW - HOUR - 1) == "claimed"
    assert status_of(record, 2, NOW - HOUR - 1) == "old"
    assert status_of(record, 2, NOW - HOUR) == "new"


def test_a_failure_is_won_by_whoever_claims_it_first() -> None:
    record, first = claim(Record(), [claimed(1, by="a")])
    record, second = claim(record, [claimed(1, by="b"), claimed(2, by="b"), claimed(2, by="b")])

    assert (first, second) == ((uid(1),), (uid(2),))
    assert [each.by for each in record.claims] == ["a", "b"]


def test_what_was_told_is_not_won_again() -> None:
    record, won = claim(told((1, NOW)), [claimed(1)])

    assert won == ()
    assert record.claims == ()


def test_claims_that_find_no_room_are_not_won() -> None:
    record, won = claim(Record(), [claimed(number) for number in range(MOST_CLAIMS + 1)])
    _, later = claim(record, [claimed(MOST_CLAIMS)])

    assert len(won) == len(record.claims) == MOST_CLAIMS
    assert later == ()


def test_settling_what_nobody_claimed_changes_nothing() -> None:
    record = told((1, NOW))

    assert settle(record, [uid(2)]) == record


def test_a_replica_finds_its_open_claims_again() -> None:
    record, _ = claim(Record(), [claimed(1, by="a"), claimed(2, by="b")])

    assert [each.uid for each in held_by(record, "a")] == [uid(1)]


def test_claims_older_than_the_grace_are_orphans() -> None:
    record, _ = claim(Record(), [claimed(1, at=NOW), claimed(2, at=NOW + 1)])

    assert [each.uid for each in orphans(record, NOW + 61, grace=60)] == [uid(1)]


def test_an_orphan_is_taken_over_once() -> None:
    record, _ = claim(Record(), [claimed(1, by="a")])
    seen = orphans(record, NOW + 100, grace=60)
    record, first = take_over(record, seen, "b", NOW + 100)
    record, second = take_over(record, seen, "c", NOW + 100)

    assert (first, second) == ((uid(1),), ())
    assert [(each.by, each.at) for each in record.claims] == [("b", NOW + 100)]
    assert orphans(record, NOW + 101, grace=60) == ()


def test_what_was_settled_meanwhile_is_not_taken_over() -> None:
    record, won = claim(Record(), [claimed(1)])
    seen = orphans(record, NOW + 100, grace=60)

    assert take_over(settle(record, won), seen, "b", NOW + 100)[1] == ()


def test_what_is_given_up_is_taken_over_without_a_grace_by_anybody_once() -> None:
    record, _ = claim(Record(), [claimed(1, by="a"), claimed(2, by="a"), claimed(3, by="b")])

    record, given = give_up(record, held_by(record, "a")[:1])

    assert given == (uid(1),)
    assert [each.uid for each in held_by(record, "a")] == [uid(2)]
    free = orphans(record, NOW, grace=60)
    assert [each.uid for each in free] == [uid(1)]
    assert status_of(record, 1) == "claimed"
    record, first = take_over(record, free, "a", NOW)
    assert (first, take_over(record, free, "b", NOW)[1]) == ((uid(1),), ())
    assert [each.uid for each in held_by(record, "a")] == [uid(1), uid(2)]


def test_what_was_settled_or_taken_over_meanwhile_is_not_given_up() -> None:
    seen, _ = claim(Record(), [claimed(1), claimed(2)])
    record, _ = take_over(settle(seen, [uid(1)]), seen.claims, "b", NOW + 100)

    assert give_up(record, seen.claims) == (record, ())


def test_what_is_given_up_outlives_the_marks_of_its_time() -> None:
    record, _ = claim(told((1, NOW), (2, NOW + 1), (3, NOW + 2)), [claimed(9, failed_at=NOW - 1)])
    record = pruned(record, NOW + 2 + LATE, HOUR, limit=1)

    record, _ = give_up(record, record.claims)

    assert record.since > NOW - 1
    assert status_of(record, 9, NOW - 1) == "claimed"


def test_the_first_start_tells_nothing_of_what_had_failed() -> None:
    failures = [(uid(number), NOW - age) for number, age in enumerate((0, 0, 1, LATE, LATE + 1, 90_000))]

    record = baseline(failures, NOW)

    assert {status(record, each, second, HOUR, NOW) for each, second in failures} == {"told"}
    assert sum(map(len, record.told.values())) == 4


def test_after_the_first_start_what_comes_to_light_late_is_new() -> None:
    record = baseline([(uid(1), NOW)], NOW)

    assert status_of(record, 2, NOW) == "new"
    assert status_of(record, 2, NOW - LATE) == "new"
    assert status_of(record, 2, NOW - LATE - 1) == "told"


def test_where_nothing_had_failed_everything_is_new_whatever_the_clocks_say() -> None:
    assert status_of(baseline([], NOW), 1, NOW - 300) == "new"


def test_the_first_start_marks_no_more_than_fits() -> None:
    crowd = [(uid(number), NOW - number // 10) for number in range(100)]

    record = baseline(crowd, NOW, limit=25)

    assert sum(map(len, record.told.values())) == 20
    assert {status(record, each, second, HOUR, NOW) for each, second in crowd} == {"told"}


def test_a_crowd_in_the_newest_second_of_the_first_start_is_told_by_its_second() -> None:
    crowd = [(uid(number), NOW) for number in range(20_000)]

    record = baseline(crowd, NOW)

    assert status_of(record, 19_999) == "told"
    assert status_of(record, 20_001, NOW + 1) == "new"
    assert len(encode(record)) < 100


def test_marks_go_some_time_after_they_are_too_old_to_be_told() -> None:
    record = told((1, NOW - HOUR - LATE - 1), (2, NOW - HOUR - LATE), (3, NOW))

    record = pruned(record, NOW, HOUR)

    assert sorted(record.told) == [NOW - HOUR - LATE, NOW]
    assert record.since == NOW - HOUR - LATE
    assert status_of(record, 1, NOW - HOUR - LATE - 1) == "told"


def test_of_too_many_marks_whole_oldest_seconds_go() -> None:
    record = pruned(told((1, NOW - 9), (2, NOW - 2), (3, NOW - 2), (4, NOW)), NOW + LATE + 1, HOUR, limit=2)

    assert sorted(record.told) == [NOW]
    assert record.since == NOW - 1
    assert [status_of(record, n, at) for n, at in ((1, NOW - 9), (2, NOW - 2), (5, NOW - 1))] == ["told", "told", "new"]


def test_the_newest_second_stays_whatever_its_size() -> None:
    record = pruned(told(*((number, NOW) for number in range(10))), NOW, HOUR, limit=2)

    assert len(record.told[NOW]) == 10
    assert status_of(record, 11) == "new"


FUTURE = NOW + 30 * 24 * HOUR


def test_a_failure_of_the_future_at_the_first_start_makes_no_later_failure_look_told() -> None:
    failures = [(uid(1), NOW - 90_000), (uid(2), NOW), (uid(3), FUTURE)]

    record = baseline(failures, NOW)

    assert {status(record, each, second, HOUR, NOW) for each, second in failures} == {"told"}
    assert record.since == NOW - LATE
    assert status_of(record, 4, NOW + 1, NOW + 1) == "new"


def test_a_crowd_of_the_future_at_the_first_start_makes_no_later_failure_look_told() -> None:
    several = baseline([(uid(number), FUTURE + number) for number in range(100)], NOW, limit=25)
    at_once = baseline([(uid(number), FUTURE) for number in range(100)], NOW, limit=25)

    assert [status_of(each, 101, NOW + 1, NOW + 1) for each in (several, at_once)] == ["new", "new"]


def test_a_mark_of_the_future_makes_no_later_failure_look_told_when_marks_go() -> None:
    record = told((1, NOW - HOUR - LATE - 1), (2, NOW), (3, FUTURE), (4, FUTURE + 1), (5, FUTURE + 1))

    record = pruned(record, NOW, HOUR, limit=1)

    assert record.since <= NOW - LATE
    assert [status_of(record, n, at) for n, at in ((2, NOW), (3, FUTURE), (5, FUTURE + 1))] == ["told"] * 3
    assert status_of(record, 6, NOW + 1, NOW + 1) == "new"


def test_marks_of_the_future_that_have_no_room_go_and_do_not_take_the_present_with_them() -> None:
    record = pruned(Record(told=marked(9_000, FUTURE)), NOW, HOUR)

    assert len(encode(record)) <= SIZE_LIMIT
    assert record.since == NOW - LATE


def test_a_clock_that_is_far_ahead_makes_no_later_failure_look_told() -> None:
    record = pruned(told((1, NOW - 5), (2, NOW)), NOW + 1_000_000, HOUR)

    assert record.since == NOW - 4
    assert status_of(record, 3, NOW + 1, NOW + 1) == "new"


def test_a_claim_outlives_the_marks_of_its_time() -> None:
    record, _ = claim(told((1, NOW), (2, NOW + 1), (3, NOW + 2)), [claimed(9, failed_at=NOW - 1)])

    record = pruned(record, NOW + 2 + LATE, HOUR, limit=1)
    assert record.since > NOW - 1
    assert status_of(record, 9, NOW - 1) == "claimed"

    record = settle(record, [uid(9)])
    assert status_of(record, 9, NOW - 1) == "told"
    assert NOW - 1 not in record.told


def test_a_limit_withholds_the_next_finding_until_its_time() -> None:
    key = limit_key("on_job_failure:1", "CronJob/shop/nightly")
    record = with_limits(Record(), {key: NOW + 60})

    assert limited(record, key, NOW + 59)
    assert not limited(record, key, NOW + 60)
    assert not limited(record, limit_key("on_job_failure:1", "CronJob/shop/hourly"), NOW)


def test_keys_of_limits_keep_playbook_and_owner_apart() -> None:
    assert limit_key("ab", "c") != limit_key("a", "bc")


def test_limits_go_when_they_have_expired_and_the_next_to_expire_when_they_are_too_many() -> None:
    limits = {limit_key("playbook", str(number)): NOW + number for number in range(MOST_LIMITS + 10)}

    record = pruned(with_limits(Record(), limits), NOW, HOUR)

    assert min(record.limits.values()) == NOW + 10
    assert len(record.limits) == MOST_LIMITS


def crowded(length: int, marks: int) -> Record:
    """Return a record with as many claims and limits as there can be, all names of this length."""
    name = "n" * length
    claims = [
        Claim(uid=uid(number), by=name, namespace=name, name=name, failed_at=NOW, at=NOW)
        for number in range(MOST_CLAIMS)
    ]
    limits = {limit_key("playbook", str(number)): NOW + HOUR for number in range(MOST_LIMITS)}
    return Record(told=marked(marks), claims=tuple(claims), limits=limits)


def marked(count: int, newest: int = NOW) -> dict[int, tuple[str, ...]]:
    """Return marks of which each has its second for itself, which takes the most room."""
    return {newest - number: (f"{number:016x}",) for number in range(count)}


def test_four_thousand_marks_fit_well_into_the_annotations_of_an_object() -> None:
    record = pruned(Record(told=marked(4_100)), NOW, max_age=24 * HOUR)

    assert len(record.told) == 4_000
    assert len(encode(record)) < 0.6 * ANNOTATIONS_LIMIT


@pytest.mark.parametrize("length", [12, 63])
def test_marks_make_room_for_claims_and_limits(length: int) -> None:
    record = pruned(crowded(length, marks=4_000), NOW, max_age=24 * HOUR)

    assert len(record.claims) == MOST_CLAIMS
    assert len(record.told) > 1_000
    assert len(encode(record)) <= SIZE_LIMIT < 0.9 * ANNOTATIONS_LIMIT


def test_a_record_is_read_as_it_was_written() -> None:
    record, _ = claim(with_limits(told((1, NOW), (2, NOW), (3, NOW + 1)), {"0" * 16: NOW}), [claimed(4)])

    assert decode(encode(record)) == record


def test_equal_records_are_written_alike() -> None:
    assert encode(told((1, NOW), (2, NOW + 1))) == encode(told((2, NOW + 1), (1, NOW)))


def test_fields_of_later_programs_are_skipped() -> None:
    document = {"version": 1, "since": 5, "new": {"a": [1]}, "claims": [{**msgspec.to_builtins(claimed(1)), "x": 1}]}

    assert decode(msgspec.json.encode(document)) == Record(since=5, claims=(claimed(1),))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b'"told"',
        b"{",
        b'{"version": 0}',
        b'{"version": "2"}',
        b'{"version": 1e300}',
        b'{"since": "yesterday"}',
        b'{"since": -1}',
        b'{"since": 1e300}',
        b'{"since": 99999999999999999999}',
        b'{"told": []}',
        b'{"told": {"soon": []}}',
        b'{"told": {"5": "0123"}}',
        b'{"told": {"5": [5]}}',
        b'{"told": {"5": ["0123456789abcdef0"]}}',
        b'{"claims": [{}]}',
        b'{"claims": {"uid": 5}}',
        b'{"limits": {"a": null}}',
        b'{"told": {"5": ["\xff"]}}',
        b'{"x": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_record_is_an_error(document: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        decode(document)

    assert not isinstance(refused.value, NewerVersionError)


@pytest.mark.parametrize("more", [b"", b', "told": ["new"]', b', "since": "2030-01-01T00:00:00Z", "claims": null'])
def test_what_a_later_program_wrote_is_told_from_rubbish(more: bytes) -> None:
    with pytest.raises(NewerVersionError, match="version 2, this program knows 1"):
        decode(b'{"version": 2' + more + b"}")


REPLICA = st.sampled_from([0, 0, 0, 1, 1, 2])


@dataclass
class Replica:
    """A process that tells failures; `journal` is its disk."""

    name: str
    up: bool = False
    leading: bool = True
    seen: int = 0
    record: Record = field(default_factory=Record)
    telling: dict[str, int] = field(default_factory=dict)
    committed: set[str] = field(default_factory=set)
    journal: set[str] = field(default_factory=set)


class Replicas(RuleBasedStateMachine):
    """Replicas that crash, stay away, restart, believe to lead (also several at once) and look at stale records.

    What lives acts within the grace: time does not pass it while a claim is in hand.
    """

    GRACE = 60
    MAX_AGE = 600
    LIMIT: ClassVar[int] = 4
    LATENESS: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.failures: list[tuple[str, int]] = []
        self.replicas = [Replica(name) for name in "abc"]
        self.record: Record | None = None
        self.ignored: set[str] = set()
        self.told: dict[str, int] = {}
        self.settled: set[str] = set()
        self.twice: dict[str, int] = {}

    def fail(self, late: int) -> None:
        number = len(self.failures)
        self.failures.append((uid(number), self.now - min(late, self.LATENESS)))

    @initialize(count=st.integers(0, 3), live=st.integers(0, 3))
    def some_failures_are_older_than_the_first_start(self, count: int, live: int) -> None:
        for number in range(count):
            self.fail(late=number)
        for replica in self.replicas[:live]:
            self.start(replica)

    @rule(late=st.integers(0, 5), noticed=st.booleans())
    def a_job_fails(self, late: int, noticed: bool) -> None:
        self.fail(late)
        for replica in self.replicas if noticed else ():
            self.relist(replica)

    @rule(seconds=st.sampled_from([1, 1, 61, 700]))
    def time_passes(self, seconds: int) -> None:
        busy = [at for replica in self.replicas if replica.up for at in replica.telling.values()]
        if not busy or self.now + seconds - min(busy) <= self.GRACE:
            self.now += seconds

    @rule(number=REPLICA)
    def starts(self, number: int) -> None:
        self.start(self.replicas[number])

    def start(self, replica: Replica) -> None:
        if replica.up:
            return
        replica.up, replica.telling, replica.committed = True, {}, set()
        replica.seen = len(self.failures)
        if self.record is None:
            self.record = baseline(self.failures, self.now)
            self.ignored = {uid for uid, _ in self.failures}
        replica.record = self.record

    @rule(number=REPLICA)
    def crashes(self, number: int) -> None:
        self.replicas[number].up = False

    @rule(number=REPLICA, leads=st.booleans())
    def wins_or_loses(self, number: int, leads: bool) -> None:
        self.replicas[number].leading = leads

    @rule(number=REPLICA)
    def relists(self, number: int) -> None:
        self.relist(self.replicas[number])

    def relist(self, replica: Replica) -> None:
        replica.seen = len(self.failures)

    @rule(number=REPLICA)
    def looks_at_the_record(self, number: int) -> None:
        self.look(self.replicas[number])

    def look(self, replica: Replica) -> None:
        if replica.up and self.record is not None:
            replica.record = self.record

    @precondition(lambda self: self.record is not None)
    @rule(number=REPLICA, most=st.integers(1, 4), answered=st.booleans())
    def claims_some(self, number: int, most: int, answered: bool) -> None:
        self.claim_some(self.replicas[number], most, answered)

    def claim_some(self, replica: Replica, most: int, answered: bool) -> None:
        if not (replica.up and replica.leading):
            return
        assert self.record is not None
        known = sorted(self.failures[: replica.seen], key=lambda failure: failure[1])
        new = [each for each in known if status(replica.record, *each, self.MAX_AGE, self.now) == "new"]
        wanted = [
            Claim(uid=uid, by=replica.name, namespace="", name="", failed_at=second, at=self.now)
            for uid, second in new[:most]
        ]
        record, won = claim(self.record, wanted)
        self.record = pruned(record, self.now, self.MAX_AGE, self.LIMIT)
        if answered:
            replica.record = self.record
            replica.telling.update(dict.fromkeys(won, self.now))

    @rule(number=REPLICA, most=st.integers(1, 4), settled=st.booleans(), crashed=st.booleans())
    def tells_some(self, number: int, most: int, settled: bool, crashed: bool) -> None:
        replica = self.replicas[number]
        if self.record is not None:
            self.claim_some(replica, most, answered=True)
            self.commit(replica)
        if settled:
            self.settle(replica)
        replica.up = replica.up and not crashed

    @rule(number=REPLICA)
    def commits(self, number: int) -> None:
        self.commit(self.replicas[number])

    def commit(self, replica: Replica) -> None:
        for uid in replica.telling if replica.up else ():
            if uid not in replica.committed:
                assert uid not in self.settled
                self.told[uid] = self.told.get(uid, 0) + 1
                replica.committed.add(uid)
                replica.journal.add(uid)

    @rule(number=REPLICA)
    def settles(self, number: int) -> None:
        self.settle(self.replicas[number])

    def settle(self, replica: Replica) -> None:
        if not replica.up or self.record is None:
            return
        self.record = pruned(settle(self.record, replica.committed), self.now, self.MAX_AGE, self.LIMIT)
        self.settled |= replica.committed
        for uid in replica.committed:
            replica.telling.pop(uid, None)
        replica.committed = set()

    @rule(number=REPLICA)
    def completes_what_it_left_open(self, number: int) -> None:
        self.complete(self.replicas[number])

    def complete(self, replica: Replica) -> None:
        """Settle what the journal has, tell the rest: after a restart, or an answer that never came."""
        if not replica.up or self.record is None:
            return
        for each in held_by(self.record, replica.name):
            # By now others may have taken it over; who comes back after the grace renews the claim first.
            self.record, won = take_over(self.record, [each], replica.name, self.now)
            if won and each.uid not in replica.telling:
                replica.telling[each.uid] = self.now
                if each.uid in replica.journal:
                    replica.committed.add(each.uid)

    @rule(number=REPLICA)
    def gives_up_what_it_does_not_tell(self, number: int) -> None:
        self.leave(self.replicas[number])

    def leave(self, replica: Replica) -> None:
        """Leave to the leader what the journal neither has nor is about to have; what it has is to be settled."""
        if not replica.up or replica.leading or self.record is None:
            return
        left = [each for each in held_by(replica.record, replica.name) if each.uid not in replica.telling]
        self.record, _ = give_up(self.record, [each for each in left if each.uid not in replica.journal])
        self.record, ours = take_over(self.record, left, replica.name, self.now)
        replica.telling.update(dict.fromkeys(ours, self.now))
        replica.committed.update(ours)
        replica.record = self.record

    @precondition(lambda self: self.failures)
    @rule(number=REPLICA, heir=REPLICA, most=st.integers(1, 4), told=st.booleans(), killed=st.booleans())
    def loses_the_lead_to_another(self, number: int, heir: int, most: int, told: bool, killed: bool) -> None:
        """Be stopped amid the telling, perhaps with the loss of all that was in memory."""
        replica, other = self.replicas[number], self.replicas[heir]
        self.lead(replica)
        self.claim_some(replica, most, answered=True)
        if told:
            self.commit(replica)
        if killed:
            replica.up = False
            self.start(replica)
        replica.leading = False
        self.leave(replica)
        self.lead(other)
        self.adopt(other)

    def lead(self, replica: Replica) -> None:
        self.start(replica)
        replica.leading = True
        self.look(replica)

    @rule(number=REPLICA)
    def takes_over(self, number: int) -> None:
        self.adopt(self.replicas[number])

    def adopt(self, replica: Replica) -> None:
        if not (replica.up and replica.leading) or self.record is None:
            return
        held = held_by(replica.record, replica.name)
        seen = [each for each in orphans(replica.record, self.now, self.GRACE) if each not in held]
        before = {each.uid: each for each in self.record.claims}
        self.record, won = take_over(self.record, seen, replica.name, self.now)
        for uid in won:
            owner = next(each for each in self.replicas if each.name == before[uid].by)
            assert not owner.up or uid not in owner.telling
            assert before[uid].at or uid not in owner.journal, "what was told is not given up"
            if uid in owner.journal:
                self.twice[uid] = self.twice.get(uid, 0) + 1
            replica.telling[uid] = self.now
        replica.record = self.record

    @invariant()
    def nothing_is_told_twice_unless_its_teller_was_away(self) -> None:
        for uid, times in self.told.items():
            assert times <= 1 + self.twice.get(uid, 0)

    @invariant()
    def nothing_is_told_that_failed_before_the_first_start(self) -> None:
        assert self.ignored.isdisjoint(self.told)

    def teardown(self) -> None:
        """Let one replica live, and the others stay away: it tells what is still untold."""
        survivor, *others = self.replicas
        for each in others:
            each.up = False
        self.start(survivor)
        survivor.leading = True
        self.relist(survivor)
        self.work(survivor)
        self.now += self.GRACE + 1
        self.work(survivor)
        self.check()

    def check(self) -> None:
        """All that was due is told."""
        assert self.record is not None
        assert self.record.claims == ()
        for uid, second in self.failures:
            is_due = uid not in self.ignored and second >= self.now - self.MAX_AGE
            assert uid in self.told or not is_due
        self.nothing_is_told_twice_unless_its_teller_was_away()

    def work(self, replica: Replica) -> None:
        for _ in range(len(self.failures) + 1):
            self.look(replica)
            self.complete(replica)
            self.adopt(replica)
            self.claim_some(replica, 4, answered=True)
            self.commit(replica)
            self.settle(replica)


class AllComeBack(Replicas):
    """The same, but in the end all are back at once, and no grace is waited for."""

    def teardown(self) -> None:
        """Let one replica lead, and the others follow: it tells what they left untold."""
        leader = self.replicas[0]
        for each in self.replicas:
            each.up = False
            each.leading = each is leader
            self.start(each)
            self.relist(each)
            self.leave(each)
            self.settle(each)
        self.work(leader)
        self.check()


class LateFailures(Replicas):
    """The same, with failures that come to light late, and room for their marks."""

    LIMIT = 1_000
    LATENESS = 5


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(max_examples=150, stateful_step_count=40)
TestAllComeBack = AllComeBack.TestCase
TestAllComeBack.settings = settings(max_examples=100, stateful_step_count=40)
TestLateFailures = LateFailures.TestCase
TestLateFailures.settings = settings(max_examples=100, stateful_step_count=40)
