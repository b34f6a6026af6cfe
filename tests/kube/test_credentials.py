"""Where credentials come from, what rotation does, and what people are told when something is missing."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.kube.client import KubernetesApi
from app.kube.credentials import Credentials, choose
from app.kube.errors import ApiError, KubernetesSetupError
from app.kube.kubeconfig import Kubeconfig
from app.kube.service_account import ServiceAccount
from tests.kube.api_server import Answer, ApiServer, Exchange, document, failure, serving
from tests.kube.clients import client, client_of, write_kubeconfig
from tests.sinks.receiver import self_signed


def only_with(token: str) -> Answer:
    async def answer(exchange: Exchange) -> None:
        known = exchange.request.headers.get("authorization", "").lower() == f"bearer {token}".lower()
        await (document("welcome") if known else failure(401, "Unauthorized"))(exchange)

    return answer


def service_account(folder: Path, server: ApiServer, authority: Path, token: str = "first") -> ServiceAccount:
    (folder / "token").write_text(token)
    (folder / "ca.crt").write_bytes(authority.read_bytes())
    (folder / "namespace").write_text("auditing")
    place = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
    return ServiceAccount(environment=place, folder=folder)


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    return self_signed(tmp_path)


async def test_a_rotated_token_is_used_by_the_next_call(tmp_path: Path, tls: tuple[ssl.SSLContext, Path]) -> None:
    async with serving(document(1), document(2), tls=tls[0]) as server:
        async with client_of(service_account(tmp_path, server, tls[1])) as api:
            await api.get("/api")
            (tmp_path / "token").write_text("second")
            await api.get("/api")

        assert api.namespace == "auditing"
        assert [request.headers["authorization"] for request in server.requests] == ["Bearer first", "Bearer second"]


async def test_a_token_that_is_refused_is_read_again_and_the_call_made_once_more(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    async with serving() as server:
        path = write_kubeconfig(tmp_path / "kubeconfig", server.url, {"tokenFile": str(token)})
        server.otherwise = only_with("new")
        async with client_of(Kubeconfig(paths=str(path))) as api:
            unseen = token.stat().st_mtime_ns
            token.write_text("new\n")
            os.utime(token, ns=(unseen, unseen))
            assert await api.get("/api") == b'"welcome"'
            assert await api.send("POST", "/api", b"{}") == b'"welcome"'

        assert [request.headers["authorization"][7:] for request in server.requests] == ["old", "new", "new"]


async def test_a_refused_token_that_is_still_the_same_is_not_tried_again(tmp_path: Path) -> None:
    async with serving() as server, client(server, tmp_path) as api:
        server.otherwise = only_with("other")

        with pytest.raises(ApiError, match="401 Unauthorized") as refused:
            await api.get("/api")

        assert refused.value.is_unauthorized
        assert "t0ken" not in str(refused.value)
        assert len(server.requests) == 1


def login_plugin(folder: Path, also: str = "") -> dict[str, Any]:
    """Return a user whose plugin makes the tokens made-1, made-2, ..., and does something else as well."""
    plugin = folder / "plugin.py"
    credential = '{"apiVersion": "v1", "kind": "ExecCredential", "status": {"token": "made-%d"}}'
    plugin.write_text(
        "import pathlib\n"
        f"calls = pathlib.Path({str(folder)!r}) / 'calls'\n"
        "calls.open('a').write('x')\n"
        f"print({credential!r} % calls.stat().st_size)\n"
        f"{also}\n"
    )
    return {"exec": {"apiVersion": "v1", "command": sys.executable, "args": ["-W", "ignore", str(plugin)]}}


async def test_a_kubeconfig_that_changes_while_a_login_plugin_runs_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    user = login_plugin(tmp_path, f"if calls.stat().st_size == 1: open({str(path)!r}, 'a').write('# changed')")
    async with serving(document("welcome")) as server:
        write_kubeconfig(path, server.url, user)
        async with client_of(Kubeconfig(paths=str(path))) as api:
            await api.get("/api")

        assert [request.headers["authorization"] for request in server.requests] == ["Bearer made-2"]


async def test_a_login_plugin_is_asked_again_when_its_token_is_refused(tmp_path: Path) -> None:
    async with serving() as server:
        server.otherwise = only_with("made-2")
        path = write_kubeconfig(tmp_path / "kubeconfig", server.url, login_plugin(tmp_path))
        async with client_of(Kubeconfig(paths=str(path))) as api:
            assert await api.get("/api") == b'"welcome"'


async def test_a_token_that_cannot_be_read_leaves_the_old_one_in_use(
    tmp_path: Path, tls: tuple[ssl.SSLContext, Path]
) -> None:
    async with serving(document(1), document(2), document(3), tls=tls[0]) as server:
        async with client_of(service_account(tmp_path, server, tls[1])) as api:
            (tmp_path / "token").write_text("")
            with capture_logs() as logs:
                await api.get("/api")
                await api.get("/api")
            (tmp_path / "token").write_text("second")
            await api.get("/api")

        used = [request.headers["authorization"] for request in server.requests]
        assert used == ["Bearer first", "Bearer first", "Bearer second"]
        assert [log["event"] for log in logs] == ["credentials not read"]


async def test_a_rotated_authority_is_trusted_from_the_next_connection_on(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = self_signed(tmp_path / "old"), self_signed(tmp_path / "new")
    async with serving(tls=new[0]) as server:
        server.otherwise = document("welcome")
        async with client_of(service_account(tmp_path, server, old[1])) as api:
            with pytest.raises(ApiError, match=r"GET /api: the server's certificate is not trusted: .*verify failed"):
                await api.get("/api", attempts=1)

            (tmp_path / "ca.crt").write_bytes(new[1].read_bytes())

            assert await api.get("/api") == b'"welcome"'


async def test_the_environments_proxies_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with serving(document("here")) as server, client(server, tmp_path) as api:
        assert await api.get("/api") == b'"here"'


async def test_the_proxy_of_a_kubeconfig_is_used(tmp_path: Path) -> None:
    async with serving(document("by the proxy")) as proxy:
        path = write_kubeconfig(tmp_path / "kubeconfig", "http://api.invalid", proxy_url=proxy.url)
        async with client_of(Kubeconfig(paths=str(path))) as api:
            assert await api.get("/api") == b'"by the proxy"'


async def test_tokens_are_not_shown_by_what_holds_them(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")

    access = await (await Credentials.read(Kubeconfig(paths=str(path)))).current()

    assert access.authorization == "Bearer t0ken"
    assert "t0ken" not in repr(access)


def test_a_kubeconfig_that_is_named_comes_first_then_the_pods_account_then_ones_own(tmp_path: Path) -> None:
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": "/mine"}

    assert choose(tmp_path / "named", pod) == Kubeconfig(paths=str(tmp_path / "named"), named_by="--kubeconfig")
    assert choose(None, pod) == ServiceAccount(environment=pod)
    assert choose(None, {"KUBECONFIG": "/mine:/other"}) == Kubeconfig(paths="/mine:/other", named_by="KUBECONFIG")
    assert choose(None, {}) == Kubeconfig(paths="~/.kube/config")


async def test_a_client_is_made_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "mine", "http://127.0.0.1:1")))

    api = await KubernetesApi.connect()
    await api.close()

    assert api.namespace == "shop"


async def test_a_pod_without_a_token_is_told_why(tmp_path: Path) -> None:
    place = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}

    with pytest.raises(KubernetesSetupError, match=r"token: cannot be read.*automountServiceAccountToken"):
        await Credentials.read(ServiceAccount(environment=place, folder=tmp_path))


@pytest.mark.parametrize(
    ("option", "variable", "said"),
    [
        ("absent", "other", r"^--kubeconfig: there is no file .*/absent; it takes the kubeconfig of the cluster"),
        (None, "other", r"^KUBECONFIG: there is no file .*/other; it takes"),
        (None, "", r"^there is no ~/\.kube/config: name a kubeconfig with --kubeconfig FILE or KUBECONFIG$"),
    ],
)
async def test_a_missing_kubeconfig_is_named_with_where_to_name_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str | None, variable: str, said: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environment = {"KUBECONFIG": variable and str(tmp_path / variable)}

    with pytest.raises(KubernetesSetupError, match=said):
        await Credentials.read(choose(option and tmp_path / option, environment))  # type: ignore[arg-type]


async def test_a_rotated_token_file_of_a_kubeconfig_is_used_by_the_next_call(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with serving(document(1), document(2)) as server:
        path = write_kubeconfig(tmp_path / "kubeconfig", server.url, {"tokenFile": "token"})
        async with client_of(Kubeconfig(paths=str(path))) as api:
            await api.get("/api")
            token.write_text("second\n")
            await api.get("/api")

        assert [request.headers["authorization"] for request in server.requests] == ["Bearer first", "Bearer second"]


RUBBISH = {
    "two lines": b"hidden\nhidden",
    "a header": b"hidden\r\nX-Other: hidden",
    "words": b"hidden token",
    "a letter of no header": "hidden\u00e9".encode(),
    "a null": b"hidden\0",
    "no text": b"hidden\xff",
    "a line break": b"\n",
    "nothing": b"",
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
@pytest.mark.parametrize("place", ["service account", "kubeconfig"])
async def test_what_is_no_token_reaches_no_header_and_is_not_shown(tmp_path: Path, place: str, rubbish: bytes) -> None:
    (tmp_path / "token").write_bytes(rubbish)
    user = {"tokenFile": str(tmp_path / "token")}
    path = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", user)
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    account = ServiceAccount(environment=pod, folder=tmp_path)

    with pytest.raises(KubernetesSetupError) as refused:
        await Credentials.read(account if place == "service account" else Kubeconfig(paths=str(path)))

    assert str(tmp_path) in str(refused.value)
    assert "hidden" not in str(refused.value)


async def test_a_user_that_is_not_understood_is_not_shown_with_its_token(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", {"token": "hidden}"})
    path.write_text(path.read_text().replace("user:\n    token:", "usr:\n    token:"))

    with pytest.raises(KubernetesSetupError, match=r"Expected key user in .*/kubeconfig; kubectl") as refused:
        await Credentials.read(Kubeconfig(paths=str(path)))

    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "no YAML: .*line 1"),
        ("", "not of the shape"),
        ("[]", "not of the shape"),
        ("current-context: x\ncontexts: []\nclusters: []\nusers: []\n", "Expected object with name x in .*contexts"),
    ],
    ids=["torn", "empty", "list", "no such context"],
)
async def test_a_wrong_kubeconfig_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    with pytest.raises(KubernetesSetupError, match=f"/kubeconfig: .*{said}"):
        await Credentials.read(Kubeconfig(paths=str(path)))


async def test_an_authority_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing of the kind")
    path = write_kubeconfig(
        tmp_path / "kubeconfig", "https://127.0.0.1:1", certificate_authority=str(tmp_path / "ca.crt")
    )

    with pytest.raises(KubernetesSetupError, match=r"/ca\.crt: .*must be PEM"):
        await Credentials.read(Kubeconfig(paths=str(path)))
