"""Deliveries are seen of each replica, and queued again where they are; by nobody who may not, nor by another site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from app.core.viewer import Viewer
from app.web.access import guarded
from tests.builders import make_record
from tests.remote.consoles import TOKEN, of, peers_of, served
from tests.remote.entries import write
from tests.web.doors import OWNER, as_viewer, door

REQUEUE = "/api/v1/deliveries/requeue"


class Pair:
    """Two replicas: one with a dead delivery, the other with two."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.own = write(folder / "own", [make_record("hook", cluster="own")])
        self.other = write(folder / "other", [make_record("hook", "file"), make_record("hook", cluster="other")])
        self._stack = stack
        url = stack.enter_context(served(guarded(of(self.other), door(lambda: TOKEN, may_requeue=True))))
        self.peer = url.removeprefix("http://")
        self._peers = stack.enter_context(peers_of(url, name="witness-0"))

    def client(self, viewer: Viewer = OWNER) -> httpx.Client:
        """Return how somebody asks the first of the two."""
        url = self._stack.enter_context(served(as_viewer(of(self.own, self._peers), viewer)))
        return self._stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=20))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two that no test changes."""
    with ExitStack() as stack:
        yield Pair(tmp_path_factory.mktemp("pair"), stack)


@pytest.fixture(scope="module")
def client(pair: Pair) -> httpx.Client:
    return pair.client()


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[Pair]:
    """Two of a test's own."""
    with ExitStack() as stack:
        yield Pair(tmp_path, stack)


def states(client: httpx.Client, replica: str) -> list[str]:
    answer = client.get("/api/v1/deliveries", params={"replica": replica}).raise_for_status()
    return [f"{each['sink']} {each['state']}" for each in answer.json()["items"]]


def counts(client: httpx.Client, **parameters: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/v1/deliveries/counts", params=parameters).json()
    return found


def form_token(page: httpx.Response) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def test_replicas_are_listed_and_each_shows_its_deliveries(client: httpx.Client, pair: Pair) -> None:
    assert client.get("/api/v1/replicas").json() == {"items": [{"name": "witness-0"}, {"name": pair.peer}]}
    assert states(client, "witness-0") == states(client, "") == ["hook dead"]
    assert states(client, pair.peer) == ["hook dead", "file pending", "hook dead"]


def test_counts_are_of_all_replicas_or_of_one(client: httpx.Client) -> None:
    assert counts(client) == {"states": {"dead": 3, "pending": 1}, "sinks": ["file", "hook"]}
    assert counts(client, replica="witness-0") == {"states": {"dead": 1}, "sinks": ["hook"]}


@pytest.mark.parametrize("path", ["/api/v1/entries", "/api/v1/deliveries", "/deliveries", "/api/v1/span"])
def test_a_replica_that_there_is_not_is_told_with_the_nearest(client: httpx.Client, path: str) -> None:
    answer = client.get(path, params={"replica": "witness-1"})

    assert answer.status_code == 400
    assert "did you mean witness-0?" in answer.text


def test_the_page_leads_to_each_replica_and_counts_what_was_given_up(client: httpx.Client, pair: Pair) -> None:
    page = client.get("/deliveries", params={"replica": pair.peer}).text

    assert 'href="./deliveries?replica=witness-0"' in page
    assert page.count('name="delivery"') == 2
    assert page.count(f'name="replica" value="{pair.peer}"') == 2
    assert 'title="given up">3<' in page  # of all replicas


def test_a_delivery_is_queued_again_where_it_is(own_pair: Pair) -> None:
    pair, client = own_pair, own_pair.client()
    page = client.get("/deliveries", params={"replica": pair.peer})
    form = {"token": form_token(page), "delivery": "1", "replica": pair.peer}

    answer = client.post("/deliveries/requeue", data=form)

    assert answer.headers["location"].startswith("../deliveries?queued=1&replica=")
    assert states(client, pair.peer) == ["hook dead", "file pending", "hook pending"]
    assert states(client, "witness-0") == ["hook dead"]


def test_an_entry_of_another_replica_has_its_deliveries_with_their_button(client: httpx.Client, pair: Pair) -> None:
    (entry,) = [each["id"] for each in client.get("/api/v1/entries").json()["items"] if each["cluster"] == "other"]

    page = client.get(f"/entries/{entry}").text

    assert "recorded by" in page
    assert f'name="replica" value="{pair.peer}"' in page
    assert client.get(f"/api/v1/entries/{entry}").json()["replica"] == pair.peer


@pytest.mark.parametrize(("body", "count"), [({"ids": [1, 2]}, 1), ({"ids": [1, 3]}, 2), ({"sink": "hook"}, 2)])
def test_the_api_queues_again_what_is_named(own_pair: Pair, body: dict[str, Any], count: int) -> None:
    pair, client = own_pair, own_pair.client()

    answer = client.post(REQUEUE, params={"replica": pair.peer}, json=body)

    assert (answer.status_code, answer.json()) == (200, {"requeued": count})
    assert counts(client, replica="witness-0")["states"] == {"dead": 1}
    assert counts(client, replica=pair.peer)["states"].get("dead", 0) == 2 - count


@pytest.mark.parametrize(
    "body",
    [{}, [], {"ids": []}, {"ids": [1], "sink": "hook"}, {"ids": ["1"]}, {"ids": [-1]}, {"sinks": "hook"}, "hook"],
    ids=str,
)
def test_what_names_nothing_queues_nothing(client: httpx.Client, body: object) -> None:
    answer = client.post(REQUEUE, json=body)

    assert answer.status_code == 400
    assert "the body takes JSON" in answer.json()["detail"]
    assert states(client, "witness-0") == ["hook dead"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_page_of_another_site_could_send_queues_nothing(client: httpx.Client, content_type: str) -> None:
    headers = {"Content-Type": content_type}

    answer = client.post(REQUEUE, content=msgspec.json.encode({"sink": "hook"}), headers=headers)

    assert answer.status_code == 400
    assert states(client, "witness-0") == ["hook dead"]


def test_a_body_without_an_end_is_refused(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}

    assert client.post(REQUEUE, content=b" " * 70_000, headers=headers).status_code == 400


@pytest.mark.parametrize("is_other", [False, True])
@pytest.mark.parametrize(
    "viewer", [Viewer(name="reader"), Viewer(name="shop", namespaces=frozenset({"shop"}), may_requeue=True)]
)
def test_who_may_not_queues_nothing(pair: Pair, client: httpx.Client, viewer: Viewer, is_other: bool) -> None:
    chosen = {"replica": pair.peer} if is_other else {}

    answer = pair.client(viewer).post(REQUEUE, params=chosen, json={"sink": "hook"})

    assert answer.status_code == 403
    assert "--console-requeue" in answer.json()["detail"]
    assert counts(client)["states"] == {"dead": 3, "pending": 1}
