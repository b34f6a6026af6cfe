"""The report of a period is told as a page, and as a file that needs nothing else; it says what it lacks."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.change import Actor, FieldChange, FindingSummary, Resource, User
from app.core.moments import milliseconds, written
from app.core.report_wish import Office, report_wish
from app.core.viewer import Viewer
from app.store.database import FILE_NAME
from app.store.dead_letters import dead_letters
from app.store.journal import Record
from app.store.ledger import Ledger
from app.store.paging import pages
from app.web.ui.report import Report, beginning_of, query_of, scope_of, standalone, tally_of
from tests.builders import make_record
from tests.web.ledgers import client_of, console_of, write
from tests.web.pages import HOSTILE, Document
from tests.web.test_ui_safety import alien, hostile

JOB = Resource(group="batch", version="v1", kind="Job", resource="jobs", namespace="shop", name="nightly")
REASON = FieldChange("status.conditions[Failed]", "add", new="BackoffLimitExceeded: too often")
ROLE = Resource(group="rbac.authorization.k8s.io", kind="ClusterRole", name="everything")


def at(**ago: float) -> dict[str, Any]:
    moment = milliseconds(datetime.now(UTC) - timedelta(**ago))
    return {"at_milliseconds": moment, "at": written(moment)}


def records() -> list[Record]:
    return [
        make_record(**at(days=40)),
        make_record("slack", **at(hours=30), findings=(FindingSummary("images", "web changed", "HIGH"),)),
        make_record(**at(hours=20), resource=ROLE, operation="DELETE"),
        make_record(**at(hours=10), operation="FAILED", resource=JOB, user=User(), changes=(REASON,)),
        make_record(**at(hours=5), user=User(username="system:serviceaccount:ci:bot"), actor=Actor(kind="controller")),
    ]


async def get(data_dir: Path, viewer: Viewer | None = None, **parameters: str) -> httpx.Response:
    app = console_of(data_dir)
    async with client_of(app) if viewer is None else client_of(app, viewer) as client:
        return await client.get("/report", params=parameters, headers={"accept": "text/html"})


async def page(data_dir: Path, viewer: Viewer | None = None, **parameters: str) -> Document:
    answer = await get(data_dir, viewer, **parameters)
    assert answer.status_code == 200, answer.text
    return Document(answer.text)


def file_of(data_dir: Path) -> str:
    now = datetime.now(UTC)
    wish = report_wish("60d", "", Office(), now)
    with closing(Ledger(data_dir / FILE_NAME)) as ledger:
        beginning = beginning_of(ledger, dead_letters([ledger]))
        tally = tally_of(wish, beginning)
        for items in pages(ledger, query_of(wish)):
            tally.add(items)
    tally.finish()
    return standalone(
        Report(
            wish=wish,
            tally=tally,
            beginning=beginning,
            made_at=now,
            made_by="alice",
            scope=scope_of(None),
            sees_all=True,
        )
    )


async def test_a_report_says_what_happened_in_its_period(tmp_path: Path) -> None:
    await write(tmp_path, *records())

    text = (await page(tmp_path)).text

    assert "3 Changes" in text.replace("Changes 3", "3 Changes")
    assert "BackoffLimitExceeded: too often" in text
    assert "ClusterRole" in text
    assert "Roles and bindings" in text
    assert "images HIGH 1" in text
    assert "The ledger reaches back to" in text


async def test_a_period_that_the_ledger_does_not_have_is_said(tmp_path: Path) -> None:
    await write(tmp_path, *records())

    assert "The ledger begins at" in (await page(tmp_path, since="90d")).text


async def test_an_empty_ledger_is_said(tmp_path: Path) -> None:
    await write(tmp_path)

    assert "The ledger is empty." in (await page(tmp_path)).text


async def test_hours_are_those_that_were_asked_for(tmp_path: Path) -> None:
    await write(tmp_path, *records())

    always, never = (
        await page(tmp_path, hours="0-24", days="mon-sun"),
        await page(tmp_path, hours="0:00-0:01", days="mon"),
    )

    assert "No person changed anything out of hours." in always.text
    assert "No person changed anything out of hours." not in never.text
    assert "Europe/Paris" in (await page(tmp_path, zone="Europe/Paris")).text


async def test_a_report_tells_of_the_namespaces_of_who_asks_and_says_so(tmp_path: Path) -> None:
    await write(
        tmp_path, *records(), make_record(**at(hours=1), resource=Resource(kind="Pod", namespace="bank", name="x"))
    )

    text = (await page(tmp_path, Viewer(name="bob", namespaces=frozenset({"bank"})))).text

    assert "namespaces: bank" in text
    assert "bob" in text
    assert "shop" not in text
    assert "Not shown: whom sinks told" in text


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"hours": "9to5"}, "are no hours; write 8-18"),
        ({"days": "mon-fry"}, "did you mean fri?"),
        ({"zone": "Europe/Pariss"}, "did you mean Europe/Paris?"),
        ({"since": "soon"}, "is not a time"),
        ({"since": "1h", "until": "2h"}, "ends before it begins"),
        ({"sinse": "1h"}, "did you mean since?"),
        ({"hours": HOSTILE}, "are no hours"),
    ],
)
async def test_what_cannot_be_reported_is_said(tmp_path: Path, parameters: dict[str, str], said: str) -> None:
    await write(tmp_path)

    answer = await get(tmp_path, None, **parameters)

    assert answer.status_code == 400
    assert said in Document(answer.text).text
    assert alien(Document(answer.text)) == []


async def test_nothing_that_is_hostile_becomes_part_of_a_report(tmp_path: Path) -> None:
    secret = Resource(kind="Secret", namespace=HOSTILE, name=HOSTILE)
    user = User(username=HOSTILE)
    reason = FieldChange(HOSTILE, "add", new=HOSTILE)
    finding = FindingSummary(HOSTILE, HOSTILE, HOSTILE)
    await write(
        tmp_path,
        make_record(
            **at(hours=3), resource=secret, user=user, operation="DELETE", findings=(finding,), cluster=HOSTILE
        ),
        make_record(**at(hours=2), resource=secret, user=user, operation="FAILED", changes=(reason,)),
        hostile(),
    )

    whole = file_of(tmp_path)

    for shown in (await page(tmp_path), Document(whole)):
        assert alien(shown) == []
        assert not {"\u202e", "\x1b"} & set(shown.text)
        assert "<script>alert(1)</script>" in shown.text
    assert "<script" not in whole


async def test_the_page_runs_nothing_inline_and_loads_its_own_style(tmp_path: Path) -> None:
    await write(tmp_path, *records())

    answer = await get(tmp_path)

    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*\bsrc=)", answer.text)
    assert any("static/report.css" in each for each in Document(answer.text).addresses())
    assert all(not each.startswith("/") for each in Document(answer.text).addresses())


async def test_a_file_needs_nothing_else_and_leads_nowhere(tmp_path: Path) -> None:
    await write(tmp_path, *records())

    whole = Document(file_of(tmp_path))

    assert whole.addresses() == []
    (policy,) = whole.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert re.fullmatch(r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'", str(policy["content"]))
    assert "by alice, with kubewitness" in whole.text


async def test_the_timeline_leads_to_its_files_and_its_report(tmp_path: Path) -> None:
    await write(tmp_path, *records())
    async with client_of(console_of(tmp_path)) as client:
        timeline = Document((await client.get("/?kind=Job&since=24h&until=1h")).text)

    assert "./export.csv?kind=Job&since=24h&until=1h" in timeline.addresses()
    assert "./export.jsonl?kind=Job&since=24h&until=1h" in timeline.addresses()
    assert "./report?since=24h&until=1h" in timeline.addresses()
