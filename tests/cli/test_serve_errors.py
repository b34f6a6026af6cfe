"""`kubewitness serve` where it cannot work: which file or option, what is wrong, and what to do; never a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.store.journal import Journal
from app.tls.files import ensure_dev_certificates

PROGRAM = Path(sys.executable).with_name("kubewitness")
STRICT = "globalConfig: {continue_on_sink_errors: false}\n"
SINK = 'sinksConfig:\n- webhook_sink: {name: hook, url: "https://hook.example/"'
PATIENCE_SECONDS = 20


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    ensure_dev_certificates(directory, now=datetime.now(UTC))
    return directory


@pytest.fixture
def folder(tmp_path: Path, certificates: Path) -> Path:
    """Return a folder in which `serve` would work: certs and data have the places of the defaults."""
    (tmp_path / "certs").symlink_to(certificates)
    return tmp_path


def serve(folder: Path, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start the program, which is to give up by itself."""
    defaults = ["--data-dir", folder / "data", "--admission-host", "127.0.0.1", "--admission-port", 0]
    defaults += ["--console-port", 0]
    return subprocess.run(
        [str(PROGRAM), "serve", *map(str, defaults), *map(str, options)],
        cwd=folder,
        env={"PATH": os.defpath, "COLUMNS": "400", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def complaint(done: subprocess.CompletedProcess[str], exit_code: int = 1) -> str:
    """Return what was said by a program that gave up as it should."""
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (exit_code, "")
    return done.stderr


@pytest.mark.parametrize(
    ("config", "places"),
    [
        (
            "customPlaybooks:\n- triggers: [{on_deploymnet_update: {}}]\n  actions: [{resource_babysitter: {}}]\n",
            ["config.yaml:2:", "on_deploymnet_update", "did you mean on_deployment_update?"],
        ),
        ("customPlaybook: []\n", ["config.yaml:1:", "customPlaybook", "customPlaybooks"]),
        (STRICT + "sinksConfig:\n- webhok_sink: {name: a}\n", ["config.yaml:3:", "webhok_sink", "webhook_sink"]),
        ("record: [\n", ["config.yaml:2:1:"]),
        ("{{ env.MISSING }}\n", ["config.yaml:1:"]),
        (
            STRICT + SINK + ", ca_file: /missing.pem}\n",
            ["sink 'hook': ca_file /missing.pem: No such file or directory"],
        ),
    ],
    ids=["trigger", "key", "sink", "broken YAML", "no mapping", "file that a sink needs"],
)
def test_a_bad_configuration_names_the_place_and_the_nearest_right_word(
    folder: Path, config: str, places: list[str]
) -> None:
    (folder / "config.yaml").write_text(config)

    said = complaint(serve(folder, "--config", "config.yaml"))

    assert said.startswith("error: ")
    assert [place for place in places if place not in said] == []


def test_every_problem_of_the_configuration_is_told_at_once(folder: Path) -> None:
    (folder / "config.yaml").write_text("customPlaybook: []\nsinkConfig: []\n")

    said = complaint(serve(folder, "--config", "config.yaml"))

    assert "config.yaml:1:" in said
    assert "config.yaml:2:" in said


def test_a_missing_configuration_is_told(folder: Path) -> None:
    assert "error: nowhere.yaml: cannot be read: No such file or directory" in complaint(
        serve(folder, "--config", "nowhere.yaml")
    )


def test_missing_certificates_come_with_the_command_that_makes_some(folder: Path) -> None:
    said = complaint(serve(folder, "--tls-dir", "nowhere"))

    assert "error: nowhere/tls.crt is missing" in said
    assert "kubewitness certs init --dir nowhere" in said


@pytest.mark.parametrize("listener", ["admission", "console"])
def test_a_port_in_use_names_the_option_to_change(folder: Path, listener: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        said = complaint(serve(folder, f"--{listener}-port", port))

    assert f"error: 127.0.0.1:{port} is in use by another process; choose another address with --{listener}-" in said


async def test_a_data_folder_in_use_names_the_option_to_change(folder: Path) -> None:
    journal = Journal(folder / "data")
    journal.start()

    said = complaint(serve(folder))

    await journal.close(10)
    assert f"error: {folder / 'data'} is in use by another kubewitness; stop it, or choose another --data-dir" in said


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("admission-port", "99999", "should be less than or equal to 65535"),
        ("drain-seconds", "-1", "should be greater than or equal to 0"),
        ("commit-budget-seconds", "0", "should be greater than 0"),
        ("max-body", "large", "could not parse value and unit"),
        ("retention-days", "-1", "should be greater than or equal to 0"),
    ],
)
def test_a_bad_value_names_the_option_and_its_variable(folder: Path, option: str, value: str, message: str) -> None:
    variable = "KUBEWITNESS_" + option.upper().replace("-", "_")

    as_option = complaint(serve(folder, f"--{option}={value}"), exit_code=2)
    assert f"error: --{option} ({variable}): " in as_option
    assert message in as_option


def test_a_bad_variable_names_the_option_and_its_variable(folder: Path) -> None:
    said = complaint(serve(folder, KUBEWITNESS_DRAIN_SECONDS="soon"), exit_code=2)

    assert "error: --drain-seconds (KUBEWITNESS_DRAIN_SECONDS): " in said


def test_a_word_that_is_no_option_comes_with_the_nearest_one(folder: Path) -> None:
    assert "No such option: --dataa" in (said := complaint(serve(folder, "--dataa", "x"), exit_code=2))
    assert "--data-dir" in said


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: data.write_text(""), "File exists"),
        (lambda data: (data.mkdir(), (data / "journal.db").write_text("no database" * 99)), "file is not a database"),
        (lambda data: (data.mkdir(), (data / "fingerprint.key").write_text("short")), "fingerprint key is too short"),
    ],
    ids=["a file", "another file in place of the journal", "a key that is none"],
)
def test_a_data_folder_that_cannot_be_used_is_told(folder: Path, make: object, message: str) -> None:
    assert callable(make)
    make(folder / "data")

    said = complaint(serve(folder))

    assert said.startswith("error: ")
    assert message in said


def test_a_fingerprint_key_that_is_missing_is_told_and_not_made(folder: Path) -> None:
    said = complaint(serve(folder, "--fingerprint-key-file", "shared.key"))

    assert "error: shared.key: cannot read the fingerprint key" in said
    assert not (folder / "shared.key").exists()


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (["--kubeconfig", "absent"], {}, "absent"),
        ([], {"KUBERNETES_SERVICE_HOST": "127.0.0.1"}, "KUBERNETES_SERVICE_PORT"),
        (["--failed-job-max-age-seconds", "5"], {}, "--failed-job-max-age-seconds"),
    ],
)
def test_a_watcher_that_cannot_reach_an_api_server_says_what_is_missing(
    tmp_path: Path, options: list[str], environment: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [str(PROGRAM), "watch", "--data-dir", str(tmp_path / "data"), "--console-port", "0", *options],
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path), "COLUMNS": "400", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert "Traceback" not in done.stderr
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]
