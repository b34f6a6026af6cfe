"""`kubewitness verify`: a change is made and found, or it is said what to look at, and nothing stays behind."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cli.replicas import Replicas
from app.cli.steps import Steps
from app.cli.verify import Verification, VerifyError
from app.core.change import Resource
from app.web.access import guarded
from app.web.health import Check, Health
from app.web.server import listen, listener, stop
from tests.builders import make_record
from tests.cli.commands import harmful, kubewitness
from tests.kube.api_server import Answer, ApiServer, Exchange, document, failure, lost, serving
from tests.kube.clients import client, write_kubeconfig
from tests.web.doors import door
from tests.web.ledgers import checks, console_of, write

TOKEN = "T0ken-of_the-console"
HOST = "kubewitness-replicas.kubewitness.svc"
NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Cluster:
    """An API server that keeps ConfigMaps, shows nobody what is registered, and tells `changed` of every change."""

    def __init__(self, changed: Callable[[str], Any]) -> None:
        self.changed = changed
        self.answers: dict[str, Answer] = {}

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method == "PATCH":
            await self.changed(request.path.rpartition("/")[2])
        usual = document({}) if request.method != "GET" else failure(403, "Forbidden")
        await self.answers.get(request.method, usual)(exchange)


async def nobody_sees(_name: str) -> None:
    """Leave a change unrecorded."""


def records(data: Path, **otherwise: Any) -> Callable[[str], Any]:
    """Return what records the change of a ConfigMap in a ledger, or something like it."""

    async def recorded(name: str) -> None:
        resource = Resource(version="v1", kind="ConfigMap", namespace="default", name=name)
        like = {"resource": resource, "at_milliseconds": int(NOW.timestamp() * 1000)}
        await write(data, make_record(**{**like, **otherwise}))

    return recorded


def _from_afar(app: ASGIApp) -> ASGIApp:
    async def moved(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": ("10.0.0.7", 1)}, receive, send)

    return moved


async def _asked_once(url: str, token: str) -> None:
    """Wait for a first answer: it takes longest, on a busy machine longer than a replica may."""
    async with httpx.AsyncClient(trust_env=False, timeout=None) as asking:
        await asking.get(f"{url}/api/v1/entries", headers={"Authorization": f"Bearer {token}"})


@asynccontextmanager
async def consoles(*data: Path, health: Health | None = None, token: str = TOKEN) -> AsyncIterator[Replicas]:
    """Consoles of these ledgers on 127.0.0.1, 127.0.0.2 and so on, which see their clients come from afar."""
    port, addresses = 0, [f"127.0.0.{number}" for number, _ in enumerate(data, 1)]
    async with AsyncExitStack() as afterwards:
        for address, folder in zip(addresses, data, strict=True):
            sock = listen(address, port, "--console-port")
            port = sock.getsockname()[1]
            server = listener(_from_afar(guarded(console_of(folder, health), door(lambda: TOKEN))))
            task = asyncio.create_task(server.serve([sock]))
            afterwards.push_async_callback(stop, server, task)
            await _asked_once(f"http://{address}:{port}", token)

        async def lookup(host: str) -> list[str]:
            assert host == HOST
            return addresses

        yield Replicas(f"http://{HOST}:{port}", token, lookup)


@asynccontextmanager
async def verification(
    cluster: Cluster, replicas: Replicas, folder: Path, seconds: float = 20
) -> AsyncIterator[tuple[Verification, ApiServer]]:
    async with serving() as server, client(server, folder) as api:
        server.otherwise = cluster
        yield Verification(api, replicas, "default", seconds), server


def asked(server: ApiServer) -> list[str]:
    return [request.method for request in server.requests if "/configmaps" in request.path]


async def test_a_change_that_one_of_the_replicas_recorded_is_found_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        await write(folder, make_record())
    async with (
        consoles(first, second) as replicas,
        verification(Cluster(records(second)), replicas, tmp_path) as (verified, server),
    ):
        await verified.run(Steps(5))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("2 of 2 addresses show their ledger")
    assert re.fullmatch(r"\[2/5\] making a ConfigMap: default/kubewitness-verify-[0-9a-f]{8}", lines[1])
    assert re.search(r": recorded by 127\.0\.0\.2 within \d+\.\d s$", lines[3])
    assert lines[4] == "[5/5] deleting it: gone"
    assert "UPDATE" in lines[-1]
    assert asked(server) == ["POST", "PATCH", "DELETE"]
    assert harmful("\n".join(lines)) == []


async def test_what_it_makes_says_who_made_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await write(data, make_record())
    async with (
        consoles(data) as replicas,
        verification(Cluster(records(data)), replicas, tmp_path) as (verified, server),
    ):
        await verified.run(Steps(5))

    made, patch, gone = server.requests
    assert made.document["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "kubewitness"}
    assert made.parameters == patch.parameters == {"fieldManager": "kubewitness-verify"}
    assert patch.headers["content-type"] == "application/merge-patch+json"
    assert gone.path == f"/api/v1/namespaces/default/configmaps/{made.document['metadata']['name']}"


async def test_a_change_that_nobody_saw_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, names = tmp_path / "data", list[str]()
    await write(data, make_record())

    async def second_time(name: str) -> None:
        names.append(name)
        if len(names) > 1:
            await records(data)(name)

    async with (
        consoles(data) as replicas,
        verification(Cluster(second_time), replicas, tmp_path) as (verified, _),
    ):
        await verified.run(Steps(5))

    assert "; not recorded: 1 before the API server had learned of the webhook" in capsys.readouterr().out


async def test_what_to_look_at_is_said_where_no_replica_has_the_change(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await write(data, make_record())
    health = checks(journal=Check("ok"), certificate=Check("unavailable", "caBundle holds a foreign authority"))
    async with (
        consoles(data, health=health) as replicas,
        verification(Cluster(nobody_sees), replicas, tmp_path, seconds=0) as (verified, server),
    ):
        with pytest.raises(VerifyError) as caught:
            await verified.run(Steps(5))

    head, *hints = str(caught.value).splitlines()
    assert head.startswith("after 0 s no change of ConfigMap default/kubewitness-verify-")
    assert hints[0] == "  - 127.0.0.1 is not ready; certificate: caBundle holds a foreign authority"
    assert "as somebody who may: kubewitness webhook show" in hints[1]
    assert "the release's own namespace is never shown" in hints[1]
    assert "does it leave ConfigMaps out?" in hints[2]
    assert asked(server) == ["POST", "PATCH", "DELETE"]


ELSEWHERE = Resource(version="v1", kind="ConfigMap", namespace="default", name="kubewitness-verify-00000000")


@pytest.mark.parametrize(
    "otherwise",
    [{"operation": "CREATE"}, {"dry_run": True}, {"resource": ELSEWHERE}],
    ids=lambda other: next(iter(other)),
)
async def test_nothing_but_its_own_change_will_do(tmp_path: Path, otherwise: dict[str, Any]) -> None:
    data = tmp_path / "data"
    await write(data, make_record())
    almost = Cluster(records(data, **otherwise))
    async with consoles(data) as replicas, verification(almost, replicas, tmp_path, seconds=0) as (verified, _):
        with pytest.raises(VerifyError, match="is in the ledger"):
            await verified.run(Steps(5))


async def test_a_wrong_token_is_told_before_anything_is_made(tmp_path: Path) -> None:
    await write(tmp_path, make_record())
    async with (
        consoles(tmp_path, token="wrong") as replicas,
        verification(Cluster(nobody_sees), replicas, tmp_path) as (verified, server),
    ):
        with pytest.raises(VerifyError, match=r"127\.0\.0\.1 answered 401: this is not the console's token"):
            await verified.run(Steps(5))

    assert server.requests == []


async def test_a_name_that_leads_nowhere_yet_is_looked_up_again(tmp_path: Path) -> None:
    await write(tmp_path, make_record())
    lookups = itertools.count(1)

    async def lookup(_host: str) -> list[str]:
        if next(lookups) == 1:
            raise OSError("no such name")
        return ["127.0.0.1"]

    async with consoles(tmp_path) as there:
        late = Replicas(str(there.url), TOKEN, lookup)
        async with verification(Cluster(nobody_sees), late, tmp_path) as (verified, _):
            assert await verified._reach() == "1 of 1 addresses show their ledger"


async def test_a_name_that_leads_nowhere_for_too_long_is_told(tmp_path: Path) -> None:
    async def lookup(_host: str) -> list[str]:
        raise OSError("no such name")

    nowhere = Replicas("http://nowhere.svc:8080", "", lookup)
    async with verification(Cluster(nobody_sees), nowhere, tmp_path, seconds=0) as (verified, _):
        told = r"^the name nowhere\.svc leads nowhere: no such name\. .* kubectl get pods"
        with pytest.raises(VerifyError, match=told):
            await verified.run(Steps(5))


async def test_a_replica_is_asked_under_the_name_of_all_of_them_on_a_connection_of_its_own(tmp_path: Path) -> None:
    async def lookup(_host: str) -> list[str]:
        return ["127.0.0.1", "127.0.0.1"]

    async with serving() as server:
        server.otherwise = document({"items": []})
        replicas = Replicas(f"http://{HOST}:{server.port}/below/", TOKEN, lookup)
        for _ in range(2):
            assert await replicas.all_entries(limit="1") == {"127.0.0.1": []}

        assert len(server.connections) == 2
    assert {request.path for request in server.requests} == {"/below/api/v1/entries"}
    assert {request.headers["host"] for request in server.requests} == {f"{HOST}:{server.port}"}
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {TOKEN}"}


ODD: Sequence[tuple[Answer, str]] = [
    (lambda exchange: exchange.respond(b"<html>"), "is no console of kubewitness: its answer is no JSON"),
    (lambda exchange: exchange.respond(b'{"items": [1', 200), "is no console of kubewitness"),
    (lambda exchange: exchange.respond(b"<h1>\x1b[2Jnot here", 404), "answered 404: <h1>not here"),
    (document({"detail": "the token, please"}, 403), "answered 403: the token, please"),
]


@pytest.mark.parametrize(("answer", "said"), ODD)
async def test_an_address_that_is_no_console_is_told_at_once(tmp_path: Path, answer: Answer, said: str) -> None:
    async with serving(answer) as server:
        replicas = Replicas(server.url)
        async with verification(Cluster(nobody_sees), replicas, tmp_path) as (verified, _):
            with pytest.raises(VerifyError) as caught:
                await verified.run(Steps(5))

    assert said in str(caught.value)


async def test_a_console_that_starts_is_waited_for(tmp_path: Path) -> None:
    async with (
        serving(failure(503, "Starting"), document({"items": []})) as server,
        verification(Cluster(nobody_sees), Replicas(server.url), tmp_path) as (verified, _),
    ):
        assert await verified._reach() == "1 of 1 addresses show their ledger"


async def test_a_right_that_is_missing_is_told_and_nothing_is_deleted_that_was_not_made(tmp_path: Path) -> None:
    await write(tmp_path, make_record())
    cluster = Cluster(nobody_sees)
    cluster.answers["POST"] = failure(403, "Forbidden", "alice cannot create configmaps")
    async with consoles(tmp_path) as replicas, verification(cluster, replicas, tmp_path) as (verified, server):
        with pytest.raises(VerifyError) as caught:
            await verified.run(Steps(5))

    assert "alice cannot create configmaps" in str(caught.value)
    assert "the right to create, patch and delete configmaps in the namespace default" in str(caught.value)
    assert asked(server) == ["POST"]


async def test_what_may_have_been_made_is_deleted(tmp_path: Path) -> None:
    await write(tmp_path, make_record())
    cluster = Cluster(nobody_sees)
    cluster.answers["POST"] = lost
    async with consoles(tmp_path) as replicas, verification(cluster, replicas, tmp_path) as (verified, server):
        with pytest.raises(VerifyError):
            await verified.run(Steps(5))

    assert asked(server)[-1] == "DELETE"
    assert not verified.left_behind


async def test_what_cannot_be_deleted_is_told_with_the_command_that_does_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    await write(data, make_record())
    cluster = Cluster(records(data))
    cluster.answers["DELETE"] = failure(403, "Forbidden")
    async with consoles(data) as replicas, verification(cluster, replicas, tmp_path) as (verified, _):
        await verified.run(Steps(5))

    assert verified.left_behind
    captured = capsys.readouterr()
    assert "deleting it: it is left behind" in captured.out
    assert "delete it yourself: kubectl -n default delete configmap kubewitness-verify-" in captured.err


async def test_whoever_cancels_it_leaves_nothing_behind(tmp_path: Path) -> None:
    await write(tmp_path, make_record())
    changed = asyncio.Event()

    async def note(_name: str) -> None:
        changed.set()

    async with consoles(tmp_path) as replicas, verification(Cluster(note), replicas, tmp_path) as (verified, server):
        task = asyncio.create_task(verified.run(Steps(5)))
        await changed.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert asked(server)[-1] == "DELETE"


def test_where_nothing_listens_the_way_to_the_console_is_said(tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    with listen("127.0.0.1", 0, "") as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"

    result = kubewitness("verify", "--kubeconfig", kubeconfig, "--console-url", url)

    assert result.exit_code == 1
    assert "[1/5] asking the console at " in result.stdout
    assert "error: 127.0.0.1 does not answer: " in result.stderr
    assert "port-forward service/RELEASE 8080" in result.stderr


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:notaport", ""])
def test_an_address_that_is_none_is_told(tmp_path: Path, url: str) -> None:
    result = kubewitness("verify", "--console-url", url)

    assert result.exit_code == 2
    assert "--console-url takes an address such as http://127.0.0.1:8080" in result.stderr


def test_a_token_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = kubewitness("verify", "--console-token-file", tmp_path / "token")

    assert result.exit_code == 1
    assert f"{tmp_path}/token: cannot read the token" in result.stderr
