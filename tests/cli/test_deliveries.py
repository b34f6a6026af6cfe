"""`kubewitness deliveries`: who was told, who was not, and trying again."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.delivery import Addressee
from tests.builders import make_record
from tests.cli.commands import kubewitness, lines
from tests.cli.ledger import write_ledger
from tests.store.observed import opened


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder whose deliveries 1 and 3 (to `hook`) are dead, and 2 (to `file`) is delivered."""
    write_ledger(tmp_path / "data")
    return tmp_path / "data"


def listed(data: Path, *filters: str) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = json.loads("\n".join(lines(data, "deliveries", "list", *filters, "-o", "json")))
    return documents


def states(data: Path) -> dict[int, str]:
    return {each["id"]: each["state"] for each in listed(data)}


def test_the_list_is_a_table_with_one_line_for_each_delivery_newest_first(data: Path) -> None:
    assert [re.sub(r"\b\d+s\b", "0s", line) for line in lines(data, "deliveries", "list")] == [
        "DELIVERY  AGE  SINK  STATE      ATTEMPTS  FINDING      LAST ERROR",
        "3         0s   hook  dead       1         web changed  hook.example answered 410 Gone",
        "2         0s   file  delivered  1         web changed",
        "1         0s   hook  dead       1         web changed  hook.example answered 410 Gone",
    ]


async def test_who_was_not_told_is_listed_with_the_reason(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as (journal, _):
        await journal.append(make_record("mail", Addressee("slack", withheld="the same change as entry e1")))

    header, only = await asyncio.to_thread(lines, tmp_path / "data", "deliveries", "list", "--state", "withheld")

    assert header.split() == ["DELIVERY", "AGE", "SINK", "STATE", "ATTEMPTS", "FINDING", "REASON"]
    assert only.endswith("slack  withheld  0         web changed  the same change as entry e1")


def test_json_and_yaml_say_the_same(data: Path) -> None:
    documents = listed(data)

    assert yaml.safe_load("\n".join(lines(data, "deliveries", "list", "-o", "yaml"))) == documents
    assert {name: documents[0][name] for name in ("id", "sink", "playbook", "title", "state", "attempts")} == {
        "id": 3,
        "sink": "hook",
        "playbook": "images",
        "title": "web changed",
        "state": "dead",
        "attempts": 1,
    }
    assert documents[0]["last_error"] == "hook.example answered 410 Gone"
    assert documents[0]["next_attempt_at"] is None


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--state", "dead"], [3, 1]),
        (["--state", "delivered"], [2]),
        (["--state", "pending"], []),
        (["--sink", "file"], [2]),
        (["--sink", "hook", "--state", "delivered"], []),
        (["--limit", "1"], [3]),
    ],
)
def test_filters(data: Path, filters: list[str], ids: list[int]) -> None:
    assert [each["id"] for each in listed(data, *filters)] == ids


def test_nothing_found_is_said_in_words_and_is_no_error(data: Path) -> None:
    assert lines(data, "deliveries", "list", "--state", "pending") == ["no deliveries match"]


@pytest.mark.parametrize(
    ("chosen", "printed", "pending"),
    [
        (["1"], "1 delivery queued again", {1}),
        (["1", "3"], "2 deliveries queued again", {1, 3}),
        (["--sink", "hook"], "2 deliveries queued again", {1, 3}),
        (["--all"], "2 deliveries queued again", {1, 3}),
        (["2"], "0 deliveries queued again", set()),
        (["1", "--sink", "file"], "0 deliveries queued again", set()),
        (["99"], "0 deliveries queued again", set()),
    ],
)
def test_retry_queues_dead_deliveries_again(data: Path, chosen: list[str], printed: str, pending: set[int]) -> None:
    assert lines(data, "deliveries", "retry", *chosen) == [printed]
    assert {identifier for identifier, state in states(data).items() if state == "pending"} == pending


def test_a_delivery_that_is_retried_begins_anew(data: Path) -> None:
    lines(data, "deliveries", "retry", "1")

    [again] = listed(data, "--state", "pending")
    assert again["attempts"] == 0
    assert again["next_attempt_at"] is not None


@pytest.mark.parametrize(
    ("chosen", "printed", "left"),
    [
        (["1"], "1 delivery purged", {2, 3}),
        (["--all"], "2 deliveries purged", {2}),
        (["--sink", "hook"], "2 deliveries purged", {2}),
        (["2"], "0 deliveries purged", {1, 2, 3}),
        (["2", "--state", "delivered"], "1 delivery purged", {1, 3}),
        (["--all", "--state", "pending"], "0 deliveries purged", {1, 2, 3}),
    ],
)
def test_purge_forgets_deliveries_and_keeps_their_entries(
    data: Path, chosen: list[str], printed: str, left: set[int]
) -> None:
    entries = lines(data, "entries", "list", "-o", "json")

    assert lines(data, "deliveries", "purge", *chosen) == [printed]
    assert states(data).keys() == left
    assert lines(data, "entries", "list", "-o", "json") == entries


@pytest.mark.parametrize("command", ["retry", "purge"])
def test_nothing_is_changed_where_nothing_was_chosen(data: Path, command: str) -> None:
    before = states(data)

    result = kubewitness("deliveries", command, "--data-dir", data)

    assert result.exit_code == 2
    assert "error: say which: ids, --sink NAME, or --all" in result.stderr
    assert states(data) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--state", "gone"], "'gone' is not one of 'pending', 'delivered', 'dead'"),
        (["retry", "first"], "Invalid value for 'ID': Input should be a valid integer"),
        (["list", "--limit", "0"], "should be greater than or equal to 1"),
    ],
)
def test_a_mistake_is_told_in_words(data: Path, arguments: list[str], message: str) -> None:
    result = kubewitness("deliveries", *arguments, "--data-dir", data)

    assert message in result.stderr
    assert result.exit_code == 2


@pytest.mark.parametrize("command", [["list"], ["retry", "--all"], ["purge", "--all"]], ids=" ".join)
def test_a_folder_without_journal_is_told_and_not_made(tmp_path: Path, command: list[str]) -> None:
    missing = tmp_path / "missing"

    result = kubewitness("deliveries", *command, "--data-dir", missing)

    assert result.exit_code == 1
    assert f"error: there is no journal at {missing}/journal.db; is --data-dir the one" in result.stderr
    assert not missing.exists()
