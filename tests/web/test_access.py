"""The console shows the ledger to its own machine and to who has its token; probes and metrics to all."""

from __future__ import annotations

import threading
from base64 import b64encode
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.viewer import Viewer
from app.web import login
from app.web.access import Access, guarded
from app.web.identities import Known, Offer, TooManyAttemptsError
from app.web.shown import Shown
from tests.web.doors import door

TOKEN = "T0ken-of_the-console"
ENTRIES = "/api/v1/entries"
FAR = "10.244.1.7"
DETAIL_OF_NO_TOKEN = "start it with --console-token-file, or with --secret in a cluster"


async def ask(
    path: str = ENTRIES,
    *,
    peer: str = FAR,
    host: str = "kubewitness:8080",
    token: str = TOKEN,
    app: ASGIApp | None = None,
    headers: list[tuple[str, str]] | None = None,
    method: str = "GET",
) -> httpx.Response:
    transport = httpx.ASGITransport(
        guarded(app or PlainTextResponse("shown"), door(lambda: token)), client=(peer, 4321)
    )
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers or ()]
        return await client.request(method, path, headers=raw)


@pytest.mark.parametrize("token", [TOKEN, ""], ids=["token", "no token"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_and_metrics_are_open_to_all(path: str, token: str) -> None:
    assert (await ask(path, token=token)).text == "shown"


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST.", "127.0.0.1:1", "[::1]:8080", "a.localhost"]
)
@pytest.mark.parametrize("token", [TOKEN, ""], ids=["token", "no token"])
async def test_the_machine_itself_needs_no_token(peer: str, host: str, token: str) -> None:
    assert (await ask(peer=peer, headers=[("Host", host)], token=token)).text == "shown"


@pytest.mark.parametrize(
    "peer",
    [
        FAR,
        "127.0.0.6",
        "::ffff:127.0.0.6",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "2001:db8::1",
        "",
        "nonsense",
        "localhost",
    ],
)
async def test_others_get_nothing_without_a_token(peer: str) -> None:
    answer = await ask(peer=peer, host="localhost")

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "send `Authorization: Bearer TOKEN`" in answer.json()["detail"]
    assert answer.headers["cache-control"] == "no-store"


async def test_a_connection_without_a_peer_is_not_the_machine_itself() -> None:
    statuses: list[int] = []

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "path": ENTRIES, "method": "GET", "client": None, "headers": [(b"host", b"localhost")]}
    await guarded(PlainTextResponse("shown"), door(lambda: TOKEN))(scope, receive, send)

    assert statuses[0] == 401


@pytest.mark.parametrize(
    "path", ["/", "/livez/", "/livez/..", "//livez", "/readyz/x", "/metricsx", "/LIVEZ", "/entries/e1", "/docs"]
)
async def test_only_the_very_paths_of_probes_are_open(path: str) -> None:
    assert (await ask(path)).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", f"Bearer {TOKEN}"),
        ("authorization", f"bearer  {TOKEN} "),
        ("X-Kubewitness-Token", TOKEN),
    ],
)
@pytest.mark.parametrize(("peer", "host"), [(FAR, "kubewitness:8080"), ("127.0.0.1", "witness.example.com")])
async def test_who_shows_the_token_may_read_from_anywhere(header: tuple[str, str], peer: str, host: str) -> None:
    assert (await ask(peer=peer, host=host, headers=[header])).text == "shown"


@pytest.mark.parametrize(
    "value",
    [
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.lower()}",
        "Bearer ",
        "Bearer",
        "bearer\t" + TOKEN,
        "Bearer \xfc\xff",
        f"Basic {TOKEN}",
        TOKEN,
        "",
        "Bearer " + "x" * 60_000,
    ],
)
async def test_anything_else_is_refused(value: str) -> None:
    answer = await ask(headers=[("Authorization", value)])

    assert answer.status_code == 401
    assert TOKEN not in answer.text


async def test_a_wrong_token_is_said_to_be_wrong_and_not_repeated() -> None:
    answer = await ask(headers=[("X-Kubewitness-Token", "s3cret")])

    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert "is not the console's token" in answer.json()["detail"]
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("header", ["Authorization", "X-Kubewitness-Token"])
@pytest.mark.parametrize("value", ["Bearer ", "", "Bearer x"])
async def test_where_there_is_no_token_none_is_right(header: str, value: str) -> None:
    answer = await ask(token="", headers=[(header, value)])

    assert answer.status_code == 403
    assert DETAIL_OF_NO_TOKEN in answer.json()["detail"]
    assert "www-authenticate" not in answer.headers


async def test_the_token_is_the_one_of_the_moment() -> None:
    tokens = ["old"]
    access = door(lambda: tokens[-1])
    transport = httpx.ASGITransport(guarded(PlainTextResponse("shown"), access), client=(FAR, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        before = await client.get(ENTRIES, headers={"Authorization": "Bearer old"})
        tokens.append("new")
        after = await client.get(ENTRIES, headers={"Authorization": "Bearer old"})

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize("token", [TOKEN, ""], ids=["token", "no token"])
@pytest.mark.parametrize(
    "host", ["evil.example.com", "evil.example.com:8080", "127.0.0.1.example.com", "localhost.evil.com", "10.0.0.1", ""]
)
async def test_a_page_whose_name_leads_to_this_machine_reads_nothing(host: str, token: str) -> None:
    answer = await ask(peer="127.0.0.1", headers=[("Host", host)], token=token)

    assert answer.status_code == (401 if token else 403)
    assert "was meant for another host" in answer.json()["detail"]


async def test_a_request_that_names_two_hosts_is_not_one_for_this_machine() -> None:
    headers = [("Host", "localhost"), ("Host", "evil.example.com")]

    assert (await ask(peer="127.0.0.1", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        *("Forwarded", "Via", "X-Real-IP", "X-Request-Id"),
        *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Client-Cert"),
        *("X-Envoy-Attempt-Count", "X-B3-TraceId", "l5d-client-id"),
    ],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", FAR])
async def test_headers_of_proxies_open_nothing(header: str, peer: str) -> None:
    answer = await ask(peer=peer, host="localhost", headers=[(header, "127.0.0.1")])

    assert answer.status_code == 401


async def test_what_is_no_http_is_refused_too_and_the_start_passes() -> None:
    seen: list[str] = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])

    guard = guarded(inner, door(lambda: TOKEN))
    await guard({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    await guard({"type": "websocket", "path": "/", "headers": [], "client": (FAR, 1)}, None, send)  # type: ignore[arg-type]

    assert seen == ["lifespan"]
    assert sent[0] == "websocket.http.response.start"


async def test_a_head_request_is_guarded_like_the_others() -> None:
    assert (await ask(method="HEAD")).status_code == 401


@pytest.mark.parametrize(
    ("method", "site", "mode", "status"),
    [
        ("GET", "same-origin", "cors", 200),
        ("POST", "same-origin", "navigate", 200),
        ("GET", "none", "navigate", 200),
        ("GET", "cross-site", "navigate", 200),
        ("GET", "cross-site", "no-cors", 403),
        ("GET", "same-site", "cors", 403),
        ("POST", "cross-site", "navigate", 403),
        ("POST", "same-site", "no-cors", 403),
    ],
)
async def test_a_page_of_another_site_has_a_browser_only_follow_links(
    method: str, site: str, mode: str, status: int
) -> None:
    headers = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode)]

    for peer, shown in (("127.0.0.1", []), (FAR, [("Authorization", f"Bearer {TOKEN}")])):
        answer = await ask(peer=peer, host="localhost", headers=[*headers, *shown], method=method)
        assert answer.status_code == status


@pytest.mark.parametrize("user", ["", "whoever", "alice"])
async def test_the_token_may_be_the_password_of_any_user(user: str) -> None:
    credentials = b64encode(f"{user}:{TOKEN}".encode()).decode()

    assert (await ask(headers=[("Authorization", f"Basic {credentials}")])).text == "shown"


async def test_of_many_credentials_a_few_are_looked_at() -> None:
    headers = [("X-Kubewitness-Token", f"wrong{n}") for n in range(4)] + [("X-Kubewitness-Token", TOKEN)]

    assert (await ask(headers=headers)).status_code == 401
    assert (await ask(headers=headers[1:])).text == "shown"


class Crowded:
    """A method whose places are all taken."""

    name = "users"
    offers: frozenset[Offer] = frozenset({"password"})

    async def identified(self, _shown: Shown, _peer: str) -> Known | None:
        raise TooManyAttemptsError

    async def resumed(self, _user: str, _keepsake: str, _peer: str) -> Viewer | None:
        raise TooManyAttemptsError


async def test_who_comes_when_all_places_are_taken_is_told_to_come_again() -> None:
    app = guarded(PlainTextResponse("shown"), door(lambda: TOKEN, Crowded()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(FAR, 1)), base_url="http://x") as client:
        answer = await client.get(ENTRIES, headers={"Authorization": "Bearer x"})
        page = await client.get("/", headers={"Authorization": "Bearer x", "Accept": "text/html"})
        own = await client.get(ENTRIES, headers={"Authorization": f"Bearer {TOKEN}"})

    assert (answer.status_code, answer.headers["retry-after"], page.status_code) == (429, "2", 429)
    assert own.text == "shown"


async def test_it_can_be_asked_whether_somebody_still_may() -> None:
    tokens, told = [TOKEN], list[Scope]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.append(scope)
        await PlainTextResponse("shown")(scope, receive, send)

    transport = httpx.ASGITransport(guarded(app, door(lambda: tokens[-1])), client=(FAR, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        await client.get(ENTRIES, headers={"Authorization": f"Bearer {TOKEN}"})
    still = told[0]["state"]["still"]
    before = await still()
    tokens.append("new")

    assert (before, await still()) == (True, False)


@pytest.mark.parametrize("path", ["/login", "/"])
async def test_what_signing_in_needs_is_read_away_from_the_event_loop(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    made = login.SignIn.__init__

    def noted(self: login.SignIn, access: Access) -> None:
        threads.append(threading.get_ident())
        made(self, access)

    monkeypatch.setattr(login.SignIn, "__init__", noted)
    await ask(path, token=TOKEN, headers=[("Accept", "text/html")])

    assert len(threads) == 1
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("token", [TOKEN, "wrong"], ids=["known", "stranger"])
async def test_a_path_of_nothing_but_slashes_is_not_answered_with_as_many_links(token: str) -> None:
    headers = [("Accept", "text/html"), ("X-Kubewitness-Token", token)]

    answer = await ask("/x" * 20_000, headers=headers)

    assert (answer.status_code, "location" in answer.headers) == (404, False)
    assert len(answer.content) < 100
