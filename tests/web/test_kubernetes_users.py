"""Users of the cluster see the namespaces that they may see there, and nothing where that cannot be asked."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import pytest
from structlog.testing import capture_logs

from app.core.viewer import Viewer
from app.kube.errors import ApiError
from app.kube.reviews import Reviews
from app.store.database import StoreError
from app.web.attempts import AT_ONCE, MOST, Attempts
from app.web.identities import TooManyAttemptsError, UnavailableError
from app.web.kubernetes_users import KEPT_SECONDS, KubernetesUsers
from app.web.shown import Shown
from tests.kube.review_server import ReviewServer
from tests.web.test_users import Clock, Pauses

TOKEN: Final = "eyJhbGciOi.eyJzdWIi.c2ln"
FAR: Final = "10.244.1.7"


class Cluster:
    """Reviews, a ledger with some namespaces, and a clock."""

    def __init__(self, *, may_requeue: bool = False) -> None:
        self.server = ReviewServer()
        self.server.admit(TOKEN, "alice")
        self.namespaces: list[str] = ["kube-system", "shop", "shop-test"]
        self.clock, self.pauses = Clock(), Pauses()
        self.attempts = attempts = Attempts(self.pauses)
        reviews = Reviews(self.server)
        self.users = KubernetesUsers(reviews, self._seen, attempts, may_requeue=may_requeue, clock=self.clock)

    def _seen(self) -> Sequence[str]:
        return self.namespaces

    def grant(self, resource: str = "entries", verb: str = "get", *, namespace: str = "") -> None:
        self.server.rights.add(("alice", verb, resource, namespace))

    async def viewer(self, token: str = TOKEN) -> Viewer | None:
        known = await self.users.identified(Shown(token), FAR)
        return None if known is None else known.viewer


async def test_who_may_see_entries_in_the_whole_cluster_sees_everything() -> None:
    cluster = Cluster()
    cluster.grant()

    assert await cluster.viewer() == Viewer(name="alice")
    assert len(cluster.server.asked) == 3


async def test_who_may_also_update_deliveries_may_queue_them_again() -> None:
    cluster = Cluster()
    cluster.grant()
    cluster.grant("deliveries", "update")

    assert await cluster.viewer() == Viewer(name="alice", may_requeue=True)


async def test_where_everybody_may_queue_again_that_needs_no_right() -> None:
    cluster = Cluster(may_requeue=True)
    cluster.grant()

    assert await cluster.viewer() == Viewer(name="alice", may_requeue=True)


async def test_others_see_the_namespaces_in_which_they_may_and_queue_nothing() -> None:
    cluster = Cluster(may_requeue=True)
    cluster.grant(namespace="shop")
    cluster.grant(namespace="elsewhere")
    cluster.grant("deliveries", "update")

    assert await cluster.viewer() == Viewer(name="alice", namespaces=frozenset({"shop"}))


async def test_who_may_nothing_is_known_and_sees_nothing() -> None:
    assert await Cluster().viewer() == Viewer(name="alice", namespaces=frozenset())


async def test_a_token_of_nobody_is_refused_with_a_pause() -> None:
    cluster = Cluster()

    assert await cluster.viewer("strange") is None
    assert cluster.pauses.seconds == [1.0]


async def test_rights_are_asked_for_once_a_minute() -> None:
    cluster = Cluster()
    cluster.grant(namespace="shop")
    await cluster.viewer()
    asked = len(cluster.server.asked)

    cluster.server.rights.clear()
    cluster.clock.now += KEPT_SECONDS - 1
    before = await cluster.viewer()
    assert len(cluster.server.asked) == asked
    cluster.clock.now += 2
    after = await cluster.viewer()

    assert (before, after) == (
        Viewer(name="alice", namespaces=frozenset({"shop"})),
        Viewer(name="alice", namespaces=frozenset()),
    )


async def test_a_token_that_was_revoked_ends_within_a_minute() -> None:
    cluster = Cluster()
    cluster.grant()
    await cluster.viewer()

    cluster.server.tokens.clear()
    cluster.clock.now += KEPT_SECONDS + 1

    assert await cluster.viewer() is None


async def test_requests_that_come_together_ask_once() -> None:
    cluster = Cluster()
    cluster.grant(namespace="shop")

    found = await asyncio.gather(*(cluster.viewer() for _ in range(20)))

    assert set(found) == {Viewer(name="alice", namespaces=frozenset({"shop"}))}
    assert len(cluster.server.asked) == 1 + 1 + len(cluster.namespaces)


async def test_who_guesses_from_the_same_address_locks_nobody_out_who_was_known() -> None:
    cluster = Cluster()
    cluster.grant()
    await cluster.viewer()
    cluster.clock.now += KEPT_SECONDS + 1

    async with AsyncExitStack() as guesses:
        for _ in range(AT_ONCE):
            await guesses.enter_async_context(cluster.attempts.place(FAR))
        waiting = [asyncio.ensure_future(cluster.viewer(f"guess-{number}")) for number in range(MOST - AT_ONCE)]
        await asyncio.sleep(0)

        with pytest.raises(TooManyAttemptsError):
            await cluster.viewer("stranger")
        shown = await cluster.viewer()
        cluster.clock.now += KEPT_SECONDS + 1
        signed_in = await cluster.users.resumed("alice", TOKEN, FAR)

    assert shown == signed_in == Viewer(name="alice")
    assert await asyncio.gather(*waiting) == [None] * (MOST - AT_ONCE)


async def test_many_namespaces_are_asked_about_a_few_at_once() -> None:
    cluster = Cluster()
    cluster.namespaces = [f"team-{n}" for n in range(300)]
    cluster.grant(namespace="team-299")

    assert await cluster.viewer() == Viewer(name="alice", namespaces=frozenset({"team-299"}))
    assert cluster.server.most_at_once == 16


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ApiError("POST /apis/x: cannot connect: refused"), "cannot connect: refused"),
        (ApiError("POST /apis/x: 500 InternalError", status=500), "500 InternalError"),
        (ApiError("POST /apis/x: 403 Forbidden: no", status=403), "console.kubernetesAuth.enabled"),
    ],
)
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_where_it_cannot_be_asked_nobody_gets_in_and_it_is_said(
    fault: ApiError, said: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    cluster.grant(namespace="shop")
    send = cluster.server.send

    async def failing(method: str, path: str, body: bytes, /, *, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        cluster.server.fault = fault if len(cluster.server.asked) >= after else None
        return await send(method, path, body, timeout=timeout)

    monkeypatch.setattr(cluster.server, "send", failing)

    with pytest.raises(UnavailableError) as caught, capture_logs() as logs:
        await cluster.viewer()

    assert said in str(caught.value)
    assert "port-forward" in str(caught.value)
    assert TOKEN not in str(caught.value) + str(logs)


async def test_a_failure_is_not_remembered() -> None:
    cluster = Cluster()
    cluster.grant()
    cluster.server.fault = ApiError("POST /apis/x: cannot connect")
    with pytest.raises(UnavailableError):
        await cluster.viewer()

    cluster.server.fault = None

    assert await cluster.viewer() == Viewer(name="alice")


@pytest.mark.parametrize("fault", [StoreError("/data/journal.db: damaged"), sqlite3.OperationalError("disk I/O error")])
async def test_a_ledger_that_cannot_be_read_is_no_right(fault: Exception) -> None:
    cluster = Cluster()

    def broken() -> Sequence[str]:
        raise fault

    cluster.users._namespaces = broken

    with pytest.raises(UnavailableError, match="The ledger cannot be read at the moment"):
        await cluster.viewer()


@pytest.mark.parametrize(("password", "is_asked"), [("wonder.land.x", False), ("eyJ", False), (TOKEN, True)])
async def test_passwords_are_not_shown_to_the_api_server(password: str, is_asked: bool) -> None:
    cluster = Cluster()

    await cluster.users.identified(Shown(password, "alice"), FAR)

    assert (password in str(cluster.server.asked)) == is_asked


async def test_a_token_of_any_form_may_be_shown_as_such() -> None:
    cluster = Cluster()
    cluster.server.admit("sha256~opaque", "bob")

    known = await cluster.users.identified(Shown("sha256~opaque"), FAR)

    assert known is not None
    assert known.viewer.name == "bob"
