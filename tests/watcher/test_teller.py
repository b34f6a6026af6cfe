"""Each failed Job is told once, whatever restarts, relists, other replicas and a broken network do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.core.claims import LATE, Record
from app.kube.errors import ApiError
from app.watcher import disk
from app.watcher.gatherings import AT_ONCE, MOST
from tests.store.observed import Observer, impatient, locked
from tests.watcher.tellers import (
    GRACE,
    HOUR,
    NOW,
    RATE_LIMITED,
    STEPS,
    Replica,
    Stored,
    at_work,
    candidate,
    claim_times,
    claimed,
    crash,
    documents,
    entries,
    record,
    rules,
    titles,
    waiting_for_the_disk,
)

FORBIDDEN = ApiError("PUT /leases: 403 Forbidden", status=403, reason="Forbidden")


@pytest.fixture
def stored() -> Stored:
    """A record that was begun before, in which nothing is told."""
    return Stored(record())


async def test_a_failure_is_told_with_its_finding_and_settled(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.teller.failed(candidate())
        await replica.told()

        assert titles(replica.journal.path) == [["Job import failed"]]
        assert (replica.results, replica.released) == (["told"], ["uid-import"])
        assert (replica.teller.waiting, replica.teller.waits_for("uid-import")) == (0, False)


async def test_it_is_told_once_however_often_it_is_named(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        for _ in range(3):
            replica.teller.failed(candidate())
        await replica.told()
        for _ in range(3):
            replica.teller.failed(candidate())
            await replica.looks()

        assert replica.entries == ["import"]
        assert replica.results == ["told"]


async def test_it_is_told_once_when_it_is_named_while_it_is_told(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.teller.failed(candidate())
        while replica.results != ["told"] or not replica.is_settled:
            replica.teller.failed(candidate())
            await asyncio.sleep(0)
        await replica.looks()

        assert replica.entries == ["import"]


async def test_a_restart_tells_nothing_twice(tmp_path: Path, stored: Stored) -> None:
    for _ in range(2):
        async with at_work(tmp_path, stored) as replica:
            replica.teller.failed(candidate(listed=True))
            await replica.until(lambda: not replica.teller.waiting and replica.is_settled)

    assert entries(replica.journal.path) == ["import"]
    assert replica.results == ["elsewhere"]


async def test_the_first_start_in_a_cluster_tells_nothing_of_the_past(tmp_path: Path) -> None:
    stored = Stored()
    async with at_work(tmp_path, stored, begin=False) as replica:
        replica.newest_too_old = NOW - 2 * HOUR
        for number in range(3):
            replica.teller.failed(candidate(f"before-{number}", age=100 * number, listed=True))
        replica.teller.failed(candidate("after", age=0))
        replica.begin()
        await replica.told()
        replica.teller.failed(candidate("before-1", age=100))
        await replica.looks()

        assert replica.entries == ["after"]
        assert sorted(replica.results) == ["before_first_start"] * 3 + ["told"]
        await replica.end()
        replica.begin()


async def test_a_job_whose_failure_lies_in_the_future_at_the_first_start_silences_nobody(tmp_path: Path) -> None:
    async with at_work(tmp_path, Stored(), begin=False) as replica:
        replica.teller.failed(candidate("wrong-clock", age=-30 * 86400, listed=True))
        with structlog.testing.capture_logs() as logs:
            replica.begin()
            await replica.until(lambda: replica.results == ["before_first_start"])
        replica.teller.failed(candidate("after", age=-1))
        await replica.told()

        assert replica.entries == ["after"]
        assert [each["since"] for each in logs if "begun" in each["event"]] == [int(NOW.timestamp()) - LATE]


async def test_a_record_that_takes_the_future_for_told_is_an_error_that_shows(tmp_path: Path) -> None:
    async with at_work(tmp_path, Stored(Record(since=int(NOW.timestamp()) + 3600))) as replica:
        await replica.looks()
        assert replica.teller.last_error is not None
        assert replica.teller.last_error.startswith("all that fails in the next 3600 s counts as told: a clock was")

        replica.now += HOUR
        await replica.looks()
        assert replica.teller.last_error is None


async def test_what_failed_before_is_told_where_another_replica_was_first_and_did_not_see_it(tmp_path: Path) -> None:
    stored = Stored()
    async with at_work(tmp_path, stored, begin=False) as replica:
        replica.teller.failed(candidate(listed=True))
        read = replica.shared.read

        async def read_too_early() -> Any:
            found = await read()
            replica.shared.read = read  # type: ignore[method-assign]
            stored.write(record())
            return found

        replica.shared.read = read_too_early  # type: ignore[method-assign]
        replica.begin()
        await replica.told()

        assert replica.entries == ["import"]


async def test_a_first_start_whose_answer_got_lost_is_one_all_the_same(tmp_path: Path) -> None:
    async with at_work(tmp_path, Stored(), begin=False) as replica:
        replica.shared.fail("update", 0, "after")
        replica.teller.failed(candidate("before", listed=True))
        replica.teller.failed(candidate("after", age=0))
        replica.begin()
        await replica.told()

        assert replica.entries == ["after"]


async def test_a_record_that_somebody_deletes_is_written_again_as_it_was(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.teller.failed(candidate())
        await replica.told()
        stored.document, stored.version = None, stored.version + 1
        await replica.looks()
        replica.teller.failed(candidate())
        await replica.looks()

        assert replica.entries == ["import"]


async def test_a_follower_waits_for_the_leader_and_lets_go_of_what_was_told(tmp_path: Path, stored: Stored) -> None:
    async with (
        at_work(tmp_path / "a", stored) as leader,
        at_work(tmp_path / "b", stored, identity="b") as follower,
    ):
        follower.leading = False
        follower.teller.failed(candidate())
        await follower.looks()
        assert (follower.teller.waits_for("uid-import"), follower.released) == (True, [])

        leader.teller.failed(candidate())
        await leader.told()
        await follower.looks()

        assert (leader.entries, follower.entries) == (["import"], [])
        assert (follower.teller.waiting, follower.released, follower.results) == (0, ["uid-import"], ["elsewhere"])
        assert (follower.gathering.begun, follower.shared.count("update")) == ([], 0)


async def test_a_follower_does_not_begin_the_record(tmp_path: Path) -> None:
    async with at_work(tmp_path, stored := Stored(), begin=False) as follower:
        follower.leading = False
        follower.teller.failed(candidate())
        follower.begin()
        await follower.looks()

        assert stored.record is None
        assert follower.teller.waits_for("uid-import")


async def test_who_begins_to_lead_tells_what_waits(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.leading = False
        replica.teller.failed(candidate())
        await replica.looks()

        replica.leading = True
        replica.teller.lead()
        await replica.told()

        assert replica.entries == ["import"]


@pytest.mark.parametrize(("update", "when"), STEPS)
@pytest.mark.parametrize("named", [True, False], ids=["the Job is still there", "the Job is gone"])
async def test_a_crash_at_any_step_is_made_up_for_at_the_next_start(
    tmp_path: Path, stored: Stored, update: int, when: str, named: bool
) -> None:
    await crash(tmp_path, stored, update, when)

    is_claimed = stored.record is not None and stored.record.claims
    async with at_work(tmp_path, stored, begin=False) as replica:
        if named:
            replica.teller.failed(candidate(listed=True))
        replica.begin()
        await replica.until(lambda: replica.is_settled and replica.shared.count("read") > 0)
        await replica.looks()

        assert replica.entries == (["import"] if named or is_claimed or update == 1 else [])
        assert replica.teller.waiting == 0


@pytest.mark.parametrize(("update", "when"), STEPS)
async def test_another_replica_takes_over_what_a_crash_left(
    tmp_path: Path, stored: Stored, update: int, when: str
) -> None:
    await crash(tmp_path / "a", stored, update, when)

    async with at_work(tmp_path / "b", stored, identity="b", begin=False) as other:
        other.teller.failed(candidate())
        other.now += GRACE
        other.begin()
        await other.until(lambda: other.is_settled and not other.teller.waiting)
        await other.looks()

        # Between commit and settlement nobody but the one who crashed knows that it was told.
        told = ["import"] if (update, when) != (1, "after") else []
        assert other.entries == told


async def test_the_log_says_what_was_told_and_what_was_taken_over(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with at_work(tmp_path, Stored(claimed(candidate(), by="b", at=NOW - HOUR))) as replica:
            await replica.told()
            (document,) = documents(replica.journal.path)

    said = {each["event"]: each for each in logs if each["log_level"] == "info"}
    who = {"uid": "uid-import", "namespace": "shop", "name": "import", "action": "tell", "log_level": "info"}
    assert said["claim taken over"] == {**who, "event": "claim taken over", "owner": "b"}
    told = {"event": "failed job told", "entry": document["id"], "findings": 1, "sinks": 1}
    assert said["failed job told"] == {**who, **told}


async def test_failures_that_are_too_old_are_counted(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.teller.too_old(2)

        assert replica.results == ["old", "old"]


async def test_a_claim_of_another_is_let_alone_for_a_minute(tmp_path: Path) -> None:
    async with at_work(tmp_path, stored := Stored(claimed(candidate(), by="z"))) as replica:
        replica.teller.failed(candidate())
        await replica.looks()
        assert (replica.entries, replica.teller.waits_for("uid-import")) == ([], True)

        replica.now += GRACE
        await replica.looks()
        await replica.told()

        assert replica.entries == ["import"]
        assert stored.record is not None
        assert stored.record.claims == ()


async def test_who_committed_and_comes_back_after_its_grace_settles_instead_of_telling_again(
    tmp_path: Path, stored: Stored
) -> None:
    await crash(tmp_path, stored, 1, "before")
    # Another took the claim over, and crashed too.
    stored.write(claimed(candidate(), by="b", at=NOW))

    async with at_work(tmp_path, stored, begin=False) as replica:
        replica.now += GRACE
        replica.begin()
        await replica.until(lambda: replica.is_settled)

        assert replica.entries == ["import"]


async def test_a_claim_that_another_takes_over_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    stored = Stored(claimed(candidate(), by="a", at=NOW - GRACE))
    async with at_work(tmp_path, stored) as replica:
        replica.shared.fail("update", 0, "before", lambda: stored.write(claimed(candidate(), by="b")))
        await replica.until(lambda: replica.shared.count("update") >= 1)
        await replica.looks()

        assert replica.entries == []
        assert replica.teller.waits_for("uid-import")


async def test_a_job_that_is_only_known_by_its_claim_is_gathered_by_name(tmp_path: Path) -> None:
    async with at_work(tmp_path, Stored(claimed(candidate(), by="a"))) as replica:
        await replica.told()

        asked = replica.gathering.candidates["import"]
        assert (asked.uid, asked.namespace, asked.name) == ("uid-import", "shop", "import")
        assert asked.failed_at == candidate().failed_at


@pytest.mark.parametrize("leading", [True, False])
async def test_a_job_that_is_gone_and_only_claimed_is_waited_for_once_claims_are_known(
    tmp_path: Path, leading: bool
) -> None:
    async with at_work(tmp_path, Stored(claimed(candidate(), by="z")), begin=False) as replica:
        replica.leading = leading
        replica.shared.fail("read", 0, "before")
        replica.begin()
        await replica.until(lambda: len(replica.rests) == 1)
        assert not replica.teller.recalled.is_set()

        await replica.teller.recalled.wait()

        assert replica.teller.waits_for("uid-import")


async def test_a_document_that_comes_after_the_claim_was_found_is_not_lost(tmp_path: Path) -> None:
    async with at_work(tmp_path, Stored(claimed(candidate(), by="z"))) as replica:
        await replica.looks()
        replica.teller.failed(candidate(document=b"x"))
        replica.now += GRACE
        await replica.looks()
        await replica.told()

        assert replica.gathering.candidates["import"].document == b"x"


async def test_the_record_forgets_what_is_too_old_to_come_back(tmp_path: Path) -> None:
    async with at_work(tmp_path, stored := Stored(record(candidate("old", age=3700)))) as replica:
        for number in (1, 2):
            replica.teller.failed(candidate(f"import-{number}"))
            await replica.told(number)

        assert stored.record is not None
        assert len(stored.record.told) == 1
        assert stored.record.since > candidate("old", age=3700).failed_at.timestamp()


@pytest.mark.parametrize("update", [0, 1], ids=["claim", "settlement"])
async def test_a_write_whose_answer_got_lost_is_found_out_about(tmp_path: Path, stored: Stored, update: int) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.shared.fail("update", update, "after")
        replica.teller.failed(candidate())
        await replica.told()
        await replica.looks()

        assert replica.entries == ["import"]
        assert len(replica.rests) == 1


async def test_of_two_that_believe_to_lead_one_tells_each(tmp_path: Path, stored: Stored) -> None:
    async with (
        at_work(tmp_path / "a", stored) as one,
        at_work(tmp_path / "b", stored, identity="b") as other,
    ):
        names = [f"import-{number}" for number in range(40)]
        for name in names:
            one.teller.failed(candidate(name))
            other.teller.failed(candidate(name))
        while one.teller.waiting or other.teller.waiting:
            await one.looks()
            await other.looks()

        assert sorted(one.entries + other.entries) == sorted(names)


async def test_what_the_disk_does_not_take_at_once_is_settled_when_it_has(tmp_path: Path, stored: Stored) -> None:
    observer = Observer()
    async with at_work(tmp_path, stored, journal={"observer": observer}) as replica:
        await impatient(replica.journal)
        with locked(replica.journal.path):
            replica.teller.failed(candidate())
            await observer.failure()
            assert replica.results == []
            assert replica.teller.waits_for("uid-import")
        replica.teller.lead()
        await replica.told()

        assert replica.entries == ["import"]


@asynccontextmanager
async def refusing(replica: Replica) -> AsyncIterator[None]:
    """Let the disk of a replica take nothing meanwhile, and wait until its journal knows."""
    await impatient(replica.journal)
    replica.journal._observer = observer = Observer()
    with locked(replica.journal.path):
        unwanted = asyncio.create_task(replica.journal.call(lambda _: None))
        await observer.failure()
        yield
    await unwanted


async def test_while_the_disk_refuses_nothing_is_claimed_and_that_is_said(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        async with refusing(replica):
            replica.teller.failed(candidate())
            await replica.looks()
            assert stored.record == record()
            assert replica.teller.last_error == "the journal cannot be written: database is locked"
            assert (replica.teller.is_able, replica.teller.hindered_since) == (False, NOW)
        replica.teller.lead()
        await replica.told()
        await replica.looks()

        assert replica.entries == ["import"]
        hindered: tuple[str | None, datetime | None] = (replica.teller.last_error, replica.teller.hindered_since)
        assert hindered == (None, None)


async def test_a_leader_whose_disk_refuses_for_long_gives_up_the_lead_once(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica, refusing(replica):
        await replica.looks()
        replica.now += timedelta(seconds=9)
        await replica.looks()
        assert replica.given_up == 0
        replica.now += timedelta(seconds=1)
        await replica.looks()
        await replica.looks()

        assert replica.given_up == 1


async def test_another_replica_tells_what_the_one_whose_disk_refuses_leaves(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path / "a", stored) as here, at_work(tmp_path / "b", stored, identity="b") as there:
        there.leading = False
        async with refusing(here):
            for replica in (here, there):
                replica.teller.failed(candidate())
            await here.looks()
            here.now += timedelta(seconds=10)
            await here.looks()
            there.leading = here.given_up == 1
            there.teller.lead()
            await there.told()
            await here.looks()

        assert (here.entries, there.entries) == ([], ["import"])
        assert here.results == ["elsewhere"]


async def test_what_waits_for_the_disk_of_a_leader_is_no_orphan_and_is_told_once(
    tmp_path: Path, stored: Stored
) -> None:
    async with at_work(tmp_path, stored) as replica:
        async with waiting_for_the_disk(replica):
            replica.now += timedelta(seconds=9)
            await replica.looks()
            assert claim_times(stored) == [NOW]
            for _ in range(3):
                replica.now, replica.leading = replica.now + timedelta(seconds=30), True
                await replica.looks()
                assert claim_times(stored) == [replica.now]
        with structlog.testing.capture_logs() as logs:
            replica.teller.lead()
            await replica.told()

        assert replica.entries == ["import"]
        assert [(each["event"], each["name"]) for each in logs if "told" in each["event"]] == [
            ("failed job told", "import")
        ]


async def test_a_disk_that_does_not_answer_holds_up_no_round_and_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "STALLED", 0.05)
    free = threading.Event()
    async with at_work(tmp_path, Stored(claimed(candidate(), by="a")), begin=False) as replica:
        call, asked = replica.journal.call, 0

        async def counted(work: Any) -> Any:
            nonlocal asked
            asked += 1
            return await call(work)

        replica.journal.call = counted  # type: ignore[method-assign]
        stalled = asyncio.create_task(call(lambda _: free.wait(10)))
        replica.begin()
        for _ in range(3):
            await replica.looks()
        assert replica.teller.last_error == "the journal's disk does not answer"
        assert (asked, replica.gathering.begun) == (1, [])

        free.set()
        await stalled
        replica.teller.lead()
        await replica.told()
        assert replica.entries == ["import"]


async def test_what_the_journal_has_no_room_for_is_told_when_it_has(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored, journal={"max_pending_bytes": 0}) as replica:
        replica.teller.failed(candidate())
        await replica.looks()
        assert stored.record == record()
        assert replica.teller.last_error == "the journal has no room for what waits to be written"

        replica.journal._max_pending_bytes = 1000000
        replica.teller.lead()
        await replica.told()

        assert replica.entries == ["import"]


async def test_what_the_journal_lost_is_told_again(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.journal.append, append = lose, replica.journal.append  # type: ignore[method-assign,assignment]
        replica.teller.failed(candidate())
        await replica.until(lambda: replica.shared.count("update") == 1)
        await replica.looks()
        assert (replica.entries, replica.results, replica.is_settled) == ([], [], False)

        replica.journal.append = append  # type: ignore[method-assign]
        replica.teller.lead()
        await replica.told()

        assert replica.entries == ["import"]


async def lose(_record: Any) -> Any:
    return "lost"


async def test_within_the_rate_limit_another_failure_of_the_same_owner_is_only_recorded(
    tmp_path: Path, stored: Stored
) -> None:
    async with at_work(tmp_path, stored, text=RATE_LIMITED) as replica:
        for number, name in enumerate(["night-1", "night-2", "other-1"]):
            owner = f"CronJob shop/{name.partition('-')[0]}"
            replica.gathering.fields[name] = {"owner": owner}
            replica.teller.failed(candidate(name, age=5 - number))
            await replica.told(number + 1)

        assert titles(replica.journal.path) == [["Job night-1 failed"], [], ["Job other-1 failed"]]
        assert len(replica.silent) == 1


async def test_when_the_rate_limit_is_over_the_next_failure_is_told(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored, text=RATE_LIMITED) as replica:
        for number, seconds in enumerate((0, 400, 601), 1):
            replica.now = NOW + timedelta(seconds=seconds)
            replica.gathering.fields[f"night-{number}"] = {"owner": "CronJob shop/night"}
            replica.teller.failed(candidate(f"night-{number}", age=0))
            await replica.told(number)

        assert titles(replica.journal.path) == [["Job night-1 failed"], [], ["Job night-3 failed"]]


async def test_a_finding_that_is_withheld_counts_once_its_entry_is_kept(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored, text=RATE_LIMITED) as replica:
        for number in (1, 2):
            replica.gathering.fields[f"night-{number}"] = {"owner": "CronJob shop/night"}
        replica.teller.failed(candidate("night-1"))
        await replica.told()
        replica.journal.append, append = lose, replica.journal.append  # type: ignore[method-assign,assignment]
        replica.teller.failed(candidate("night-2"))
        await replica.until(lambda: not replica.is_settled)
        await replica.looks()
        replica.journal.append = append  # type: ignore[method-assign]
        replica.teller.lead()
        await replica.told(2)

        assert replica.silent == []


async def test_of_a_crowd_of_one_owner_the_oldest_failure_is_told(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored, text=RATE_LIMITED, begin=False) as replica:
        for age in (1, 3, 2):
            replica.gathering.fields[f"night-{age}"] = {"owner": "CronJob shop/night"}
            replica.teller.failed(candidate(f"night-{age}", age=age))
        replica.begin()
        await replica.told(3)

        assert sorted(titles(replica.journal.path)) == [[], [], ["Job night-3 failed"]]


async def test_a_failure_that_a_crash_left_untold_is_told_whatever_the_rate_limit(
    tmp_path: Path, stored: Stored
) -> None:
    await crash(tmp_path, stored, 0, "after", text=RATE_LIMITED)
    assert stored.record is not None
    assert stored.record.limits

    async with at_work(tmp_path, stored, text=RATE_LIMITED) as replica:
        await replica.told()

        assert titles(replica.journal.path) == [["Job import failed"]]
        assert replica.silent == []


async def test_a_fault_in_gathering_is_tried_again_and_keeps_nobody_waiting(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.gathering.faults["bad"] = 2
        replica.teller.failed(candidate("bad", age=9))
        replica.teller.failed(candidate("good"))
        await replica.told()
        begun = replica.gathering.begun.count("bad")
        await replica.until(lambda: replica.teller.is_quiet)
        assert (replica.entries, replica.gathering.begun.count("bad")) == (["good"], begun), "no busy loop"

        while replica.results != ["told", "told"]:
            await replica.looks()

        assert replica.entries == ["good", "bad"]


async def test_a_fault_in_completing_a_claim_does_not_end_the_teller(tmp_path: Path) -> None:
    async with at_work(tmp_path, Stored(claimed(candidate("bad"), by="a")), begin=False) as replica:
        replica.gathering.faults["bad"] = 1
        replica.teller.failed(candidate("good"))
        replica.begin()
        while sorted(replica.entries) != ["bad", "good"]:
            await replica.looks()

        assert replica.lives


async def test_a_fault_in_what_is_attached_costs_the_attachment_alone(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        broken: Any = ("no change",)
        replica.gathering.fields["import"] = {"owner_changes": broken}
        replica.teller.failed(candidate())
        await replica.told()

        assert titles(replica.journal.path) == [["Job import failed"]]


async def test_a_report_that_cannot_be_made_keeps_no_other_from_being_told(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored, begin=False) as replica:
        replica.gathering.fields["bad"] = {"failure": None}
        replica.teller.failed(candidate("bad"))
        replica.teller.failed(candidate("good"))
        replica.begin()
        await replica.until(lambda: replica.results == ["told"])
        await replica.looks()

        assert replica.entries == ["good"]
        assert replica.teller.waits_for("uid-bad")


async def test_reports_are_made_few_at_a_time(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored, begin=False) as replica:
        append, at_once, most = replica.journal.append, 0, 0

        async def counted(record: Any) -> Any:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            answer = await append(record)
            at_once -= 1
            return answer

        replica.journal.append = counted  # type: ignore[method-assign]
        for number in range(60):
            replica.teller.failed(candidate(f"import-{number}"))
        replica.begin()
        await replica.told(60)

        assert 1 < most <= 8


async def test_failures_that_come_within_a_moment_share_their_writes(tmp_path: Path, stored: Stored) -> None:
    names = [f"import-{number}" for number in range(8)]
    async with at_work(tmp_path, stored) as replica:
        await replica.until(lambda: replica.teller.is_quiet)

        def crowd() -> None:
            for name in names:
                replica.teller.failed(candidate(name))

        replica.on_breath = crowd
        replica.teller.failed(candidate(names[0]))
        await replica.told(8)

        assert sorted(replica.entries) == names
        assert replica.shared.count("update") <= 4


async def test_after_a_success_the_pauses_begin_anew(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        for number in [*range(8), 10]:
            replica.shared.fail("update", number, "before")
        for number in (1, 2):
            replica.teller.failed(candidate(f"import-{number}"))
            await replica.told(number)

        assert len(replica.rests) == 9
        assert replica.rests[8] <= 0.5


async def test_a_fault_in_a_round_does_not_end_the_teller(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored, begin=False) as replica:
        replica.shared.fail("read", 0, "before", RuntimeError("a fault of ours"))
        replica.begin()
        replica.teller.failed(candidate())
        await replica.told()

        assert replica.entries == ["import"]
        assert len(replica.rests) == 1


async def test_hundreds_of_failures_at_once_are_told_with_few_writes(tmp_path: Path, stored: Stored) -> None:
    names = [f"import-{number:03}" for number in range(300)]
    async with at_work(tmp_path, stored) as replica:
        for name in names:
            replica.teller.failed(candidate(name))
        await replica.told(300)

        assert sorted(replica.entries) == names
        assert replica.gathering.most <= AT_ONCE
        assert replica.shared.count("update") <= 100
        assert replica.teller.waiting == 0


async def test_what_was_gathered_and_cannot_be_told_is_bounded(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        for number in range(200):
            replica.shared.fail("update", number, "before", FORBIDDEN)
            replica.teller.failed(candidate(f"import-{number:03}", age=number))
        await replica.until(lambda: len(replica.rests) > 100)

        assert len(replica.gathering.begun) == MOST
        assert "import-199" in replica.gathering.begun, "the oldest come first"


async def test_while_the_api_server_refuses_nothing_is_tried_before_the_pause_is_over(
    tmp_path: Path, stored: Stored
) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.rested = asyncio.Event()
        for number in range(10):
            replica.shared.fail("update", number, "before", FORBIDDEN)
        for number in range(100):
            replica.teller.failed(candidate(f"import-{number}"))
            await asyncio.sleep(0)
            replica.teller.lead()
        await replica.until(lambda: len(replica.rests) == 1)
        for _ in range(200):
            await asyncio.sleep(0)

        assert replica.shared.count("update") == 1
        assert replica.teller.last_error == "PUT /leases: 403 Forbidden"

        replica.rested.set()
        await replica.told(100)
        assert len(replica.rests) == 10
        assert replica.teller.last_error is None


async def test_a_pause_is_as_long_as_the_api_server_asks_for(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.shared.fail("update", 0, "before", ApiError("429", status=429, retry_after=7))
        replica.teller.failed(candidate())
        await replica.told()

        assert 7 <= replica.rests[0] < 8


async def test_without_failures_nothing_is_asked(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        await replica.until(lambda: replica.teller.is_quiet)

        assert replica.shared.calls == ["read"]


async def test_what_grew_old_while_nobody_could_tell_it_is_told_all_the_same(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.leading = False
        replica.teller.failed(candidate("earlier", age=60))
        replica.teller.failed(candidate("later", age=5))
        await replica.looks()
        replica.now += 2 * HOUR
        replica.leading = True
        replica.teller.lead()
        await replica.told(2)

        assert replica.entries == ["earlier", "later"]
        assert replica.results == ["told", "told"]


async def test_telling_what_failed_later_does_not_make_an_older_failure_look_told(tmp_path: Path) -> None:
    async with at_work(tmp_path, Stored(record(candidate("told", age=0)))) as replica:
        replica.now += 2 * HOUR
        replica.gathering.faults["older"] = 1
        replica.teller.failed(candidate("older", age=5))
        replica.teller.failed(candidate("newer", age=-7200))
        await replica.told(1)
        replica.gathering.faults["older"] = 1
        replica.teller.failed(candidate("newest", age=-7201))
        await replica.told(2)
        await replica.looks()
        await replica.told(3)

        assert replica.entries == ["newer", "newest", "older"]


async def test_of_thousands_that_wait_only_some_keep_their_document(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored, begin=False) as replica:
        for number in range(2001):
            replica.teller.failed(candidate(f"import-{number}", document=b"document"))

        kept = [bool(each.document) for each in replica.teller._waiting.values()]
        assert (kept.count(True), kept.count(False)) == (2000, 1)


@pytest.mark.parametrize("when", ["gathering", "claiming", "waiting", "resting"])
async def test_it_ends_when_it_is_cancelled_and_leaves_no_work_behind(
    tmp_path: Path, stored: Stored, when: str
) -> None:
    async with at_work(tmp_path, stored, begin=False) as replica:
        replica.begin()
        if when == "gathering":
            replica.gathering.held.add("import")
        if when == "resting":
            replica.rested = asyncio.Event()
            replica.shared.fail("update", 0, "before")
        if when != "waiting":
            replica.teller.failed(candidate())
        reached = {
            "gathering": lambda: replica.gathering.running == 1,
            "claiming": lambda: replica.shared.count("update") == 1,
            "waiting": lambda: replica.shared.count("read") == 1,
            "resting": lambda: len(replica.rests) == 1,
        }
        await replica.until(reached[when])
        await replica.end()

        left = {task.get_name() for task in asyncio.all_tasks()} - {asyncio.current_task().get_name()}  # type: ignore[union-attr]
        assert [name for name in left if name.startswith("gather")] == []
        assert not replica.lives


async def test_new_rules_count_from_the_next_failure_on(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        replica.teller.rules = rules("customPlaybooks: []")
        replica.teller.failed(candidate())
        await replica.told()

        (document,) = documents(replica.journal.path)
        assert (document["operation"], document["findings"]) == ("FAILED", [])
