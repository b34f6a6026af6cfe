"""In a real browser: pages can be read by everybody, run nothing of a stranger's, and do what they say."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from datetime import UTC, datetime

import pytest

from app.store.journal import Journal
from app.store.ledger import Ledger, Query
from tests.browser.chromium import LOCK, pictures
from tests.browser.conftest import Visitor
from tests.browser.ledgers import fresh, ids

pytestmark = pytest.mark.timeout(900)

LISTS = {
    "timeline": "/",
    "timeline-filtered": "/?kind=Deployment&since=24h",
    "timeline-refused": "/?kynd=x",
    "timeline-no-match": "/?name=nobody",
    "report": "/report?since=30d&zone=Europe/Paris",
    "report-refused": "/report?hours=9to5",
    "nowhere": "/nowhere",
    "actors": "/actors?since=30d",
    "actors-none": "/actors?since=1h&x=",
    "status": "/status",
}
OBJECTS = {
    "object": "/objects/Deployment/shop/web",
    "object-compared": "/objects/Deployment/shop/web?from=10h",
    "object-refused": "/objects/Deployment/shop/web?from=never",
    "object-unknown": "/objects/Pod/-/nobody",
}
DELIVERIES = {
    "deliveries": "/deliveries",
    "deliveries-dead": "/deliveries?state=dead&sink=slack",
    "deliveries-none": "/deliveries?state=withheld",
}


def entries(journal: Journal) -> dict[str, str]:
    """The addresses of the newest entries, which are one of each sort."""
    with closing(Ledger(journal.path)) as ledger:
        newest = ids(ledger.search(Query(), limit=7).items)
    return {f"entry-{number}": f"/entries/{each}" for number, each in enumerate(newest)}


async def test_every_page_can_be_read_in_both_themes_on_a_phone_and_by_a_screen_reader(
    visitor: Visitor, journal: Journal
) -> None:
    pages = LISTS | OBJECTS | DELIVERIES | entries(journal)
    folder = pictures("pages")

    assert (
        await visitor.troubles("look.mjs", str(folder), "all", *(each for item in pages.items() for each in item)) == []
    )
    assert all((folder / f"{name}-dark-390.png").exists() for name in pages)


@pytest.mark.parametrize(
    "way", ["keys", "off", "range", "search", "plain", "copy", "points", "requeue", "failed", "loading", "makers"]
)
async def test_a_way_through_the_console(visitor: Visitor, way: str) -> None:
    assert await visitor.troubles("walk.mjs", way) == []


@pytest.mark.parametrize("way", ["live", "paused"])
async def test_what_comes_while_a_page_is_open_is_shown(visitor: Visitor, journal: Journal, way: str) -> None:
    with visitor.run("walk.mjs", way) as running:
        await asyncio.to_thread(running.ready)

        await journal.append(fresh(datetime.now(UTC)))

        assert await asyncio.to_thread(running.troubles) == []


def test_the_packages_are_pinned_and_come_from_whatever_registry_is_configured() -> None:
    packages = {name: each for name, each in json.loads(LOCK.read_text("utf-8"))["packages"].items() if name}

    assert all(each["integrity"].startswith("sha512-") and "resolved" not in each for each in packages.values())
