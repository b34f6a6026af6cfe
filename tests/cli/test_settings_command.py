"""Options of `serve` and `watch` are the fields of their settings: each said once, in three places people write it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import typer
from pydantic import HttpUrl
from typer.testing import CliRunner, Result

from app.cli.settings_command import settings_command
from app.settings import CommonSettings, Settings, WatchSettings
from app.store.database import StoreError

MODELS: list[type[CommonSettings]] = [Settings, WatchSettings]


@pytest.fixture(autouse=True)
def untouched_logs() -> Iterator[None]:
    """Undo what a command does to the logs of this process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


class Command:
    """A command of a model, and the settings that its work got."""

    def __init__(self, model: type[CommonSettings], outcome: int | Exception = 0) -> None:
        self.got: list[Any] = []
        self._outcome = outcome
        self._app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
        self._app.command()(settings_command(model, self._work))

    def _work(self, settings: CommonSettings) -> int:
        """Work hard.

        And rest.
        """
        self.got.append(settings)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def run(self, *arguments: object, **environment: str) -> Result:
        env = {"COLUMNS": "400", **environment}
        return CliRunner().invoke(self._app, [*map(str, arguments)], env=env)

    def settings(self, *arguments: object, **environment: str) -> Any:
        """Return the settings of a command line that is right."""
        result = self.run(*arguments, **environment)
        assert result.exit_code == 0, result.output
        return self.got[-1]

    def options(self) -> list[str]:
        """Return the options in the order of the help."""
        return re.findall(r"^  (--[a-z-]+)", self.run("--help").stdout, re.MULTILINE)


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_an_option_and_nothing_else_is(model: type[CommonSettings]) -> None:
    fields = {f"--{name.replace('_', '-')}" for name in model.model_fields}

    assert set(Command(model).options()) == {*fields, "--help"}


def test_what_is_needed_first_comes_first_then_what_only_this_command_has() -> None:
    options = Command(Settings).options()

    assert options[:4] == ["--config", "--data-dir", "--admission-host", "--admission-port"]
    assert options.index("--watch") < options.index("--console-host") < options.index("--kubeconfig")
    assert Command(WatchSettings).options()[:4] == ["--config", "--data-dir", "--console-host", "--console-port"]


@pytest.mark.parametrize("model", MODELS)
def test_the_help_names_description_default_and_variable_of_each(model: type[CommonSettings]) -> None:
    said = " ".join(Command(model).run("--help").stdout.split())

    for name, field in model.model_fields.items():
        assert field.description
        assert field.description in said
        assert f"env: KUBEWITNESS_{name.upper()})" in said


@pytest.mark.parametrize(
    "default",
    ["default: data;", "default: 8080;", "default: 5.0GiB;", "default: FULL;", "default: false;", "default: 1.0;"],
)
def test_a_default_is_shown_as_it_is_written(default: str) -> None:
    assert default in " ".join(Command(Settings).run("--help").stdout.split())


def test_an_empty_default_is_not_shown() -> None:
    said = Command(Settings).run("--help").stdout

    assert "None" not in said
    assert "default: ;" not in said


def test_the_help_is_that_of_the_work() -> None:
    assert "Work hard.\n\n  And rest." in Command(Settings).run("--help").stdout


@pytest.mark.parametrize("model", MODELS)
def test_without_options_the_defaults_are_those_of_the_model(model: type[CommonSettings]) -> None:
    assert Command(model).settings() == model()


GIVEN: list[tuple[str, str, Any]] = [
    ("config", "kube.yaml", Path("kube.yaml")),
    ("data_dir", "/var/lib/kw", Path("/var/lib/kw")),
    ("console_host", "0.0.0.0", "0.0.0.0"),
    ("console_port", "0", 0),
    ("synchronous", "NORMAL", "NORMAL"),
    ("commit_budget_seconds", "0.25", 0.25),
    ("retention_days", "0", 0),
    ("retention_size", "10MiB", 10 * 1024**2),
    ("retention_size", "0", 0),
    ("log_level", "debug", "debug"),
    ("log_format", "json", "json"),
    ("lease_name", "watcher", "watcher"),
    ("log_lines", "0", 0),
    ("log_bytes", "1MiB", 1024**2),
    ("failed_job_max_age_seconds", "60", 60),
    ("ledger_url", "http://kubewitness:8080", HttpUrl("http://kubewitness:8080")),
    ("drain_seconds", "0", 0.0),
    ("max_body", "1000", 1000),
]


@pytest.mark.parametrize(("name", "text", "value"), GIVEN, ids=[f"{name}={text}" for name, text, _ in GIVEN])
def test_an_option_and_its_variable_mean_the_same(name: str, text: str, value: Any) -> None:
    option, variable = f"--{name.replace('_', '-')}", f"KUBEWITNESS_{name.upper()}"

    as_option = Command(Settings).settings(option, text)
    as_variable = Command(Settings).settings(**{variable: text})

    assert (getattr(as_option, name), getattr(as_variable, name)) == (value, value)


def test_an_option_comes_before_its_variable() -> None:
    settings = Command(Settings).settings("--console-port", 1, KUBEWITNESS_CONSOLE_PORT="2", KUBEWITNESS_LOG_LINES="3")

    assert (settings.console_port, settings.log_lines) == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "environment", "watch"),
    [
        ([], {}, False),
        (["--watch"], {}, True),
        ([], {"KUBEWITNESS_WATCH": "true"}, True),
        (["--no-watch"], {"KUBEWITNESS_WATCH": "true"}, False),
        (["--watch"], {"KUBEWITNESS_WATCH": "false"}, True),
        (["--watch", "--no-watch"], {}, False),
    ],
)
def test_watching_is_switched_on_and_off(arguments: list[str], environment: dict[str, str], watch: bool) -> None:
    assert Command(Settings).settings(*arguments, **environment).watch is watch


def test_the_watcher_has_no_switch_for_watching_and_places_of_its_own() -> None:
    assert Command(WatchSettings).run("--watch").exit_code == 2
    settings = Command(WatchSettings).settings()
    assert (settings.data_dir, settings.console_port) == (Path("data-watch"), 8081)


WRONG = [
    ("console_port", "65536", "less than or equal to 65535"),
    ("console_port", "-1", "greater than or equal to 0"),
    ("commit_budget_seconds", "0", "greater than 0"),
    ("commit_budget_seconds", "nan", "greater than 0"),
    ("retention_size", "much", "could not parse value and unit"),
    ("log_lines", "10001", "less than or equal to 10000"),
    ("lease_name", "Watcher", "should match pattern"),
    ("lease_name", "w" * 201, "at most 200 characters"),
    ("failed_job_max_age_seconds", "59", "greater than or equal to 60"),
    ("ledger_url", "kubewitness:8080", "URL scheme should be 'http' or 'https'"),
]


@pytest.mark.parametrize(("name", "text", "problem"), WRONG, ids=[f"{name}={text[:9]}" for name, text, _ in WRONG])
def test_what_is_out_of_bounds_names_option_and_variable(name: str, text: str, problem: str) -> None:
    option, variable = f"--{name.replace('_', '-')}", f"KUBEWITNESS_{name.upper()}"
    command = Command(Settings)

    as_option, as_variable = command.run(f"{option}={text}"), command.run(**{variable: text})

    for result in (as_option, as_variable):
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"error: {option} ({variable}): ")
        assert problem in result.stderr
    assert command.got == []


@pytest.mark.parametrize(
    ("option", "text"),
    [("--console-port", "http"), ("--drain-seconds", "soon"), ("--synchronous", "ALWAYS"), ("--log-level", "loud")],
)
def test_what_is_of_another_kind_names_the_option(option: str, text: str) -> None:
    result = Command(Settings).run(option, text)

    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr


def test_every_problem_is_told_at_once() -> None:
    said = Command(Settings).run("--console-port", 70000, "--log-lines", -1).stderr

    assert said.count("error: --") == 2


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_exit_code_is_that_of_the_work(code: int) -> None:
    assert Command(Settings, code).run().exit_code == code


def test_a_fault_that_people_can_mend_is_told_in_a_line() -> None:
    result = Command(Settings, StoreError("there is no journal")).run()

    assert (result.exit_code, result.stderr) == (1, "error: there is no journal\n")


def test_each_command_has_its_own_parameters() -> None:
    serve, watch = Command(Settings), Command(WatchSettings)

    assert set(serve.options()) - set(watch.options()) == {
        "--admission-host",
        "--admission-port",
        "--tls-source",
        "--tls-dir",
        "--tls-service",
        "--tls-leaf-seconds",
        "--tls-authority-seconds",
        "--tls-overlap-seconds",
        "--webhook-configuration",
        "--drain-seconds",
        "--max-body",
        "--watch",
    }
