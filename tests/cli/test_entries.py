"""`kubewitness entries`: what people and scripts read of the ledger."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import msgspec
import pytest
import yaml
from rich.console import Console

from app.cli.output import View
from app.cli.tables import entries_table
from app.cli.times import clock
from app.core.change import Entry
from app.core.finding import FileBlock, Finding, TableBlock
from tests.builders import make_record
from tests.cli.commands import OUTPUTS, harmful, kubewitness, lines
from tests.cli.ledger import append, write_hostile_ledger, write_ledger
from tests.store.observed import opened

PROGRAM = Path(sys.executable).with_name("kubewitness")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def entries(data: Path) -> list[Entry]:
    """Return the entries of the ledger in `data`, newest first."""
    return write_ledger(data)[::-1]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Entry]:
    data = tmp_path_factory.mktemp("hostile")
    return data, write_hostile_ledger(data)[0]


def written(parameter: object) -> str | None:
    """Return the name of a case: the arguments as they would be typed."""
    words = parameter if isinstance(parameter, list) else []
    return " ".join(words) if words and isinstance(words[0], str) else ""


def listed(data: Path, *filters: str) -> list[str]:
    """Return the ids that a filter leaves."""
    return [line[:18] for line in lines(data, "entries", "list", *filters)[1:]]


def tailing(data: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start to follow the ledger."""
    command = [str(PROGRAM), "entries", "tail", "--data-dir", str(data), *arguments]
    return subprocess.Popen(command, env={"PATH": os.defpath}, stdout=subprocess.PIPE, text=True)


def short(*entries: Entry) -> list[str]:
    return [entry.id[:18] for entry in entries]


def test_the_list_is_a_table_with_one_line_for_each_entry_newest_first(data: Path, entries: list[Entry]) -> None:
    delete, dry_run, connect, scale, image, node, settings, create = short(*entries)
    summary = "spec.template.spec.containers[nginx].image: nginx:1.24 → nginx:1.25  +1 more"

    assert lines(data, "entries", "list") == [
        "ID                  AGE  USER         OPERATION         OBJECT                     CHANGE",
        f"{delete}  2h   alice        DELETE            ConfigMap/shop/settings",
        f"{dry_run}  2h   alice        UPDATE (dry run)  Deployment/shop/web        spec.replicas: 3 → 9",
        f"{connect}  3h   alice        CONNECT           Pod/shop/web-1/exec",
        f"{scale}  4h   alice        UPDATE            Deployment/shop/web/scale  spec.replicas: 1 → 3",
        f"{image}  5h   alice        UPDATE            Deployment/shop/web        {summary}",
        f"{node}  30h  alice        UPDATE            Node/n1                    spec.unschedulable: (none) → true",
        f"{settings}  8d   alice        UPDATE            ConfigMap/shop/settings    data.mode: slow → fast",
        f"{create}  9d   ci:deployer  CREATE            ConfigMap/shop/settings",
    ]


def test_json_and_yaml_are_the_entries_as_the_api_has_them(data: Path, entries: list[Entry]) -> None:
    wanted = json.loads(msgspec.json.encode(entries))

    assert json.loads(kubewitness("entries", "list", "--data-dir", data, "-o", "json").stdout) == wanted
    assert yaml.safe_load(kubewitness("entries", "list", "--data-dir", data, "-o", "yaml").stdout) == wanted


@pytest.mark.parametrize(
    ("filters", "positions"),
    [
        (["--kind", "Deployment"], [1, 3, 4]),
        (["-k", "ConfigMap", "-n", "shop"], [0, 6, 7]),
        (["--name", "n1"], [5]),
        (["--user", "system:serviceaccount:ci:deployer"], [7]),
        (["--operation", "DELETE"], [0]),
        (["--operation", "delete"], [0]),
        (["--path", "images"], [4]),
        (["--path", "spec.replicas"], [1, 3]),
        (["--path", "containers[*].image"], [4]),
        (["--since", "270m"], [0, 1, 2, 3]),
        (["--until", "1d"], [5, 6, 7]),
        (["--since", "2d", "--until", "270m"], [4, 5]),
        (["--query", "NGINX:1.25"], [4]),
        (["--limit", "2"], [0, 1]),
        (["--kind", "Deployment", "--path", "spec.replicas", "--until", "200m"], [3]),
    ],
    ids=written,
)
def test_filters(data: Path, entries: list[Entry], filters: list[str], positions: list[int]) -> None:
    assert listed(data, *filters) == short(*(entries[position] for position in positions))


def test_nothing_found_is_said_in_words_and_is_no_error(data: Path, entries: list[Entry], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    append(empty, [])

    assert lines(data, "entries", "list", "--kind", "Unknown") == ["no entries match"]
    assert lines(empty, "entries", "list") == ["the ledger is empty"]
    assert json.loads("".join(lines(data, "entries", "list", "--kind", "Unknown", "-o", "json"))) == []


def ageless(shown: list[str]) -> list[str]:
    """Leave out how many seconds ago deliveries were made."""
    return [re.sub(r"\b\d+s\b", "0s", line) for line in shown]


def test_show_tells_everything_about_one_entry(data: Path, entries: list[Entry]) -> None:
    image = entries[4]
    when = image.at[:19].replace("T", " ")

    assert ageless(lines(data, "entries", "show", image.id)) == [
        f"id       {image.id}",
        f"when     {when} +0000 (5h ago)",
        "cluster  prod",
        "what     UPDATE Deployment/shop/web",
        "who      alice (human)",
        "groups   dev, ops",
        "how      kubectl-set Update",
        "",
        "FIELD                                       OLD         NEW",
        "spec.template.spec.containers[nginx].image  nginx:1.24  nginx:1.25",
        "spec.paused                                 true        (none)",
        "",
        "PLAYBOOK  SEVERITY  FINDING",
        "images    INFO      web changed",
        "",
        "DELIVERY  AGE  SINK  STATE      ATTEMPTS  FINDING      LAST ERROR",
        "1         0s   hook  dead       1         web changed  hook.example answered 410 Gone",
        "2         0s   file  delivered  1         web changed",
    ]


def test_show_takes_the_beginning_that_the_list_shows(data: Path, entries: list[Entry]) -> None:
    [beginning] = short(entries[1])

    assert lines(data, "entries", "show", beginning)[0] == f"id       {entries[1].id}"


def test_show_in_json_and_yaml_carries_the_deliveries(data: Path, entries: list[Entry]) -> None:
    printed = json.loads("\n".join(lines(data, "entries", "show", entries[4].id, "-o", "json")))
    deliveries, findings = printed.pop("deliveries"), printed.pop("findings")

    summaries = [{key: each[key] for key in ("playbook", "title", "severity")} for each in findings]
    assert {**printed, "findings": summaries} == json.loads(msgspec.json.encode(entries[4]))
    assert all("blocks" in each for each in findings)
    assert [(each["sink"], each["state"]) for each in deliveries] == [("hook", "dead"), ("file", "delivered")]
    assert yaml.safe_load("\n".join(lines(data, "entries", "show", entries[4].id, "-o", "yaml"))) == {
        **printed,
        "findings": findings,
        "deliveries": deliveries,
    }


async def test_show_prints_the_evidence_of_a_failed_job_once(tmp_path: Path) -> None:
    log = FileBlock("import-x.log", "row 600: expected 7 columns\x1b[2J\n")
    finding = Finding(playbook="jobs", title="Job Failed", blocks=(TableBlock(("pod",), (("import-x",),)), log, log))
    async with opened(tmp_path) as (journal, _):
        await journal.append(make_record("hook", finding=finding))

    printed = lines(tmp_path, "entries", "show", "019b")

    assert next(line for line in printed if "import-x" in line) == "import-x"
    assert sum("row 600: expected 7 columns" in line for line in printed) == 1
    assert not harmful("".join(printed))


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["show", "00000000-0000-7000-8000-000000000000"], 1, "no entries begin with '00000000-0000-7000-8000-"),
        (["show", "01a2"], 1, "several entries begin with '01a2'; write more of it"),
        (["show", "web"], 2, "'web' cannot be the beginning of an id; take the one in the list"),
        (["show", "01"], 2, "'01' cannot be the beginning of an id"),
        (["list", "--since", "yesteryear"], 2, "'yesteryear' is not a time; write how long ago (90m, 2h, 7d), a day"),
        (["list", "--until", "2026-13-01"], 2, "Invalid value for --until: '2026-13-01' is not a time"),
        (["tail", "--since", "5 minutes"], 2, "Invalid value for --since: '5 minutes' is not a time"),
        (["list", "--path", "a..b"], 2, "Invalid value for --path: 'a..b' is not a field pattern"),
        (["list", "--operation", "PATCH"], 2, "'PATCH' is not one of 'create', 'update', 'delete', 'connect'"),
        (["list", "--limit", "0"], 2, "should be greater than or equal to 1"),
        (["list", "--output", "csv"], 2, "'csv' is not one of 'table', 'json', 'yaml'"),
    ],
    ids=written,
)
def test_a_mistake_is_told_in_words(
    data: Path, entries: list[Entry], arguments: list[str], exit_code: int, message: str
) -> None:
    result = kubewitness("entries", *arguments, "--data-dir", data)

    assert message in result.stderr
    assert result.exit_code == exit_code
    assert result.stdout == ""


@pytest.mark.parametrize("command", [["entries", "list"], ["entries", "show", "01a2"], ["entries", "tail"]])
def test_a_folder_without_journal_is_told_and_not_made(tmp_path: Path, command: list[str]) -> None:
    missing = tmp_path / "missing"

    result = kubewitness(*command, "--data-dir", missing)

    assert result.exit_code == 1
    assert f"error: there is no journal at {missing}/journal.db; is --data-dir the one" in result.stderr
    assert not missing.exists()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("command", [["entries", "list"], ["entries", "show"], ["deliveries", "list"]], ids=" ".join)
def test_hostile_names_reach_no_terminal(hostile: tuple[Path, Entry], command: list[str], output: str) -> None:
    data, entry = hostile
    identifier = [entry.id] if command[-1] == "show" else []

    result = kubewitness(*command, *identifier, "--data-dir", data, "-o", output)

    assert result.exit_code == 0
    assert "forged line" in result.stdout
    assert not any(line.startswith("2026 forged line") for line in result.stdout.splitlines())
    assert harmful(result.stdout) == []


def test_hostile_names_are_whole_for_programs(hostile: tuple[Path, Entry]) -> None:
    data, entry = hostile
    wanted = [json.loads(msgspec.json.encode(entry))]

    assert json.loads(kubewitness("entries", "list", "--data-dir", data, "-o", "json").stdout) == wanted
    assert yaml.safe_load(kubewitness("entries", "list", "--data-dir", data, "-o", "yaml").stdout) == wanted


def test_a_long_name_pushes_no_column_away(hostile: tuple[Path, Entry]) -> None:
    data, entry = hostile

    header, row = lines(data, "entries", "list")

    assert header.split() == ["ID", "AGE", "USER", "OPERATION", "OBJECT", "CHANGE"]
    assert row.split()[:2] == [entry.id[:18], "5h"]
    assert row[header.index("OPERATION") :].startswith("UPDATE ")


def printed(entries: list[Entry], width: int, *, header: bool = True) -> list[str]:
    screen = StringIO()
    Console(file=screen, width=width).print(entries_table(entries, View(width, clock()), header=header))
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_a_wide_terminal_has_a_line_for_each_entry(entries: list[Entry]) -> None:
    rows = printed(entries, 160)

    assert len(rows) == len(entries) + 1
    assert max(map(len, rows)) <= 160
    assert [row[:18] for row in rows[1:]] == short(*entries)
    assert rows[5].endswith("Deployment/shop/web        …containers[nginx].image: nginx:1.24 → nginx:1.25  +1 more")


def test_a_terminal_shows_the_change_below_the_object(entries: list[Entry]) -> None:
    rows = printed(entries[3:5], 120)

    scale, image = short(*entries[3:5])
    assert rows == [
        "ID                  USER    OBJECT",
        f"{scale}  alice   Deployment/shop/web/scale",
        "4h                  UPDATE  spec.replicas: 1 → 3",
        f"{image}  alice   Deployment/shop/web",
        "5h                  UPDATE  …containers[nginx].image: nginx:1.24 → nginx:1.25  +1 more",
    ]


def test_a_narrow_terminal_shows_everything_below_each_other(entries: list[Entry]) -> None:
    rows = printed(entries[1:5], 80)

    dry_run, connect, scale, image = short(*entries[1:5])
    assert rows == [
        "ID                  WHAT",
        f"{dry_run}  UPDATE (dry run) Deployment/shop/web",
        "2h                  alice: spec.replicas: 3 → 9",
        f"{connect}  CONNECT Pod/shop/web-1/exec",
        "3h                  alice",
        f"{scale}  UPDATE Deployment/shop/web/scale",
        "4h                  alice: spec.replicas: 1 → 3",
        f"{image}  UPDATE Deployment/shop/web",
        "5h                  alice: …containers[nginx].image: nginx:1.24 → ngin…  +1 more",
    ]


def test_entries_that_are_printed_one_by_one_stand_below_each_other(entries: list[Entry]) -> None:
    rows = [printed([entry], 160, header=False)[0] for entry in entries[1:]]

    assert len({row.index(entry.operation) for row, entry in zip(rows, entries[1:], strict=True)}) == 1


def test_the_folder_may_come_from_the_environment(data: Path, entries: list[Entry]) -> None:
    done = subprocess.run(
        [PROGRAM, "entries", "list", "--limit", "1", "-o", "json"],
        env={"PATH": os.defpath, "KUBEWITNESS_DATA_DIR": str(data)},
        capture_output=True,
        check=True,
    )

    assert [entry["id"] for entry in json.loads(done.stdout)] == [entries[0].id]
    assert b"\x1b" not in done.stdout


def test_the_folder_may_be_relative(data: Path, entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)

    assert listed(Path(data.name), "--limit", "1") == short(entries[0])


def read(line: str, output: str) -> str:
    """Return the beginning of the id of an entry that was printed on one line."""
    identifier: str = json.loads(line)["id"] if output == "json" else line
    return identifier[:18]


@pytest.mark.parametrize("output", ["table", "json"])
def test_tail_prints_entries_as_they_come_until_it_is_interrupted(tmp_path: Path, output: str) -> None:
    first = write_ledger(tmp_path)
    with tailing(tmp_path, "--since", "200m", "-o", output) as tail:
        assert tail.stdout is not None
        shown = [tail.stdout.readline() for _ in range(3)]
        [late] = append(tmp_path, first[-1:])
        shown.append(tail.stdout.readline())
        tail.send_signal(signal.SIGINT)
        assert tail.stdout.read() == ""

    assert tail.returncode == 0
    assert [read(line, output) for line in shown] == short(*first[-3:], late)


def test_tail_in_yaml_is_a_stream_of_documents(tmp_path: Path) -> None:
    first = write_ledger(tmp_path)
    with tailing(tmp_path, "--since", "200m", "-o", "yaml") as tail:
        assert tail.stdout is not None
        shown = [tail.stdout.readline()]
        while shown.count("---\n") < 3:
            shown.append(tail.stdout.readline())
        tail.send_signal(signal.SIGINT)
        printed = "".join(shown) + tail.stdout.read()

    assert list(yaml.safe_load_all(printed)) == json.loads(msgspec.json.encode(first[-3:]))


@pytest.mark.parametrize(
    ("filters", "positions"),
    [
        (["--kind", "deployment"], [3, 4, 6]),
        (["-n", "shop", "--operation", "connect"], [5]),
        (["--name", "n1"], [2]),
        (["-u", "system:serviceaccount:ci:deployer"], [0]),
        (["--path", "spec.replicas"], [4, 6]),
        (["-q", "NGINX:1.25"], [3]),
    ],
    ids=written,
)
def test_tail_takes_the_filters_of_the_list(tmp_path: Path, filters: list[str], positions: list[int]) -> None:
    entries = write_ledger(tmp_path)
    with tailing(tmp_path, "--since", "10d", *filters) as tail:
        assert tail.stdout is not None
        shown = [tail.stdout.readline()[:18] for _ in positions]
        late = append(tmp_path, [*entries, *(entries[position] for position in positions)])
        shown += [tail.stdout.readline()[:18] for _ in range(2 * len(positions))]
        tail.send_signal(signal.SIGINT)
        assert tail.stdout.read() == ""

    wanted = [entries[position] for position in positions]
    assert shown == short(*wanted, *(late[position] for position in positions), *late[len(entries) :])


@pytest.mark.parametrize("place", [1, 4])
def test_an_argument_that_is_no_text_is_refused(place: int) -> None:
    arguments: list[bytes] = [b"entries", b"list", b"--name", b"web"]
    arguments[place - 1] = b"caf\xe9"

    done = subprocess.run([PROGRAM, *arguments], check=False, env={"PATH": os.defpath}, capture_output=True, text=True)

    assert done.returncode == 2
    assert done.stderr == f"error: argument {place} is not UTF-8 text: 'caf\\udce9'\n"
