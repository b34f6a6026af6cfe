"""Users with a password: hashed by bcrypt, checked away from the event loop, and slow to guess."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Final

import bcrypt
import httpx
import pytest
from starlette.responses import PlainTextResponse

from app.web.access import guarded
from app.web.attempts import AT_ONCE, MOST, Attempts
from app.web.identities import Known, TooManyAttemptsError
from app.web.shown import Shown
from app.web.users import Users
from tests.web.doors import door

FAR: Final = "10.244.1.7"


def hashed(password: bytes) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()


ALICE: Final = hashed(b"wonder:land")
LONG: Final = b"x" * 72 + b"tail"


class Pauses:
    """Counts pauses, and lets nobody wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """Users as they are at the moment, with what they cost."""

    def __init__(self, **users: str) -> None:
        self.users = users or {"alice": ALICE}
        self.pauses = Pauses()
        self.clock = Clock()
        self.method = Users(lambda: self.users, Attempts(self.pauses), clock=self.clock)

    async def of(self, user: str | None, password: str) -> Known | None:
        return await self.method.identified(Shown(password, user), FAR)


async def ask(desk: Desk, authorization: str) -> httpx.Response:
    app = guarded(PlainTextResponse("shown"), door(lambda: "", desk.method))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(FAR, 1)), base_url="http://x") as client:
        return await client.get("/api/v1/entries", headers={"Authorization": authorization})


def basic(text: str) -> str:
    return f"Basic {b64encode(text.encode()).decode()}"


async def test_a_user_gets_in_by_basic_authentication() -> None:
    assert (await ask(Desk(), basic("alice:wonder:land"))).text == "shown"


@pytest.mark.parametrize(
    "authorization",
    [
        basic("alice:wrong"),
        basic("alice:"),
        basic("Alice:wonder:land"),
        basic("bob:wonder:land"),
        basic(":wonder:land"),
        basic("alice"),
        "Basic !",
        "Basic",
        f"Bearer {ALICE}",
        f"Basic {b64encode(b'alice:' + bytes([0xFF])).decode()}",
        basic(f"alice:{ALICE}"),
        basic("alice:wonder\0land"),
        basic(f"alice:{'x' * 15_000}"),
    ],
)
async def test_anything_else_is_refused_and_not_repeated(authorization: str) -> None:
    answer = await ask(Desk(), authorization)

    assert answer.status_code == 401
    assert "wonder" not in answer.text
    assert answer.headers["www-authenticate"] == (
        'Bearer error="invalid_token", Basic realm="kubewitness", charset="UTF-8"'
    )


async def test_a_browser_is_not_asked_for_a_password_over_the_page() -> None:
    app = guarded(PlainTextResponse("shown"), door(lambda: "", Desk().method))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(FAR, 1)), base_url="http://x") as client:
        answer = await client.get("/rows", headers={"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_a_password_longer_than_bcrypt_reads_is_cut_as_htpasswd_cuts_it() -> None:
    desk = Desk(alice=hashed(LONG[:72]))

    assert await desk.of("alice", LONG.decode()) is not None


async def test_what_was_proven_is_known_for_a_minute_without_a_check() -> None:
    desk = Desk()
    await desk.of("alice", "wonder:land")
    desk.method._check = None  # type: ignore[assignment, method-assign]

    desk.clock.now += 59
    known = await desk.of("alice", "wonder:land")
    desk.clock.now += 2

    assert known is not None
    with pytest.raises(TypeError):
        await desk.of("alice", "wonder:land")


async def test_a_password_that_was_changed_is_the_only_one_at_once() -> None:
    desk = Desk()
    await desk.of("alice", "wonder:land")

    desk.users = {"alice": hashed(b"new")}

    assert await desk.of("alice", "wonder:land") is None
    assert await desk.of("alice", "new") is not None


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("nobody", "wonder:land")])
async def test_a_failure_costs_a_check_and_a_pause_whether_or_not_there_is_such_a_user(
    user: str, password: str
) -> None:
    desk = Desk()

    assert await desk.of(user, password) is None
    assert desk.pauses.seconds == [1.0]


async def test_a_name_that_there_is_not_takes_as_long_as_the_slowest_password(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = bcrypt.hashpw(b"slow", bcrypt.gensalt(6)).decode()
    desk, checked = Desk(alice=ALICE, bob=slow, carol=ALICE), list[str]()

    async def noted(_password: str, against: str) -> bool:
        checked.append(against)
        return False

    monkeypatch.setattr(desk.method, "_check", noted)

    assert await desk.of("nobody", "x") is None
    assert checked == [slow]


async def test_a_hash_that_bcrypt_does_not_take_lets_nobody_in() -> None:
    desk = Desk(alice="$2b$04$" + "z" * 53)

    assert await desk.of("alice", "x") is None
    assert await desk.of("nobody", "x") is None


async def test_a_session_lasts_as_long_as_the_password() -> None:
    desk = Desk()
    known = await desk.of("alice", "wonder:land")
    assert known is not None

    during = await desk.method.resumed("alice", known.keepsake, FAR)
    another = await desk.method.resumed("bob", known.keepsake, FAR)
    desk.users = {"alice": hashed(b"wonder:land")}
    after = await desk.method.resumed("alice", known.keepsake, FAR)

    assert (during, another, after) == (known.viewer, None, None)


async def test_no_secret_is_in_a_repr() -> None:
    known = await Desk().of("alice", "wonder:land")

    assert "wonder" not in repr(Shown("wonder:land", "alice"))
    assert known is not None
    assert known.keepsake not in repr(known)


class Held:
    """A pause that ends when it is told to."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    async def __call__(self, _seconds: float) -> None:
        await self.end.wait()


async def test_who_guesses_waits_for_their_own_places_and_keeps_nobody_else_out() -> None:
    held = Held()
    users = Users(lambda: {"alice": ALICE}, Attempts(held))
    guesses = [asyncio.create_task(users.identified(Shown(f"guess{n}", "alice"), "10.0.0.66")) for n in range(MOST)]
    await asyncio.sleep(0)  # each of them comes to its place

    with pytest.raises(TooManyAttemptsError):
        await users.identified(Shown("one more", "alice"), "10.0.0.66")
    assert await users.identified(Shown("wonder:land", "alice"), FAR) is not None

    held.end.set()
    assert await asyncio.gather(*guesses) == [None] * MOST
    assert users._attempts._present == {}
    assert users._attempts._places == {}


async def test_a_peer_has_a_few_places_at_once() -> None:
    held, inside = Held(), 0
    attempts = Attempts(held)

    async def guess() -> None:
        nonlocal inside
        async with attempts.place("10.0.0.66"):
            inside += 1
            await attempts.failed()

    guesses = [asyncio.create_task(guess()) for _ in range(AT_ONCE + 3)]
    for _ in range(10):
        await asyncio.sleep(0)
    first = inside
    held.end.set()
    await asyncio.gather(*guesses)

    assert (first, inside) == (AT_ONCE, AT_ONCE + 3)
