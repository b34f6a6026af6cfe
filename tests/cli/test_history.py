"""`kubewitness history`, `blame` and `diff`: what people and scripts read of one object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.testing import CliRunner, Result

from app.audit.fingerprint_key import FILE_NAME
from app.cli.history_subject import read_subject
from app.cli.main import app
from app.core.api_paths import object_path
from app.core.change import Entry, Resource
from app.store.database import FILE_NAME as JOURNAL
from app.store.ledger import Ledger
from tests.builders import KEY, about
from tests.cli.commands import OUTPUTS, harmful, kubewitness, lines
from tests.cli.ledger import HOSTILE
from tests.core.lives import Document, deployment, life_of, told
from tests.kube.clients import write_kubeconfig
from tests.servers import Answering, Listening
from tests.store.kept import keep_entries

SINCE = "2026-01-02T03:05Z"
IMAGE = "spec.template.spec.containers[nginx].image"
CONTROLLER = "kube-system:deployment-controller"


def web(image: str, replicas: int, uid: str = "u-1") -> Document:
    template = {"spec": {"containers": [{"name": "nginx", "image": image}]}}
    return deployment(uid, replicas=replicas, template=template)


STATES = [None, web("nginx:1.24", 1), web("nginx:1.24", 3), web("nginx:1.25", 3), None]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def entries(data: Path) -> list[Entry]:
    """Return the entries of a Deployment that was deleted and made again, oldest first; others stand beside them."""
    again = life_of([None, web("nginx:1.26", 2, "u-2")], first=7)
    found = [*life_of(STATES), *again]
    node = told({"spec": {}}, {"spec": {"x": 1}}, number=20, name="n1", namespace="", **about("Node", "nodes"))
    elsewhere = [
        told(*map(web, "ab", (1, 1)), number=number, namespace=place, name="twice")
        for number, place in ((21, "one"), (22, "two"))
    ]
    widget = told({"spec": {}}, {"spec": {"x": 1}}, number=23, **about("Widget", "widgets", "example.org"))
    keep_entries(data, [*found, node, *elsewhere, widget])
    return found


def refused(*arguments: object) -> str:
    result = kubewitness(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


def told_nothing(*arguments: object) -> str:
    result = kubewitness(*arguments)
    assert result.exit_code == 1, result.output
    return result.stderr.strip()


def documents(result: Result, output: str = "json") -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if output == "json" else yaml.safe_load(result.stdout)


def words(line: str) -> list[str]:
    """Return the cells of a line, without the age, which grows."""
    cells = line.split()
    return [cell for index, cell in enumerate(cells) if index != 1]


def test_the_history_is_a_table_of_chapters_oldest_first(data: Path, entries: list[Entry]) -> None:
    header, *chapters = lines(data, "history", "deployment/web")

    ids = [entry.id[:18] for entry in entries]
    day = "2026-01-02"
    assert header.split() == ["ID", "AGE", "WHEN", "USER", "EVENT", "CHANGE"]
    assert [words(line) for line in chapters] == [
        [ids[0], day, "03:04:05", "alice", "created"],
        [ids[1], day, "03:06:05", "bob", "changed", "spec.replicas:", "1", "→", "3"],
        [ids[2], day, "03:08:05", CONTROLLER, "changed", f"{IMAGE}:", "nginx:1.24", "→", "nginx:1.25"],
        [ids[3], day, "03:10:05", "alice", "deleted"],
        ["────"],
        [ids[4], day, "03:18:05", "alice", "recreated"],
    ]


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_the_history_for_programs_is_lives_with_chapters(data: Path, entries: list[Entry], output: str) -> None:
    result = kubewitness("history", "deployment/web", "-o", output, "--data-dir", data)

    first, second = documents(result, output)
    assert (first["uid"], second["uid"]) == ("u-1", "u-2")
    assert [each["entry"]["id"] for each in first["chapters"]] == [entry.id for entry in entries[:4]]
    assert first["chapters"][1]["entry"]["changes"] == [{"path": "spec.replicas", "op": "replace", "old": 1, "new": 3}]


def test_a_part_of_the_history(data: Path, entries: list[Entry]) -> None:
    shown = lines(data, "history", "deployment/web", "--since", SINCE, "--until", "2026-01-02T03:09Z")[1:]

    assert [line[:18] for line in shown] == [entry.id[:18] for entry in entries[1:3]]


def test_blame_is_a_table_with_a_line_for_each_field(data: Path, tmp_path: Path) -> None:
    keep_entries(tmp_path, [*life_of(STATES[:-1])])

    header, *fields = lines(tmp_path, "blame", "deployment/web", "--no-live", "--path", "spec")

    assert header.split() == ["ID", "AGE", "USER", "FIELD", "VALUE", "WAS"]
    assert [words(line)[1:] for line in fields] == [
        ["bob", "spec.replicas", "3", "1"],
        ["alice", "spec.template.spec.containers[nginx].name", "nginx"],
        [CONTROLLER, IMAGE, "nginx:1.25", "nginx:1.24"],
    ]


def test_the_diff_is_a_table_of_net_changes(data: Path, entries: list[Entry]) -> None:
    shown = lines(data, "diff", "deployment/web", "--since", SINCE, "--until", "2026-01-02T03:09Z")

    assert [line.split() for line in shown] == [
        ["FIELD", "OLD", "NEW"],
        ["spec.replicas", "1", "3"],
        [IMAGE, "nginx:1.24", "nginx:1.25"],
    ]


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_the_diff_for_programs_is_field_changes(data: Path, entries: list[Entry], output: str) -> None:
    result = kubewitness("diff", "deployment/web", "--since", SINCE, "-o", output, "--data-dir", data)

    assert documents(result, output) == [
        {"path": "spec.replicas", "op": "replace", "old": 1, "new": 2},
        {"path": IMAGE, "op": "replace", "old": "nginx:1.24", "new": "nginx:1.26"},
    ]


def test_a_diff_of_what_is_not_known_as_a_whole_says_so(data: Path, entries: list[Entry]) -> None:
    assert lines(data, "diff", "widget/web")[1:] == [
        "spec.x  (none)  1",
        "as far as the entries tell: the whole object is not known",
    ]


@pytest.mark.parametrize(
    ("subject", "kind", "namespace", "name"),
    [
        ("deployment/web", "Deployment", "shop", "web"),
        ("Deployments/web", "Deployment", "shop", "web"),
        ("deploy/web", "Deployment", "shop", "web"),
        ("deployments.apps/web", "Deployment", "shop", "web"),
        ("no/n1", "Node", "", "n1"),
        ("widgets.example.org/web", "Widget", "shop", "web"),
        ("widget/web", "Widget", "shop", "web"),
    ],
)
@pytest.mark.usefixtures("entries")
def test_an_object_is_named_as_kubectl_takes_it(data: Path, subject: str, kind: str, namespace: str, name: str) -> None:
    with closing(Ledger(data / JOURNAL)) as ledger:
        found = read_subject(ledger, subject, "")

    assert (found.kind, found.namespace, found.name) == (kind, namespace, name)
    assert found.entries


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["web"], "'web' is no object; write kind and name: deployment/web"),
        (["deployment/"], "'deployment/' is no object"),
        (["deploymnt/web"], "the ledger knows no kind 'deploymnt'; did you mean deployment?"),
        (["deployment/twice"], "Deployment twice is in 'one', 'two'; say in which"),
        (["deployment/web", "--since", "soon"], "'soon' is not a time"),
    ],
)
@pytest.mark.usefixtures("entries")
def test_what_names_no_object_is_refused(data: Path, arguments: list[str], message: str) -> None:
    assert message in refused("history", *arguments, "--data-dir", data)


@pytest.mark.usefixtures("entries")
def test_times_and_paths_are_checked(data: Path) -> None:
    late = refused("diff", "deployment/web", "--since", "1h", "--until", "2h", "--data-dir", data)

    assert "is later than --until" in late
    assert "is not a field pattern" in refused("blame", "deployment/web", "--path", "[", "--data-dir", data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["history", "cm/web"], "nothing is recorded of ConfigMap/web"),
        (["history", "deployment/web", "--since", "1h"], "nothing is recorded of Deployment/shop/web in this time"),
        (["diff", "cm/web"], "nothing is recorded of ConfigMap/web"),
        (["diff", "deployment/web", "--since", "1h"], "Deployment/shop/web did not change"),
        (["blame", "cm/web"], "nothing is recorded of ConfigMap/web"),
        (["blame", "deployment/web", "--no-live", "--path", "nope"], "Deployment/shop/web has no such field"),
    ],
)
@pytest.mark.usefixtures("entries")
def test_where_there_is_nothing_the_exit_code_is_1(data: Path, arguments: list[str], message: str) -> None:
    assert told_nothing(*arguments, "--data-dir", data) == message
    assert kubewitness(*arguments, "-o", "json", "--data-dir", data).stdout == "[]\n"


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("command", ["history", "blame", "diff"])
def test_nothing_that_a_stranger_chose_reaches_the_terminal(tmp_path: Path, command: str, output: str) -> None:
    documents = [deployment(x={HOSTILE: value, "list": [{"name": HOSTILE, "value": value}]}) for value in (HOSTILE, "")]
    resource = Resource(version="v1", kind="Deployment", group="apps", namespace=HOSTILE, name=HOSTILE)
    entries = [
        msgspec.structs.replace(each, resource=resource, user=msgspec.structs.replace(each.user, username=HOSTILE))
        for each in life_of([None, *documents])
    ]
    keep_entries(tmp_path, entries)

    result = kubewitness(command, f"deployment/{HOSTILE}", "-o", output, "--data-dir", tmp_path)

    assert result.exit_code == 0, result.output
    assert harmful(result.stdout) == []


def test_names_are_completed(data: Path, entries: list[Entry]) -> None:

    environment = {"_KUBEWITNESS_COMPLETE": "complete_bash", "COMP_CWORD": "2", "KUBEWITNESS_DATA_DIR": str(data)}
    result = CliRunner().invoke(
        app, [], prog_name="kubewitness", env={**environment, "COMP_WORDS": "kubewitness history dep"}
    )

    assert entries
    assert result.stdout.split() == ["deployment/twice", "deployment/web"]


class Cluster(Listening):
    """An API server that has one object, or none."""

    def __init__(self, document: Document | None) -> None:
        gone = {"kind": "Status", "reason": "NotFound", "code": 404}
        status, body = (404, gone) if document is None else (200, document)
        asked: list[str] = []

        class Handler(Answering):
            def do_GET(self) -> None:  # noqa: N802  as http.server calls it
                asked.append(self.path)
                self.answer(status, json.dumps(body).encode(), Content_Type="application/json")

        super().__init__(Handler)
        self.asked = asked


@contextmanager
def cluster(folder: Path, document: Document | None) -> Iterator[tuple[Cluster, Path]]:
    with Cluster(document) as server:
        yield server, write_kubeconfig(folder / "kubeconfig", f"http://127.0.0.1:{server.port}")


def test_blame_compares_with_the_object_in_the_cluster(tmp_path: Path) -> None:
    keep_entries(tmp_path, life_of(STATES[:-1]))
    live = web("nginx:1.25", 7)

    with cluster(tmp_path, live) as (server, kubeconfig):
        shown = lines(tmp_path, "blame", "deployment/web", "--kubeconfig", kubeconfig, "--path", "spec")

    assert server.asked == ["/apis/apps/v1/namespaces/shop/deployments/web"]
    assert shown[1].split() == ["changed", "unseen", "spec.replicas", "7"]
    assert words(shown[3])[1:] == [CONTROLLER, IMAGE, "nginx:1.25", "nginx:1.24"]


@pytest.mark.parametrize("has_key", [True, False])
def test_blame_never_shows_the_secret_that_it_compares(tmp_path: Path, has_key: bool) -> None:
    old, new = ({"kind": "Secret", "metadata": {"name": "db"}, "data": {"a": value}} for value in ("b2xk", "bmV3"))
    keep_entries(tmp_path, [told(old, new, name="db", **about("Secret", "secrets"))])
    if has_key:
        (tmp_path / FILE_NAME).write_bytes(KEY)

    with cluster(tmp_path, new) as (_, kubeconfig):
        arguments = ("blame", "secret/db", "--kubeconfig", kubeconfig, "--path", "data", "--data-dir", tmp_path)
        [found] = documents(kubewitness(*arguments, "-o", "json"))

    assert (found["user"], found["origin"]) == ("alice", "entry")
    assert found["value"].startswith("redacted:")
    assert (tmp_path / FILE_NAME).exists() is has_key


def test_what_is_not_in_the_cluster_has_nobody_to_blame(tmp_path: Path) -> None:
    keep_entries(tmp_path, life_of(STATES[:-1]))

    with cluster(tmp_path, None) as (_, kubeconfig):
        message = told_nothing("blame", "deployment/web", "--kubeconfig", kubeconfig, "--data-dir", tmp_path)

    assert message == "Deployment/shop/web is not there"


@pytest.mark.usefixtures("entries")
def test_a_cluster_that_was_asked_for_must_answer(data: Path, tmp_path: Path) -> None:
    missing = tmp_path / "nothing"

    assert "there is no file" in told_nothing("blame", "deployment/web", "--kubeconfig", missing, "--data-dir", data)


@pytest.mark.usefixtures("entries")
def test_without_a_cluster_blame_says_that_it_compares_with_none(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    result = kubewitness("blame", "deployment/web", "--data-dir", data)

    assert result.exit_code == 0, result.output
    assert "as the ledger knows it, not compared with the cluster: there is no" in result.stderr


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (Resource(version="v1", resource="nodes", name="n1"), "/api/v1/nodes/n1"),
        (
            Resource(group="apps", version="v1", resource="deployments", namespace="shop", name="web"),
            "/apis/apps/v1/namespaces/shop/deployments/web",
        ),
        (Resource(version="v1", resource="pods", namespace="a/b", name="../c"), "/api/v1/namespaces/a%2Fb/pods/..%2Fc"),
    ],
)
def test_the_path_of_an_object(resource: Resource, path: str) -> None:
    assert object_path(resource) == path
