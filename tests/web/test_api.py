"""The API finds entries by every filter and pages through them; what it cannot read gets a message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from app.core.change import FieldChange, Resource, User
from app.core.finding import FileBlock, Finding, TableBlock
from app.store.journal import Journal
from tests.builders import START, make_record
from tests.store.observed import opened
from tests.web.ledgers import client_of, console_of, write

IMAGE = FieldChange("spec.template.spec.containers[nginx].image", "replace", "nginx:1", "nginx:2")
POD = Resource(version="v1", kind="Pod", namespace="kube-system", name="dns")
DAY = 86_400_000
EVIDENCE = Finding(
    playbook="broken jobs",
    title="Job Failed",
    blocks=(TableBlock(("pod", "phase"), (("import-x", "Failed"),)), FileBlock("import-x.log", "row 600\n")),
)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path) as (journal, _):
        yield journal


@pytest.fixture
async def client(journal: Journal) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(console_of(journal.path.parent)) as client:
        yield client


async def entries(client: httpx.AsyncClient, **parameters: Any) -> list[dict[str, Any]]:
    response = await client.get("/api/v1/entries", params=parameters)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


FILTERS: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({"kind": "Pod"}, {"resource": POD}),
    ({"namespace": "kube-system"}, {"resource": POD}),
    ({"name": "dns"}, {"resource": POD}),
    ({"user": "bob"}, {"user": User(username="bob")}),
    ({"operation": "DELETE"}, {"operation": "DELETE"}),
    ({"path": "images"}, {"changes": (IMAGE,)}),
    ({"since": "2026-01-03"}, {"at_milliseconds": START + DAY}),
    ({"until": "2026-01-02T00:00:00Z"}, {"at_milliseconds": START - DAY}),
    ({"dry_run": "true"}, {"dry_run": True}),
    ({"q": "nginx:2"}, {"changes": (IMAGE,)}),
    ({"kind": "Pod", "q": "dns", "since": "2026-01-01"}, {"resource": POD}),
]


@pytest.mark.parametrize(("parameters", "fields"), FILTERS, ids=str)
async def test_a_filter_finds_what_it_means_and_nothing_else(
    journal: Journal, client: httpx.AsyncClient, parameters: dict[str, str], fields: dict[str, Any]
) -> None:
    for record in (make_record(), make_record(cluster="wanted", **fields), make_record()):
        await journal.append(record)

    assert [entry["cluster"] for entry in await entries(client, **parameters)] == ["wanted"]


async def test_an_entry_has_every_field_of_the_contract(journal: Journal, client: httpx.AsyncClient) -> None:
    await journal.append(make_record(changes=(IMAGE,)))

    (entry,) = await entries(client)

    contract = "id at cluster operation dry_run outcome resource user field_manager changes patch findings".split()
    assert set(contract) <= entry.keys()
    assert set("group version kind resource subresource namespace name uid".split()) <= entry["resource"].keys()
    assert set("username uid groups extra".split()) <= entry["user"].keys()
    assert entry["changes"] == [{"path": IMAGE.path, "op": "replace", "old": "nginx:1", "new": "nginx:2"}]


async def test_pages_have_no_gap_and_no_repeat_while_new_entries_come(
    journal: Journal, client: httpx.AsyncClient
) -> None:
    for number in range(10):
        await journal.append(make_record(cluster=str(number)))
    seen, cursor = list[str](), dict[str, str]()

    while True:
        page = (await client.get("/api/v1/entries", params={"limit": "3", **cursor})).json()
        seen += [entry["cluster"] for entry in page["items"]]
        await journal.append(make_record(cluster="new"))
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}

    assert seen == [str(number) for number in reversed(range(10))]


async def test_deliveries_are_listed_filtered_and_paged(journal: Journal, client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await journal.append(make_record("slack", "mail", finding=Finding(playbook="p", title="t")))

    first = (await client.get("/api/v1/deliveries", params={"sink": "mail", "limit": "2"})).json()
    rest = (await client.get("/api/v1/deliveries", params={"sink": "mail", "cursor": first["next"]})).json()
    dead = (await client.get("/api/v1/deliveries", params={"state": "dead"})).json()

    assert [each["id"] for each in (*first["items"], *rest["items"])] == [6, 4, 2]
    assert (rest["next"], dead) == (None, {"items": [], "next": None})
    assert (first["items"][0]["playbook"], first["items"][0]["state"]) == ("p", "pending")


async def test_one_entry_comes_with_its_deliveries(journal: Journal, client: httpx.AsyncClient) -> None:
    await journal.append(make_record("slack"))
    (entry,) = await entries(client)

    response = await client.get(f"/api/v1/entries/{entry['id'].upper()}")

    found = response.json()
    assert (response.status_code, found["id"]) == (200, entry["id"])
    assert [each["sink"] for each in found["deliveries"]] == ["slack"]
    assert {**found, "findings": entry["findings"]}.items() >= entry.items()


async def test_one_entry_comes_with_its_findings_as_a_whole(journal: Journal, client: httpx.AsyncClient) -> None:
    await journal.append(make_record("slack", finding=EVIDENCE))
    (entry,) = await entries(client)

    found = (await client.get(f"/api/v1/entries/{entry['id']}")).json()

    assert msgspec.convert(found["findings"], list[Finding]) == [EVIDENCE]


@pytest.mark.parametrize(
    ("entry_id", "status"),
    [
        ("01910000-0000-7000-8000-000000000001", 404),
        ("01910000-0000-4000-8000-000000000001", 400),
        ("01910000", 400),
        ("01910000-0000-7000-8000-00000000000x", 400),
        ("..%2F..%2Fetc", 404),
        ("x", 400),
    ],
)
async def test_an_unknown_entry_is_not_found(client: httpx.AsyncClient, entry_id: str, status: int) -> None:
    response = await client.get(f"/api/v1/entries/{entry_id}")

    assert response.status_code == status
    assert response.json()["detail"]


MOMENT = "takes how long ago (90m, 2h, 7d), a day (yesterday, monday 9:00), a date (2026-01-31) or RFC 3339"
PATTERN = "path takes a field pattern, such as images, spec.replicas or containers[web].image"
CURSOR = "cursor takes `next` of the page before"
FILTERS_KNOWN = (
    "actor, cursor, dry_run, group, id, kind, limit, name, namespace, operation, "
    "path, q, replica, since, uid, until, user"
)
UNREADABLE = [
    ({"limit": "0"}, "limit takes a whole number from 1 to 500"),
    ({"limit": "501"}, "limit takes a whole number from 1 to 500"),
    ({"limit": "many"}, "limit takes a whole number from 1 to 500"),
    ({"limit": ""}, "limit takes a whole number from 1 to 500"),
    ({"cursor": "x"}, CURSOR),
    ({"cursor": "AAAAAAAAAA"}, CURSOR),
    ({"cursor": "__________8"}, CURSOR),
    ({"cursor": "🦊"}, CURSOR),
    ({"cursor": "A" * 65}, "cursor takes at most 64 characters"),
    ({"since": "soon"}, f"since {MOMENT}"),
    ({"until": "2026-13-01"}, f"until {MOMENT}"),
    ({"since": "x" * 41}, "since takes at most 40 characters"),
    ({"path": "a..b"}, PATTERN),
    ({"path": "a["}, PATTERN),
    ({"operation": "PATCH"}, "operation takes CREATE, UPDATE, DELETE, CONNECT or FAILED, in any case"),
    ({"dry_run": "maybe"}, "dry_run takes true or false"),
    ({"kind": "x" * 254}, "kind takes at most 253 characters"),
    ({"nmaespace": "shop"}, "there is no parameter 'nmaespace': did you mean namespace?"),
    ({"Kind": "Pod"}, "there is no parameter 'Kind': did you mean kind?"),
    ({"x" * 50: ""}, f"there is no parameter '{'x' * 40}': there are {FILTERS_KNOWN}"),
    ({"kind": ["Pod", "Job"]}, "kind can be given once"),
]


@pytest.mark.parametrize(("parameters", "message"), UNREADABLE, ids=str)
async def test_what_cannot_be_read_is_told_in_one_sentence(
    client: httpx.AsyncClient, parameters: dict[str, str | list[str]], message: str
) -> None:
    response = await client.get("/api/v1/entries", params=parameters)

    assert (response.status_code, response.json()) == (400, {"detail": message})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/api/v1/deliveries?state=broken", "state takes pending, delivered, dead or withheld"),
        ("/api/v1/deliveries?kind=Pod", "there is no parameter 'kind': there are cursor, limit, replica, sink, state"),
        ("/api/v1/entries/x", "entry_id takes the id of an entry, a UUID as `id` of a list shows it"),
        ("/api/v1/entries/01910000-0000-7000-8000-000000000001?a", "there is no parameter 'a': there is replica"),
    ],
)
async def test_other_paths_refuse_in_the_same_way(client: httpx.AsyncClient, path: str, message: str) -> None:
    response = await client.get(path)

    assert (response.status_code, response.json()) == (400, {"detail": message})


async def test_an_operation_may_be_written_in_any_case(journal: Journal, client: httpx.AsyncClient) -> None:
    await journal.append(make_record(operation="DELETE"))
    await journal.append(make_record())

    assert [entry["operation"] for entry in await entries(client, operation="delete")] == ["DELETE"]


@pytest.mark.parametrize("path", ["/api/v1/entrys", "/api/v2/entries", "/nowhere"])
async def test_an_unknown_path_is_not_found_in_json(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert (response.status_code, response.headers["content-type"]) == (404, "application/json")
    assert response.json()["detail"]


HOSTILE = ["' OR 1=1 --", '"; DROP TABLE entries;', "\x00", "%", "🦊", "[*]", "<script>", "\r\nX-A: b", "é" * 100]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["kind", "namespace", "name", "user", "q", "sink"])
async def test_hostile_texts_find_nothing(journal: Journal, client: httpx.AsyncClient, name: str, text: str) -> None:
    await journal.append(make_record("slack"))
    path = "/api/v1/deliveries" if name == "sink" else "/api/v1/entries"

    response = await client.get(path, params={name: text})

    assert (response.status_code, response.json()) == (200, {"items": [], "next": None})


async def test_the_ledger_is_only_read(client: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await client.request(method, "/api/v1/entries")).status_code == 405


async def test_without_a_journal_the_ledger_is_unavailable_for_the_moment(tmp_path: Path) -> None:
    async with client_of(console_of(tmp_path / "missing")) as client:
        response = await client.get("/api/v1/entries")

    assert (response.status_code, response.json()) == (503, {"detail": "the ledger cannot be read at the moment"})
    assert str(tmp_path) not in response.text


async def test_a_broken_journal_is_unavailable_for_the_moment(tmp_path: Path) -> None:
    await write(tmp_path, make_record())
    (tmp_path / "journal.db").write_bytes(b"not a database" * 1000)

    async with client_of(console_of(tmp_path)) as client:
        response = await client.get("/api/v1/entries")

    assert response.status_code == 503


async def test_no_page_loads_anything_from_elsewhere(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/redoc"):
        assert (await client.get(path)).status_code == 404


async def test_the_document_of_the_api_describes_entries_and_deliveries(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/v1/openapi.json")).json()

    assert {"Entry", "Delivery", "FieldChange", "Resource", "User"} <= document["components"]["schemas"].keys()
    page = document["paths"]["/api/v1/entries"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert page["properties"]["items"]["items"] == {"$ref": "#/components/schemas/Entry"}


async def test_the_document_promises_no_answer_that_never_comes(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/v1/openapi.json")).json()

    assert "422" not in str(document)
    assert "ValidationError" not in str(document)


async def test_the_document_says_that_one_entry_comes_with_its_deliveries(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/v1/openapi.json")).json()

    entry = document["paths"]["/api/v1/entries/{entry_id}"]["get"]["responses"]["200"]["content"]
    _, extended = entry["application/json"]["schema"]["allOf"]
    assert extended["required"] == ["findings", "deliveries"]
    assert extended["properties"]["findings"]["items"] == {"$ref": "#/components/schemas/Finding"}
    assert extended["properties"]["deliveries"]["items"] == {"$ref": "#/components/schemas/Delivery"}


async def test_the_link_of_a_notification_leads_to_the_page_of_the_entry(
    journal: Journal, client: httpx.AsyncClient
) -> None:
    await journal.append(make_record())
    (entry,) = await entries(client)

    response = await client.get(f"/entries/{entry['id']}")

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert entry["id"] in response.text


@pytest.mark.parametrize(
    ("entry_id", "status"), [("01910000-0000-7000-8000-000000000001", 404), ("x%0d%0aSet-Cookie:a=b", 404)]
)
async def test_a_link_to_nothing_says_so(client: httpx.AsyncClient, entry_id: str, status: int) -> None:
    response = await client.get(f"/entries/{entry_id}", follow_redirects=True)

    assert response.status_code == status
    assert "set-cookie" not in response.headers
