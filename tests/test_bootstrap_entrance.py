"""The settings say whom the console lets in, and what nobody uses is not loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app.bootstrap.auditor import Auditor
from app.bootstrap.entrance import Entrance, namespaces_in
from app.bootstrap.watcher import Watcher
from app.kube.errors import KubernetesSetupError
from app.kube.reviews import ACCESS_REVIEWS, TOKEN_REVIEWS
from app.settings import Settings, WatchSettings
from app.tls.files import ensure_dev_certificates
from app.web.access import guarded
from tests.kube.api_server import Exchange, serving
from tests.kube.clients import write_kubeconfig
from tests.kube.review_server import ReviewServer
from tests.web.test_users import ALICE

SECRET: Final = b"0123456789abcdef" * 2
TOKEN: Final = "T0ken"


async def shown(scope: Scope, receive: Receive, send: Send) -> None:
    viewer = scope["state"]["viewer"]
    await PlainTextResponse(f"{viewer.name}|{viewer.may_requeue}")(scope, receive, send)


def namespaces() -> Sequence[str]:
    return ["shop"]


@asynccontextmanager
async def entrance(secret: bytes = SECRET, **options: Any) -> AsyncIterator[Entrance]:
    made = Entrance(Settings(**options), secret, lambda: TOKEN, namespaces)
    await made.open()
    yield made
    await made.close()


async def ask(made: Entrance, token: str = "", **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(guarded(shown, made.access), client=("10.0.0.1", 1))
    headers = {"X-Kubewitness-Token": token} if token else {}
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        return await client.get("/api/v1/entries", headers=headers, **options)


@pytest.mark.parametrize("requeue", [True, False])
async def test_the_token_of_the_console_sees_everything_and_changes_nothing_unless_told(requeue: bool) -> None:
    async with entrance(console_requeue=requeue) as made:
        assert (await ask(made, TOKEN)).text == f"console token|{requeue}"


async def test_replicas_of_one_secret_know_each_other_and_others_do_not() -> None:
    async with entrance() as one, entrance() as same, entrance(b"another secret") as other:
        assert (await ask(one, same.replica_token)).text == "another replica|True"
        assert (await ask(one, other.replica_token)).status_code == 401


async def test_a_replica_that_shows_both_tokens_is_known_as_one() -> None:
    async with entrance() as one:
        answer = await ask(one, one.replica_token, auth=httpx.BasicAuth("x", TOKEN))

    assert answer.text == "another replica|True"


async def test_users_are_those_of_the_file(tmp_path: Path) -> None:
    users = tmp_path / "users"
    async with entrance(console_users_file=users) as made:
        before = await ask(made, auth=("alice", "wonder:land"))
        users.write_text(f"alice:{ALICE}\n")
        after = await ask(made, auth=("alice", "wonder:land"))

    assert before.status_code == 401
    assert after.text == "alice|False"


async def test_users_of_the_cluster_are_asked_about_over_its_api(tmp_path: Path) -> None:
    cluster = ReviewServer()
    cluster.admit("bobs", "bob")
    cluster.audiences["bobs"] = ["witness"]
    cluster.rights |= {("bob", "get", "entries", ""), ("bob", "update", "deliveries", "")}

    async def answer(exchange: Exchange) -> None:
        assert exchange.request.path in (TOKEN_REVIEWS, ACCESS_REVIEWS)
        asked = exchange.request
        await exchange.respond(await cluster.send(asked.method, asked.path, asked.body, timeout=5.0))

    async with serving() as server:
        server.otherwise = answer
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", server.url)
        options: dict[str, Any] = {
            "console_kubernetes_auth": True,
            "console_kubernetes_audience": "witness",
            "kubeconfig": kubeconfig,
        }
        async with entrance(**options) as made:
            answers = [await ask(made, token) for token in ("bobs", "strange")]

    assert answers[0].text == "bob|True"
    assert answers[1].status_code == 401
    assert cluster.asked[0]["spec"]["audiences"] == ["witness"]


async def test_without_credentials_for_the_cluster_the_start_says_so(tmp_path: Path) -> None:
    made = Entrance(
        Settings(console_kubernetes_auth=True, kubeconfig=tmp_path / "none"), SECRET, lambda: TOKEN, namespaces
    )

    with pytest.raises(KubernetesSetupError, match="none"):
        await made.open()


class Words:
    """A ledger with many namespaces, of which it tells a thousand at a time."""

    def __init__(self, count: int) -> None:
        self.all = sorted(f"{'abcz9'[number % 5]}-{number}" for number in range(count))

    def words(self, _field: str, beginning: str = "") -> list[str]:
        return [each for each in self.all if each.startswith(beginning)][:1000]


@pytest.mark.parametrize("count", [0, 3, 999, 1000, 4500])
def test_of_many_namespaces_none_is_forgotten(count: int) -> None:
    ledger: Any = Words(count)

    assert list(namespaces_in(ledger)) == ledger.all


async def test_the_server_lets_in_whom_its_settings_say(tmp_path: Path) -> None:
    ensure_dev_certificates(tmp_path / "certs", now=datetime.now(UTC))
    (tmp_path / "users").write_text(f"alice:{ALICE}\n")
    settings = Settings(
        data_dir=tmp_path / "data",
        tls_dir=tmp_path / "certs",
        admission_host="127.0.0.1",
        admission_port=0,
        console_port=0,
        console_users_file=tmp_path / "users",
        flush_seconds=1,
    )
    auditor = Auditor(settings)
    await auditor.start()
    try:
        host, port = auditor.console_address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", headers={"Host": "far.example.com"}) as client:
            answers = [
                await client.get("/api/v1/entries"),
                await client.get("/api/v1/entries", auth=("alice", "wonder:land")),
                await client.get("/login?again=1"),
            ]
    finally:
        await auditor.stop(0)

    assert [answer.status_code for answer in answers] == [401, 200, 200]
    assert 'name="password"' in answers[2].text
    assert 'name="secret"' not in answers[2].text


def test_the_watcher_has_the_same_options() -> None:
    settings = WatchSettings(console_users_file=Path("users"), console_requeue=True)

    assert Watcher(settings).backbone.settings.console_users_file == Path("users")


@pytest.mark.parametrize("module", ["app.web.access", "app.web.login", "app.bootstrap.entrance"])
def test_what_nobody_signs_in_with_is_not_in_memory(module: str) -> None:
    heavy = ("fastapi", "jinja2", "bcrypt", "cryptography", "aiohttp")
    code = f"import sys, {module}; print([each for each in {heavy} if each in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert msgspec.json.decode(done.stdout.replace("'", '"')) == []
