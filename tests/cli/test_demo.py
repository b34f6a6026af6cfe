"""`kubewitness demo --once`: the whole way on this machine, with and without a control plane."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.controlplane import DEFAULT_FOLDER, ControlPlaneError, Programs
from tests.e2e.environment import Environment

PROGRAM = Path(sys.executable).with_name("kubewitness")


def demo(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), "demo", "--once", *options],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},  # noqa: TID251  kubectl may be anywhere
        capture_output=True,
        text=True,
        check=False,
    )


def steps(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the steps without their outcomes."""
    return [line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("[")]


def test_it_prints_its_steps_and_what_was_recorded(tmp_path: Path) -> None:
    done = demo(tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert steps(done) == [
        "[1/5] development certificates",
        "[2/5] starting the server with an embedded journal",
        "[3/5] loading reviews",
        "[4/5] posting them as an API server does",
        "[5/5] reading the ledger back",
    ]
    assert "failed" not in done.stdout
    assert "nginx:1.25 → nginx:1.26" in done.stdout
    assert "\x1b" not in done.stdout


def test_what_it_tells_to_look_at_is_there(tmp_path: Path) -> None:
    done = demo(tmp_path)
    hint = next(line.split() for line in done.stdout.splitlines() if "entries list" in line)

    listed = subprocess.run(
        [str(PROGRAM), *hint[1:], "-o", "json"],
        cwd=tmp_path,
        env={"PATH": os.defpath},
        capture_output=True,
        check=True,
    )

    told = [json.loads(line) for line in (tmp_path / ".demo" / "notifications.jsonl").read_text().splitlines()]
    assert {note["entry"]["id"] for note in told} <= {entry["id"] for entry in json.loads(listed.stdout)}
    assert told != []


def test_it_can_be_run_again_and_beside_another_program_on_its_ports(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        runs = [demo(tmp_path, "--admission-port", port, "--console-port", port) for _ in range(2)]

    assert [(run.returncode, run.stderr) for run in runs] == [(0, "")] * 2
    assert len({len(run.stdout.splitlines()) for run in runs}) == 1


@pytest.mark.e2e
def test_with_a_control_plane_it_is_driven_with_kubectl(tmp_path: Path) -> None:
    environment = Environment()
    assets = (environment.kubebuilder_assets or DEFAULT_FOLDER).expanduser()
    try:
        Programs.find(assets)
    except ControlPlaneError as error:
        if environment.kubewitness_require_e2e:
            pytest.fail(str(error))
        pytest.skip(str(error))

    done = demo(tmp_path, KUBEBUILDER_ASSETS=str(assets))

    assert (done.returncode, done.stderr) == (0, "")
    assert steps(done)[2:5] == [
        "[3/6] starting etcd, kube-apiserver and kube-controller-manager",
        "[4/6] registering the webhook",
        "[5/6] changing things with kubectl",
    ]
    assert "nginx:1.27 → nginx:1.28" in done.stdout
    assert "UPDATE (dry run)" in done.stdout
    assert "correct-horse" not in done.stdout


def test_a_control_plane_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = demo(tmp_path, KUBEBUILDER_ASSETS=str(tmp_path / "nowhere"))

    assert done.returncode == 1
    assert str(tmp_path / "nowhere") in done.stderr
    assert "Traceback" not in done.stderr
