"""Robusta's rules of grouping, by themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from app.core.change import Actor, Entry, Resource, User
from app.core.delivery import Claimed, light
from app.core.finding import Finding, Notification, Severity, TextBlock
from app.core.grouping import Attribute, Grouping
from app.delivery.digest import bundle, digest
from app.delivery.grouping import MOST_ROWS, OTHERS, Counted, Group, group_key, headings, values
from tests.delivery.fakes import START


def about(finding: dict[str, Any] | None = None, **entry: Any) -> Notification:
    defaults: dict[str, Any] = {
        "id": "e1",
        "at": "2026-01-02T03:04:05Z",
        "cluster": "prod",
        "resource": Resource(kind="Pod", namespace="shop", name="web-5d8-x1"),
        "user": User(username="alice"),
        "field_manager": "kubectl-edit",
        "actor": Actor(kind="human"),
        "labels": {"app": "web"},
    }
    told = Finding(**{"playbook": "p", "title": "changed", "aggregation_key": "Change", **(finding or {})})
    return Notification(delivery_id="d", finding=told, entry=Entry(**{**defaults, **entry}))


REPLICA_SET = {"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d8", "controller": True}]}}
VALUES: list[tuple[Attribute, str, str]] = [
    ("cluster", "cluster", "prod"),
    ("namespace", "namespace", "shop"),
    ("name", "name", "web-5d8-x1"),
    ("kind", "kind", "Pod"),
    ("identifier", "notification", "Change"),
    ("title", "title", "changed"),
    ("severity", "severity", "INFO"),
    ("type", "type", "CONF_CHANGE"),
    ("source", "source", "KUBERNETES_API_SERVER"),
    ("user", "user", "alice"),
    ("operation", "operation", "UPDATE"),
    ("field_manager", "field_manager", "kubectl-edit"),
    ("actor", "actor", "human"),
    ("node", "node", "(undefined)"),
    ("workload", "workload", "Pod/web-5d8-x1"),
    ({"labels": ["app"]}, "label:app", "web"),
    ({"labels": ["tier"]}, "label:tier", "(undefined)"),
    ({"annotations": ["team"]}, "annotation:team", "(undefined)"),
]


@pytest.mark.parametrize(("attribute", "heading", "value"), VALUES, ids=str)
def test_every_attribute_has_a_heading_and_a_value(attribute: Attribute, heading: str, value: str) -> None:
    assert (headings([attribute]), values(about(), [attribute])) == ((heading,), (value,))


def test_annotations_are_those_of_the_finding() -> None:
    assert values(about({"annotations": {"team": "red"}}), [{"annotations": ["team"]}]) == ("red",)


@pytest.mark.parametrize(
    ("entry", "workload"),
    [
        ({"object": REPLICA_SET}, "ReplicaSet/web-5d8"),
        ({"object": REPLICA_SET, "labels": {"pod-template-hash": "5d8"}}, "Deployment/web"),
        ({"object": {"metadata": {"ownerReferences": "odd"}}}, "Pod/web-5d8-x1"),
        ({"resource": Resource(kind="Deployment", name="web")}, "Deployment/web"),
    ],
)
def test_the_workload_is_the_controller_as_far_as_it_is_known(entry: dict[str, Any], workload: str) -> None:
    notification = about(**entry)

    assert values(notification, ["workload"]) == (workload,)
    assert values(light(notification), ["workload"]) == (workload,)


def test_the_node_is_that_of_the_pod_also_where_the_notification_is_light() -> None:
    assert values(light(about(object={"spec": {"nodeName": "n1"}})), ["node"]) == ("n1",)


def test_a_failed_job_is_an_issue() -> None:
    assert values(about(operation="FAILED"), ["type"]) == ("ISSUE",)


def test_a_group_is_what_agrees_in_its_attributes_and_its_lane() -> None:
    grouping = Grouping(group_by=["namespace", {"labels": ["app"]}])
    same = group_key(about(), grouping, "#a")

    assert group_key(about(cluster="other"), grouping, "#a") == same
    assert group_key(about(labels={"app": "db"}), grouping, "#a") != same
    assert group_key(about(), grouping, "#b") != same


def ignoring(first: int, *seconds: float, interval: int = 300) -> list[bool]:
    """Whether each of the notifications at these seconds is ignored."""
    grouping = Grouping.model_validate(
        {"interval": interval, "notification_mode": {"regular": {"ignore_first": first}}}
    )
    counted, ignored = Counted(), []
    for number, second in enumerate(seconds):
        at = (START + timedelta(seconds=second)).isoformat()
        counted, reason = counted.ignoring(Claimed(id=number, notification=about(at=at)), grouping, first)
        ignored.append(bool(reason))
    return ignored


def test_the_first_ones_within_the_interval_are_ignored() -> None:
    assert ignoring(3, 0, 1, 2, 3, 4) == [True, True, True, False, False]


def test_the_interval_slides() -> None:
    assert ignoring(2, 0, 299, 301, 302, 700) == [True, True, True, False, True]


def test_the_reason_says_which_of_how_many() -> None:
    grouping = Grouping(interval=300)

    _, reason = Counted(recent=((7, int(START.timestamp() * 1000) - 1000),)).ignoring(
        Claimed(id=8, notification=about()), grouping, 3
    )

    assert reason == "number 2 of the first 3 within 300 s (cluster prod), which grouping ignores"


def test_what_is_claimed_again_counts_once_and_what_was_tried_is_sent() -> None:
    grouping, claimed = Grouping(interval=300), Claimed(id=1, notification=about())
    counted, _ = Counted().ignoring(claimed, grouping, 1)
    again, reason = counted.ignoring(claimed, grouping, 1)
    assert (again, bool(reason)) == (counted, True)

    tried = msgspec.structs.replace(claimed, notification=msgspec.structs.replace(about(), attempt=2))
    assert Counted().ignoring(tried, grouping, 1)[1] == ""


def test_a_table_has_an_end() -> None:
    group = Group(since=0)
    for number in range(MOST_ROWS + 5):
        group = group.with_row((f"r{number}", "x"))

    assert len(group.rows) == MOST_ROWS + 1
    assert group.rows[-1] == ((OTHERS, ""), 5)


def test_a_summary_tells_what_the_group_has_in_common() -> None:
    grouping = Grouping(group_by=["namespace"], interval=60)

    summary = Group(since=1000).with_row(("Change",)).summary(about(), grouping, ["identifier"])

    assert summary.group == (("namespace", "shop"),)
    assert (summary.headers, summary.rows, summary.total) == (("notification",), ((("Change",), 1),), 1)


def test_a_digest_has_a_table_the_newest_titles_and_the_highest_severity() -> None:
    parts = [
        Claimed(id=n, notification=about({"title": f"t{n}", "severity": severity, "aggregation_key": key}))
        for n, (severity, key) in enumerate([(Severity.HIGH, "A"), (Severity.LOW, "B"), (Severity.LOW, "B")])
    ]

    told = digest(bundle(parts), "namespace shop", ["identifier"])

    table, newest = told.finding.blocks
    assert told.finding.title == "3 notifications: namespace shop"
    assert told.finding.severity is Severity.HIGH
    assert table.rows == (("2", "B"), ("1", "A"))  # type: ignore[union-attr]  # it is a table
    assert isinstance(newest, TextBlock)
    assert [line.split()[-1] for line in newest.text.splitlines()[1:]] == ["t2", "t1", "t0"]
    assert told.folded is not None
    assert told.folded.count == 3
