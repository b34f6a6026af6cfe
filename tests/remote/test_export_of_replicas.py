"""Files and reports have what all replicas have recorded, or say what they lack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from app.core.change import Resource
from app.core.moments import milliseconds, written
from app.core.viewer import Viewer
from app.store.journal import Record
from app.web.server import listen
from tests.builders import make_record
from tests.remote.consoles import get, of, peers_of, replica, served
from tests.remote.entries import write
from tests.web.doors import as_viewer
from tests.web.pages import Document

JSON = ("/export.jsonl", "/api/v1/export?format=jsonl")


def recorded(cluster: str, count: int, namespace: str = "shop", *sinks: str) -> list[Record]:
    """Changes of this moment."""
    now = milliseconds(datetime.now(UTC)) - 10_000
    resource = Resource(version="v1", kind="ConfigMap", namespace=namespace, name="settings")
    return [
        make_record(*sinks, at_milliseconds=now + each, at=written(now + each), cluster=cluster, resource=resource)
        for each in range(count)
    ]


def clusters(body: bytes) -> set[str]:
    return {msgspec.json.decode(line)["cluster"] for line in body.splitlines()}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[str]:
    """The console of one of two replicas."""
    write(tmp_path / "a", recorded("one", 7, "shop", "hook"))
    write(tmp_path / "b", recorded("two", 9, "shop", "hook"))
    with ExitStack() as stack:
        other = stack.enter_context(replica(tmp_path / "b"))
        peers = stack.enter_context(peers_of(other))
        yield stack.enter_context(served(as_viewer(of(tmp_path / "a", peers))))


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[str]:
    """The console of a replica whose other does not answer."""
    write(tmp_path / "a", recorded("one", 7))
    with ExitStack() as stack:
        place = stack.enter_context(listen("127.0.0.1", 0, "--console-port"))
        url = f"http://127.0.0.1:{place.getsockname()[1]}"
        place.close()
        peers = stack.enter_context(peers_of(url))
        yield stack.enter_context(served(as_viewer(of(tmp_path / "a", peers))))


@pytest.mark.parametrize("path", JSON)
def test_a_file_has_the_entries_of_all_replicas(two: str, path: str) -> None:
    body = get(two, path).content

    assert len(body.splitlines()) == 16
    assert clusters(body) == {"one", "two"}


def test_a_report_counts_the_changes_of_all_replicas(two: str) -> None:
    text = Document(get(two, "/report").text).text

    assert "shop 16 16" in text
    assert "hook 16" in text
    assert "did not always answer" not in text


@pytest.mark.parametrize("path", JSON)
def test_there_is_no_file_where_a_replica_does_not_answer(lonely: str, path: str) -> None:
    answer = get(lonely, path)

    assert answer.status_code == 503
    assert "what a replica has recorded would be missing: 127" in answer.text


@pytest.mark.parametrize("path", JSON)
def test_what_one_replica_has_recorded_can_be_had_alone(lonely: str, path: str) -> None:
    answer = get(lonely, f"{path}{'&' if '?' in path else '?'}replica=witness-0")

    assert answer.status_code == 200
    assert clusters(answer.content) == {"one"}


def test_a_replica_that_there_is_not_is_said(lonely: str) -> None:
    assert get(lonely, "/api/v1/export?replica=witness-7").status_code == 400


def test_a_report_says_which_replica_did_not_answer(lonely: str) -> None:
    text = Document(get(lonely, "/report").text).text

    assert "shop 7 7" in text
    assert "The replica 127" in text
    assert "did not always answer" in text


def test_a_file_has_what_whoever_asks_may_see(tmp_path: Path) -> None:
    write(tmp_path, [*recorded("one", 3), *recorded("two", 4, namespace="bank")])

    with served(as_viewer(of(tmp_path), Viewer(name="bob", namespaces=frozenset({"bank"})))) as url:
        assert clusters(get(url, "/export.jsonl").content) == {"two"}
        assert "shop" not in get(url, "/export.csv").text
