"""Measures searches and histograms on a large ledger, with and without the search index, and what indexing costs.

`python -m tests.bench.search [--entries 1000000] [--journal FILE]`. Times are of this machine; the ratios travel.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from app.core.actors import actor_kind
from app.core.change import Actor, Entry, FieldChange, Resource, User
from app.core.identity import entry_id, first_sequence_at
from app.store.database import FILE_NAME, connect_writer
from app.store.encoding import entry_row
from app.store.ledger import Ledger, Query
from app.store.search.file import beside
from app.store.search.indexer import Indexer

ROUNDS: Final = 3
SPAN: Final = 30 * 86_400_000
BUCKETS: Final = 60

PATHS: Final = (
    "spec.template.spec.containers[web].image",
    "spec.replicas",
    "metadata.labels.version",
    "spec.template.spec.containers[web].env[LOG_LEVEL].value",
    "data.config",
    "spec.template.metadata.annotations",
    "spec.rules[0].host",
)
KINDS: Final = (
    ("apps", "Deployment", "deployments"),
    ("", "ConfigMap", "configmaps"),
    ("apps", "StatefulSet", "statefulsets"),
    ("networking.k8s.io", "Ingress", "ingresses"),
    ("", "Pod", "pods"),
    ("apps", "ReplicaSet", "replicasets"),
    ("", "Secret", "secrets"),
)
CONTROLLERS: Final = ("deployment-controller", "replicaset-controller", "hpa")

QUERIES: Final[dict[str, Query]] = {
    "everything": Query(),
    "kind": Query(kind="Ingress"),
    "namespace, kind and user": Query(namespace="team-3", kind="Deployment", username="user-3"),
    "kind and operation that never meet": Query(kind="Secret", operation="CONNECT"),
    "human": Query(actor="human"),
    "controller and rare path": Query(actor="controller", operation="DELETE", path="images"),
    "dry run": Query(dry_run=True),
    "group": Query(group="apps"),
    "uid": Query(uid=f"{777:032x}"),
    "path of many": Query(path="images"),
    "path of few": Query(username="user-9", path="spec.rules"),
    "path of none": Query(path="spec.nothing"),
    "text of all": Query(q="registry.example.com"),
    "text of many": Query(q="team-3"),
    "text of few": Query(q="app-17:1.399."),
    "text of none": Query(q="zzzznothere"),
    "text of common runs": Query(q="registry.app.team"),
    "text of a character": Query(q="{"),
    "text of two, of none": Query(q="qq"),
    "kind and text of few": Query(kind="Ingress", q="app-17:1.399."),
    "user and path of none": Query(username="user-9", path="spec.nothing"),
    "namespace and actor": Query(namespace="team-3", actor="human"),
    "name, operation, kind": Query(name="app-5", operation="DELETE", kind="Pod"),
    "much that never meets": Query(group="apps", actor="human", operation="DELETE", dry_run=True, path="images"),
    "text of all, narrowed": Query(q="registry.example.com", actor="human", path="images"),
    "text, narrowed": Query(q="app", namespace="team-3", kind="Deployment", actor="human", path="images"),
}


def entries(number: int) -> Iterator[tuple[Any, ...]]:
    """Varied entries over 30 days, as rows of the journal."""
    begin = int(datetime.now(UTC).timestamp() * 1000) - SPAN
    for place in range(number):
        sequence = first_sequence_at(begin + SPAN * place // number) | place % 4096
        yield msgspec.structs.astuple(entry_row(sequence, entry(place, sequence)))[:7]


def entry(place: int, sequence: int) -> Entry:
    group, kind, plural = KINDS[place * 7919 % len(KINDS)]
    name, version = f"app-{place * 17 % 1009}", f"1.{place % 400}.{place % 9}"
    robot = f"system:serviceaccount:kube-system:{CONTROLLERS[place % 3]}"
    username = robot if place % 5 else f"user-{place % 53}"
    image = f"registry.example.com/team/{name}:{version}"
    return Entry(
        id=entry_id(sequence, place),
        at=datetime.fromtimestamp((sequence >> 12) / 1000, UTC).isoformat().replace("+00:00", "Z"),
        cluster="prod",
        operation="UPDATE" if place % 10 else ("CREATE", "DELETE")[place // 10 % 2],
        dry_run=place % 50 == 0,
        resource=Resource(
            group=group,
            version="v1",
            kind=kind,
            resource=plural,
            namespace=f"team-{place * 31 % 97}",
            name=name,
            uid=f"{place:032x}",
        ),
        user=User(username=username, groups=("system:authenticated", "dev-team")),
        actor=Actor(kind=actor_kind(username)),
        field_manager="kube-controller-manager" if place % 5 else "kubectl-set",
        changes=(
            FieldChange(PATHS[place % len(PATHS)], "replace", image, image + "0"),
            FieldChange(PATHS[(place + 3) % len(PATHS)], "replace", place % 7, place % 7 + 1),
        ),
        patch=({"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image + "0"},),
    )


def write(folder: Path, number: int) -> Path:
    path = folder / FILE_NAME
    with closing(connect_writer(path, "NORMAL")) as connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", entries(number))
        connection.execute("COMMIT")
    return path


def resident() -> int:
    """Return the bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def index(console: Console, journal: Path) -> None:
    """Index all, and print what an entry costs."""
    before, started, number, memory = time.process_time(), time.perf_counter(), 0, list[int]()
    with closing(Indexer(journal)) as indexer:
        while done := indexer.follow():
            number += done
            memory.append(resident())
    if not number:
        return
    cpu, size = time.process_time() - before, beside(journal).stat().st_size
    console.print(
        f"indexed {number:,} entries in {time.perf_counter() - started:.0f} s: {cpu / number * 1e6:.0f} µs of CPU and"
        f" {size / number:.0f} bytes an entry, {size / journal.stat().st_size:.2f} of the journal;"
        f" memory grew by {(memory[-1] - memory[len(memory) // 10]) / 2**20:.1f} MiB over the last nine tenths"
    )


def milliseconds(work: Callable[[], Any]) -> float:
    """Return the best of some rounds, in processor time: what waits for others on the machine is not counted."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best * 1000


def first_page(journal: Path, query: Query, scope: frozenset[str] | None = None) -> str:
    """Return how many entries the first page has; with a plus where there may be more below."""
    with closing(Ledger(journal, scope)) as ledger:
        page = ledger.search(query, limit=50)
    return f"{len(page.items)}{'' if page.next is None else '+'}"


def all_pages(journal: Path, query: Query) -> tuple[int, float]:
    """Return how many entries a first screen of 50 has, and how long it took in all its pages."""
    started, items, before = time.perf_counter(), 0, None
    with closing(Ledger(journal)) as ledger:
        while items < 50:
            page = ledger.search(query, limit=50, before=before)
            items, before = items + len(page.items), page.next
            if before is None:
                break
    return items, (time.perf_counter() - started) * 1000


def scopes(journal: Path) -> dict[str, frozenset[str] | None]:
    """Return who may see all, one namespace, and 200 of which some have entries."""
    with closing(Ledger(journal)) as ledger:
        names = ledger.words("namespace")
    many = (*names, *(f"empty-{number}" for number in range(200 - len(names))))
    return {"all": None, "one namespace": frozenset(names[:1]), "200 namespaces": frozenset(many)}


def works(ledger: Ledger, since: int, until: int) -> dict[str, Callable[[], Any]]:
    """Return what pages and commands ask for besides searches."""
    begin, name = datetime.fromtimestamp(since / 1000, UTC), "app-17"
    return {
        "first page": lambda: ledger.search(Query(), limit=50),
        "kinds, namespaces": lambda: (ledger.words("kind"), ledger.words("namespace")),
        "names, users": lambda: (ledger.words("name", "app-1"), ledger.words("username")),
        "actors, 30 days": lambda: ledger.actors(since, until),
        "actors, a day": lambda: ledger.actors(until - SPAN // 30, until),
        "recent objects": ledger.recent_objects,
        "of an object": lambda: [ledger.of_object("Pod", place, name) for place in ledger.places("Pod", name)[:1]],
        "deliveries": lambda: ledger.deliveries(state="dead", sink="slack", limit=50),
        "counts": ledger.delivery_counts,
        "hits, 30 days": lambda: ledger.hits(begin),
    }


def measure_scopes(console: Console, journal: Path) -> None:
    """Print how long what is asked takes by how much is seen: each as a request does, with a ledger of its own."""
    seen = scopes(journal)
    table = Table("milliseconds", *seen)
    with closing(Ledger(journal)) as ledger:
        since, until = ledger.oldest() >> 12, (ledger.newest() >> 12) + 1
        names = list(works(ledger, since, until))
    for name in names:
        table.add_row(name, *(f"{_asked(journal, scope, name, since, until):.1f}" for scope in seen.values()))
    pages = [_slowest_page(journal, scope) for scope in seen.values()]
    charts = [_slowest_histogram(journal, scope, since, until) for scope in seen.values()]
    table.add_row("slowest page", *(f"{each:.1f}" for each in pages))
    table.add_row("slowest histogram", *(f"{each:.1f}" for each in charts))
    console.print(table)


def _asked(journal: Path, scope: frozenset[str] | None, name: str, since: int, until: int) -> float:
    def ask() -> None:
        with closing(Ledger(journal, scope)) as ledger:
            works(ledger, since, until)[name]()

    return milliseconds(ask)


def _slowest_page(journal: Path, scope: frozenset[str] | None) -> float:
    return max(
        milliseconds(lambda query=query: first_page(journal, query, scope))  # type: ignore[misc]
        for query in QUERIES.values()
    )


def _slowest_histogram(journal: Path, scope: frozenset[str] | None, since: int, until: int) -> float:
    with closing(Ledger(journal, scope)) as ledger:
        return max(
            milliseconds(lambda query=query: ledger.histogram(query, since, until, BUCKETS))  # type: ignore[misc]
            for query in QUERIES.values()
        )


def measure_memory(console: Console, journal: Path) -> None:
    """Print how much memory a long read takes: twenty thousand entries, page by page."""
    with closing(Ledger(journal, scopes(journal)["200 namespaces"])) as ledger:
        before, memory = None, list[int]()
        for _ in range(100):
            before = ledger.search(Query(actor="human"), limit=200, before=before).next
            memory.append(resident())
    console.print(f"memory grew by {(memory[-1] - memory[10]) / 2**20:.1f} MiB over 90 pages of 200 entries")


def measure(console: Console, journal: Path, slow: dict[str, float]) -> None:
    table = Table("query", "entries", "page ms", "matching", "histogram ms", "without index ms", "faster")
    worst = dict.fromkeys(("page", "histogram"), 0.0)
    with closing(Ledger(journal)) as ledger:
        since, until = ledger.oldest() >> 12, (ledger.newest() >> 12) + 1
    for name, query in QUERIES.items():
        page = milliseconds(lambda query=query: first_page(journal, query))  # type: ignore[misc]
        with closing(Ledger(journal)) as ledger:
            found = ledger.histogram(query, since, until, BUCKETS)
            histogram = milliseconds(
                lambda ledger=ledger, query=query: ledger.histogram(query, since, until, BUCKETS)  # type: ignore[misc]
            )
        worst = {"page": max(worst["page"], page), "histogram": max(worst["histogram"], histogram)}
        total = sum(bucket.total for bucket in found)
        table.add_row(
            name,
            first_page(journal, query),
            f"{page:.1f}",
            f"{total:,}" if found else "-",
            f"{histogram:.0f}",
            f"{slow[name]:.0f}",
            f"{slow[name] / page:.0f} x",
        )
    console.print(table)
    console.print(
        f"slowest page {worst['page']:.0f} ms, slowest histogram {worst['histogram']:.0f} ms;"
        f" {resident() / 2**20:.0f} MiB resident"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--journal", type=Path, help="a journal that is there already; its folder gets an index")
    parser.add_argument("--without", action="store_true", help="also without the index, which takes minutes")
    chosen, console = parser.parse_args(), Console()
    with tempfile.TemporaryDirectory() as folder:
        journal = chosen.journal or write(Path(folder), chosen.entries)
        slow = dict.fromkeys(QUERIES, float("nan"))
        if chosen.without:
            beside(journal).unlink(missing_ok=True)
            slow = {name: all_pages(journal, query)[1] for name, query in QUERIES.items()}
        index(console, journal)
        measure(console, journal, slow)
        measure_scopes(console, journal)
        measure_memory(console, journal)


if __name__ == "__main__":
    main()
