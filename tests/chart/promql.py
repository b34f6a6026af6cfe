"""What an expression of Prometheus reads, and what labels its result has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import promql_parser
from prometheus_client.metrics import MetricWrapperBase

from tests.reference import all_metrics

TARGET: Final = frozenset({"namespace", "pod", "cluster"})
"""What Prometheus adds to every series of a Pod, and federations to all; nothing else is relied on."""

APISERVER: Final[Mapping[str, frozenset[str]]] = {
    "apiserver_admission_webhook_fail_open_count": frozenset({"name", "type"}),
    "apiserver_admission_webhook_rejection_count": frozenset(
        {"name", "type", "operation", "error_type", "rejection_code"}
    ),
    "apiserver_admission_webhook_admission_duration_seconds_bucket": frozenset(
        {"name", "type", "operation", "rejected", "le"}
    ),
    "apiserver_admission_match_condition_evaluation_errors_total": frozenset({"name", "type", "operation", "kind"}),
    "apiserver_request_total": frozenset(
        {"verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code"}
    ),
}
"""Of Kubernetes' own, as its reference has them (https://kubernetes.io/docs/reference/instrumentation/metrics/)."""

_VARIABLES: Final = re.compile(r"\$__(?:rate_interval|range)")


@dataclass(frozen=True, slots=True)
class Read:
    """A series that an expression reads, with the labels that it is chosen by."""

    metric: str
    labels: frozenset[str]


def known() -> dict[str, frozenset[str]]:
    """Return every series that there is with its own labels: the program's and the API server's."""
    return dict(APISERVER) | dict(_own())


def _own() -> Iterator[tuple[str, frozenset[str]]]:
    for collector, names in all_metrics()._collector_to_names.items():
        assert isinstance(collector, MetricWrapperBase)
        for name in names:
            yield name, frozenset(collector._labelnames) | ({"le"} if name.endswith("_bucket") else set())


def parsed(expression: str) -> promql_parser.Expr:
    """Parse it, Grafana's variables included; raises ValueError."""
    return promql_parser.parse(_VARIABLES.sub("5m", expression))


def reads(expression: str) -> set[Read]:
    """Return the series that it reads."""
    return {
        Read(each.name or "", frozenset(matcher.name for matcher in each.matchers.matchers))
        for each in _nodes(expression)
        if isinstance(each, promql_parser.VectorSelector)
    }


def groupings(expression: str) -> set[str]:
    """Return the labels that it aggregates by."""
    return {
        label
        for each in _nodes(expression)
        if isinstance(each, promql_parser.AggregateExpr) and each.modifier is not None
        for label in each.modifier.labels
    }


def remaining(expression: str) -> frozenset[str]:
    """Return the labels that its result has: those it aggregates by, or else all of what it reads."""
    if any(isinstance(each, promql_parser.AggregateExpr) for each in _nodes(expression)):
        return frozenset(groupings(expression))
    series = known()
    return TARGET.union(*(series[read.metric] for read in reads(expression)))


def _nodes(expression: str) -> list[promql_parser.Expr]:
    found: list[promql_parser.Expr] = []
    promql_parser.walk(parsed(expression), found.append)
    return found
