"""`kill -9` at any moment loses nothing that was acknowledged, whatever becomes of the sinks."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

import httpx
import pytest

from tests.system.conftest import Serve
from tests.system.receiver import Receiver
from tests.system.reviews import entry_id, post, set_image
from tests.system.server import PATIENCE, Server, eventually

SEED: Final = 20261122
ROUNDS: Final = 4
CONNECTIONS: Final = 6
LEAST_PER_ROUND, MOST_PER_ROUND = 20, 150

CONFIG: Final = """
sinksConfig:
- webhook_sink: {{name: hook, url: "{url}"}}
customPlaybooks:
- triggers: [{{on_deployment_update: {{}}}}]
  actions: [{{resource_babysitter: {{fields_to_monitor: [images]}}}}]
"""


class Acknowledgements:
    """The ids in answers that arrived whole, from any number of connections."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._grown = threading.Condition()

    def add(self, identifier: str) -> None:
        with self._grown:
            self.ids.append(identifier)
            self._grown.notify()

    def wait_for(self, number: int) -> None:
        with self._grown:
            assert self._grown.wait_for(lambda: len(self.ids) >= number, PATIENCE.total_seconds())


def post_until_cut_off(server: Server, acknowledged: Acknowledgements, connection: int) -> None:
    with server.client() as client:
        for number in count():
            try:
                answer = post(client, set_image(f"web:{connection}.{number}"))
            except httpx.TransportError:
                return
            acknowledged.add(entry_id(answer))


@contextmanager
def posting(server: Server, acknowledged: Acknowledgements) -> Iterator[None]:
    """Post over several connections at once; the block has to cut them off."""
    threads = [
        threading.Thread(target=post_until_cut_off, args=(server, acknowledged, connection))
        for connection in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("outages", [(), (1, 2)], ids=["sink up", "sink down for half of the time"])
def test_kills_lose_nothing_that_was_acknowledged(serve: Serve, receiver: Receiver, outages: tuple[int, ...]) -> None:
    # No answer leaves before its commit, however slow the disk is.
    server = serve(CONFIG.format(url=receiver.url), "--commit-budget-seconds=30")
    seeded, acknowledged = random.Random(SEED), Acknowledgements()

    for number in range(ROUNDS):
        receiver.down = number in outages
        with posting(server, acknowledged):
            acknowledged.wait_for(len(acknowledged.ids) + seeded.randint(LEAST_PER_ROUND, MOST_PER_ROUND))
            server.kill()
        server.let_waits_end()
        server.start()

    times_stored = Counter(entry["id"] for entry in server.stored())
    assert len(acknowledged.ids) == len(set(acknowledged.ids)) >= ROUNDS * LEAST_PER_ROUND
    assert {identifier: times_stored[identifier] for identifier in acknowledged.ids} == dict.fromkeys(
        acknowledged.ids, 1
    )
    assert receiver.refused > 0 or not outages
    eventually(lambda: times_stored.keys() <= set(receiver.told()), "every finding reaches the sink")
    assert set(receiver.told()) == times_stored.keys()


def test_the_same_review_again_is_one_entry(serve: Serve) -> None:
    server, body = serve(), set_image("nginx:1.27")

    with server.client() as client:
        first, second = entry_id(post(client, body)), entry_id(post(client, body))

    assert first == second
    assert [entry["id"] for entry in server.stored()] == [first]
