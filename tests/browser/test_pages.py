"""In a real browser: pages can be read by everybody, run nothing of a stranger's, and do what they say."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pytest

from app.store.journal import Journal
from app.store.ledger import Ledger, Query
from tests.browser.conftest import Browser
from tests.browser.ledgers import fresh, ids

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LISTS = ["/", "/?kind=Deployment&since=24h", "/?kynd=x", "/?name=nobody", "/nowhere", "/actors?since=30d", "/status"]
OBJECTS = ["/objects/Deployment/shop/web", "/objects/Deployment/shop/web?from=10h", "/objects/Pod/-/nobody"]
DELIVERIES = ["/deliveries", "/deliveries?state=dead&sink=slack", "/deliveries?state=withheld"]


def entries(journal: Journal) -> list[str]:
    """The addresses of the newest entries, which are one of each sort."""
    with closing(Ledger(journal.path)) as ledger:
        return [f"/entries/{each}" for each in ids(ledger.search(Query(), limit=6).items)]


async def test_every_page_can_be_read_in_both_themes_on_a_phone_and_by_a_screen_reader(
    browser: Browser, journal: Journal
) -> None:
    paths = [*LISTS, *OBJECTS, *DELIVERIES, *entries(journal)]

    running = await browser.begin("look.mjs", str(browser.pictures), *paths)

    assert await browser.troubles(running) == []
    assert len(list(browser.pictures.glob("*.png"))) == 4 * len(paths)


@pytest.mark.parametrize("way", ["keys", "off", "range", "search", "plain"])
async def test_a_way_through_the_console(browser: Browser, way: str) -> None:
    assert await browser.troubles(await browser.begin("walk.mjs", way)) == []


@pytest.mark.parametrize("way", ["live", "paused"])
async def test_what_comes_while_a_page_is_open_is_shown(browser: Browser, journal: Journal, way: str) -> None:
    running = await browser.begin("walk.mjs", way)
    await browser.ready(running)

    await journal.append(fresh(datetime.now(UTC)))

    assert await browser.troubles(running) == []
