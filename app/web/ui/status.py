"""The page that says whether all is well: checks, sinks with their queues, playbooks, ledger and certificate."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.core import text as plain
from app.core.moments import milliseconds, written
from app.store.reading import Reader
from app.telemetry.metrics import Metrics
from app.web.health import Health
from app.web.ui import data, words
from app.web.ui.installation import Installation, PlaybookFacts, SinkFacts
from app.web.ui.render import page

_LONGEST_LINE: Final = 1000
_DAY: Final = timedelta(days=1)
_TITLES: Final = {
    "ok": "Everything works",
    "degraded": "Something needs attention",
    "unavailable": "Reviews are not being taken",
}
_UNITS: Final = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


class SinkLine(msgspec.Struct, frozen=True, kw_only=True):
    """A sink with what is measured of it. `health` is `failing` where it refused what it was told last."""

    facts: SinkFacts
    health: str
    error: str
    oldest: str
    delivered: int
    failed: int
    pending: int
    dead: int


class PlaybookLine(msgspec.Struct, frozen=True):
    """A playbook with how often it found something in the last day."""

    facts: PlaybookFacts
    hits: int


def page_of(request: Request, ledger: Reader, health: Health, metrics: Metrics, installation: Installation) -> Response:
    """Return the page."""
    ready, report = health.report()
    hits = ledger.hits(datetime.now(UTC) - _DAY)
    counts = ledger.delivery_counts()
    measured = _Measured(metrics)
    sinks = _sinks(installation, _Sinks(measured, ledger), counts.sinks)
    state = _overall(report["status"], sinks)
    return page(
        request,
        "status.html",
        section="status",
        title=_TITLES[state],
        ready=ready,
        state=state,
        given_up=sum(each.dead for each in sinks),
        checks=[(name, each["state"], each.get("message", "")) for name, each in report["checks"].items()],
        installation=installation,
        configuration=plain.lines(installation.configuration, _LONGEST_LINE),
        sinks=sinks,
        playbooks=_playbooks(installation, hits.playbooks),
        all_counted=hits.is_all,
        span=data.span(ledger),
        size=_bytes(measured.value("kubewitness_journal_size_bytes")),
        pending_entries=int(measured.value("kubewitness_journal_pending_entries")),
        reviews=_reviews(measured),
        behind=int(measured.value("kubewitness_search_behind_entries")),
        expiry=_moment(expiry := measured.value("kubewitness_certificate_expiry_timestamp_seconds")),
        expires_in=words.duration(expiry - datetime.now(UTC).timestamp()),
    )


def _overall(state: str, sinks: Iterable[SinkLine]) -> str:
    """Return the state of the process, where that is well also as far as sinks take what they are told."""
    return "degraded" if state == "ok" and any(each.health == "failing" for each in sinks) else state


class _Measured:
    """The metrics of this process, by name."""

    def __init__(self, metrics: Metrics) -> None:
        self._samples = [sample for family in metrics.registry.collect() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of what has these labels."""
        return sum(
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> list[str]:
        """Return the values of a label in order."""
        return sorted({sample.labels[label] for sample in self._samples if sample.name == name})


def _reviews(measured: _Measured) -> list[tuple[str, int]]:
    name = "kubewitness_reviews_total"
    return [(result, int(measured.value(name, result=result))) for result in measured.labels(name, "result")]


def _sinks(installation: Installation, sinks: _Sinks, told: Iterable[str]) -> list[SinkLine]:
    """Return the sinks in the order of the file; then those that only the measures or the ledger know."""
    declared = {each.name: each for each in installation.sinks}
    facts = declared | {name: each for name, each in sinks.measured_alone().items() if name not in declared}
    gone = (
        SinkFacts(name=name, state="left out", reason="not in the configuration any more")
        for name in told
        if name not in facts
    )
    return [sinks.line(each) for each in (*facts.values(), *gone)]


class _Sinks:
    """What is measured of sinks, and what they said."""

    def __init__(self, measured: _Measured, ledger: Reader) -> None:
        self._measured = measured
        self._ledger = ledger

    def measured_alone(self) -> dict[str, SinkFacts]:
        """Return what the measures alone say of each sink."""
        up = "kubewitness_sink_up"
        names = self._measured.labels(up, "sink")
        return {
            name: SinkFacts(name=name, state="up" if self._measured.value(up, sink=name) > 0 else "missing")
            for name in names
        }

    def line(self, facts: SinkFacts) -> SinkLine:
        """Return a sink with what is measured of it."""
        attempts = "kubewitness_deliveries_total"
        delivered = self._measured.value(attempts, sink=facts.name, outcome="delivered")
        pending = int(self._measured.value("kubewitness_deliveries_pending", sink=facts.name))
        dead = int(self._measured.value("kubewitness_deliveries_dead", sink=facts.name))
        trouble = data.trouble(self._ledger, facts.name) if pending or dead else None
        return SinkLine(
            facts=facts,
            health="failing" if facts.state == "up" and trouble and not trouble.is_over else facts.state,
            error=trouble.text if trouble else "",
            oldest=words.duration(self._measured.value("kubewitness_deliveries_oldest_age_seconds", sink=facts.name)),
            delivered=int(delivered),
            failed=int(self._measured.value(attempts, sink=facts.name) - delivered),
            pending=pending,
            dead=dead,
        )


def _playbooks(installation: Installation, hits: dict[str, int]) -> list[PlaybookLine]:
    named = [PlaybookLine(each, hits.get(each.name, 0)) for each in installation.playbooks]
    known = {each.name for each in installation.playbooks}
    others = [
        PlaybookLine(PlaybookFacts(name=name, is_configured=False), count)
        for name, count in hits.items()
        if name not in known
    ]
    return named + others


def _moment(seconds: float) -> str:
    return written(milliseconds(datetime.fromtimestamp(seconds, UTC))) if seconds else ""


def _bytes(count: float) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS if count >= size), ("bytes", 1))
    return plain.one_line(f"{count / size:.1f} {unit}") if size > 1 else f"{int(count)} {unit}"
