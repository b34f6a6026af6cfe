"""A replica that comes back and does not lead leaves what it had claimed to the leader, at once and only once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from app.watcher import teller
from tests.watcher.tellers import (
    GRACE,
    NOW,
    RATE_LIMITED,
    STEPS,
    Stored,
    at_work,
    candidate,
    claim_times,
    claimed,
    crash,
    record,
    titles,
    waiting_for_the_disk,
)


@pytest.fixture
def stored() -> Stored:
    """A record that was begun before, in which nothing is told."""
    return Stored(record())


@pytest.mark.parametrize(("update", "when"), STEPS)
async def test_who_comes_back_and_does_not_lead_leaves_to_the_leader_at_once_what_it_has_not_told(
    tmp_path: Path, stored: Stored, update: int, when: str
) -> None:
    await crash(tmp_path / "a", stored, update, when)

    async with (
        at_work(tmp_path / "b", stored, identity="b") as leader,
        at_work(tmp_path / "a", stored, begin=False) as follower,
    ):
        leader.teller.failed(candidate())
        await leader.looks()
        follower.leading = False
        follower.begin()
        await follower.looks()
        await leader.looks()
        await follower.looks()

        assert leader.is_settled
        assert leader.entries + follower.entries == ["import"]
        assert (leader.teller.waiting, follower.teller.waiting) == (0, 0)


async def test_what_it_has_told_a_follower_marks_and_what_others_claimed_it_lets_alone(
    tmp_path: Path, stored: Stored
) -> None:
    await crash(tmp_path, stored, 1, "before")
    assert stored.record is not None
    (ours,) = stored.record.claims
    (theirs,) = claimed(candidate("other"), by="b").claims
    stored.write(msgspec.structs.replace(stored.record, claims=(theirs, ours)))

    async with at_work(tmp_path, stored, begin=False) as follower:
        follower.leading = False
        follower.begin()
        await follower.looks()

        assert stored.record.claims == (theirs,)
        assert follower.entries == ["import"]


async def test_what_is_given_up_is_written_and_said_once(tmp_path: Path) -> None:
    stored = Stored(claimed(candidate(), by="a"))
    with structlog.testing.capture_logs() as logs:
        async with at_work(tmp_path, stored, begin=False) as follower:
            follower.leading = False
            follower.begin()
            for _ in range(3):
                await follower.looks()

            assert follower.shared.count("update") == 1
    who = {"uid": "uid-import", "namespace": "shop", "name": "import"}
    said = {"event": "claim given up", "action": "leave", "log_level": "info"}
    assert [each for each in logs if "claim" in each["event"]] == [{**who, **said}]


async def test_what_another_has_taken_over_meanwhile_is_not_given_up(tmp_path: Path) -> None:
    stored = Stored(claimed(candidate(), by="a"))
    theirs = claimed(candidate(), by="b", at=NOW + GRACE)
    with structlog.testing.capture_logs() as logs:
        async with at_work(tmp_path, stored, begin=False) as follower:
            follower.leading = False
            follower.shared.fail("update", 0, "before", lambda: stored.write(theirs))
            follower.begin()
            await follower.looks()

    assert stored.record == theirs
    assert [each for each in logs if "claim" in each["event"]] == []


async def test_who_gave_up_tells_it_after_all_when_it_leads_next(tmp_path: Path) -> None:
    async with at_work(tmp_path, Stored(claimed(candidate(), by="a")), begin=False) as replica:
        replica.leading = False
        replica.begin()
        await replica.looks()

        replica.leading = True
        await replica.looks()
        await replica.told()

        assert replica.entries == ["import"]


async def test_what_was_given_up_is_told_whatever_the_rate_limit_and_the_age_of_its_mark(tmp_path: Path) -> None:
    text = RATE_LIMITED
    await crash(tmp_path / "a", stored := Stored(record()), 0, "after", text=text)
    assert stored.record is not None
    stored.write(msgspec.structs.replace(stored.record, since=int(NOW.timestamp())))
    async with at_work(tmp_path / "a", stored, begin=False) as follower:
        follower.leading = False
        follower.begin()
        await follower.looks()

    async with at_work(tmp_path / "b", stored, identity="b", text=text) as leader:
        await leader.told()

        assert titles(leader.journal.path) == [["Job import failed"]]


async def test_a_follower_gives_nothing_up_while_its_disk_may_still_take_it(tmp_path: Path, stored: Stored) -> None:
    async with at_work(tmp_path, stored) as replica:
        async with waiting_for_the_disk(replica):
            replica.leading = False
            await replica.looks()
            assert claim_times(stored) == [NOW]
        while not replica.is_settled:
            await replica.looks()

        assert replica.entries == ["import"]


async def test_a_fault_in_one_commit_leaves_none_on_its_way_when_the_lead_is_lost(
    tmp_path: Path, stored: Stored
) -> None:
    async with at_work(tmp_path / "a", stored, begin=False) as replica:
        append, free, begun = replica.journal.append, asyncio.Event(), asyncio.Event()

        async def late(record: Any) -> Any:
            if record.entry.name == "late":
                begun.set()
                await free.wait()
            return await append(record)

        def faulty(_result: Any) -> None:
            replica.decided = replica.results.append  # type: ignore[method-assign,assignment]
            replica.leading = False
            raise RuntimeError("a fault of ours")

        replica.journal.append = late  # type: ignore[method-assign]
        replica.decided = faulty  # type: ignore[method-assign,assignment]
        for name in ("first", "late"):
            replica.teller.failed(candidate(name))
        replica.begin()
        await begun.wait()
        await replica.until(lambda: bool(replica.rests))
        await replica.looks()
        async with at_work(tmp_path / "b", stored, identity="b") as leader:
            await leader.looks()
            free.set()
            await replica.looks()

            assert replica.entries + leader.entries == ["first", "late"]


async def test_a_leader_looks_often_for_what_another_may_give_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "_POLL_CLAIMED_SECONDS", 0.001)
    stored = Stored(claimed(candidate(), by="a"))
    async with at_work(tmp_path / "b", stored, identity="b") as leader:
        await leader.until(lambda: leader.shared.count("read") >= 3)
        async with at_work(tmp_path / "a", stored, begin=False) as follower:
            follower.leading = False
            follower.begin()
            await leader.told()

            assert leader.entries == ["import"]
