"""Who reads a console of several replicas is told which of them are not in what they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import msgspec
import pytest

from app.cli.source import Elsewhere, Missing
from app.cli.whole import require_all
from app.remote.headers import MISSING
from app.remote.transport import RemoteError
from app.store.search.query import Query
from tests.cli.clusters import Proxy
from tests.cli.commands import kubewitness
from tests.cli.ledger import write_ledger
from tests.kube.clients import write_kubeconfig
from tests.remote import consoles
from tests.web.doors import as_viewer

NOBODY = "http://127.0.0.1:1"
WARNING = "warning: what some replicas have recorded is missing: 127.0.0.1:1: cannot be reached"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[str]:
    """A console of two replicas, of which one is not there."""
    write_ledger(tmp_path)
    with consoles.peers_of(NOBODY) as peers, consoles.served(as_viewer(consoles.of(tmp_path, peers))) as url:
        httpx.get(f"{url}/api/v1/span", trust_env=False)  # logs that nobody answers, which is no output of a command
        yield url


@pytest.mark.parametrize("place", ["console", "cluster"])
def test_a_list_says_what_is_missing_beside_what_it_prints(place: str, console: str, tmp_path: Path) -> None:
    with Proxy(console) as cluster:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", cluster.url)
        where = {"console": ("--console", console), "cluster": ("--cluster", "--kubeconfig", kubeconfig)}[place]
        result = kubewitness("entries", "list", "-o", "json", "--limit", "3", *where)

    assert result.exit_code == 0, result.output
    assert len(msgspec.json.decode(result.stdout)) == 3
    assert [line.startswith(WARNING) for line in result.stderr.splitlines()] == [True]


def test_a_page_without_one_of_the_replicas_leaves_no_file_short() -> None:
    class Transport:
        def get(self, path: str, _parameters: Mapping[str, str]) -> bytes:
            if path == "api/v1/entries":
                missing({MISSING: "b: breaks off"})
            return b'{"items":[],"next":null}'

        def close(self) -> None:
            """Nothing is open."""

    told = list[str]()
    missing = Missing(told.append)
    ledger = Elsewhere(Transport(), missing)
    require_all(ledger)
    for _ in range(2):
        ledger.search(Query(), limit=1)

    assert told == ["b: breaks off"]
    with pytest.raises(RemoteError, match="what a replica has recorded would be missing: b: breaks off"):
        require_all(ledger)


def test_a_list_is_no_longer_than_its_limit_where_replicas_share_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.entries.opened", lambda _source: Elsewhere(Together(), Missing(lambda _: None)))

    result = kubewitness("entries", "list", "-o", "json", "--limit", "1", "--console", NOBODY)

    assert (result.exit_code, result.stderr) == (0, "")
    assert len(msgspec.json.decode(result.stdout)) == 1


class Together:
    """A console that gives more entries than it is asked for, which have one number."""

    items: bytes = b""

    def get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        assert (path, parameters["limit"]) == ("api/v1/entries", "1")
        entry = {
            "id": "019ab2c3-d4e5-7f60-8000-000000000000",
            "at": "2026-01-01T00:00:00Z",
            "cluster": "",
            "operation": "UPDATE",
            "dry_run": False,
            "outcome": "attempted",
            "resource": {"group": "", "version": "v1", "kind": "Node", "name": "n"},
            "user": {"username": "alice"},
        }
        return msgspec.json.encode({"items": [entry, entry], "next": None})

    def close(self) -> None:
        """Nothing is open."""
