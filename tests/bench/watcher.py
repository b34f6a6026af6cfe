"""Measures the watcher against a real API server: memory, CPU, latency, requests and the journal's growth.

Nothing acts on the Jobs but this program: there is no controller manager, and a node that only serves logs. Figures of
time are of this machine while it did this; what was asked for stands beside them. Takes about six minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from app.cli.controlplane import ControlPlane, Programs
from app.cli.processes import ProcessError
from tests.bench.crowd import NAMESPACE as CROWD
from tests.bench.crowd import Crowd
from tests.bench.failures import CONTAINERS, Arrivals, Failures
from tests.bench.failures import NAMESPACE as FAILURES
from tests.bench.watched import ACCOUNT, AUDIT_POLICY, Access, Calls, InCluster, Watched, WithKubeconfig, counted
from tests.e2e.environment import Environment
from tests.e2e.kubelet import Kubelet
from tests.e2e.servers import Hook
from tests.e2e.watcher import NAMESPACE, Account

SETTLE_SECONDS: Final = 10.0
"""After what happened and before memory is read: imports, first commits and late answers are over by then."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all measurements share."""

    cluster: ControlPlane
    calls: Calls
    hook: Hook
    console: Console
    directory: Path
    in_cluster: Access
    kubeconfig: Access

    def watched(self, name: str, access: Access | None = None) -> Watched:
        """Return a watcher with a journal and a Lease of its own, not started yet."""
        return Watched(self.directory / name, access or self.in_cluster, self.hook.url, f"bench-{name}")

    def print(self, title: str, rows: Sequence[Sequence[str]], *columns: str) -> None:
        """Print a table as Markdown."""
        table = Table(box=box.MARKDOWN)
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self.console.print(f"\n{title}", table)


def idle(bench: Bench, seconds: float) -> None:
    """Print memory and CPU of watchers for which nothing happens."""
    with contextlib.ExitStack() as stack:
        accesses = list({access.name: access for access in (bench.in_cluster, bench.kubeconfig)}.values())
        watchers = [stack.enter_context(bench.watched(f"idle-{access.name}", access)) for access in accesses]
        for each in watchers:
            each.until_leading()
        time.sleep(SETTLE_SECONDS)
        worked = [each.worked() for each in watchers]
        time.sleep(seconds)
        rows = [
            (
                access.name,
                f"{each.resident():.1f} MB",
                f"{each.peak():.1f} MB",
                f"{100 * (each.worked() - before) / seconds:.2f} %",
            )
            for access, each, before in zip(accesses, watchers, worked, strict=True)
        ]
    asked = ("asked for", "<= 80 MB", "", "nearly none")
    bench.print(f"idle for {seconds:.0f} s", [*rows, asked], "credentials", "resident", "peak", "CPU of one core")


def finished_jobs(bench: Bench, crowd: Crowd, counts: Sequence[int]) -> None:
    """Print memory and time to list for clusters with more and more finished Jobs."""
    rows = []
    for count in counts:
        crowd.grow(count)
        bench.calls.new()
        started = datetime.now(UTC)
        with bench.watched(f"list-{count}") as watcher:
            synced = bench.calls.until_listed("jobs", "pods") - started
            worked = watcher.worked()
            watcher.until_leading()
            time.sleep(SETTLE_SECONDS)
            rows.append(_row(watcher, f"{count:,} Jobs, {crowd.pods:,} Pods", synced.total_seconds(), worked))
            if count == counts[-1]:
                rows += [_relisted(bench, watcher, again) for again in ("anew", "once more")]
                rows.append(_changed(crowd, watcher))
    bench.print("finished Jobs in the cluster", rows, "with", "resident", "peak", "s until listed", "s of CPU")


def _relisted(bench: Bench, watcher: Watched, again: str) -> tuple[str, ...]:
    """Have it list anew: its version is older than what an API server knows that has just begun."""
    watcher.forget_peak()
    worked = watcher.worked()
    watcher.pause()
    bench.cluster.kubectl("create", "namespace", again.replace(" ", "-"))
    bench.cluster.restart_api_server()
    bench.calls.new()
    begun = datetime.now(UTC)
    watcher.resume()
    listed = bench.calls.until_listed("jobs", "pods") - begun
    spent = watcher.worked() - worked
    time.sleep(SETTLE_SECONDS)
    return _row(watcher, f"listed {again}", listed.total_seconds(), spent)


def _changed(crowd: Crowd, watcher: Watched, each_second: int = 500, seconds: float = 20) -> tuple[str, ...]:
    watcher.forget_peak()
    worked = watcher.worked()
    rate = crowd.change(each_second, seconds)
    spent = watcher.worked() - worked
    time.sleep(SETTLE_SECONDS)
    return _row(watcher, f"{rate:.0f} other changes/s, {seconds:.0f} s", None, spent)


def _row(watcher: Watched, what: str, seconds: float | None, worked: float) -> tuple[str, ...]:
    took = "" if seconds is None else f"{seconds:.1f}"
    return what, f"{watcher.resident():.1f} MB", f"{watcher.peak():.1f} MB", took, f"{worked:.1f}"


def latency(bench: Bench, single: int, crowd: int) -> None:
    """Print the time from failure to sink, the requests for it, and what the journal keeps of it."""
    with Kubelet(bench.cluster) as kubelet, bench.watched("latency") as watcher, Arrivals(watcher.sink) as arrivals:
        watcher.until_leading()
        with closing(Failures(bench.cluster, kubelet, arrivals)) as failures:
            before = _journal(watcher)
            bench.calls.new()
            singles = failures.single(single)
            time.sleep(1)
            asked_by_single = _requests(bench, "latency", single)
            worked = watcher.worked()
            many = failures.crowd(crowd)
            time.sleep(1)
            worked = watcher.worked() - worked
            asked_by_many = _requests(bench, "latency", crowd)
        peak = watcher.peak()
        time.sleep(SETTLE_SECONDS)
        resident = watcher.resident()
        watcher.stop()
        kept = (_journal(watcher) - before) / (single + crowd)
        bench.print(
            "from the accepted failure to the line in the file sink; asked for: 2 s",
            [(f"{single}, one after another", *_times(singles)), (f"{crowd} at once", *_times(many))],
            "failures",
            "p50",
            "p99",
            "max",
        )
        bench.print(
            "API requests per failure told, without the election's",
            [(f"{single}, one after another", asked_by_single), (f"{crowd} at once", asked_by_many)],
            "failures",
            "requests",
        )
        logs = f"{len(CONTAINERS)} logs of {failures.log_bytes / 1000:.1f} kB each"
        bench.console.print(f"\njournal: {kept / 1000:.1f} kB per failed Job with {logs}")
        bench.console.print(f"memory: {resident:.1f} MB after {single + crowd} failures, {peak:.1f} MB at most")
        bench.console.print(f"CPU: {1000 * worked / crowd:.0f} ms per failure of {crowd} at once")


def _times(seconds: Sequence[float]) -> tuple[str, ...]:
    percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
    return tuple(f"{1000 * each:.0f} ms" for each in (percentiles[49], percentiles[98], max(seconds)))


def _requests(bench: Bench, name: str, failures: int) -> str:
    counts = counted(bench.calls.new(), f"bench-{name}")
    each = ", ".join(f"{what} {count / failures:.1f}" for what, count in counts.most_common())
    return f"{counts.total() / failures:.1f} ({each})"


def _journal(watcher: Watched) -> int:
    return sum(path.stat().st_size for path in watcher.data.glob("journal.db*"))


@contextlib.contextmanager
def _bench(directory: Path, console: Console) -> Iterator[Bench]:
    programs = dataclasses.replace(Programs.find(Environment().kubebuilder_assets), controller_manager=None)
    policy, audit = directory / "policy.yaml", directory / "audit.log"
    policy.write_text(AUDIT_POLICY)
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={audit}")
    with ControlPlane(programs, directory, api_server_flags=flags) as cluster, Hook() as hook:
        for namespace in (NAMESPACE, CROWD, FAILURES):
            cluster.kubectl("create", "namespace", namespace)
        kubeconfig = Account(cluster, ACCOUNT).grant()
        token = msgspec.json.decode(kubeconfig.read_bytes())["users"][0]["user"]["token"]
        bench = Bench(
            cluster=cluster,
            calls=Calls(audit),
            hook=hook,
            console=console,
            directory=directory,
            in_cluster=InCluster(cluster, token),
            kubeconfig=WithKubeconfig(kubeconfig),
        )
        yield _allowed(bench)


def _allowed(bench: Bench) -> Bench:
    """Do without credentials of a Pod where no mount namespace may be made, and say so."""
    try:
        with bench.watched("try"):
            return bench
    except (ProcessError, OSError):
        bench.console.print("note: no mount namespace here, so with a kubeconfig, which costs about 11 MB more")
        return dataclasses.replace(bench, in_cluster=bench.kubeconfig)


def main() -> None:
    """Measure everything, or less of it."""
    parser = argparse.ArgumentParser(prog="make bench-watcher", description=__doc__)
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=20_000, help="finished Jobs at most")
    parser.add_argument("--single", type=int, default=100, help="failures one after another")
    parser.add_argument("--crowd", type=int, default=200, help="failures at once")
    options = parser.parse_args()
    console = Console(width=140, highlight=False)
    console.print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before it began")
    with tempfile.TemporaryDirectory(prefix="kubewitness-bench-") as name, _bench(Path(name), console) as bench:
        if options.idle_seconds:
            idle(bench, options.idle_seconds)
        crowd = Crowd(bench.cluster.kubeconfig(), pods_at_most=2000)
        if options.jobs:
            finished_jobs(bench, crowd, (0, options.jobs // 10, options.jobs))
        if options.single and options.crowd:
            latency(bench, options.single, options.crowd)


if __name__ == "__main__":
    main()
