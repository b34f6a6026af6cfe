"""A disk that takes nothing more: reviews are allowed at once, somebody is told, and nothing is lost when it is mended.

The limit on the size of a process' files stands in for the disk: it needs no privileges, and the write fails in the
same place.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tests.system.conftest import Serve
from tests.system.reviews import acknowledge
from tests.system.server import Server, eventually

REVIEWS: Final = 60
ROOM: Final = 32 * 1024
"""Bytes that the journal may still grow by: enough for a few entries, too little for all."""

NO_ANSWER_WAITS_FOR_THE_DISK: Final = "--commit-budget-seconds=30"
"""Answers within the webhook's timeout of 2 s show that none waits for its budget."""


@contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """Let no file of the server grow beyond what its largest one needs at the moment, and a little more."""
    before = resource.prlimit(server.process_id, resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in server.data.iterdir())
    resource.prlimit(server.process_id, resource.RLIMIT_FSIZE, (largest + ROOM, before[1]))
    yield
    with suppress(ProcessLookupError):
        resource.prlimit(server.process_id, resource.RLIMIT_FSIZE, before)


def images(word: str) -> list[str]:
    return [f"web:{word}-{number}" for number in range(REVIEWS)]


def test_reviews_are_allowed_and_recorded_when_there_is_room_again(serve: Serve) -> None:
    server = serve("", NO_ANSWER_WAITS_FOR_THE_DISK)

    with server.client() as client:
        with full_disk(server):
            acknowledged = list(acknowledge(client, *images("full")))
            complaint = server.until_degraded("journal")
            recorded = server.metric('kubewitness_reviews_total{operation="UPDATE",result="recorded"}')
            pending = server.metric('kubewitness_reviews_total{operation="UPDATE",result="pending"}')
            waiting = server.metric("kubewitness_journal_pending_entries")
            failures = server.metric("kubewitness_commit_failures_total")
        server.until_ready()
        acknowledged += acknowledge(client, "web:afterwards")

    assert complaint.startswith("entries wait in memory: ")
    assert failures > 0
    assert recorded + pending == REVIEWS
    assert waiting == pending > 0
    assert [entry["id"] for entry in server.stored()] == acknowledged
    assert server.metric("kubewitness_journal_pending_entries") == 0


def test_the_log_says_once_that_the_disk_refuses_and_once_that_it_recovered(serve: Serve) -> None:
    server = serve("", NO_ANSWER_WAITS_FOR_THE_DISK)

    with server.client() as client, full_disk(server):
        list(acknowledge(client, *images("full")))
        eventually(lambda: server.metric("kubewitness_commit_failures_total") > 1, "a second attempt")
    server.until_ready()

    assert len(server.events("journal cannot write")) == 1
    assert len(server.events("journal recovered")) == 1


def test_what_is_lost_with_the_process_is_counted_and_the_exit_code_says_so(serve: Serve) -> None:
    server = serve("", NO_ANSWER_WAITS_FOR_THE_DISK, "--flush-seconds=0.1")

    with full_disk(server):
        with server.client() as client:
            acknowledged = list(acknowledge(client, *images("full")))
        server.until_degraded("journal")
        exit_code = server.stop()
        [lost] = server.events("entries lost")

    assert exit_code == 1
    assert len(server.stored()) == len(acknowledged) - lost["entries"] > 0
