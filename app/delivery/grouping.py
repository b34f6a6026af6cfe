"""Which notifications belong together, and what is remembered of a group. Pure: time is passed in.

The rules are those of Robusta's documentation ("Notification Grouping"). What is remembered is stored with the
settlements of the deliveries that it is about, so that a restart neither loses nor double-counts any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from app.core.delivery import Claimed
from app.core.finding import Notification
from app.core.grouping import Attribute, Grouping
from app.core.moments import milliseconds, moment_at
from app.core.raw import items, mapping, moment, string
from app.core.routing import SOURCE
from app.sinks.base import Summary

UNDEFINED: Final = "(undefined)"
"""Stands for what a notification does not have, as in Robusta's messages."""

MOST_ROWS: Final = 200
"""Rows of a group's table; what comes after them is counted in one row."""

OTHERS: Final = "(others)"


def headings(attributes: Sequence[Attribute]) -> tuple[str, ...]:
    """Return what the attributes are called in a table: `cluster`, `label:app`; the identifier is `notification`."""
    return tuple("notification" if path == ("identifier",) else _heading(path) for path in _paths(attributes))


def values(notification: Notification, attributes: Sequence[Attribute]) -> tuple[str, ...]:
    """Return the notification's values of the attributes, as many as there are headings."""
    return tuple(_value(notification, path) or UNDEFINED for path in _paths(attributes))


def _paths(attributes: Sequence[Attribute]) -> Iterator[tuple[str, ...]]:
    for attribute in attributes:
        if isinstance(attribute, str):
            yield (attribute,)
        else:
            yield from ((kind, name) for kind, names in attribute.items() for name in names)


def _heading(path: tuple[str, ...]) -> str:
    return path[0] if len(path) == 1 else f"{path[0].removesuffix('s')}:{path[1]}"


def _value(notification: Notification, path: tuple[str, ...]) -> str:
    finding, entry = notification.finding, notification.entry
    match path:
        case ("labels", name):
            return entry.labels.get(name, "")
        case ("annotations", name):
            return "" if finding.annotations is msgspec.UNSET else finding.annotations.get(name, "")
        case ("namespace" | "name" | "kind" as name,):
            return str(getattr(entry.resource, name))
        case ("cluster" | "operation" | "field_manager" as name,):
            return str(getattr(entry, name))
        case _:
            return _derived(notification, path[0])


def _derived(notification: Notification, name: str) -> str:
    finding, entry = notification.finding, notification.entry
    match name:
        case "identifier":
            return finding.aggregation_key
        case "title":
            return finding.title
        case "severity":
            return finding.severity.value
        case "type":
            return "ISSUE" if entry.operation == "FAILED" else "CONF_CHANGE"
        case "source":
            return SOURCE
        case "user":
            return entry.user.username
        case "actor":
            return entry.actor.kind
        case "node":
            return _node(notification)
        case _:
            return workload(notification)


def _node(notification: Notification) -> str:
    resource, document = notification.entry.resource, notification.entry.object
    if resource.kind == "Node":
        return resource.name
    return string(document, "spec", "nodeName") if resource.kind == "Pod" else ""


def workload(notification: Notification) -> str:
    """Return the object's controller as far as the entry tells it, else the object itself: `Deployment/web`.

    The ReplicaSet of a Deployment is told by the hash that ends its name and is the Pods' label.
    """
    entry = notification.entry
    kind, name = entry.resource.kind, entry.resource.name
    for owner in map(mapping, items(entry.object, "metadata", "ownerReferences")):
        if owner.get("controller") is True:
            kind, name = string(owner, "kind"), string(owner, "name")
    end = "-" + entry.labels.get("pod-template-hash", "")
    if kind == "ReplicaSet" and len(end) > 1 and name.endswith(end):
        kind, name = "Deployment", name.removesuffix(end)
    return f"{kind}/{name}" if name else ""


def group_key(notification: Notification, grouping: Grouping, lane: str) -> str:
    """Return the key of the notification's group: another lane, such as another channel, is another group.

    It changes with the options, whose groups are then others; names and values from the cluster cannot forge it.
    """
    mode = grouping.notification_mode
    by = [] if mode.summary is None else [mode.summary.by, mode.summary.threaded]
    identity: list[Any] = [by, grouping.group_by, values(notification, grouping.group_by), lane]
    return hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:32]


class Counted(msgspec.Struct, frozen=True):
    """The newest notifications of a group, up to as many as are ignored: delivery id and unix milliseconds."""

    recent: tuple[tuple[int, int], ...] = ()

    def ignoring(self, claimed: Claimed, grouping: Grouping, first: int) -> tuple[Counted, str]:
        """Count the notification; return why it is not to be sent, or nothing if it is.

        The first ones within the interval before its entry's time are not. What was tried once is, and nothing counts
        twice.
        """
        notification = claimed.notification
        at = moment(notification.entry.at) or moment_at(0)
        known = [each for each in self.recent if each[0] != claimed.id]
        before = sum(when > milliseconds(at - timedelta(seconds=grouping.interval)) for _, when in known)
        counted = Counted(tuple([*known, (claimed.id, milliseconds(at))][-first:]))
        if before >= first or notification.attempt > 1:
            return counted, ""
        group = described(notification, grouping.group_by)
        return counted, (
            f"number {before + 1} of the first {first} within {grouping.interval} s ({group}), which grouping ignores"
        )


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group that is told in one message: since when (unix milliseconds), which message, and what came.

    `unanswered` are deliveries that were counted already, and are still to be sent into the message's thread.
    """

    since: int
    reference: str = ""
    rows: tuple[tuple[tuple[str, ...], int], ...] = ()
    unanswered: tuple[int, ...] = ()

    def is_over(self, now: datetime, grouping: Grouping) -> bool:
        """Say whether what comes now begins a new group."""
        return not self.since <= milliseconds(now) < self.since + grouping.interval * 1000

    def with_row(self, row: tuple[str, ...], count: int = 1) -> Group:
        """Return the group with so many more of this row."""
        return msgspec.structs.replace(self, rows=counted_rows(self.rows, row, count))

    def summary(self, last: Notification, grouping: Grouping, by: Sequence[Attribute]) -> Summary:
        """Return what a receiver is told of the group."""
        return Summary(
            last=last,
            group=tuple(zip(headings(grouping.group_by), values(last, grouping.group_by), strict=True)),
            headers=headings(by),
            rows=self.rows,
            since=moment_at(self.since),
            interval=timedelta(seconds=grouping.interval),
        )


def counted_rows(
    rows: Sequence[tuple[tuple[str, ...], int]], row: tuple[str, ...], count: int
) -> tuple[tuple[tuple[str, ...], int], ...]:
    """Return the rows with so many more of this one; beyond `MOST_ROWS` new ones are counted together."""
    table = dict(rows)
    if row not in table and len(table) >= MOST_ROWS:
        row = (OTHERS, *("" for _ in row[1:]))
    table[row] = table.get(row, 0) + count
    return tuple(table.items())


def described(notification: Notification, attributes: Sequence[Attribute]) -> str:
    """Return what a group has in common, for people: `cluster prod, label:app web`."""
    named = zip(headings(attributes), values(notification, attributes), strict=True)
    return ", ".join(f"{name} {value}" for name, value in named)
