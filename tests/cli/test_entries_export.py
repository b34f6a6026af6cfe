"""The terminal writes entries and reports as files, which are whole or not there."""

from __future__ import annotations

import csv
import io
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from app.cli.whole import require_all, written
from app.remote.ledger import RemoteLedger
from app.remote.transport import RemoteError
from app.store.database import FILE_NAME
from tests.cli.commands import kubewitness
from tests.cli.ledger import write_hostile_ledger, write_ledger
from tests.web.pages import Document


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_ledger(tmp_path)
    return tmp_path


def table(data: Path, *arguments: object) -> list[dict[str, str]]:
    result = kubewitness("entries", "export", *arguments, "--data-dir", data)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout_bytes.decode("utf-8-sig"), newline=""), strict=True))


def test_every_changed_field_is_written(data: Path) -> None:
    rows = table(data)

    assert [row["operation"] for row in rows] == ["DELETE", "UPDATE", "CONNECT", *["UPDATE"] * 5, "CREATE"]
    assert [row["new"] for row in rows if row["name"] == "web" and row["change"] == "1"] == ["9", "3", "nginx:1.25"]


def test_filters_are_those_of_the_list(data: Path) -> None:
    assert {row["kind"] for row in table(data, "--kind", "node")} == {"Node"}
    assert len(table(data, "--path", "images", "--rows", "entries")) == 1
    assert table(data, "--since", "1m") == []


def test_json_lines_are_the_entries(data: Path) -> None:
    result = kubewitness("entries", "export", "--format", "jsonl", "--data-dir", data)
    listed = kubewitness("entries", "list", "-o", "json", "--data-dir", data)

    assert [msgspec.json.decode(line) for line in result.stdout_bytes.splitlines()] == msgspec.json.decode(
        listed.stdout
    )


def test_a_file_is_written_for_its_owner(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.csv"

    result = kubewitness("entries", "export", "--file", file, "--data-dir", data)

    assert (result.exit_code, result.output) == (0, "")
    assert file.read_bytes().startswith(b"\xef\xbb\xbftime,entry,")
    assert file.stat().st_mode & 0o077 == 0


def test_a_file_that_could_not_be_written_whole_is_not_there(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    file.write_text("as before")
    with closing(sqlite3.connect(data / FILE_NAME)) as journal:
        journal.execute("ALTER TABLE entries RENAME TO gone")

    result = kubewitness("entries", "export", "--file", file, "--data-dir", data)

    assert result.exit_code == 1
    assert file.read_text() == "as before"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".all")] == []


def test_a_folder_that_is_not_there_is_said(data: Path, tmp_path: Path) -> None:
    result = kubewitness("entries", "export", "--file", tmp_path / "none" / "all.csv", "--data-dir", data)

    assert result.exit_code == 1
    assert "No such file or directory" in result.output


def test_a_device_keeps_its_place() -> None:
    with written(Path("/dev/null")) as file:
        file.write(b"nothing")

    assert Path("/dev/null").is_char_device()


def test_what_is_hostile_is_neither_calculated_nor_obeyed(tmp_path: Path) -> None:
    write_hostile_ledger(tmp_path)

    shown = kubewitness("entries", "export", "--data-dir", tmp_path).stdout_bytes.decode("utf-8-sig")

    assert [each for each in shown if not each.isprintable() and each not in "\r\n"] == []


def test_a_report_is_a_file_that_says_what_happened(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"

    result = kubewitness("report", "--since", "30d", "--zone", "Europe/Paris", "--file", file, "--data-dir", data)

    text = Document(file.read_text("utf-8")).text
    assert (result.exit_code, result.output) == (0, "")
    assert "Audit report" in text
    assert "prod" in text
    assert "Europe/Paris" in text
    assert "alice" in text
    assert "hook.example answered 410 Gone" in text
    assert "with the command line" in text


def test_hours_come_from_the_settings(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEWITNESS_REPORT_HOURS", "9:30-17")

    result = kubewitness("report", "--days", "sun-thu", "--data-dir", data)

    assert "09:30-17:00, mon, tue, wed, thu, sun, UTC" in Document(result.stdout).text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hours", "9to5"), "are no hours; write 8-18"),
        (("--zone", "Europe/Pariss"), "did you mean Europe/Paris?"),
        (("--since", "1h", "--until", "2h"), "the period ends before it begins"),
    ],
)
def test_what_cannot_be_reported_is_said(data: Path, arguments: tuple[str, ...], said: str) -> None:
    result = kubewitness("report", *arguments, "--data-dir", data)

    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


class Replicas:
    """A console of two replicas, of which one does not answer."""

    def get(self, path: str, parameters: object) -> bytes:
        if path == "api/v1/replicas":
            return b'{"items":[{"name":"a"},{"name":"b"}]}'
        if "'replica': 'b'" in str(parameters):
            raise RemoteError("does not answer", 503)
        return b'{"newest":null,"oldest":null,"position":""}'


def test_a_replica_that_does_not_answer_leaves_no_file_short() -> None:
    with pytest.raises(RemoteError, match="what the replica b has recorded would be missing: does not answer"):
        require_all(RemoteLedger(Replicas()))
