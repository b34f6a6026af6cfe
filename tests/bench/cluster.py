"""Measures what an auditor costs whoever changes something: PATCH through a real API server, three ways.

`none` has no webhook, `bare` a FastAPI endpoint that only says yes, `kubewitness` is the real program, which answers
when its journal is committed. All three are there all the time, each for a namespace of its own, and take turns, so
that a noisy machine is noisy for all. Run as `python -m tests.bench.cluster`; it takes about a minute.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import itertools
import json
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from app.cli.controlplane import ControlPlane, Programs
from app.cli.processes import Processes, free_ports
from tests.bench.histogram import Histogram
from tests.e2e.auditor import Auditor
from tests.e2e.environment import Environment
from tests.e2e.webhooks import DURATION, Webhook

BARE: Final = "bare"
OURS: Final = "kubewitness"
VARIANTS: Final = ("none", BARE, OURS)
WARM_UP_PATCHES: Final = 80
CONTENT: Final = "x" * 2000
"""What else is in each ConfigMap: there is something to send, to read and to compare."""

PATCH: Final = {"Content-Type": "application/merge-patch+json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """PATCHes ConfigMaps in the namespace of a variant: each connection its own, one PATCH after another."""

    port: int
    tls: ssl.SSLContext
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, variant: str, *, patches: int, connections: int) -> list[float]:
        """Return how many milliseconds each PATCH took."""
        share = patches // connections
        with concurrent.futures.ThreadPoolExecutor(connections) as pool:
            lanes = [pool.submit(self._lane, variant, lane, share) for lane in range(connections)]
            return [took for lane in lanes for took in lane.result()]

    def _lane(self, variant: str, lane: int, patches: int) -> list[float]:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls, timeout=10)
        path = f"/api/v1/namespaces/{variant}/configmaps/lane-{lane}"
        with closing(connection):
            return [self._patch(connection, path) for _ in range(patches)]

    def _patch(self, connection: http.client.HTTPSConnection, path: str) -> float:
        body = json.dumps({"data": {"number": str(next(self.numbers))}})
        started = time.perf_counter()
        connection.request("PATCH", path, body, PATCH)
        answer = connection.getresponse()
        answer.read()
        took = time.perf_counter() - started
        assert answer.status == http.client.OK, f"PATCH {path} answered {answer.status}"
        return 1000 * took


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One variant: how long PATCHes took, and how long the API server says that it waited for the webhook."""

    patches: list[float]
    webhook: Histogram

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.patches, n=100)[percent - 1]


@contextmanager
def _bare(directory: Path, certificates: Path) -> Iterator[Webhook]:
    (port,) = free_ports(1)
    pair = [str(certificates / "tls.crt"), str(certificates / "tls.key")]
    environment = {"PATH": os.defpath, "PYTHONPATH": str(Path.cwd())}
    with Processes(directory) as processes:
        arguments = ["-m", "tests.bench.bare_fastapi", str(port), *pair]
        processes.start(BARE, Path(sys.executable), arguments, environment=environment)
        yield Webhook(port=port, authority=certificates / "ca.crt", **_options(BARE))


def _options(variant: str) -> dict[str, Any]:
    return {"name": variant, "resources": ("configmaps",), "namespace_labels": {"variant": variant}}


def _prepare(cluster: ControlPlane, connections: int) -> None:
    for variant in VARIANTS:
        cluster.kubectl("create", "namespace", variant)
        cluster.kubectl("label", "namespace", variant, f"variant={variant}")
        for lane in range(connections):
            cluster.kubectl("create", "configmap", f"lane-{lane}", "-n", variant, f"--from-literal=content={CONTENT}")


def _histograms(cluster: ControlPlane) -> dict[str, Histogram]:
    samples = cluster.metrics(DURATION)
    return {variant: Histogram.of(samples, name=DURATION, webhook=f"{variant}.kubewitness.svc") for variant in VARIANTS}


def _measure(
    cluster: ControlPlane, load: Load, *, rounds: int, patches: int, connections: int
) -> dict[str, Measurement]:
    before = _histograms(cluster)
    took: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        # Another one begins each time: nobody always runs on the caches that the same neighbour left.
        for variant in VARIANTS[number % 3 :] + VARIANTS[: number % 3]:
            took[variant] += load.run(variant, patches=patches, connections=connections)
    after = _histograms(cluster)
    return {
        variant: Measurement(patches=took[variant], webhook=after[variant].since(before[variant]))
        for variant in VARIANTS
    }


def _table(title: str, measured: dict[str, Measurement]) -> Table:
    table = Table(title=title, caption="milliseconds; the webhook's quantiles are no finer than the buckets")
    table.add_column("variant")
    for column in ("PATCHes", "p50", "p99", "webhook mean", "webhook p50", "webhook p99"):
        table.add_column(column, justify="right")
    for variant, one in measured.items():
        hook = one.webhook
        numbers = [one.percentile(50), one.percentile(99)]
        if hook.count:
            numbers += [hook.mean_milliseconds(), *map(hook.quantile_milliseconds, (0.5, 0.99))]
        table.add_row(variant, str(len(one.patches)), *(f"{number:.2f}" for number in numbers))
    return table


def _ratios(measured: dict[str, Measurement]) -> str:
    ours, bare = measured[OURS], measured[BARE]
    ratios = {
        "PATCH p50": ours.percentile(50) / bare.percentile(50),
        "PATCH p99": ours.percentile(99) / bare.percentile(99),
        "webhook mean": ours.webhook.mean_milliseconds() / bare.webhook.mean_milliseconds(),
    }
    return f"{OURS} / {BARE}: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patches", type=int, default=400, help="for each variant in each round")
    parser.add_argument("--connections", type=int, default=8, help="of the second, concurrent measurement")
    return parser.parse_args()


def main() -> None:
    """Start everything, measure over one connection and over several, print a table for each."""
    arguments, console = _arguments(), Console(width=110)
    programs = Programs.find(Environment().kubebuilder_assets)
    with (
        tempfile.TemporaryDirectory(prefix="kubewitness-bench-") as name,
        ControlPlane(programs, Path(name)) as cluster,
        Auditor(Path(name) / OURS, "") as auditor,
        _bare(Path(name), auditor.certificates) as bare,
    ):
        _prepare(cluster, arguments.connections)
        for webhook in (bare, auditor.webhook(**_options(OURS))):
            webhook.register(cluster, namespace=webhook.name)
        load = Load(port=int(cluster.url.rpartition(":")[2]), tls=cluster.tls())
        for variant in VARIANTS:
            load.run(variant, patches=WARM_UP_PATCHES, connections=arguments.connections)
        for connections in (1, arguments.connections):
            measured = _measure(
                cluster, load, rounds=arguments.rounds, patches=arguments.patches, connections=connections
            )
            console.print(_table(f"PATCH of a ConfigMap, {connections} connection(s)", measured))
            console.print(_ratios(measured))


if __name__ == "__main__":
    main()
