"""`kubewitness sinks`: which sinks are configured, and whether each takes a message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.cli.sinks import TITLE
from tests.cli.commands import harmful, kubewitness
from tests.sinks.stands import HttpReceiver, Request, http_receiver

TOKEN = "s3cret-token-1234"


@pytest.fixture
def hooks() -> Iterator[HttpReceiver]:
    """Return a server that takes what comes to /good, is busy at /busy, refuses at /bad and is silent at /silent."""

    def handle(request: Request) -> httpx.Response | None:
        path = request.path.partition("?")[0]
        if path == "/silent":
            return None
        text = f"echo {request.path} {request.headers}"
        return httpx.Response({"/good": 204, "/busy": 429}.get(path, 400), text="" if path == "/good" else text)

    with http_receiver(handle) as receiver:
        yield receiver


def file(folder: Path, url: str, *names: str, more: str = "") -> Path:
    items = "".join(
        f'- webhook_sink: {{name: {name}, url: "{url}{name}?token={TOKEN}", authorization: "Bearer {TOKEN}"}}\n'
        for name in names
    )
    path = folder / "config.yaml"
    path.write_text(f"sinksConfig:\n{items}{more}" if items or more else "")
    return path


def results(*arguments: object) -> dict[str, tuple[str, str]]:
    result = kubewitness("sinks", "check", *arguments, "-o", "json")
    return {each["sink"]: (each["result"], each["detail"]) for each in json.loads(result.stdout)}


def test_each_sink_gets_one_message_that_says_that_it_is_a_test(tmp_path: Path, hooks: HttpReceiver) -> None:
    result = kubewitness("sinks", "check", "--config", file(tmp_path, hooks.url, "good"))

    assert result.exit_code == 0
    [request] = hooks.requests
    document = json.loads(request.body)
    assert document["finding"]["title"] == TITLE
    assert "Nothing was changed anywhere" in document["finding"]["description"]


def test_what_went_wrong_is_told_and_keeps_no_other_sink_from_its_message(tmp_path: Path, hooks: HttpReceiver) -> None:
    missing = "- grafana_sink: {name: marks, url: http://127.0.0.1:9, token: abcd, ca_file: /nowhere/ca.pem}\n"
    config = file(tmp_path, hooks.url, "bad", "good", "busy", "silent", more=missing)

    found = results("--config", config, "--timeout", "0.5")

    assert list(found) == ["bad", "good", "busy", "silent", "marks"]
    assert found["good"] == ("ok", "")
    assert found["bad"][0] == "failed"
    assert "answered 400 Bad Request" in found["bad"][1]
    assert "answered 429 Too Many Requests" in found["busy"][1]
    assert found["silent"] == ("failed", "no answer within 0.5 s")
    assert found["marks"] == ("not built", "sink 'marks': ca_file /nowhere/ca.pem: No such file or directory")


def test_the_exit_code_says_whether_all_took_it(tmp_path: Path, hooks: HttpReceiver) -> None:
    config = file(tmp_path, hooks.url, "bad", "good")

    assert kubewitness("sinks", "check", "--config", config).exit_code == 1
    assert kubewitness("sinks", "check", "--config", config, "--sink", "good").exit_code == 0


def test_the_table_is_for_people_and_holds_no_secret_that_a_receiver_echoes(
    tmp_path: Path, hooks: HttpReceiver
) -> None:
    result = kubewitness("sinks", "check", "--config", file(tmp_path, hooks.url, "bad", "good"))

    heading, bad, good = result.stdout.splitlines()
    assert heading.split() == ["SINK", "TYPE", "RESULT", "TIME", "DETAIL"]
    assert bad.split()[:3] == ["bad", "webhook_sink", "failed"]
    assert good.split()[:3] == ["good", "webhook_sink", "ok"]
    assert TOKEN not in result.output
    assert harmful(result.stdout) == []


def test_a_sink_of_standard_output_does_not_spoil_what_programs_read(tmp_path: Path) -> None:
    config = file(tmp_path, "", more="- stdout_sink: {name: terminal}\n")

    assert results("--config", config) == {"terminal": ("ok", "")}


def test_a_sink_that_the_program_leaves_out_is_not_built_and_the_others_get_their_message(
    tmp_path: Path, hooks: HttpReceiver
) -> None:
    broken = (
        '- webhook_sink: {name: nowhere, url: "{{ env.KUBEWITNESS_NOT_SET }}"}\n- robusta_sink: {name: ui, token: x}\n'
    )
    config = file(tmp_path, hooks.url, "good", more=broken)

    found = results("--config", config)

    assert {name: result for name, (result, _) in found.items()} == {
        "good": "ok",
        "nowhere": "not built",
        "ui": "not built",
    }
    assert f"{config}:3:" in found["nowhere"][1]
    assert "KUBEWITNESS_NOT_SET is not set" in found["nowhere"][1]
    assert "remove it" in found["ui"][1]
    assert kubewitness("sinks", "check", "--config", config, "--sink", "nowhere").exit_code == 1
    assert kubewitness("sinks", "check", "--config", config, "--sink", "good").exit_code == 0
    listed = kubewitness("sinks", "list", "--config", config)
    assert listed.exit_code == 0
    assert "left out: " in listed.stderr


def test_an_unknown_sink_is_told_with_what_there_is(tmp_path: Path, hooks: HttpReceiver) -> None:
    result = kubewitness("sinks", "check", "--config", file(tmp_path, hooks.url, "good"), "--sink", "god")

    assert result.exit_code == 2
    assert "no sink is named 'god': there are good; did you mean 'good'?" in result.stderr
    assert hooks.requests == []


def test_no_sinks_are_no_failure(tmp_path: Path) -> None:
    result = kubewitness("sinks", "check", "--config", file(tmp_path, ""))

    assert (result.exit_code, result.stdout.strip()) == (0, "no sinks are configured")


def test_without_a_configuration_it_says_how_to_name_one() -> None:
    result = kubewitness("sinks", "check")

    assert result.exit_code == 2
    assert "name one with --config, or set KUBEWITNESS_CONFIG" in result.stderr


def test_a_wrong_configuration_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("sinksconfig:\n- webhook_sink: {name: x}\n")

    result = kubewitness("sinks", "list", "--config", path)

    assert result.exit_code == 1
    assert "config.yaml:1:1" in result.stderr


def test_the_list_says_what_each_sink_is(tmp_path: Path, hooks: HttpReceiver) -> None:
    more = "- stdout_sink: {name: terminal, default: false, scope: {include: [{namespace: shop}]}}\n"
    path = file(tmp_path, hooks.url, "good", more=more)

    listed = json.loads(kubewitness("sinks", "list", "--config", path, "-o", "json").stdout)

    assert [(each["sink"], each["type"], each["default"], each["filtered"]) for each in listed] == [
        ("good", "webhook_sink", True, False),
        ("terminal", "stdout_sink", False, True),
    ]
    table = kubewitness("sinks", "list", "--config", path).stdout.splitlines()
    assert table[1].split() == ["good", "webhook_sink", "yes"]
