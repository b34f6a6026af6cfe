"""The panels of the dashboard: what each shows, and what somebody who looks at it should know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

SELECTOR: Final = 'namespace="$namespace",pod=~"$pod"'
WEBHOOK: Final = 'name="changes.kubewitness.svc"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel; `series` has expressions by legend, `unit` is one of Grafana's."""

    title: str
    description: str
    unit: str
    series: Mapping[str, str]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    height: int = 7
    decimals: int | None = None
    red_above: float | None = None
    red_below: float | None = None


Row: TypeAlias = tuple[str, tuple[Panel, ...]]


def own(metric: str) -> str:
    """Select a series of the chosen Pods."""
    return f"{metric}{{{SELECTOR}}}"


def rate(counter: str, *labels: str) -> str:
    """Return a counter's growth per second, by labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"sum{by} (rate({own(counter)}[$__rate_interval]))"


def total(counter: str) -> str:
    """Return a counter's growth within what the dashboard shows; 0 where there is no series yet."""
    selected = f"{counter}{{{WEBHOOK}}}" if counter.startswith("apiserver_") else own(counter)
    return f"sum(increase({selected}[$__range])) or vector(0)"


def grown(counter: str) -> str:
    """Return how much a counter of the API servers on the webhook has grown between two points."""
    return f"sum(increase({counter}{{{WEBHOOK}}}[$__rate_interval]))"


def quantiles(histogram: str, selector: str = SELECTOR) -> dict[str, str]:
    """Return the median, and what one in a hundred exceeds."""
    rates = f"sum by (le) (rate({histogram}_bucket{{{selector}}}[$__rate_interval]))"
    return {name: f"histogram_quantile({q}, {rates})" for name, q in (("median", 0.5), ("99 of 100", 0.99))}


def slowest(histogram: str, label: str) -> str:
    """Return what one in a hundred exceeds, by a label."""
    return f"histogram_quantile(0.99, sum by (le, {label}) (rate({own(histogram + '_bucket')}[$__rate_interval])))"


def _stat(
    title: str,
    description: str,
    expression: str,
    *,
    unit: str = "short",
    decimals: int | None = 0,
    red_above: float | None = None,
    red_below: float | None = None,
) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit=unit,
        series={"": expression},
        kind="stat",
        width=3,
        height=4,
        decimals=decimals,
        red_above=red_above,
        red_below=red_below,
    )


_STATE: Final = (
    _stat(
        "Reviews",
        "Reviews that the chosen Pods answer per second.",
        rate("kubewitness_reviews_total"),
        unit="reqps",
        decimals=None,
    ),
    _stat(
        "Failed open",
        "Changes that API servers let pass without showing them, in the time shown: they are not in the ledger."
        " Counted by the API servers, from Kubernetes 1.24 on; older ones show 0.",
        total("apiserver_admission_webhook_fail_open_count"),
        red_above=0.5,
    ),
    _stat(
        "Entries lost",
        "Entries that came and were not kept, in the time shown.",
        total("kubewitness_entries_unrecorded_total"),
        red_above=0.5,
    ),
    _stat(
        "Notifications waiting",
        "Notifications that are not delivered yet, those that a grouping or a digest holds on purpose included.",
        f"sum({own('kubewitness_deliveries_pending')})",
    ),
    _stat(
        "Notifications dead",
        "Notifications that were given up: kubewitness deliveries list --state dead says why.",
        f"sum({own('kubewitness_deliveries_dead')})",
        red_above=0.5,
    ),
    _stat(
        "Sinks down",
        "Sinks that are left out or cannot be made: /readyz says why.",
        f"count({own('kubewitness_sink_up')} == 0) or vector(0)",
        red_above=0.5,
    ),
    _stat(
        "Certificate ends in",
        "The shortest time for which a served certificate is still valid. Managed ones live for a day and are"
        " renewed when a third of it is left.",
        f"min({own('kubewitness_certificate_expiry_timestamp_seconds')} > 0) - time()",
        unit="s",
        decimals=1,
        red_below=3600,
    ),
    _stat(
        "Pods",
        "Replicas and watchers that Prometheus reaches.",
        f"count({own('kubewitness_build_info')}) or vector(0)",
        red_below=1,
    ),
)

_REVIEWS: Final = (
    Panel(
        title="Reviews by result",
        description="recorded; ignored: nothing to record; pending: answered before its entry was durable; lost: not"
        " kept; malformed: no review.",
        unit="reqps",
        series={"{{result}}": rate("kubewitness_reviews_total", "result")},
    ),
    Panel(
        title="Reviews by operation",
        description="What API servers show: UPDATE alone, unless webhook.operations says more.",
        unit="reqps",
        series={"{{operation}}": rate("kubewitness_reviews_total", "operation")},
    ),
    Panel(
        title="Not shown",
        description="By the API servers: changes that passed without the webhook (failed open), that were refused"
        " because of it (rejected), and match conditions that could not be evaluated, which skips the webhook. All"
        " should stay 0.",
        unit="short",
        series={
            "failed open": grown("apiserver_admission_webhook_fail_open_count"),
            "rejected": grown("apiserver_admission_webhook_rejection_count"),
            "condition failed": grown("apiserver_admission_match_condition_evaluation_errors_total"),
        },
    ),
    Panel(
        title="Time of a review in the auditor",
        description="From the end of a review's body to its answer, durable commit included.",
        unit="s",
        series=quantiles("kubewitness_review_duration_seconds"),
    ),
    Panel(
        title="Time of a review for the API server",
        description="What a change waits for the webhook, network and TLS included. The buckets are coarse: 5 ms, 25"
        " ms, 100 ms, 500 ms.",
        unit="s",
        series=quantiles("apiserver_admission_webhook_admission_duration_seconds", WEBHOOK),
    ),
    Panel(
        title="Truncated and faults",
        description="Reviews too large or too deep to be read whole, and reviews that met a fault of the program.",
        unit="reqps",
        series={
            "truncated": rate("kubewitness_reviews_truncated_total"),
            "fault": rate("kubewitness_review_errors_total"),
        },
    ),
)

_LEDGER: Final = (
    Panel(
        title="Entries waiting for the disk",
        description="Entries in memory. They are lost if the process ends before they are written.",
        unit="short",
        series={"{{pod}}": own("kubewitness_journal_pending_entries")},
    ),
    Panel(
        title="Longest wait for the disk",
        description="Reviews are answered without their commit after --commit-budget-seconds.",
        unit="s",
        series={"{{pod}}": own("kubewitness_journal_pending_age_seconds")},
    ),
    Panel(
        title="Entries lost by reason",
        description="queue full: the disk takes nothing and the memory for it is full; refused: the database will never"
        " take it; shutdown: not written at the end; fault: of the program.",
        unit="reqps",
        series={"{{reason}}": rate("kubewitness_entries_unrecorded_total", "reason")},
    ),
    Panel(
        title="Time of a commit",
        description="One commit, its sync included. A sync of the volume is most of it.",
        unit="s",
        series=quantiles("kubewitness_commit_duration_seconds"),
    ),
    Panel(
        title="Entries per commit",
        description="Reviews that wait at the same moment share a commit; and how often a commit failed and was"
        " repeated.",
        unit="short",
        series={
            "entries": " / ".join(rate(f"kubewitness_commit_batch_entries_{part}") for part in ("sum", "count")),
            "failed per second": rate("kubewitness_commit_failures_total"),
        },
    ),
    Panel(
        title="Size of the journal",
        description="What retention.size is compared with. Where entries wait for a sink that is down, it may grow"
        " beyond.",
        unit="bytes",
        series={"{{pod}}": own("kubewitness_journal_size_bytes")},
    ),
    Panel(
        title="Not in the search index",
        description="Entries that searches read one by one, until the index has them: all of them after the index was"
        " deleted, or the machine restarted. Searches find them all the same.",
        unit="short",
        series={"{{pod}}": own("kubewitness_search_behind_entries")},
    ),
)

_DELIVERIES: Final = (
    Panel(
        title="Attempts by outcome",
        description="delivered; retried: a temporary failure; dead: refused, or out of attempts; bug: an error that"
        " no sink may raise.",
        unit="ops",
        series={"{{outcome}}": rate("kubewitness_deliveries_total", "outcome")},
    ),
    Panel(
        title="Waiting by sink",
        description="Notifications that are not delivered yet.",
        unit="short",
        series={"{{sink}}": f"sum by (sink) ({own('kubewitness_deliveries_pending')})"},
    ),
    Panel(
        title="Oldest by sink",
        description="For how long the oldest waits. A grouping with a summary waits for its interval on purpose.",
        unit="s",
        series={"{{sink}}": f"max by (sink) ({own('kubewitness_deliveries_oldest_age_seconds')})"},
    ),
    Panel(
        title="Dead by sink",
        description="Given up; they stay until they are sent again or purged.",
        unit="short",
        series={"{{sink}}": f"sum by (sink) ({own('kubewitness_deliveries_dead')})"},
    ),
    Panel(
        title="Time of an attempt",
        description="What one attempt in a hundred exceeds. A slow receiver delays its own notifications alone.",
        unit="s",
        series={"{{sink}}": slowest("kubewitness_delivery_duration_seconds", "sink")},
    ),
    Panel(
        title="Kept back",
        description="Notifications that the rules on noise kept back, by reason, and findings over a playbook's rate"
        " limit. Their entries are in the ledger.",
        unit="ops",
        series={
            "{{reason}}": rate("kubewitness_deliveries_quieted_total", "reason"),
            "limit of {{playbook}}": rate("kubewitness_findings_withheld_total", "playbook"),
        },
    ),
)

_WATCHER: Final = (
    Panel(
        title="Failed Jobs",
        description="told; elsewhere: another replica told it; before_first_start and old are recorded by nobody.",
        unit="ops",
        series={"{{result}}": rate("kubewitness_failed_jobs_total", "result")},
    ),
    Panel(
        title="Failed Jobs waiting",
        description="Not yet known to be told. Only the replica that leads tells; exactly one should lead.",
        unit="short",
        series={
            "waiting in {{pod}}": own("kubewitness_failed_jobs_waiting"),
            "leaders": f"sum({own('kubewitness_watcher_leading')})",
        },
    ),
    Panel(
        title="Silence of the watches",
        description="Since the API server last sent anything; bookmarks come about every minute.",
        unit="s",
        series={"{{resource}} in {{pod}}": f"time() - {own('kubewitness_watch_last_contact_timestamp_seconds')}"},
    ),
)

_UPKEEP: Final = (
    Panel(
        title="Configuration in effect",
        description="1 while the last configuration was taken over, 0 while it is refused and the one before stays.",
        unit="short",
        series={"{{pod}}": own("kubewitness_config_last_reload_successful")},
        width=6,
    ),
    Panel(
        title="Certificates end in",
        description="For how long what each Pod serves is valid. A line that does not rise again is not being renewed.",
        unit="s",
        series={"{{pod}}": f"({own('kubewitness_certificate_expiry_timestamp_seconds')} > 0) - time()"},
        width=6,
    ),
    Panel(
        title="Authority ends in",
        description="With managed certificates: for how long the authority is valid. Replaced when a third of it is"
        " left.",
        unit="s",
        series={"{{pod}}": f"({own('kubewitness_authority_expiry_timestamp_seconds')} > 0) - time()"},
        width=6,
    ),
    Panel(
        title="Repairs and rotations",
        description="How often the caBundle was overwritten and put back, and the authority replaced. Many repairs:"
        " something else writes the webhook configuration.",
        unit="short",
        series={
            "repairs": f"sum(increase({own('kubewitness_ca_bundle_repairs_total')}[$__rate_interval]))",
            "rotations": f"sum(increase({own('kubewitness_authority_rotations_total')}[$__rate_interval]))",
        },
        width=6,
    ),
)

ROWS: Final[tuple[Row, ...]] = (
    ("State", _STATE),
    ("Reviews", _REVIEWS),
    ("Ledger", _LEDGER),
    ("Notifications", _DELIVERIES),
    ("Watcher", _WATCHER),
    ("Configuration and certificates", _UPKEEP),
)
