"""A disk that takes nothing more: reviews are allowed at once, somebody is told, and nothing waits in vain."""

from __future__ import annotations

import random
from typing import Final

from tests.system.conftest import Serve
from tests.system.disks import full_disk
from tests.system.reviews import acknowledge, post, review
from tests.system.server import eventually

REVIEWS: Final = 60

MOST_THAT_WAIT: Final = 200
"""Reviews of a megabyte; far fewer fill the queue."""

NO_ANSWER_WAITS_FOR_THE_DISK: Final = "--commit-budget-seconds=30"
"""Answers within the webhook's timeout of 2 s show that none waits for its budget."""


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


def incompressible(seeded: random.Random) -> bytes:
    """Return the review of a new ConfigMap that takes a megabyte in memory."""
    text = seeded.randbytes(1024 * 1024).hex()
    return review("ConfigMap", new={"metadata": {"name": "large", "namespace": "shop"}, "data": {"noise": text}})


def test_a_queue_that_is_full_as_well_loses_entries_and_says_so(serve: Serve) -> None:
    server, seeded = serve("", NO_ANSWER_WAITS_FOR_THE_DISK), random.Random(1)
    lost_so_far = 'kubewitness_entries_unrecorded_total{reason="queue full"}'

    with server.client() as client:
        with full_disk(server):
            posted = 0
            while not server.metric(lost_so_far) and posted < MOST_THAT_WAIT:
                answer = post(client, incompressible(seeded))
                posted += 1
            status, report = server.readyz()
            lost = server.metric(lost_so_far)
            counted = server.metric('kubewitness_reviews_total{operation="CREATE",result="lost"}')
        server.until_ready()

    # The API server's audit log must not point to an entry that will never be.
    assert "auditAnnotations" not in answer.json()["response"]
    assert lost == counted == 1
    assert status == 503
    assert report["checks"]["journal"]["message"].startswith("entries are being lost: ")
    assert len(server.events("entry lost")) == 1
    eventually(lambda: len(server.stored()) == posted - 1, "everything that waited")
