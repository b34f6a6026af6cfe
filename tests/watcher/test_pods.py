"""Which Pods are remembered: few of each Job, and those that came before their Job for as long as there is room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from app.watcher.pods import WAITING_TIME, Identity, Roll, Waiting, WaitingRoom, identified
from tests.watcher.pods import failed

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_the_roll_has_the_first_and_the_newest_pods_of_each_job() -> None:
    roll = Roll()
    for number in (13, 2, 11, *range(1, 26)):
        roll.admit("job", f"pod-{number}", f"{number:02}")
    roll.admit("other", "pod-99", "99")

    assert sorted(roll.pods("job")) == ["pod-1", *(f"pod-{number}" for number in range(17, 26))]
    assert roll.jobs() == {"job", "other"}
    assert set(roll) == {*(("job", uid) for uid in roll.pods("job")), ("other", "pod-99")}


def test_the_roll_says_who_has_to_go_for_a_pod() -> None:
    roll = Roll()
    for number in range(10):
        assert roll.admit("job", f"pod-{number}", f"{number:02}") == ()

    assert roll.admit("job", "pod-10", "10") == ("pod-1",)
    assert roll.admit("job", "pod-1", "01") == ("pod-1",)
    assert "pod-1" not in roll
    assert "pod-10" in roll


def test_a_job_that_is_dropped_is_off_the_roll() -> None:
    roll = Roll()
    roll.admit("job", "pod", "1")

    assert roll.drop("job") == ("pod",)
    assert roll.drop("job") == ()
    assert "pod" not in roll
    assert list(roll) == []
    assert roll.jobs() == frozenset()


def waiting(size: int = 1, *, gone: bool = False) -> Waiting:
    return Waiting(b"x" * size, gone)


def enter(room: WaitingRoom, job: str, pod: str, waiting: Waiting, *, age: timedelta = timedelta(0)) -> None:
    room.enter(Identity(pod, job, (NOW - age).isoformat()), waiting, NOW)


def test_pods_wait_for_their_job_in_their_newest_version() -> None:
    room = WaitingRoom()
    enter(room, "a", "1", waiting(5))
    enter(room, "a", "1", waiting(7, gone=True))
    enter(room, "a", "2", waiting(3))
    enter(room, "b", "3", waiting(4))

    assert list(room.call("a")) == [waiting(7, gone=True), waiting(3)]
    assert list(room.call("a")) == []
    assert list(room.call("b")) == [waiting(4)]


@pytest.mark.parametrize("room", [WaitingRoom(pods=3), WaitingRoom(size_bytes=300)])
def test_a_full_room_lets_the_job_go_that_came_first(room: WaitingRoom) -> None:
    for _ in range(5):
        for number in range(10):
            enter(room, f"job-{number}", "pod", waiting(100))

    assert [number for number in range(10) if list(room.call(f"job-{number}"))] == [7, 8, 9]


def test_a_pod_that_is_larger_than_the_room_does_not_wait() -> None:
    room = WaitingRoom(size_bytes=10)
    enter(room, "job", "pod", waiting(11))
    enter(room, "job", "pod", waiting(10))

    assert list(room.call("job")) == [waiting(10)]


def test_a_pod_whose_job_must_have_been_seen_does_not_wait() -> None:
    room = WaitingRoom()
    enter(room, "young", "pod", waiting(), age=WAITING_TIME - timedelta(seconds=1))
    enter(room, "old", "pod", waiting(), age=WAITING_TIME)

    assert list(room.call("young")) == [waiting()]
    assert list(room.call("old")) == []


def test_pods_have_waited_for_long_enough_when_the_next_one_comes() -> None:
    room = WaitingRoom()
    enter(room, "a", "1", waiting())
    enter(room, "b", "2", waiting(), age=-timedelta(seconds=1))

    room.enter(Identity("3", "c", (NOW + WAITING_TIME).isoformat()), waiting(), NOW + WAITING_TIME)

    assert [name for name in "abc" if list(room.call(name))] == ["b", "c"]


def test_a_pod_of_unknown_age_waits() -> None:
    room = WaitingRoom()
    room.enter(Identity("pod", "job", "yesterday"), waiting(), NOW)

    assert list(room.call("job")) == [waiting()]


def test_a_pod_that_waits_is_kept_as_it_was() -> None:
    assert Waiting.of(failed(), gone=True).read() == bytes(failed())


def test_a_pod_says_which_job_controls_it() -> None:
    assert identified(failed("crash-1", job="job-7")) == ("uid-crash-1", "job-7", "2026-01-02T03:04:00Z")


@pytest.mark.parametrize(
    "owners",
    [
        [],
        None,
        [{"kind": "Job", "uid": "a"}],
        [{"kind": "Job", "uid": "a", "controller": False}],
        [{"kind": "ReplicaSet", "uid": "a", "controller": True}],
        [{"kind": "Job", "controller": True}],
        [{"kind": 7, "uid": None}],
        "Job",
    ],
)
def test_any_other_pod_says_nothing(owners: object) -> None:
    document = {"metadata": {"uid": "pod", "ownerReferences": owners}}

    assert identified(msgspec.Raw(msgspec.json.encode(document))) == ("", "", "")
