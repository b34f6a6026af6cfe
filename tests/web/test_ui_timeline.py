"""The timeline shows what the filters of its address mean, and says what it does not show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.core.change import Actor, FieldChange, Resource, User
from app.core.moments import milliseconds
from app.store.ledger import Ledger
from tests.builders import make_record
from tests.web.ledgers import write
from tests.web.pages import document, get, ledger

IMAGE = FieldChange("spec.template.spec.containers[nginx].image", "replace", "nginx:1", "nginx:2")
POD = Resource(version="v1", kind="Pod", namespace="kube-system", name="dns")
BOT = User(username="system:serviceaccount:ci:deployer")


async def test_entries_come_newest_first_with_what_changed_by_whom_and_how(tmp_path: Path) -> None:
    first, second = await ledger(
        tmp_path, make_record(), make_record(changes=(IMAGE,), user=User(username="bob"), field_manager="kubectl-set")
    )

    page = await document(tmp_path, "/")

    assert page.ids() == [second, first]
    for shown in ("Deployment shop/web", "…containers[nginx].image nginx:1 →to nginx:2", "bob", "kubectl-set"):
        assert shown in page.text


@pytest.mark.parametrize("filters", ["kind=pod", "namespace=kube-system", "name=dns", "q=DNS", "kind=Pod&name=dns"])
async def test_filters_are_the_address_and_the_address_is_the_form(tmp_path: Path, filters: str) -> None:
    _, wanted, _ = await ledger(tmp_path, make_record(), make_record(resource=POD), make_record())

    page = await document(tmp_path, f"/?{filters}")

    assert page.ids() == [wanted]
    for name, value in (each.split("=") for each in filters.split("&")):
        assert page.all("input", name=name, value=value)


async def test_people_can_be_told_from_controllers(tmp_path: Path) -> None:
    actor = Actor(kind="controller")
    person, bot = await ledger(tmp_path, make_record(), make_record(user=BOT, actor=actor))

    assert (await document(tmp_path, "/?actor=human")).ids() == [person]
    assert (await document(tmp_path, "/?actor=controller")).ids() == [bot]


async def test_each_filter_in_force_can_be_removed_by_itself(tmp_path: Path) -> None:
    await write(tmp_path, make_record())

    page = await document(tmp_path, "/?kind=Deployment&namespace=shop")

    assert {"./?namespace=shop", "./?kind=Deployment"} <= set(page.addresses())


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("/?kynd=Pod", "there is no filter 'kynd': did you mean kind?"),
        ("/?kind=Pod&kind=Job", "kind can be given once"),
        ("/?since=soon", "since takes how long ago"),
        ("/?operation=PATCH", "operation takes CREATE"),
        ("/?actor=ghost", "actor: "),
        ("/?path=a..b", "path takes a field pattern"),
        ("/?cursor=x", "cursor takes"),
        (f"/?kind={'x' * 300}", "kind: "),
    ],
)
async def test_what_cannot_be_asked_is_said_and_nothing_is_shown(tmp_path: Path, address: str, reason: str) -> None:
    await write(tmp_path, make_record())

    page = await document(tmp_path, address, status=400)

    assert reason in page.text
    assert page.ids() == []


async def test_a_full_page_leads_to_the_older_entries_and_back(tmp_path: Path) -> None:
    ids = await ledger(tmp_path, *(make_record() for _ in range(51)), limit=51)

    page = await document(tmp_path, "/?kind=Deployment")
    (older,) = page.all("a", rel="next")
    last = await document(tmp_path, "/" + str(older["href"]).removeprefix("./"))

    assert page.ids() == ids[:0:-1]
    assert last.ids() == ids[:1]
    assert "That is all." in last.text
    assert "./?kind=Deployment" in last.addresses()


async def test_an_empty_ledger_says_how_to_fill_it(tmp_path: Path) -> None:
    await write(tmp_path)

    assert "Nothing is recorded yet" in (await document(tmp_path, "/")).text


async def test_filters_that_match_nothing_say_so(tmp_path: Path) -> None:
    await write(tmp_path, make_record())

    assert "No change matches" in (await document(tmp_path, "/?name=nobody")).text


async def test_without_a_ledger_a_page_says_so_and_names_no_file(tmp_path: Path) -> None:
    answer = await get(tmp_path / "nowhere", "/")

    assert answer.status_code == 503
    assert "The ledger cannot be read at the moment" in answer.text
    assert str(tmp_path) not in answer.text


async def test_rows_after_an_entry_are_those_that_came_since_and_match(tmp_path: Path) -> None:
    seen, other, wanted = await ledger(tmp_path, make_record(), make_record(), make_record(resource=POD))

    assert (await document(tmp_path, f"/rows?after={seen}")).ids() == [wanted, other]
    assert (await document(tmp_path, f"/rows?after={seen}&kind=Pod")).ids() == [wanted]
    assert (await get(tmp_path, "/rows?after=x")).status_code == 400


async def test_rows_for_an_open_page_link_from_where_the_page_is(tmp_path: Path) -> None:
    seen, came = await ledger(tmp_path, make_record(), make_record())

    rows, page = await document(tmp_path, f"/rows?after={seen}"), await document(tmp_path, "/")

    assert f"./entries/{came}" in rows.addresses()
    assert f"./entries/{came}" in page.addresses()


async def test_only_a_page_that_something_can_come_to_is_live(tmp_path: Path) -> None:
    await write(tmp_path, *(make_record() for _ in range(51)))

    streams = [
        (await document(tmp_path, address)).all("button", **{"class": "live"})
        for address in ("/?kind=Deployment", "/?until=2026-01-01")
    ]

    assert [each["data-live"] for each in streams[0]] == ["./api/v1/stream?kind=Deployment&view=id"]
    assert streams[1] == []


@pytest.mark.parametrize("address", ["/chart?q=", "/?chart=shown"])
@pytest.mark.parametrize("given", ["since=4h", "since=4h&until=1h"])
async def test_the_histogram_counts_what_matches_and_each_bar_leads_to_its_time(
    tmp_path: Path, address: str, given: str
) -> None:
    start = milliseconds(datetime.now(UTC) - timedelta(hours=3))
    records = (make_record(at_milliseconds=start + minute * 60_000) for minute in range(90))
    await write(tmp_path, *records, make_record(resource=POD))

    page = await document(tmp_path, f"{address}&kind=Deployment&{given}")

    bars = [str(each["href"]) for each in page.all("a", tabindex="-1")]
    assert "90 changes" in page.text
    assert all("kind=Deployment&since=20" in bar and "&until=20" in bar for bar in bars)


async def test_a_page_does_not_wait_for_its_histogram(tmp_path: Path) -> None:
    await write(tmp_path, make_record(), make_record())

    page = await document(tmp_path, "/?kind=Deployment")

    assert page.all("svg") == []
    assert [found["data-chart"] for _, found in page.tags if "data-chart" in found] == ["./chart?kind=Deployment"]


async def test_a_histogram_of_nothing_is_nothing(tmp_path: Path) -> None:
    await write(tmp_path, make_record())

    answers = [await get(tmp_path, f"/chart?{filters}") for filters in ("name=nobody", "kynd=x")]

    assert [(each.status_code, each.text) for each in answers] == [(200, ""), (400, "")]


async def test_what_controllers_do_can_be_left_out_at_one_touch(tmp_path: Path) -> None:
    await write(tmp_path, make_record())

    page = await document(tmp_path, "/?kind=Deployment")

    assert "./?kind=Deployment&actor=human" in page.addresses()
    assert page.all("nav", **{"aria-label": "Made by"})


async def test_a_range_of_the_histogram_is_said_in_the_readers_own_time(tmp_path: Path) -> None:
    await write(tmp_path, make_record())

    page = await document(tmp_path, "/?since=2026-01-02T03:04:05.678Z&until=2026-01-03")

    assert page.all("time", datetime="2026-01-02T03:04:05.678Z")
    assert "until 2026-01-03" in page.text


async def test_what_cannot_be_counted_in_time_has_no_histogram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(tmp_path, make_record())
    monkeypatch.setattr(Ledger, "histogram", lambda *_: [])

    answer = await get(tmp_path, "/chart?q=%7B")

    assert (answer.status_code, answer.text) == (200, "")
