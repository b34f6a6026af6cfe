"""The page of an entry shows all that is known of it, and leads to all that belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.change import Actor, FieldChange, Resource, User
from app.core.finding import FileBlock, Finding, TableBlock, TextBlock
from tests.builders import make_record
from tests.web.pages import document, get, ledger

TIMEOUT = FieldChange("data[nginx.conf]", "replace", "listen 80;\ntimeout 30s;\n", "listen 80;\ntimeout 60s;\n")
SECRET = FieldChange("data[token]", "replace", "redacted:0123456789abcdef", "redacted:fedcba9876543210")
REPLICAS = FieldChange("spec.replicas", "replace", 1, 3)
WEB = Resource(group="apps", version="v1", kind="Deployment", resource="deployments", namespace="shop", name="web")
EVIDENCE = Finding(
    playbook="broken jobs",
    title="Job Failed",
    blocks=(
        TextBlock("CronJob shop/nightly changed 62 seconds before"),
        TableBlock(("pod", "phase"), (("import-x", "Failed"),), "Pods"),
        FileBlock("import-x.log", "row 1\n" * 2100 + "FATAL: no database\n"),
    ),
)


async def page_of(data_dir: Path, **fields: object) -> str:
    (entry,) = await ledger(data_dir, make_record(**fields))  # type: ignore[arg-type]
    return (await document(data_dir, f"/entries/{entry}")).text


async def test_it_says_who_did_what_with_which_tool_from_where(tmp_path: Path) -> None:
    text = await page_of(
        tmp_path,
        user=User(username="system:serviceaccount:ci:bot", groups=("system:authenticated",)),
        actor=Actor(kind="controller", pod="bot-1", node="n1", manager_operation="Apply"),
        field_manager="helm",
        changes=(REPLICAS,),
        cluster="prod",
    )

    for shown in ("updated Deployment", "ci:bot", "helm · Apply", "bot-1", "n1", "system:authenticated", "prod"):
        assert shown in text


async def test_only_the_part_of_a_line_that_differs_is_marked(tmp_path: Path) -> None:
    (entry,) = await ledger(tmp_path, make_record(changes=(TIMEOUT,)))

    text = (await get(tmp_path, f"/entries/{entry}")).text

    assert "timeout <mark>30s</mark>;" in text
    assert "timeout <mark>60s</mark>;" in text


async def test_the_changes_are_also_yaml_and_a_patch(tmp_path: Path) -> None:
    patch = ({"value": 3, "path": "/spec/replicas", "op": "replace"},)

    text = await page_of(tmp_path, changes=(REPLICAS,), patch=patch)

    assert "spec: - replicas: 1 + replicas: 3" in text
    assert '[ { "op": "replace", "path": "/spec/replicas", "value": 3 } ]' in text


async def test_a_secret_is_said_to_be_one(tmp_path: Path) -> None:
    assert "secret, shown as fingerprints" in await page_of(tmp_path, changes=(SECRET,))


async def test_an_undo_is_a_command_or_a_reason(tmp_path: Path) -> None:
    patch = ({"op": "replace", "path": "/spec/replicas", "value": 3},)
    possible, secret = await ledger(
        tmp_path,
        make_record(resource=WEB, changes=(REPLICAS,), patch=patch),
        make_record(resource=WEB, changes=(SECRET,)),
    )

    assert "kubectl patch" in (await document(tmp_path, f"/entries/{possible}")).text
    assert "kubectl patch" not in (await document(tmp_path, f"/entries/{secret}")).text


async def test_a_deleted_object_can_still_be_read(tmp_path: Path) -> None:
    text = await page_of(tmp_path, operation="DELETE", object={"kind": "ConfigMap", "data": {"a": "1\n2\n"}})

    assert "The object that was deleted" in text
    assert "data: a: | 1 2" in text


async def test_a_failed_job_reads_with_its_events_and_the_end_of_its_logs(tmp_path: Path) -> None:
    record = make_record("slack", finding=EVIDENCE, operation="FAILED", outcome="observed", user=User())
    (entry,) = await ledger(tmp_path, record)

    text = (await document(tmp_path, f"/entries/{entry}")).text

    for shown in ("failed", "62 seconds before", "Pods", "import-x", "FATAL: no database", "101 earlier lines"):
        assert shown in text
    assert "Undo" not in text


async def test_its_findings_and_whom_they_were_told_are_shown(tmp_path: Path) -> None:
    (entry,) = await ledger(tmp_path, make_record("slack", "mail"))

    text = (await document(tmp_path, f"/entries/{entry}")).text

    for shown in ("Findings 1", "web changed", "slack", "mail", "pending"):
        assert shown in text


async def test_it_leads_to_the_entries_of_the_object_before_and_after_and_to_no_other(tmp_path: Path) -> None:
    elsewhere = Resource(group="apps", version="v1", kind="Deployment", namespace="other", name="web")
    first, _, second, third = await ledger(
        tmp_path, make_record(), make_record(resource=elsewhere), make_record(), make_record()
    )

    page = await document(tmp_path, f"/entries/{second}")

    assert [each["href"] for each in page.all("a", rel="prev")] == [f"../entries/{first}"]
    assert [each["href"] for each in page.all("a", rel="next")] == [f"../entries/{third}"]
    assert "../objects/Deployment/shop/web" in page.addresses()


@pytest.mark.parametrize(
    ("note", "fields"),
    [
        ("A dry run: nothing was stored.", {"dry_run": True}),
        ("too large or too deep to be read whole", {"truncated": True}),
        ("this repeats an earlier attempt", {"repeat_of": "01910000-0000-7000-8000-000000000001"}),
        ("A controller made this change because of another one", {"story": "01910000-0000-7000-8000-000000000001"}),
    ],
)
async def test_what_is_unusual_about_it_is_said(tmp_path: Path, note: str, fields: dict[str, object]) -> None:
    assert note in await page_of(tmp_path, **fields)


@pytest.mark.parametrize("entry", ["01910000-0000-7000-8000-000000000001", "x", "%00", "é"])
async def test_an_entry_that_there_is_not_gets_a_page_that_says_so(tmp_path: Path, entry: str) -> None:
    await ledger(tmp_path, make_record())

    answer = await get(tmp_path, f"/entries/{entry}")

    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
