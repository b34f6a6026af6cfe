"""`entries list --actor` shows what people did, or what programs did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import kubewitness
from tests.cli.ledger import write_ledger


@pytest.mark.parametrize(("actor", "of_programs"), [("controller", True), ("HUMAN", False)])
def test_entries_are_listed_by_who_made_them(tmp_path: Path, actor: str, of_programs: bool) -> None:
    write_ledger(tmp_path)

    result = kubewitness("entries", "list", "--actor", actor, "-o", "json", "--data-dir", tmp_path)

    users = {entry["user"]["username"] for entry in json.loads(result.stdout)}
    assert users
    assert all(user.startswith("system:") is of_programs for user in users)


def test_another_word_for_an_actor_is_refused_with_those_there_are(tmp_path: Path) -> None:
    result = kubewitness("entries", "list", "--actor", "robot", "--data-dir", tmp_path)

    assert result.exit_code == 2
    assert "'robot' is not one of 'human', 'controller'" in result.stderr
