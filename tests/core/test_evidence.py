"""Evidence: what is read of Pods, which logs are wanted, and that what was seen is kept."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.evidence import (
    LONGEST_MESSAGE,
    ContainerEvidence,
    Log,
    PodEvidence,
    Termination,
    WantedLog,
    in_trouble,
    merge,
    read_pod,
    tail,
    wanted_logs,
)
from tests.core.recorded_jobs import REDACTOR, recorded, recorded_pod, with_logs

FAILED = Termination(exit_code=1)
DONE = Termination(exit_code=0)
KEYS = st.sampled_from(
    "metadata spec status containers initContainers containerStatuses initContainerStatuses name uid state lastState "
    "terminated waiting running exitCode signal restartCount reason message phase containerID restartPolicy".split()
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=4),
    max_leaves=30,
)


def pod(*containers: ContainerEvidence, **more: Any) -> PodEvidence:
    return PodEvidence(**{"uid": "1", "name": "p", "phase": "Running", "containers": containers} | more)


def container(name: str = "main", **more: Any) -> ContainerEvidence:
    if "state" not in more:
        more["state"] = "terminated" if more.get("ended") else "running"
    return ContainerEvidence(name=name, **more)


def document(*, state: Any = None, last: Any = None, restarts: Any = 0, **status: Any) -> dict[str, Any]:
    """Return a Pod's JSON with one container."""
    statuses = [{"name": "main", "state": state, "lastState": last, "restartCount": restarts, **status}]
    return {"spec": {"containers": [{"name": "main", "image": "i"}]}, "status": {"containerStatuses": statuses}}


def read(**keywords: Any) -> ContainerEvidence:
    (found,) = read_pod(document(**keywords), REDACTOR).containers
    return found


def test_a_recorded_failed_pod_tells_how_each_container_ended() -> None:
    found = recorded_pod()

    assert (found.phase, found.gone, found.created_at[:10]) == ("Failed", False, "2026-11-22")
    assert [(each.name, each.role, each.image) for each in found.containers] == [
        ("fetch", "init", "registry.example/fetch:3"),
        ("main", "app", "registry.example/import:7"),
        ("proxy", "app", "registry.example/proxy:1"),
    ]
    ended = found.containers[1].ended
    assert ended is not None
    assert (ended.exit_code, ended.reason, ended.finished_at) == (1, "Error", "2026-03-04T05:00:07Z")
    assert ended.message.startswith("cannot reach the ledger: password=redacted:")


def test_a_recorded_restarted_container_runs_and_has_an_end_before() -> None:
    main = recorded_pod("k8s-1.20/pod-restarted").containers[1]

    assert (main.state, main.run, main.ended) == ("running", 1, None)
    assert main.ended_before is not None
    assert (main.ended_before.reason, main.ended_before.signal) == ("OOMKilled", 9)


def test_a_container_that_waits_to_be_restarted_has_ended_its_own_run() -> None:
    main = recorded_pod("k8s-1.20/pod-waiting-to-restart").containers[1]

    assert (main.state, main.reason, main.run) == ("waiting", "CrashLoopBackOff", 2)
    assert main.ended is not None
    assert main.ended.exit_code == 137
    assert main.ended_before is None


@pytest.mark.parametrize(
    ("container_id", "last_id", "own"),
    [("a", "a", True), ("", "a", True), ("", "", True), ("b", "a", False)],
)
def test_the_container_id_says_whose_end_is_the_last_state(container_id: str, last_id: str, own: bool) -> None:
    last = {"terminated": {"exitCode": 1, "containerID": last_id}}
    found = read(state={"waiting": {"reason": "ContainerCreating"}}, last=last, restarts=1, containerID=container_id)

    assert (found.ended, found.ended_before) == ((FAILED, None) if own else (None, FAILED))


def test_an_init_container_that_always_restarts_is_a_sidecar() -> None:
    spec = {"initContainers": [{"name": "a", "restartPolicy": "Always"}, {"name": "b"}], "containers": [{"name": "c"}]}
    found = read_pod({"spec": spec}, REDACTOR)

    assert [(each.name, each.role, each.state) for each in found.containers] == [
        ("a", "sidecar", "waiting"),
        ("b", "init", "waiting"),
        ("c", "app", "waiting"),
    ]


def test_a_container_of_which_only_the_status_is_known_is_kept() -> None:
    found = read_pod({"status": {"containerStatuses": [{"name": "x", "image": "i", "restartCount": 3}]}}, REDACTOR)

    assert found.containers == (ContainerEvidence(name="x", image="i", run=3),)


def test_messages_are_redacted_before_they_are_cut() -> None:
    padding = "x" * (LONGEST_MESSAGE - len("\nhttps://bob:hunter2"))
    message = f"{padding}\nhttps://bob:hunter2hunter2@registry.example/x"
    found = read(state={"terminated": {"exitCode": 1, "message": message}})

    assert found.ended is not None
    assert "hunter" not in msgspec.json.encode(found).decode()
    assert len(found.ended.message) <= LONGEST_MESSAGE


@given(JSON_VALUES)
def test_any_json_is_read_as_a_pod(value: Any) -> None:
    found = read_pod(value if isinstance(value, dict) else {"spec": value, "status": value}, REDACTOR)

    assert msgspec.json.decode(msgspec.json.encode(found), type=PodEvidence) == found
    assert isinstance(wanted_logs(found), tuple)


@given(state=JSON_VALUES, last=JSON_VALUES, restarts=JSON_VALUES)
def test_any_state_of_a_container_is_read(state: Any, last: Any, restarts: Any) -> None:
    found = read(state=state, last=last, restarts=restarts)

    assert found.run >= 0
    assert msgspec.json.decode(msgspec.json.encode(found), type=ContainerEvidence) == found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (pod(container()), False),
        (pod(container(ended=DONE)), False),
        (pod(container(ended=FAILED)), True),
        (pod(container(run=1, ended_before=FAILED)), True),
        (pod(container(run=1, ended_before=DONE)), False),
        (pod(phase="Failed"), True),
        (pod(container(), deleted_at="now"), True),
        (pod(container(), deleted_at="now", phase="Pending"), True),
        (pod(container(ended=DONE), deleted_at="now", phase="Succeeded"), False),
        (pod(container(state="waiting", reason="ImagePullBackOff"), phase="Pending"), False),
    ],
)
def test_a_pod_is_in_trouble_when_a_container_failed_or_it_is_taken_away(found: PodEvidence, expected: bool) -> None:
    assert in_trouble(found) is expected


def test_logs_of_failed_containers_are_wanted_first() -> None:
    found = pod(
        container("fetch", role="init", ended=DONE),
        container("proxy", role="sidecar"),
        container("retried", run=2, ended_before=FAILED),
        container("main", ended=FAILED),
    )

    assert wanted_logs(found) == (
        WantedLog("main", 0),
        WantedLog("retried", 2),
        WantedLog("retried", 1, previous=True),
        WantedLog("fetch", 0),
        WantedLog("proxy", 0),
    )


@pytest.mark.parametrize(
    ("each", "held", "expected"),
    [
        (container(ended=FAILED), (), [WantedLog("main", 0)]),
        (container(ended=FAILED), (Log(container="main", whole_run=True),), []),
        (container(ended=FAILED), (Log(container="main", text="a"),), [WantedLog("main", 0)]),
        (container(ended=FAILED), (Log(container="other", whole_run=True),), [WantedLog("main", 0)]),
        (container(), (Log(container="main", text="a"),), []),
        (container(), (), [WantedLog("main", 0)]),
        (container(state="waiting"), (), []),
        (container(state="waiting", ended=FAILED, run=2), (), [WantedLog("main", 2)]),
        (container(run=1, ended_before=DONE), (), [WantedLog("main", 1)]),
        (
            container(run=1, ended_before=FAILED),
            (Log(container="main", whole_run=True),),
            [WantedLog("main", 1)],
        ),
        (container(state="waiting", run=1, ended_before=FAILED), (), [WantedLog("main", 0, previous=True)]),
        (container(state="waiting", ended_before=FAILED), (), []),
    ],
)
def test_a_log_is_wanted_until_the_whole_run_is_held(
    each: ContainerEvidence, held: tuple[Log, ...], expected: list[WantedLog]
) -> None:
    assert wanted_logs(pod(each, phase="Failed", logs=held)) == tuple(expected)


@pytest.mark.parametrize("more", [{"phase": "Running"}, {"phase": "Failed", "gone": True}])
def test_nothing_is_wanted_of_a_healthy_pod_or_of_one_that_is_gone(more: dict[str, Any]) -> None:
    assert wanted_logs(pod(container(), **more)) == ()


def test_the_newest_state_is_kept_with_all_the_logs() -> None:
    held = pod(container(run=0, ended=FAILED), node="n1", logs=(Log(container="main", text="a", whole_run=True),))
    live = pod(container(run=1), phase="Running", logs=(Log(container="main", run=1, text="b"),))

    assert merge(held, live) == pod(
        container(run=1, ended_before=FAILED),
        node="n1",
        logs=(Log(container="main", text="a", whole_run=True), Log(container="main", run=1, text="b")),
    )


@pytest.mark.parametrize(
    ("held", "live", "kept"),
    [
        (Log(container="c", text="a"), Log(container="c", text="abc"), "live"),
        (Log(container="c", text="abc"), Log(container="c", text="b"), "held"),
        (Log(container="c", text="abc"), Log(container="c", text="b", whole_run=True), "live"),
        (Log(container="c", text="a"), Log(container="c", note="refused", whole_run=True), "held"),
        (Log(container="c", note="refused"), Log(container="c", text="a"), "live"),
        (Log(container="c", note="before"), Log(container="c", note="now"), "live"),
        (Log(container="c", text="abc", whole_run=True), Log(container="c", text="abcdef"), "held"),
    ],
)
def test_of_two_logs_of_a_run_the_better_one_is_kept(held: Log, live: Log, kept: str) -> None:
    merged = merge(pod(logs=(held,)), pod(logs=(live,)))

    assert merged.logs == ((live,) if kept == "live" else (held,))


def test_logs_of_the_two_newest_runs_of_each_container_are_kept() -> None:
    logs = tuple(Log(container=name, run=run, text="x") for name in ("b", "a") for run in (3, 0, 2, 1))
    merged = merge(pod(container("a"), container("b"), logs=logs[:4]), pod(container("a"), logs=logs[4:]))

    assert [(log.container, log.run) for log in merged.logs] == [("a", 2), ("a", 3), ("b", 2), ("b", 3)]


def test_an_end_that_was_seen_is_not_forgotten() -> None:
    held = pod(container(ended=FAILED), container("proxy", run=2), phase="Failed")
    live = pod(container(state="waiting"), container("proxy", run=1), phase="Running")
    merged = merge(held, live)

    assert merged.phase == "Failed"
    assert merged.containers == held.containers


@pytest.mark.parametrize(
    ("held", "live", "gone"),
    [
        ({}, {"gone": True}, True),
        ({"gone": True}, {"gone": True}, True),
        ({"gone": True}, {}, False),
        ({"gone": True}, {"phase": "Failed"}, False),
        ({"gone": True, "phase": "Running"}, {"phase": "Succeeded"}, False),
        ({"gone": True, "deleted_at": "now"}, {"phase": "Failed"}, True),
        ({"gone": True}, {"deleted_at": "now"}, True),
        ({"gone": True, "phase": "Failed"}, {}, True),
        ({}, {}, False),
    ],
)
def test_a_pod_that_is_gone_stays_gone_unless_it_is_seen_again(
    held: dict[str, Any], live: dict[str, Any], gone: bool
) -> None:
    assert merge(pod(**held), pod(**live)).gone is gone


def test_the_time_of_deletion_is_kept() -> None:
    assert merge(pod(deleted_at="then", phase="Failed"), pod(phase="Failed")).deleted_at == "then"


PODS = st.builds(
    pod,
    st.builds(
        container,
        run=st.integers(0, 3),
        ended=st.none() | st.just(FAILED) | st.just(DONE),
        ended_before=st.none() | st.just(FAILED),
    ),
    phase=st.sampled_from(["Pending", "Running", "Failed", "Succeeded", ""]),
    gone=st.booleans(),
    logs=st.lists(
        st.builds(Log, container=st.just("main"), run=st.integers(0, 3), text=st.text(max_size=3), note=st.text("n")),
        max_size=4,
    ).map(tuple),
)


@given(PODS, PODS)
def test_merging_again_changes_nothing(held: PodEvidence, live: PodEvidence) -> None:
    once = merge(held, live)

    assert merge(once, live) == once


@pytest.mark.parametrize(
    ("text", "lines", "limit", "expected"),
    [
        ("", 5, 5, ("", False)),
        ("a\nb\nc\n", 3, 100, ("a\nb\nc\n", False)),
        ("a\nb\nc\n", 2, 100, ("b\nc\n", True)),
        ("a\nb\nc", 2, 100, ("b\nc", True)),
        ("a\n\n\n", 2, 100, ("\n\n", True)),
        ("abc", 0, 100, ("", True)),
        ("abc\n", 9, 0, ("", True)),
        ("abcdef", 9, 3, ("def", True)),
        ("abc\ndefg\n", 9, 5, ("defg\n", True)),
        ("xx\na\ncccccccccccc\n", 9, 15, ("a\ncccccccccccc\n", True)),
        ("abc\ndefghijk\n", 9, 10, ("defghijk\n", True)),
        ("ab\nc" + "d" * 10, 9, 13, ("c" + "d" * 10, True)),
        ("éé", 9, 3, ("é", True)),
        ("a😀", 9, 3, ("", True)),
        ("a😀b", 9, 4, ("b", True)),
    ],
)
def test_the_end_of_a_text_is_kept(text: str, lines: int, limit: int, expected: tuple[str, bool]) -> None:
    assert tail(text, lines, limit) == expected


@given(st.text(st.sampled_from("ab\né😀"), max_size=40), st.integers(-1, 10), st.integers(-1, 60))
def test_a_tail_is_an_end_within_its_limits(text: str, lines: int, limit: int) -> None:
    kept, cut = tail(text, lines, limit)

    assert text.endswith(kept)
    assert len(kept.encode()) <= max(limit, 0)
    assert len(kept.removesuffix("\n").split("\n")) <= max(lines, 1)
    assert cut is (kept != text)


def test_text_that_is_no_unicode_has_a_tail_too() -> None:
    assert tail("a\ud800b", 1, 2) == ("?b", True)


def test_a_hostile_pod_stays_what_it_is_and_becomes_no_larger() -> None:
    found = recorded("k8s-1.20/pods-of-cron-job")["items"][0]
    found["status"]["message"] = "\x1b[31m\u202e" + "m" * 1_000_000
    found["metadata"]["name"] = "evil\n\x00name"
    kept = read_pod(json.loads(json.dumps(found)), REDACTOR)

    assert kept.name == "evil\n\x00name"
    assert len(kept.message) <= LONGEST_MESSAGE
    assert merge(with_logs(kept), kept).message == kept.message
