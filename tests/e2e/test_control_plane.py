"""The control plane of the tests says what is wrong when it cannot be had."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from app.cli.controlplane import ControlPlane, ControlPlaneError, Programs
from app.cli.processes import ProcessError, Processes, free_ports

SCRIPT: Final = Path(__file__).parents[2] / ".ci/control-plane"


def test_missing_programs_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match=r"no etcd, kube-apiserver.* in .*; run \.ci/control-plane"):
        Programs.find(tmp_path)


def test_a_child_that_ends_early_shows_what_it_printed(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("unhappy", Path("/bin/sh"), ["-c", "echo no such flag; exit 3"])

        with pytest.raises(ProcessError, match=r"unhappy exited with 3\n(?s:.*)no such flag"):
            processes.wait_until(lambda: False, "ready", timeout=timedelta(seconds=20))


def test_children_are_gone_after_the_block(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process_id = processes.start("sleeper", Path("/bin/sleep"), ["60"])

    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


def test_ports_are_distinct() -> None:
    assert len(set(free_ports(20))) == 20


def test_the_script_that_builds_the_programs_leaves_a_complete_folder_alone(tmp_path: Path) -> None:
    for name in ("kube-apiserver", "kube-controller-manager", "etcd", "kubectl", "helm"):
        (tmp_path / name).touch(mode=0o755)

    # Without a PATH it could not do anything.
    done = subprocess.run(["/bin/bash", SCRIPT, tmp_path], env={"PATH": ""}, capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.e2e
def test_a_failing_kubectl_shows_its_error(cluster: ControlPlane) -> None:
    with pytest.raises(ControlPlaneError, match=r"kubectl get nonsense \(as alice\) exited with 1"):
        cluster.kubectl("get", "nonsense", user="alice")
