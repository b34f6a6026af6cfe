"""The page of an object tells its entries as one story, and what any two points differ in."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from app.core.change import FieldChange, Resource
from app.store.journal import Record
from tests.builders import START, make_record
from tests.web.pages import document, get, ledger

WEB = "/objects/Deployment/shop/web"
HOUR = 3_600_000


def scaled(hour: int, old: int, new: int) -> Record:
    at = START + hour * HOUR
    patch = ({"op": "replace", "path": "/spec/replicas", "value": new},)
    change = FieldChange("spec.replicas", "replace", old, new)
    return make_record(
        at_milliseconds=at, at=f"2026-01-02T{3 + hour:02d}:04:05.000000Z", changes=(change,), patch=patch
    )


async def test_its_story_is_newest_first_and_of_no_other_object(tmp_path: Path) -> None:
    namesake = Resource(version="v1", kind="Service", namespace="shop", name="web")
    made = make_record(operation="CREATE", object={"spec": {"replicas": 1}}, at_milliseconds=START)
    first, _, last = await ledger(tmp_path, made, make_record(resource=namesake), scaled(1, 1, 3))

    page = await document(tmp_path, WEB)

    links = [address for address in page.addresses() if "/entries/" in address]
    assert links == [f"../../../entries/{last}", f"../../../entries/{first}"]
    assert page.text.index("changed") < page.text.index("created")


async def test_what_went_back_and_forth_between_two_points_is_no_difference(tmp_path: Path) -> None:
    first, second, third = await ledger(tmp_path, scaled(1, 1, 3), scaled(2, 3, 9), scaled(3, 9, 3))

    changed = await document(tmp_path, f"{WEB}?from={first}&to={second}")
    back = await document(tmp_path, f"{WEB}?from={first}&to={third}")

    assert "spec.replicas" in changed.text.partition("Details")[0]
    assert "No difference" in back.text


async def test_points_may_be_times(tmp_path: Path) -> None:
    await ledger(tmp_path, scaled(1, 1, 3), scaled(2, 3, 9))

    page = await document(tmp_path, f"{WEB}?from=2026-01-02T04:30:00Z&to=2026-01-03")

    assert "spec: - replicas: 3 + replicas: 9" in page.text


async def test_a_point_that_there_is_not_is_said_above_the_story(tmp_path: Path) -> None:
    (entry,) = await ledger(tmp_path, scaled(1, 1, 3))

    page = await document(tmp_path, f"{WEB}?from=someday", status=400)

    assert "from takes an entry of this object, how long ago" in page.text
    assert f"../../../entries/{entry}" in page.addresses()


async def test_an_object_without_a_namespace_has_a_page(tmp_path: Path) -> None:
    node = Resource(version="v1", kind="Node", name="n1")
    (entry,) = await ledger(tmp_path, make_record(resource=node))

    page = await document(tmp_path, "/objects/Node/-/n1")

    assert f"../../../entries/{entry}" in page.addresses()
    assert "../objects/Node/-/n1" in (await document(tmp_path, f"/entries/{entry}")).addresses()


@pytest.mark.parametrize("name", ["system:node", "a/b", "a b?c#d&e", "é%2f"])
async def test_any_name_leads_from_the_entry_to_its_object_and_back(tmp_path: Path, name: str) -> None:
    role = Resource(group="rbac.authorization.k8s.io", version="v1", kind="ClusterRole", name=name)
    (entry,) = await ledger(tmp_path, make_record(resource=role))

    address = f"objects/ClusterRole/-/{quote(name, safe='')}"
    page = await document(tmp_path, f"/{address}")

    assert f"../{address}" in (await document(tmp_path, f"/entries/{entry}")).addresses()
    assert f"../../../entries/{entry}" in page.addresses()


async def test_an_object_of_which_nothing_is_known_gets_a_page_that_says_so(tmp_path: Path) -> None:
    await ledger(tmp_path, make_record())

    answer = await get(tmp_path, "/objects/Deployment/shop/nobody")

    assert answer.status_code == 404
    assert "Nothing is known of this object" in answer.text
