"""The metrics of the program, each declared once; names follow Prometheus' conventions (base units, `_total`)."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app import __version__

_LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


class Metrics:
    """All metrics, in a registry of their own, so that two instances in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.reviews = Counter(
            "kubewitness_reviews",
            "Admission reviews answered. result: recorded, ignored (nothing to record), pending (answered before its"
            " entry was durable), lost (its entry was not kept), malformed (answered with 400).",
            ["operation", "result"],
            registry=r,
        )
        self.review_seconds = Histogram(
            "kubewitness_review_duration_seconds",
            "Time from the end of a review's body to its answer, durable commit included.",
            buckets=_LATENCY,
            registry=r,
        )
        self.truncated = Counter(
            "kubewitness_reviews_truncated", "Reviews too large or too deep to be read whole.", registry=r
        )
        self.review_errors = Counter(
            "kubewitness_review_errors", "Reviews that met a fault of this program; allowed all the same.", registry=r
        )
        self.unrecorded = Counter(
            "kubewitness_entries_unrecorded", "Entries that were not kept, by reason.", ["reason"], registry=r
        )
        self.commit_entries = Histogram(
            "kubewitness_commit_batch_entries",
            "Entries that shared one commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=r,
        )
        self.commit_seconds = Histogram(
            "kubewitness_commit_duration_seconds",
            "Time of one commit, its sync included.",
            buckets=_LATENCY,
            registry=r,
        )
        self.commit_failures = Counter(
            "kubewitness_commit_failures", "Commits that failed and were tried again.", registry=r
        )
        self.journal_pending = Gauge("kubewitness_journal_pending_entries", "Entries not yet written.", registry=r)
        self.journal_pending_seconds = Gauge(
            "kubewitness_journal_pending_age_seconds", "For how long entries have waited to be written.", registry=r
        )
        self.journal_size = Gauge(
            "kubewitness_journal_size_bytes", "Size of the journal, what it could give back aside.", registry=r
        )
        self.search_behind = Gauge(
            "kubewitness_search_behind_entries",
            "Entries that the search index does not have yet; searches read them one by one.",
            registry=r,
        )
        self.journal_over_limit = Gauge(
            "kubewitness_journal_over_limit",
            "1 if the journal is larger than it may be, and pending deliveries keep it from forgetting.",
            registry=r,
        )
        self.deliveries = Counter(
            "kubewitness_deliveries", "Attempts to deliver, by sink and outcome.", ["sink", "outcome"], registry=r
        )
        self.deliveries_together = Counter(
            "kubewitness_deliveries_told_together",
            "Deliveries that an attempt was for beside the one that it counts as: folded, grouped or in a digest.",
            ["sink"],
            registry=r,
        )
        self.delivery_seconds = Histogram(
            "kubewitness_delivery_duration_seconds",
            "Time of an attempt to deliver.",
            ["sink"],
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60),
            registry=r,
        )
        self.deliveries_quieted = Counter(
            "kubewitness_deliveries_quieted",
            "Deliveries that the rules on noise kept back. reason: repeat (the same change was told), rollout (it"
            " follows from a change that was told), flapping (it is told later, together with others).",
            ["reason"],
            registry=r,
        )
        self.queue_pending = Gauge("kubewitness_deliveries_pending", "Deliveries not yet made.", ["sink"], registry=r)
        self.queue_dead = Gauge("kubewitness_deliveries_dead", "Deliveries that were given up.", ["sink"], registry=r)
        self.queue_age = Gauge(
            "kubewitness_deliveries_oldest_age_seconds", "Age of the oldest pending delivery.", ["sink"], registry=r
        )
        self.sink_up = Gauge(
            "kubewitness_sink_up",
            "1 if the sink works, 0 if it is left out or cannot be made: /readyz says why.",
            ["sink"],
            registry=r,
        )
        self.config_reloads = Counter(
            "kubewitness_config_reloads", "Readings of the configuration, by result.", ["result"], registry=r
        )
        self.config_valid = Gauge(
            "kubewitness_config_last_reload_successful", "1 if the last reading was taken over.", registry=r
        )
        self.config_valid.set(1)
        self.certificate_expiry = Gauge(
            "kubewitness_certificate_expiry_timestamp_seconds", "When the served certificate expires.", registry=r
        )
        self.certificate_reloads = Counter(
            "kubewitness_certificate_reloads",
            "Readings of changed certificate files, by result.",
            ["result"],
            registry=r,
        )
        self.authority_expiry = Gauge(
            "kubewitness_authority_expiry_timestamp_seconds",
            "When the authority expires that signs the served certificate.",
            registry=None,
        )
        self.authority_rotations = Counter(
            "kubewitness_authority_rotations",
            "Times that this replica had the next authority take the place of the current one.",
            registry=None,
        )
        self.bundle_repairs = Counter(
            "kubewitness_ca_bundle_repairs",
            "Times that this replica wrote the caBundle again after somebody else had changed it.",
            registry=None,
        )
        self.forgotten = Counter("kubewitness_entries_forgotten", "Entries removed by retention.", registry=r)
        self.leading = Gauge("kubewitness_watcher_leading", "1 if this replica tells failed Jobs.", registry=None)
        self.failed_jobs = Counter(
            "kubewitness_failed_jobs",
            "Failed Jobs. result: told, elsewhere (another replica told it), before_first_start, old (failed longer ago"
            " than --failed-job-max-age-seconds when it was first seen).",
            ["result"],
            registry=r,
        )
        self.failed_jobs_waiting = Gauge(
            "kubewitness_failed_jobs_waiting", "Failed Jobs that are not yet known to be told.", registry=None
        )
        self.withheld = Counter(
            "kubewitness_findings_withheld",
            "Findings that a playbook's rate limit kept back; the entry is recorded all the same.",
            ["playbook"],
            registry=r,
        )
        self.watch_lists = Counter(
            "kubewitness_watch_lists", "Lists that a watch began with, by reason.", ["resource", "reason"], registry=r
        )
        self.watch_connections = Counter(
            "kubewitness_watch_reconnects", "Watches that were resumed, by reason.", ["resource", "reason"], registry=r
        )
        self.watch_contact = Gauge(
            "kubewitness_watch_last_contact_timestamp_seconds",
            "When the API server last sent anything over a watch; bookmarks come about every minute.",
            ["resource"],
            registry=r,
        )
        self.evidence_logs = Counter(
            "kubewitness_evidence_logs", "Logs of failing containers that were read, or not.", ["result"], registry=r
        )
        self.evidence_dropped = Counter(
            "kubewitness_evidence_dropped",
            "Evidence that was given up before its Job was told.",
            ["reason"],
            registry=r,
        )
        Gauge("kubewitness_build_info", "The version.", ["version"], registry=r).labels(__version__).set(1)

    def watching(self) -> None:
        """Export, from now on, what is said of the watcher where there is one; to be called once.

        Elsewhere a 0 would say that nobody leads, where nobody is meant to.
        """
        self.registry.register(self.leading)
        self.registry.register(self.failed_jobs_waiting)

    def signing(self) -> None:
        """Export, from now on, what is said of the authority where this process signs; to be called once.

        Elsewhere a 0 would say that an authority expired in 1970.
        """
        for each in (self.authority_expiry, self.authority_rotations, self.bundle_repairs):
            self.registry.register(each)

    def follow_journal(self, pending: Callable[[], int], seconds: Callable[[], float]) -> None:
        """Read the journal's queue whenever the metrics are scraped."""
        self.journal_pending.set_function(pending)
        self.journal_pending_seconds.set_function(seconds)
