"""`make bench`: measures on this machine and prints ratios, since only ratios travel between machines.

Every server runs in turn on one pinned core, the load on another, over TLS with keep-alive, in interleaved rounds.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import deepdiff
import httpx
import jsonpatch
import msgspec
from rich.console import Console
from rich.table import Table

from app.cli.processes import free_ports
from app.core.diff import diff, patch
from app.store.database import connect_reader, connect_writer
from app.store.ledger import Ledger, Query
from app.tls.files import ensure_dev_certificates
from tests.bench import delivery
from tests.bench.load import RECORDED, Load, review

CONNECTIONS: Final = 32
CONFIG: Final = """
customPlaybooks:
- triggers: [{on_statefulset_update: {}}]
  actions: [{resource_babysitter: {fields_to_monitor: [images]}}]
"""


def pinned(core: int) -> Callable[[], None]:
    """Return what a child does first: stay on one core."""
    return lambda: os.sched_setaffinity(0, {core})


class Server:
    """One server under test, on core 0."""

    def __init__(self, name: str, command: list[str], port: int) -> None:
        self.name = name
        self.port = port
        self._command = command

    @contextmanager
    def running(self) -> Iterator[int]:
        """Run it; yields the process id."""
        process = subprocess.Popen(self._command, preexec_fn=pinned(0), stderr=subprocess.DEVNULL)  # noqa: PLW1509
        try:
            self._wait(process)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"{self.name} exited with {process.returncode}")
            try:
                httpx.get(f"https://127.0.0.1:{self.port}/", verify=False, trust_env=False)
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"{self.name} did not start")


def servers(work: Path) -> list[Server]:
    """Return the servers to compare; ours twice, with both ways to sync."""
    certificate, key = str(work / "certs" / "tls.crt"), str(work / "certs" / "tls.key")
    config = work / "config.yaml"
    config.write_text(CONFIG)
    ports = iter(free_ports(7))

    def ours(synchronous: str) -> Server:
        admission, console = next(ports), next(ports)
        command = [str(Path(sys.executable).with_name("kubewitness")), "serve"]
        command += ["--config", str(config), "--data-dir", str(work / f"data-{synchronous}")]
        command += ["--admission-host", "127.0.0.1", "--admission-port", str(admission)]
        command += ["--console-host", "127.0.0.1", "--console-port", str(console)]
        command += ["--tls-dir", str(work / "certs"), "--drain-seconds", "0", "--synchronous", synchronous]
        return Server(f"kubewitness, {synchronous}", command, admission)

    def bare(name: str, module: str, *options: str) -> Server:
        port = next(ports)
        return Server(name, [sys.executable, "-m", module, str(port), certificate, key, *options], port)

    return [
        bare("FastAPI, declared body", "tests.bench.bare_fastapi", "declared"),
        bare("FastAPI, body by hand", "tests.bench.bare_fastapi"),
        bare("bare ASGI", "tests.bench.bare_asgi"),
        ours("FULL"),
        ours("NORMAL"),
    ]


def throughput(
    all_servers: list[Server], authority: Path, body: bytes, rounds: int, seconds: float
) -> dict[str, float]:
    """Return the median of reviews per second over interleaved rounds."""
    rates: dict[str, list[float]] = {server.name: [] for server in all_servers}
    for _ in range(rounds):
        for server in all_servers:
            with server.running():
                load = Load(server.port, authority, body)
                load.run(CONNECTIONS, min(1.0, seconds))
                started = time.perf_counter()
                answered = len(load.run(CONNECTIONS, seconds))
                rates[server.name].append(answered / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in rates.items()}


def latency(all_servers: list[Server], authority: Path, body: bytes, seconds: float) -> dict[str, tuple[float, float]]:
    """Return p50 and p99 in milliseconds with one connection."""
    found = {}
    for server in all_servers:
        with server.running():
            load = Load(server.port, authority, body)
            load.run(1, min(1.0, seconds))
            values = load.run(1, seconds)
            found[server.name] = values[len(values) // 2] * 1e3, values[int(len(values) * 0.99)] * 1e3
    return found


def diff_times(console: Console) -> None:
    """Print the time of our diff against jsonpatch and deepdiff, on the recorded Deployment update."""
    request = msgspec.json.decode(RECORDED.read_bytes())["request"]
    old, new = request["oldObject"], request["object"]
    for document in (old, new):
        for name in ("managedFields", "resourceVersion", "generation"):
            document["metadata"].pop(name, None)

    def microseconds(work: Callable[[], Any], number: int) -> float:
        return min(timeit.repeat(work, number=number, repeat=7)) / number * 1e6

    ours = microseconds(lambda: diff(old, new, typed=True), 2000)
    table = Table("diff of a Deployment's image change", "µs", "times ours", box=None)
    table.add_row("kubewitness, with a schema (built-in kinds)", f"{ours:.1f}", "1.0")
    others = {
        "kubewitness, without (custom resources)": microseconds(lambda: diff(old, new), 2000),
        "kubewitness, as RFC 6902 patch": microseconds(lambda: list(patch(diff(old, new, typed=True))), 2000),
        "jsonpatch.make_patch": microseconds(lambda: jsonpatch.make_patch(old, new), 300),
        "deepdiff.DeepDiff": microseconds(lambda: deepdiff.DeepDiff(old, new), 20),
    }
    for name, value in others.items():
        table.add_row(name, f"{value:.1f}", f"{value / ours:.1f}")
    console.print(table)


def growth(console: Console, server: Server, data: Path, authority: Path, entries: int) -> None:
    """Print bytes of journal per entry and resident memory after many entries."""
    database = data / "journal.db"
    with server.running() as process_id:
        before, count_before = _size(database), _count(database)
        load = Load(server.port, authority, review())
        while _count(database) - count_before < entries:
            load.run(CONNECTIONS, 2.0)
        resident = _resident(process_id)
        added = _count(database) - count_before
    # The server has checkpointed the write-ahead log into the file by closing it.
    per_entry = (_size(database) - before) / added
    console.print(f"journal: {per_entry:,.0f} bytes per entry ({added:,} entries, indexes included)")
    console.print(f"memory: {resident / 2**20:.0f} MiB resident after {added:,} entries")


def _size(database: Path) -> int:
    return sum(path.stat().st_size for path in database.parent.glob("journal.db*"))


def _count(database: Path) -> int:
    with closing(connect_reader(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])


def _resident(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def pages(console: Console, source: Path, work: Path, entries: int) -> None:
    """Print the time of a page of 50 from a ledger of many entries, copied from the real ones."""
    target = work / "million"
    target.mkdir()
    with closing(connect_reader(source)) as connection:
        rows = connection.execute("SELECT kind, namespace, name, username, operation, body FROM entries LIMIT 1000")
        samples = rows.fetchall()
    database = target / "journal.db"
    now = int(datetime.now(UTC).timestamp() * 1000)
    with closing(connect_writer(database, "NORMAL")) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    (now - entries + number) << 12,
                    ("Deployment", "ConfigMap", "StatefulSet")[number % 3],
                    f"team-{number % 97}",
                    f"app-{number % 1009}",
                    f"user-{number % 53}",
                    "UPDATE",
                    samples[number % len(samples)][5],
                )
                for number in range(entries)
            ),
        )
        connection.execute("COMMIT")
    table = Table(f"page of 50 from {entries:,} entries", "ms, median of 20", box=None)
    queries = {
        "newest first": Query(),
        "kind": Query(kind="Deployment"),
        "namespace": Query(namespace="team-5"),
        "name": Query(name="app-7"),
        "user": Query(username="user-9"),
        "kind and user": Query(kind="ConfigMap", username="user-11"),
        "a day ago": Query(until=now - 86_400),
        "path": Query(path="images"),
    }
    for name, query in queries.items():
        times = []
        for _ in range(20):
            with closing(Ledger(database)) as ledger:
                started = time.perf_counter()
                ledger.search(query, limit=50)
                times.append(time.perf_counter() - started)
        table.add_row(name, f"{statistics.median(times) * 1e3:.2f}")
    console.print(table)


def main() -> None:
    """Measure everything, or less with --quick."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds and fewer entries")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries in the ledger of the page test")
    options = parser.parse_args()
    rounds, seconds = (1, 2.0) if options.quick else (3, 5.0)
    console = Console(width=120, highlight=False)
    if len(os.sched_getaffinity(0)) < 2:
        console.print("note: one core only, the load runs beside the server")
    with tempfile.TemporaryDirectory(prefix="kubewitness-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:  # noqa: TID251
        work = Path(folder)
        ensure_dev_certificates(work / "certs", now=datetime.now(UTC))
        authority = work / "certs" / "ca.crt"
        all_servers = servers(work)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        diff_times(console)
        for body in (review(), review(40)):
            rates = throughput(all_servers, authority, body, rounds, seconds)
            title = f"{len(body) / 1024:.0f} KB reviews, {CONNECTIONS} connections"
            table = Table(title, "reviews/s", *(f"of {server.name}" for server in all_servers[:3]), box=None)
            for name, rate in rates.items():
                ratios = (f"{rate / rates[server.name]:.2f}" for server in all_servers[:3])
                table.add_row(name, f"{rate:,.0f}", *ratios)
            console.print(table)
        found = latency(all_servers, authority, review(), seconds)
        table = Table(f"{len(review()) / 1024:.0f} KB reviews, 1 connection", "p50 ms", "p99 ms", box=None)
        for name, (median, high) in found.items():
            table.add_row(name, f"{median:.2f}", f"{high:.2f}")
        console.print(table)
        growth(console, all_servers[3], work / "data-FULL", authority, 20_000 if options.quick else 100_000)
        pages(console, work / "data-FULL" / "journal.db", work, 50_000 if options.quick else options.entries)
        delivery.measure(console, work / "delivery", quick=options.quick)


if __name__ == "__main__":
    main()
