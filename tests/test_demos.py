"""The demonstrations do what their README says: one image changes, one Job fails after two tries."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app.config.file import load

FOLDER: Final = Path(__file__).parents[1] / "deploy/demos"
README: Final = (FOLDER / "README.md").read_text("utf-8")
MANIFESTS: Final = sorted(path.name for path in FOLDER.glob("*.yaml"))
BEFORE: Final = "deployment_before_image_change.yaml"
AFTER: Final = "deployment_after_image_change.yaml"
CRASH: Final = "job_crash.yaml"
CONFIGURATIONS: Final = re.findall(r"^```yaml\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)

Document = dict[str, Any]


def document(name: str) -> Document:
    loaded: Document = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return loaded


def pod(name: str) -> Document:
    spec: Document = document(name)["spec"]["template"]["spec"]
    return spec


def container(name: str) -> Document:
    (only,) = pod(name)["containers"]
    found: Document = only
    return found


def script() -> str:
    (text,) = container(CRASH)["args"]
    return str(text)


def without_image(name: str) -> Document:
    deployment = document(name)
    deployment["spec"]["template"]["spec"]["containers"][0].pop("image")
    return deployment


def test_every_manifest_is_used_by_the_readme() -> None:
    assert set(re.findall(r"deploy/demos/(\w+\.yaml)", README)) == set(MANIFESTS) == {BEFORE, AFTER, CRASH}


def test_only_the_image_of_the_deployment_changes() -> None:
    images = [container(name)["image"] for name in (BEFORE, AFTER)]

    assert without_image(BEFORE) == without_image(AFTER)
    assert images[0] != images[1]
    assert all(f"`{image}`" in README for image in images)


def test_the_job_is_tried_twice_and_each_try_is_a_pod_of_its_own() -> None:
    assert document(CRASH)["spec"]["backoffLimit"] == 1
    assert pod(CRASH)["restartPolicy"] == "Never"


def run_at_once() -> subprocess.CompletedProcess[str]:
    """Run the Job's script; what it would have slept stands in its output as `slept SECONDS`."""
    command = ["/bin/sh", "-c", f'sleep() {{ echo "slept $1"; }}\n{script()}']
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def test_the_job_takes_a_minute_and_exits_with_1() -> None:
    done = run_at_once()

    assert sum(map(int, re.findall(r"^slept (\d+)$", done.stdout, re.MULTILINE))) == 60
    assert done.returncode == 1


def test_the_readme_shows_the_last_lines_of_the_log() -> None:
    (shown,) = re.findall(r"^```text\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)

    assert run_at_once().stdout.endswith(shown)


@pytest.mark.parametrize("name", MANIFESTS)
def test_images_are_pinned_and_small_amounts_are_asked_for(name: str) -> None:
    resources = container(name)["resources"]

    assert re.fullmatch(r"busybox:\d+\.\d+\.\d+", container(name)["image"])
    assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_restricted_pod_security_standard_admits_them(name: str) -> None:
    own = container(name)["securityContext"]

    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    assert pod(name)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("text", CONFIGURATIONS, ids=["image change", "failed job"])
def test_the_configurations_of_the_readme_load(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)

    config = load(tmp_path / "config.yaml", {})

    assert [playbook.sinks for playbook in config.custom_playbooks] == [["some_sink_name"]]
