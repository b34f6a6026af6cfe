"""`kubewitness undo`: shows what it would do, does it when told to, and says what the API server answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.testing import Result

from app.core.change import Entry
from app.core.identity import sequence_of
from app.store.encoding import entry_row
from app.store.journal import Record
from tests.cli.commands import harmful, kubewitness, lines
from tests.cli.ledger import write_hostile_ledger
from tests.core.lives import Document, deployment, told
from tests.core.patched import patched
from tests.kube.api_server import status
from tests.kube.clients import write_kubeconfig
from tests.servers import Answering, Listening
from tests.web.ledgers import write

ONE, THREE, FIVE = (deployment(replicas=number) for number in (1, 3, 5))
UPDATE = told(ONE, THREE)
OBJECT = "/apis/apps/v1/namespaces/shop/deployments/web"


class _Handler(Answering):
    server: Cluster

    def do_GET(self) -> None:  # noqa: N802  http.server calls it so
        self._respond(b"")

    def do_PATCH(self) -> None:  # noqa: N802  as above
        self._respond(self.rfile.read(int(self.headers["Content-Length"])))

    do_POST = do_DELETE = do_PATCH  # noqa: N815  as above

    def _respond(self, body: bytes) -> None:
        code, document = self.server.take(self.command, self.path, body)
        self.answer(code, msgspec.json.encode(document))


class Cluster(Listening):
    """An API server with one object. `refusals` are its answers to each method instead: a status code."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.live: Document | None = None
        self.refusals: dict[str, int] = {}
        self.insists = False
        self.calls: list[tuple[str, str, Any]] = []

    @property
    def written(self) -> list[tuple[str, str, Any]]:
        return [call for call in self.calls if call[0] != "GET"]

    def take(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self.calls.append((method, path, msgspec.json.decode(body) if body else None))
        if code := self.refusals.get(method):
            return code, status(code, HTTPStatus(code).phrase)
        if method == "POST":
            self.live = self.calls[-1][2]
        if self.live is None:
            return 404, status(404, "NotFound")
        if method == "PATCH" and not self.insists:
            self.live = patched(self.live, self.calls[-1][2])
        return 200, self.live


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


def recorded(data: Path, *entries: Entry) -> None:
    asyncio.run(write(data, *(Record(entry_row(sequence_of(entry.id), entry)) for entry in entries)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    recorded(tmp_path, UPDATE)
    return tmp_path


def undo(data: Path, cluster: Cluster, *options: str, entry: Entry = UPDATE) -> Result:
    kubeconfig = write_kubeconfig(data / "kubeconfig", f"http://127.0.0.1:{cluster.port}")
    return kubewitness("undo", entry.id, "--kubeconfig", kubeconfig, "--data-dir", data, *options)


def test_it_shows_the_fields_and_the_line_and_changes_nothing(data: Path, cluster: Cluster) -> None:
    cluster.live = THREE

    result = undo(data, cluster)

    assert result.exit_code == 0, result.output
    head, _, header, row, _, how, command = (line.rstrip() for line in result.stdout.splitlines())
    assert head.startswith("UPDATE Deployment/shop/web in test by alice, 2026-01-0")
    assert (header.split(), row.split()) == (["FIELD", "NOW", "THEN"], ["spec.replicas", "3", "1"])
    assert how == "with --apply this is done; or by:"
    assert command.startswith("kubectl patch deployments.v1.apps/web -n shop --field-manager=kubewitness-undo ")
    assert cluster.written == []


def test_it_does_it_when_told_to(data: Path, cluster: Cluster) -> None:
    cluster.live = {**THREE, "metadata": {**THREE["metadata"], "resourceVersion": "78"}}

    result = undo(data, cluster, "--apply")

    assert result.exit_code == 0, result.output
    assert "is as it was before this change, at the resource version 78" in result.stdout
    [(method, path, patch)] = cluster.written
    assert (method, path) == ("PATCH", f"{OBJECT}?fieldManager=kubewitness-undo")
    assert patch[-1] == {"op": "replace", "path": "/spec/replicas", "value": 1}


def test_a_deleted_object_is_shown_and_created(data: Path, cluster: Cluster) -> None:
    entry = told(THREE, None, number=1)
    recorded(data, entry)

    shown, done = undo(data, cluster, entry=entry), undo(data, cluster, "--apply", entry=entry)

    assert "  replicas: 3" in shown.stdout.splitlines()
    assert "is created again" in done.stdout
    [(method, path, document)] = cluster.written
    assert (method, path.partition("?")[0], document["spec"]) == ("POST", OBJECT.removesuffix("/web"), {"replicas": 3})


def test_a_created_object_is_deleted_by_its_uid(data: Path, cluster: Cluster) -> None:
    entry = told(None, ONE, number=1)
    recorded(data, entry)
    cluster.live = ONE

    done = undo(data, cluster, "--apply", entry=entry)

    assert done.stdout.splitlines()[-1] == "Deployment/shop/web is deleted"
    [(method, path, options)] = cluster.written
    assert (method, path, options["preconditions"]) == ("DELETE", OBJECT, {"uid": "u-1"})


def test_an_object_that_finalizers_hold_is_not_called_deleted(data: Path, cluster: Cluster) -> None:
    entry = told(None, ONE, number=1)
    recorded(data, entry)
    cluster.live = {**ONE, "metadata": {**ONE["metadata"], "finalizers": ["example.com/held"]}}

    assert (
        "is being deleted; its finalizers hold it: example.com/held"
        in undo(data, cluster, "--apply", entry=entry).stdout
    )


def test_what_moved_on_is_refused_with_who_moved_it(data: Path, cluster: Cluster) -> None:
    recorded(data, told(THREE, FIVE, number=1, user="bob"))
    cluster.live = FIVE

    result = undo(data, cluster, "--apply")

    assert (result.exit_code, result.stdout, cluster.written) == (1, "", [])
    assert "not undone: spec.replicas of Deployment/shop/web is not as this change left it: by bob" in result.stderr


def test_what_can_never_be_undone_asks_no_api_server(data: Path, cluster: Cluster) -> None:
    entry = told(ONE, THREE, number=1, dryRun=True)
    recorded(data, entry)

    result = undo(data, cluster, "--apply", entry=entry)

    assert result.exit_code == 1
    assert "dry run" in result.stderr
    assert cluster.calls == []


@pytest.mark.parametrize(("code", "said"), [(422, "it has changed since"), (403, "Forbidden"), (409, "Conflict")])
def test_a_refusal_of_the_api_server_is_told(data: Path, cluster: Cluster, code: int, said: str) -> None:
    cluster.live = THREE
    cluster.refusals["PATCH"] = code

    result = undo(data, cluster, "--apply")

    assert result.exit_code == 1
    assert "the API server refused, and nothing was changed" in result.stderr
    assert said in result.stderr
    assert "with --apply" not in result.stdout


def test_an_undo_that_something_undoes_at_once_is_no_success(data: Path, cluster: Cluster) -> None:
    cluster.live = THREE
    cluster.insists = True

    result = undo(data, cluster, "--apply")

    assert result.exit_code == 1
    assert "something in the cluster sets these fields" in result.stderr


def test_who_may_not_read_the_object_may_still_change_it(data: Path, cluster: Cluster) -> None:
    cluster.live = THREE
    cluster.refusals["GET"] = 403

    result = undo(data, cluster, "--apply")

    assert result.exit_code == 0, result.output
    assert "the live object was not looked at" in result.stderr
    assert cluster.live["spec"] == {"replicas": 1}


def test_an_api_server_that_does_not_answer_changes_nothing(data: Path, cluster: Cluster) -> None:
    cluster.live = THREE
    cluster.refusals["GET"] = 503

    shown, done = undo(data, cluster), undo(data, cluster, "--apply")

    assert (shown.exit_code, done.exit_code) == (0, 1)
    assert "kubectl patch" in shown.stdout
    assert "nothing was done" in done.stderr
    assert cluster.written == []


def test_without_a_kubeconfig_the_recorded_places_are_shown_but_nothing_is_done(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(data / "none"))

    shown, done = (kubewitness("undo", UPDATE.id, "--data-dir", data, *options) for options in ([], ["--apply"]))

    assert (shown.exit_code, done.exit_code) == (0, 1)
    assert "the live object was not looked at: KUBECONFIG: there is no file" in shown.stderr
    assert "KUBECONFIG: there is no file" in done.stderr


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_get_the_whole_of_it(data: Path, cluster: Cluster, output: str, read: Any) -> None:
    cluster.live = THREE

    said = [read(undo(data, cluster, "-o", output, *options).stdout) for options in ([], ["--apply"], [])]

    assert [each["applied"] for each in said] == [False, True, False]
    assert said[0]["undo"]["changes"] == [{"path": "spec.replicas", "op": "replace", "old": 3, "new": 1}]
    assert (said[2]["undo"], said[2]["refusal"]["reason"]) == (None, "undone")
    assert {each["entry_id"] for each in said} == {UPDATE.id}


def test_hostile_text_stays_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [entry] = write_hostile_ledger(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    shown = lines(tmp_path, "undo", entry.id)

    assert harmful("\n".join(shown)) == []
    assert shown[-1].startswith("kubectl patch ")


@pytest.mark.parametrize(
    ("identifier", "code", "said"),
    [("x", 2, "cannot be the beginning of an id"), ("ffffffff", 1, "no entries begin with 'ffffffff'")],
)
def test_an_id_that_means_no_entry_is_told(data: Path, identifier: str, code: int, said: str) -> None:
    result = kubewitness("undo", identifier, "--data-dir", data)

    assert result.exit_code == code
    assert said in result.stderr
