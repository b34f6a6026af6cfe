from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from app.cli.config import config_app
from app.config.model import DIALECT

GOOD = """
customPlaybooks:
- name: images
  triggers: [on_deployment_update: {}]
  actions: [resource_babysitter: {fields_to_monitor: [images]}]
sinksConfig:
- webhook_sink: {name: hook, url: "{{ env.HOOK_URL }}"}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def run(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(config_app, list(map(str, arguments)), env=environment)


def test_check_says_what_a_good_file_does(path: Path) -> None:
    path.write_text(GOOD)

    result = run("check", path, HOOK_URL="http://localhost/s3cret")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{path} is valid",
        "1 playbook: images",
        "1 sink: hook",
        "recorded: every change but the cluster's own upkeep (leases, events, endpoints, ...)",
    ]


def test_check_prints_every_problem_and_fails(path: Path) -> None:
    path.write_text("recrod: {}\nclusterName: x\n")

    result = run("check", path)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{path}:1:1: recrod: unknown key 'recrod' (did you mean record?)",
        f"{path}:2:1: clusterName: 'clusterName' is not read here (did you mean globalConfig.cluster_name?)",
        f"2 problems in {path}",
    ]


def test_check_prints_problems_for_programs(path: Path) -> None:
    path.write_text("recrod: {}\n")

    result = run("check", path, "--output", "json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "file": str(path),
        "valid": False,
        "problems": [
            {
                "file": str(path),
                "message": "unknown key 'recrod'",
                "line": 1,
                "column": 1,
                "key": "recrod",
                "suggestion": "record",
            }
        ],
    }


def test_check_prints_the_summary_for_programs(path: Path) -> None:
    path.write_text(GOOD)

    result = run("check", path, "-o", "json", HOOK_URL="http://localhost/s3cret")

    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert (summary["valid"], summary["playbooks"], summary["sinks"]) == (True, ["images"], ["hook"])
    assert "s3cret" not in result.stdout


NOTE = (
    "out: a stdout_sink has no threads, so its grouping tells each group in one message, at the end of the interval"
    " of 60 s"
)


def test_check_says_what_does_less_than_it_seems(path: Path) -> None:
    path.write_text("sinksConfig: [{stdout_sink: {name: out, grouping: {interval: 60}}}]\n")

    result = run("check", path)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"note: {NOTE}"
    assert json.loads(run("check", path, "-o", "json").stdout)["notes"] == [NOTE]


def test_check_prints_yaml_too(path: Path) -> None:
    path.write_text("recrod: {}\n")

    assert yaml.safe_load(run("check", path, "-o", "yaml").stdout)["problems"][0]["suggestion"] == "record"


def test_check_takes_the_file_of_the_option_or_of_the_environment(path: Path) -> None:
    path.write_text("")

    assert run("check", "--config", path).exit_code == 0
    assert run("check", KUBEWITNESS_CONFIG=str(path)).exit_code == 0


def test_check_without_a_file_says_how_to_name_one() -> None:
    result = run("check")

    assert result.exit_code == 2
    assert "set KUBEWITNESS_CONFIG" in result.stderr


def test_check_of_an_absent_file_fails(path: Path) -> None:
    result = run("check", path)

    assert result.exit_code == 1
    assert "cannot be read: No such file or directory" in result.stderr


def test_schema_is_printed() -> None:
    result = run("schema")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["$schema"] == DIALECT


def test_check_tells_a_sink_that_cannot_be_made_with_its_place(path: Path) -> None:
    path.write_text("sinksConfig:\n- webhook_sink: {name: hook, url: https://x.example, ca_file: /nowhere/ca.pem}\n")

    result = run("check", path)

    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{path}:2:3: sinksConfig: sink 'hook': ca_file /nowhere/ca.pem: No such file or directory",
        f"1 problem in {path}",
    ]


def test_check_fails_for_a_sink_that_the_program_would_leave_out(path: Path) -> None:
    path.write_text(
        "globalConfig: {continue_on_sink_errors: true}\nsinksConfig:\n- robusta_sink: {name: ui, token: abc}\n"
    )

    result = run("check", path)

    assert result.exit_code == 1
    assert f"{path}:3:3: sinksConfig[0].robusta_sink: 'robusta_sink' of Robusta does not exist here: remove it" in (
        result.stderr
    )
