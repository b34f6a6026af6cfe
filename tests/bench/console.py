"""`make bench-console`: what people wait for, from a real process with a ledger of a million entries.

`python -m tests.bench.console [--entries 1000000] [--quick] [--data-dir DIR]`. Times are of this machine, at the
client; a folder that is given keeps its ledger for the next run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from app.cli.processes import free_ports
from app.store.database import FILE_NAME
from app.store.ledger import Query
from app.tls.files import ensure_dev_certificates
from tests.bench.search import QUERIES, index, write
from tests.builders import make_body

ROUNDS: Final = 5
REQUESTS: Final = 1_000
LISTENERS: Final = (1, 100)
EVENTS: Final = 15
EXPORTED: Final = "kind=Ingress"
STARTED_WITHIN: Final = 60.0

PAGES: Final = {
    "timeline": "/",
    "timeline, 24 hours": "/?since=24h",
    "actors, 24 hours": "/actors?since=24h",
    "actors, 30 days": "/actors?since=30d",
    "deliveries": "/deliveries",
    "status": "/status",
    "histogram": "/chart",
    "API: entries": "/api/v1/entries",
}
JSON: Final = {"Content-Type": "application/json"}
_PARAMETERS: Final = {"username": "user"}


class Served:
    """A real process with its console and webhook; its memory can be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        admission, console = free_ports(2)
        self.url = f"http://127.0.0.1:{console}"
        self.webhook = f"https://127.0.0.1:{admission}/validate"
        self._command = [str(Path(sys.executable).with_name("kubewitness")), "serve", "--drain-seconds", "0"]
        self._command += ["--data-dir", str(folder), "--tls-dir", str(folder / "certs")]
        self._command += ["--admission-host", "127.0.0.1", "--admission-port", str(admission)]
        self._command += ["--console-host", "127.0.0.1", "--console-port", str(console)]
        self._command += ["--retention-days", "0", "--retention-size", "0"]
        self.pid = 0

    @contextmanager
    def running(self) -> Iterator[httpx.Client]:
        """Run it; yields a client of its console."""
        ensure_dev_certificates(self.folder / "certs", now=datetime.now(UTC))
        process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        self.pid = process.pid
        try:
            with httpx.Client(base_url=self.url, trust_env=False, timeout=60) as client:
                _until_ready(client, process)
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def memory(self) -> float:
        """Return the resident MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def trusting(self) -> ssl.SSLContext:
        """Return a context for its webhook."""
        return ssl.create_default_context(cafile=str(self.folder / "certs" / "ca.crt"))


def _until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"kubewitness exited with {process.returncode}")
        try:
            if client.get("/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError("kubewitness did not get ready")


def parameters(query: Query) -> dict[str, str]:
    """Return a query as the address of a page writes it."""
    given = {name: value for name, value in msgspec.structs.asdict(query).items() if value not in ("", None)}
    return {
        _PARAMETERS.get(name, name): str(value).lower() if value is True else value for name, value in given.items()
    }


def times(work: Callable[[], httpx.Response], rounds: int = ROUNDS) -> tuple[float, float, int]:
    """Return the median and the worst of some rounds in milliseconds, and the bytes of the answer."""
    taken, size = list[float](), 0
    for _ in range(rounds):
        started = time.perf_counter()
        answer = work()
        taken.append((time.perf_counter() - started) * 1000)
        answer.raise_for_status()
        size = len(answer.content)
    return statistics.median(taken), max(taken), size


def pages(client: httpx.Client) -> Table:
    """Measure each page."""
    newest = client.get("/api/v1/entries", params={"limit": 1}).json()["items"][0]
    resource = newest["resource"]
    object_page = f"/objects/{resource['kind']}/{resource['namespace']}/{resource['name']}"
    of_newest = {"object": object_page, "compared": f"{object_page}?from=30d", "entry": f"/entries/{newest['id']}"}
    table = Table("page", "median ms", "worst ms", "kB")
    for name, path in {**PAGES, **of_newest}.items():
        median, worst, size = times(lambda path=path: client.get(path))  # type: ignore[misc]
        table.add_row(name, f"{median:.1f}", f"{worst:.1f}", f"{size / 1000:.0f}")
    return table


def filters(client: httpx.Client) -> Table:
    """Measure the first page and the histogram of each filter."""
    table = Table("filter", "page ms", "worst ms", "histogram ms", "worst ms")
    for name, query in QUERIES.items():
        given = parameters(query)
        row = [f"{each:.1f}" for path in ("/", "/chart") for each in _asked(client, path, given)]
        table.add_row(name, *row)
    return table


def _asked(client: httpx.Client, path: str, given: Mapping[str, str]) -> tuple[float, float]:
    median, worst, _ = times(lambda: client.get(path, params=given))
    return median, worst


def flat(client: httpx.Client, served: Served, requests: int) -> str:
    """Ask for everything in turns; return what that does to the memory."""
    addresses = [*PAGES.values(), *(str(httpx.URL("/", params=parameters(each))) for each in QUERIES.values())]
    memory = [served.memory()]
    for _ in range(4):
        for number in range(requests // 4):
            client.get(addresses[number % len(addresses)]).raise_for_status()
        memory.append(served.memory())
    return f"memory over {requests:,} requests: {', '.join(f'{each:.0f}' for each in memory)} MiB"


def export(client: httpx.Client, served: Served) -> str:
    """Take a file of one kind's entries; return how long that took, and what memory it cost."""
    before, started, size, lines, most = served.memory(), time.perf_counter(), 0, 0, 0.0
    with client.stream("GET", f"/export.jsonl?{EXPORTED}") as answer:
        answer.raise_for_status()
        for chunk in answer.iter_bytes(1 << 20):
            size, lines, most = size + len(chunk), lines + chunk.count(b"\n"), max(most, served.memory())
    taken = time.perf_counter() - started
    cost = f"memory {before:.0f} MiB before, {most:.0f} at most"
    return f"export of {lines:,} entries, {size / 1e6:.0f} MB: {taken:.1f} s; {cost}"


async def live(served: Served, listeners: int, events: int) -> tuple[float, float]:
    """Return median and worst of the milliseconds from the answer to a review until each listener has its entry."""
    arrived = asyncio.Queue[float]()
    delays = list[float]()
    async with AsyncExitStack() as stack:
        limits = httpx.Limits(max_connections=None)
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60, limits=limits))
        reviewer = await stack.enter_async_context(httpx.AsyncClient(verify=served.trusting(), trust_env=False))
        listening = [asyncio.create_task(_listen(client, served.url, arrived)) for _ in range(listeners)]
        for _ in listening:
            await arrived.get()  # it is connected
        for _ in range(events):
            body = make_body(uid=str(uuid.uuid4()))
            (await reviewer.post(served.webhook, content=body, headers=JSON)).raise_for_status()
            answered = time.perf_counter()
            delays += [(await arrived.get() - answered) * 1000 for _ in listening]
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    return statistics.median(delays), max(delays)


async def _listen(client: httpx.AsyncClient, url: str, arrived: asyncio.Queue[float]) -> None:
    async with client.stream("GET", f"{url}/api/v1/stream?view=id") as answer:
        async for line in answer.aiter_lines():
            if line.startswith(("retry:", "event:")):
                arrived.put_nowait(time.perf_counter())


def measure(console: Console, served: Served, *, quick: bool) -> None:
    """Print everything."""
    with served.running() as client:
        memory, started = served.memory(), time.perf_counter()
        client.get("/").raise_for_status()
        console.print(
            f"the very first page: {(time.perf_counter() - started) * 1000:.0f} ms; memory {memory:.0f} MiB before"
        )
        console.print(pages(client), filters(client))
        console.print(export(client, served))
        console.print(flat(client, served, REQUESTS // 5 if quick else REQUESTS))
        for listeners in LISTENERS:
            median, worst = asyncio.run(live(served, listeners, EVENTS))
            console.print(f"live, {listeners} listening: median {median:.0f} ms, worst {worst:.0f} ms")
        console.print(f"memory at the end: {served.memory():.0f} MiB")


def main() -> None:
    """Make the ledger where it is missing, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="100,000 entries and fewer requests")
    parser.add_argument("--data-dir", type=Path, help="where the ledger is, or is to be made and kept")
    chosen, console = parser.parse_args(), Console()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.data_dir or Path(temporary)
        if not (folder / FILE_NAME).exists():
            write(folder, 100_000 if chosen.quick else chosen.entries)
        index(console, folder / FILE_NAME)
        measure(console, Served(folder), quick=chosen.quick)


if __name__ == "__main__":
    main()
