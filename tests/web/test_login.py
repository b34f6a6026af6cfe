"""Browsers sign in by a form that needs no script, get a session for the console alone, and can end it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from app.core.viewer import Viewer
from app.kube.errors import ApiError
from app.kube.reviews import Reviews
from app.web.access import Access, guarded
from app.web.attempts import Attempts
from app.web.identities import Method, TokenMethod
from app.web.kubernetes_users import KubernetesUsers
from app.web.login import next_of
from app.web.sessions import COOKIE, FORM_COOKIE, Sessions
from app.web.users import Users
from tests.kube.review_server import ReviewServer
from tests.web.doors import SECRET
from tests.web.pages import Document
from tests.web.test_users import ALICE, Clock, Pauses

TOKEN: Final = "T0ken-of_the-console"
JWT: Final = "eyJhbGciOi.eyJzdWIi.c2ln"
HTML: Final = {"Accept": "text/html,*/*"}
OWN: Final = {**HTML, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}


async def shown(scope: Scope, receive: Receive, send: Send) -> None:
    """Show who asks, as the application behind the guard is told."""
    state = scope["state"]
    await PlainTextResponse(f"{state['viewer'].name}|{state['is_signed_in']}")(scope, receive, send)


class House:
    """A console with all methods, as a browser elsewhere sees it."""

    def __init__(self) -> None:
        self.token = TOKEN
        self.users = {"alice": ALICE}
        self.server = ReviewServer()
        self.server.admit(JWT, "bob")
        self.server.rights.add(("bob", "get", "entries", "shop"))
        self.now = 1_800_000_000.0
        self.review_clock = Clock()
        attempts = Attempts(Pauses())
        reviews = Reviews(self.server)
        methods: list[Method] = [
            TokenMethod("token", lambda: self.token, Viewer(name="console token")),
            Users(lambda: self.users, attempts),
            KubernetesUsers(reviews, self._namespaces, attempts, clock=self.review_clock),
        ]
        access = Access(methods, Sessions(SECRET, lambda: self.now))
        self.app = guarded(shown, access)
        self.client = self.browser()

    def _namespaces(self) -> Sequence[str]:
        return ["shop"]

    def browser(self, scheme: str = "http", peer: str = "10.244.1.7") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(peer, 1))
        return httpx.AsyncClient(transport=transport, base_url=f"{scheme}://witness.example.com")

    async def form(self, address: str = "/login?again=1") -> dict[str, str]:
        """Return the hidden fields of the form."""
        page = await self.client.get(address, headers=HTML)
        assert page.status_code == 200, page.text
        return {str(each["name"]): str(each["value"]) for each in Document(page.text).all("input", type="hidden")}

    async def sign_in(self, address: str = "/login?again=1", **fields: str) -> httpx.Response:
        return await self.client.post("/login", data={**await self.form(address), **fields}, headers=HTML)

    async def look(self, path: str = "/", **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={**OWN, **headers})


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    async with made.client:
        yield made


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/", "./login"),
        ("/?kind=Pod&q=a%2Fb", "./login?next=%3Fkind%3DPod%26q%3Da%252Fb"),
        ("/entries/x", "../login?next=entries%2Fx"),
        ("/objects/Pod/a/b?from=1", "../../../login?next=objects%2FPod%2Fa%2Fb%3Ffrom%3D1"),
        ("/objects//x", "../../login"),
        ("/?" + "x" * 3000, "./login"),
    ],
)
async def test_who_is_not_known_is_led_to_the_form_and_back(house: House, path: str, address: str) -> None:
    answer = await house.look(path)

    assert (answer.status_code, answer.headers["location"]) == (303, address)


async def test_who_reads_no_pages_is_answered_with_json(house: House) -> None:
    answers = [
        await house.client.get("/api/v1/entries", headers=HTML),
        await house.client.get("/rows", headers={"Accept": "*/*"}),
    ]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert "`X-Kubewitness-Token: TOKEN`" in answers[0].json()["detail"]
    assert "password of a user" in answers[0].json()["detail"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"secret": TOKEN}, "console token"),
        ({"secret": f" {TOKEN}\n"}, "console token"),
        ({"user": "alice", "password": "wonder:land"}, "alice"),
        ({"user": "whoever", "password": TOKEN}, "console token"),
        ({"secret": JWT}, "bob"),
        ({"user": "alice", "password": "wrong", "secret": JWT}, "bob"),
    ],
)
async def test_a_token_or_a_password_opens_a_session(house: House, fields: dict[str, str], name: str) -> None:
    answer = await house.sign_in("/login?again=1&next=entries%2Fx%3Fq%3D1", **fields)

    assert (answer.status_code, answer.headers["location"]) == (303, "./entries/x?q=1")
    assert (await house.look()).text == f"{name}|True"


async def test_the_cookie_is_for_the_console_alone(house: House) -> None:
    answer = await house.sign_in(secret=TOKEN)

    (cookie,) = answer.headers.get_list("set-cookie")
    assert re.fullmatch(COOKIE + r"=[\w=-]+; Max-Age=43200; HttpOnly; SameSite=Strict", cookie)
    assert TOKEN not in cookie


async def test_by_https_the_cookie_is_for_https_alone(house: House) -> None:
    async with house.browser("https") as client:
        page = await client.get("/login?again=1", headers=HTML)

    assert page.headers["set-cookie"].endswith("; SameSite=Strict; Secure")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"secret": "wrong"}, "This token is not accepted."),
        ({"user": "alice", "password": "wrong"}, "This is not the name and the password of a user."),
        ({"user": "nobody", "password": "wonder:land"}, "This is not the name and the password of a user."),
        ({}, "This is not the name and the password of a user."),
    ],
)
async def test_what_is_wrong_is_said_and_not_repeated(house: House, fields: dict[str, str], said: str) -> None:
    with capture_logs() as logs:
        answer = await house.sign_in(**fields)

    assert answer.status_code == 401
    assert said in answer.text
    assert COOKIE not in answer.headers["set-cookie"]
    assert not {"wrong", "wonder:land"} & set(re.findall(r"[\w:]+", answer.text + str(logs)))
    assert (await house.look()).status_code == 303


async def test_the_name_stays_in_the_form_and_is_escaped(house: House) -> None:
    answer = await house.sign_in(user='"><script>alert(1)</script>', password="wrong")

    assert Document(answer.text).all("input", name="user")[0]["value"] == '"><script>alert(1)</script>'
    assert "<script" not in answer.text


async def test_the_page_needs_no_script_and_says_nothing_of_the_cluster(house: House) -> None:
    page = await house.client.get("/login?again=1", headers=HTML)

    assert "<script" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == "no-store"
    assert {each for each in Document(page.text).addresses() if "static" not in each} == {"./login", "#main"}


@pytest.mark.parametrize("name", ["style.css", "icon.svg", "console.js"])
async def test_what_the_page_loads_is_open(house: House, name: str) -> None:
    assert (await house.client.get(f"/static/{name}")).status_code == 200


@pytest.mark.parametrize("path", ["/static/", "/static/..%2Fx", "/static/nothing", "/loginx", "/login/", "/static"])
async def test_nothing_else_is(house: House, path: str) -> None:
    assert (await house.client.get(path)).status_code in {401, 404}


async def test_a_form_that_another_browser_got_is_none(house: House) -> None:
    strange = await House().form()
    await house.form()

    answer = await house.client.post("/login", data={"token": strange["token"], "secret": TOKEN}, headers=HTML)

    assert answer.status_code == 403
    assert COOKIE not in answer.headers["set-cookie"]


async def test_without_the_cookie_of_the_form_it_is_said_what_is_missing(house: House) -> None:
    fields = await house.form()
    house.client.cookies.clear()

    answer = await house.client.post("/login", data={**fields, "secret": TOKEN}, headers=HTML)

    assert answer.status_code == 400
    assert "did not keep the cookie" in answer.text


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_another_site_signs_nobody_in(house: House, site: str) -> None:
    fields = {**await house.form(), "secret": TOKEN}

    answer = await house.client.post("/login", data=fields, headers={**HTML, "Sec-Fetch-Site": site})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/entries/x",
        "javascript:alert(1)//",
        "..//evil.example",
        "x/../../y",
        "a//evil.example",
        "x\r\nSet-Cookie: a=b",
        "x\ty",
        "é",
        "x" * 2001,
    ],
)
async def test_no_address_leads_away_from_the_console(house: House, wanted: str) -> None:
    fields = {**await house.form(), "next": wanted, "secret": TOKEN}

    answer = await house.client.post("/login", data=fields, headers=HTML)

    assert (next_of(wanted), answer.headers["location"]) == ("", "./")


def test_what_looks_like_a_scheme_is_a_place_of_the_console() -> None:
    assert next_of("objects/Role/a/system:node") == "objects/Role/a/system:node"


@pytest.mark.parametrize("wanted", ["%2e%2e/other", "%2E./other", ".%2e/other", "entries/%2e%2E/x"])
def test_no_escaped_dots_lead_out_of_the_folder_of_the_console(wanted: str) -> None:
    assert next_of(wanted) == ""


@pytest.mark.parametrize("host", ["[::", "x/logout?", "evil.example/#"])
async def test_a_host_that_is_none_changes_nothing(house: House, host: str) -> None:
    answer = await house.client.get("/login?again=1", headers={"Host": host})

    assert answer.status_code == 200
    assert "Sign in" in answer.text


async def test_who_follows_a_link_from_elsewhere_asks_again_with_their_cookies(house: House) -> None:
    page = await house.client.get("/login?next=entries%2Fx", headers={**OWN, "Sec-Fetch-Site": "cross-site"})

    (refresh,) = Document(page.text).all("meta", **{"http-equiv": "refresh"})
    assert refresh["content"] == "0; url=login?again=1&next=entries%2Fx"
    assert "set-cookie" not in page.headers


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_others_get_the_form_at_once(house: House, site: str) -> None:
    page = await house.client.get("/login", headers={**HTML, "Sec-Fetch-Site": site})

    assert "Sign in" in page.text
    assert "refresh" not in page.text


async def test_who_is_signed_in_already_is_led_on(house: House) -> None:
    await house.sign_in(secret=TOKEN)

    answer = await house.look("/login?next=actors")

    assert (answer.status_code, answer.headers["location"]) == (303, "./actors")


async def signing_out(house: House, **fields: str) -> httpx.Response:
    return await house.client.post("/logout", data=fields, headers=OWN)


def form_token(house: House) -> str:
    sessions = Sessions(SECRET, lambda: house.now)
    session = sessions.opened(house.client.cookies[COOKIE])
    assert session is not None
    return sessions.form_token(f"session:{session.id}")


async def test_signing_out_makes_the_browser_forget(house: House) -> None:
    await house.sign_in(secret=TOKEN)

    answer = await signing_out(house, token=form_token(house))

    assert (answer.status_code, answer.headers["location"]) == (303, "login?again=1")
    assert (await house.look()).status_code == 303


@pytest.mark.parametrize("token", ["", "x"])
async def test_nobody_else_signs_somebody_out(house: House, token: str) -> None:
    await house.sign_in(secret=TOKEN)

    assert (await signing_out(house, token=token)).status_code == 403
    assert (await house.look()).text == "console token|True"


async def test_a_session_ends_after_twelve_hours(house: House) -> None:
    await house.sign_in(secret=TOKEN)
    sealed = {"Cookie": f"{COOKIE}={house.client.cookies[COOKIE]}"}
    house.client.cookies.clear()

    house.now += 12 * 3600 - 5
    before = await house.look(**sealed)
    house.now += 10
    after = await house.look(**sealed)

    assert (before.status_code, after.status_code) == (200, 303)


async def test_a_session_ends_with_the_token_it_was_opened_with(house: House) -> None:
    await house.sign_in(secret=TOKEN)

    house.token = "another"

    assert (await house.look()).status_code == 303


async def test_a_session_ends_with_its_user(house: House) -> None:
    await house.sign_in(user="alice", password="wonder:land")

    house.users = {"carol": ALICE}

    assert (await house.look()).status_code == 303


async def test_a_session_ends_with_the_token_of_the_cluster(house: House) -> None:
    await house.sign_in(secret=JWT)

    house.server.tokens.clear()
    house.review_clock.now += 61

    assert (await house.look()).status_code == 303


async def test_who_may_see_no_namespace_is_told_which_right_to_ask_for_and_may_sign_out(house: House) -> None:
    house.server.rights.clear()
    await house.sign_in(secret=JWT)

    page = await house.look("/actors")
    answer = await house.client.get("/api/v1/entries")

    command = "kubectl create rolebinding kubewitness-view --clusterrole=view --user=bob --namespace=NAMESPACE"
    assert (page.status_code, answer.status_code) == (403, 403)
    assert command in Document(page.text).text
    assert command in answer.json()["detail"]
    token = str(Document(page.text).all("input", name="token")[0]["value"])
    assert (await signing_out(house, token=token)).status_code == 303


@pytest.mark.parametrize("status", [0, 403, 503])
async def test_where_the_cluster_cannot_be_asked_it_is_said_and_nothing_shown(house: House, status: int) -> None:
    await house.sign_in(secret=JWT)
    house.server.fault = ApiError("POST /apis/x: no", status=status)
    house.review_clock.now += 61

    page = await house.look()
    answer = await house.client.get("/api/v1/entries", headers={"X-Kubewitness-Token": JWT})
    form = await house.client.get("/login?again=1", headers=HTML)

    assert (page.status_code, answer.status_code, form.status_code) == (503, 503, 503)
    assert "The API server cannot be asked who you are" in page.text
    assert answer.headers["retry-after"] == "2"
    assert JWT not in page.text + answer.text


async def test_the_consoles_own_token_works_meanwhile(house: House) -> None:
    house.server.fault = ApiError("POST /apis/x: no")

    assert (await house.sign_in(secret=JWT)).status_code == 503
    assert (await house.sign_in(secret=TOKEN)).status_code == 303


async def test_on_the_machine_itself_nobody_signs_in(house: House) -> None:
    async with house.browser(peer="127.0.0.1") as client:
        headers = {**HTML, "Host": "localhost:8080"}
        answers = [await client.get(path, headers=headers) for path in ("/login?next=actors", "/")]

    assert answers[0].headers["location"] == "./actors"
    assert answers[1].text == "|False"


async def test_a_console_without_any_method_says_so_on_a_page(house: House) -> None:
    app = guarded(shown, Access([], Sessions(SECRET)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("10.0.0.1", 1)), base_url="http://x") as it:
        answers = [await it.get(path, headers=HTML) for path in ("/", "/login?again=1")]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert "start it with --console-token-file" in answers[0].text


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
        ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("POST", {}, 401),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, 401),
        ("DELETE", {"Sec-Fetch-Site": "same-origin"}, 401),
    ],
)
async def test_through_the_api_a_session_only_reads_and_for_its_own_site(
    house: House, method: str, headers: dict[str, str], status: int
) -> None:
    await house.sign_in(secret=TOKEN)

    assert (await house.client.request(method, "/api/v1/entries", headers=headers)).status_code == status


async def test_a_request_that_is_not_one_of_a_form_is_refused(house: House) -> None:
    answer = await house.client.request("PUT", "/login", headers=HTML)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_a_token_that_no_cookie_holds_is_said_to_be_too_long(house: House) -> None:
    import hashlib

    long = "x".join(hashlib.sha512(bytes([n])).hexdigest() for n in range(100))
    house.server.admit(long, "bob")

    answer = await house.sign_in(secret=long)

    assert answer.status_code == 400
    assert "too long for a cookie" in answer.text


async def test_every_replica_knows_the_session_of_another(house: House) -> None:
    await house.sign_in(secret=TOKEN)
    other = House()
    other.client.cookies.set(COOKIE, house.client.cookies[COOKIE])

    assert (await other.look()).text == "console token|True"
    assert FORM_COOKIE in house.client.cookies


async def test_forms_of_a_session_are_bound_to_it(house: House) -> None:
    tokens: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tokens.append(Request(scope).state.form_token)
        await PlainTextResponse("")(scope, receive, send)

    guard = house.app
    guard._app = app  # type: ignore[attr-defined]
    for _ in range(2):
        house.client.cookies.clear()
        await house.sign_in(secret=TOKEN)
        await house.look()
        await house.look("/actors")

    assert tokens[0] == tokens[1] != tokens[2] == tokens[3]
