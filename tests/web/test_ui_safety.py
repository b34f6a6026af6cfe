"""Whatever the cluster says, a page shows it and does nothing of it; what a page may do is written in its headers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.core.change import Actor, FieldChange, Resource, User
from app.core.finding import FileBlock, Finding, TableBlock, TextBlock
from app.store.journal import Record
from app.web.ui import static
from tests.builders import make_record
from tests.web.asgi import post
from tests.web.ledgers import console_of, write
from tests.web.pages import HOSTILE, Document, document, get, ledger

PAGES = ("/", "/actors", "/deliveries", "/status", "/report", "/objects/Deployment/shop/web", "/nowhere")
HTML = {"accept": "text/html"}


def hostile(name: str = HOSTILE) -> Record:
    """An entry that is hostile in every field that a stranger can choose."""
    change = FieldChange(f"data[{HOSTILE.replace(']', '')}]", "replace", HOSTILE, {HOSTILE: [HOSTILE]})
    blocks = (TextBlock(HOSTILE), TableBlock((HOSTILE,), ((HOSTILE,),), HOSTILE), FileBlock(HOSTILE, HOSTILE))
    finding = Finding(playbook=HOSTILE, title=HOSTILE, description=HOSTILE, blocks=blocks)
    names = dict.fromkeys(("kind", "namespace", "name"), name)
    return make_record(
        HOSTILE,
        finding=finding,
        cluster=HOSTILE,
        operation=HOSTILE,
        outcome=HOSTILE,
        resource=Resource(group=HOSTILE, version=HOSTILE, subresource=HOSTILE, uid=HOSTILE, **names),
        user=User(username=HOSTILE, groups=(HOSTILE,)),
        actor=Actor(kind="human", pod=HOSTILE, node=HOSTILE, manager_operation=HOSTILE),
        field_manager=HOSTILE,
        changes=(change,),
        patch=({"op": HOSTILE, "path": HOSTILE, "value": HOSTILE},),
        object={HOSTILE: HOSTILE},
        repeat_of=HOSTILE,
        story=HOSTILE,
    )


async def hostile_pages(data_dir: Path) -> list[Document]:
    """Every page on which a hostile entry is shown; that of the object for one whose name can be in an address."""
    printable = "".join(filter(str.isprintable, HOSTILE))
    first, second = await ledger(data_dir, hostile(), hostile(printable))
    shown = [await document(data_dir, f"/entries/{entry}") for entry in (first, second)]
    (itself, *_) = [address for address in shown[1].addresses() if address.startswith("../objects/")]
    lists = [
        await document(data_dir, address) for address in ("/", "/actors?since=30d", "/deliveries", "/status", "/report")
    ]
    return [*lists, *shown, await document(data_dir, itself.removeprefix("..").partition("?")[0])]


def alien(page: Document) -> list[str]:
    """The tags and attributes that only something hostile could have brought."""
    attributes = [name for _, found in page.tags for name in found if name.startswith("on") or name == "style"]
    scripts = [
        str(found.get("src")) for found in page.all("script") if "static/console.js" not in str(found.get("src"))
    ]
    images = [str(found.get("src")) for found in page.all("img") if "static/icon.svg" not in str(found.get("src"))]
    return attributes + scripts + images


async def test_nothing_that_is_hostile_becomes_part_of_a_page(tmp_path: Path) -> None:
    for page in await hostile_pages(tmp_path):
        assert alien(page) == []


async def test_what_is_hostile_can_be_read_as_it_is(tmp_path: Path) -> None:
    (entry,) = await ledger(tmp_path, hostile())

    assert (
        "<script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}"
        in (await document(tmp_path, f"/entries/{entry}")).text
    )


async def test_what_cannot_be_seen_or_turns_text_around_is_written_out(tmp_path: Path) -> None:
    for page in await hostile_pages(tmp_path):
        assert not {"\u202e", "\x1b", "\x00"} & set(page.text)


async def test_no_page_leads_away_from_the_console(tmp_path: Path) -> None:
    for page in await hostile_pages(tmp_path):
        assert [each for each in page.addresses() if not re.match(r"\.{1,2}/|\?|#main$", each)] == []


async def test_filters_are_as_harmless_as_entries(tmp_path: Path) -> None:
    await write(tmp_path, make_record())

    for name in ("q", "kind", "user", "since", "kynd"):
        page = Document((await get(tmp_path, str(httpx.URL("/", params={name: HOSTILE})))).text)
        assert alien(page) == []


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_may_load_nothing_but_its_own_and_run_nothing_inline(tmp_path: Path, path: str) -> None:
    await write(tmp_path, make_record())

    answer = await get(tmp_path, path, **HTML)

    policy = dict(each.split(" ", 1) for each in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "<style" not in answer.text
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", answer.text)


@pytest.mark.parametrize("path", PAGES)
async def test_every_link_of_a_page_is_relative_so_that_it_may_be_below_any_path(tmp_path: Path, path: str) -> None:
    await write(tmp_path, make_record())

    page = Document((await get(tmp_path, path, **HTML)).text)

    depth = path.count("/") - 1
    root = "../" * depth or "./"
    assert f"{root}{static.address('style.css')}" in page.addresses()
    assert [each for each in page.addresses() if each.startswith("/")] == []


@pytest.mark.parametrize("name", sorted(static.TYPES))
async def test_static_files_are_kept_by_their_content(tmp_path: Path, name: str) -> None:
    forever, asked = await get(tmp_path, f"/{static.address(name)}"), await get(tmp_path, f"/static/{name}")
    again = await get(tmp_path, f"/static/{name}", **{"if-none-match": asked.headers["etag"]})

    assert forever.headers["cache-control"].endswith("immutable")
    assert asked.headers["cache-control"] == "no-cache"
    assert asked.headers["content-type"] == static.TYPES[name]
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2f__init__.py", "%2e%2e", "style.css%00", "templates"])
async def test_no_other_file_is_served(tmp_path: Path, name: str) -> None:
    assert (await get(tmp_path, f"/static/{name}")).status_code == 404


async def test_an_unknown_path_is_a_page_to_people_and_json_to_programs(tmp_path: Path) -> None:
    people, program = await get(tmp_path, "/nowhere", **HTML), await get(tmp_path, "/api/v1/nowhere", **HTML)

    assert "There is no such page." in people.text
    assert program.json() == {"detail": "Not Found"}


@pytest.mark.parametrize("path", ["/", "/rows", "/entries/x", "/actors", "/deliveries", "/status"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_pages_are_only_read(tmp_path: Path, path: str, method: str) -> None:
    await write(tmp_path, make_record())

    assert (await post(console_of(tmp_path), method=method, path=path)).status == 405


def test_who_looks_at_no_page_loads_no_templates() -> None:
    code = "import sys, app.web.console; sys.exit('jinja2' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
