"""A disk that hangs: answers leave when the budget is used up, somebody is told, and nothing is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.system.conftest import Serve
from tests.system.disks import stalled_disk
from tests.system.reviews import acknowledge
from tests.system.server import Server, eventually

CONNECTIONS: Final = 4
PER_CONNECTION: Final = 3
REVIEWS: Final = CONNECTIONS * PER_CONNECTION


def acknowledged_on_one_connection(server: Server, connection: int) -> list[str]:
    with server.client() as client:
        return list(acknowledge(client, *(f"web:{connection}.{number}" for number in range(PER_CONNECTION))))


def test_answers_leave_after_the_budget_and_their_entries_follow(serve: Serve) -> None:
    server = serve("", "--commit-budget-seconds=0.2")

    # The client gives an answer 2 s, as the API server does.
    with ThreadPoolExecutor(CONNECTIONS) as connections, stalled_disk(server):
        posted = connections.map(lambda number: acknowledged_on_one_connection(server, number), range(CONNECTIONS))
        acknowledged = {identifier for each in posted for identifier in each}
        complaint = server.until_degraded("journal")
        pending = server.metric('kubewitness_reviews_total{operation="UPDATE",result="pending"}')
        waiting = server.metric("kubewitness_journal_pending_entries")
        stored_meanwhile = server.stored()
    server.until_ready()

    assert complaint.startswith(("commits are slow: an entry waits for ", "entries wait in memory: "))
    assert len(acknowledged) == pending == waiting == REVIEWS
    assert stored_meanwhile == []
    assert sorted(entry["id"] for entry in server.stored()) == sorted(acknowledged)
    assert server.metric("kubewitness_journal_pending_entries") == 0


def test_a_short_stall_is_nothing_but_a_slower_answer(serve: Serve) -> None:
    server = serve("", "--commit-budget-seconds=30")

    with ThreadPoolExecutor(1) as connections, server.client() as client:
        with stalled_disk(server):
            answers = connections.submit(lambda: list(acknowledge(client, "web:slow")))
            eventually(lambda: server.metric("kubewitness_journal_pending_entries") == 1, "an entry that waits")
        acknowledged = answers.result()

    assert [entry["id"] for entry in server.stored()] == acknowledged
    assert server.metric('kubewitness_reviews_total{operation="UPDATE",result="recorded"}') == 1
