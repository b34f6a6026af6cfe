"""The demonstrations against a real API server: they are accepted, and the failed Job is told as the tutorial says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
import yaml

from app.cli.controlplane import ControlPlane
from tests.e2e.auditor import Auditor
from tests.e2e.jobs import Jobs
from tests.e2e.servers import Document, Hook
from tests.e2e.watcher import TUTORIAL, Watcher, logs, table
from tests.e2e.webhooks import eventually

pytestmark = pytest.mark.e2e

FOLDER: Final = Path(__file__).parents[2] / "deploy/demos"
CRASH: Final = FOLDER / "job_crash.yaml"
MANIFESTS: Final = sorted(path.name for path in FOLDER.glob("*.yaml"))
LAST_LINES: Final = "part 6 of 6: 600 rows read\nERROR: row 600: expected 7 columns, found 6\n"


def playbooks_of(text: str) -> Document:
    found: Document = yaml.safe_load(text)["customPlaybooks"]
    return found


def crash_twice(jobs: Jobs, job: str) -> list[str]:
    """Play the node for both Pods; return their names."""
    pods = []
    for attempt in ("first", "second"):
        pod = jobs.next_pod(job).write(f"{attempt} try\n{LAST_LINES}", container="import").run().crash()
        pods.append(pod.name)
    return pods


@pytest.mark.parametrize("name", MANIFESTS)
def test_an_api_server_takes_the_manifests(cluster: ControlPlane, name: str) -> None:
    done = cluster.kubectl("apply", "--dry-run=server", "-f", str(FOLDER / name))

    assert "created (server dry run)" in done.stdout


def test_the_playbook_of_the_readme_is_the_tutorials() -> None:
    _, shown = re.findall(r"^```yaml\n(.*?)^```$", (FOLDER / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)

    assert playbooks_of(shown) == playbooks_of(TUTORIAL)


def test_the_failed_job_of_the_demonstration_is_told(
    cluster: ControlPlane, jobs: Jobs, watcher: Watcher, kubeconfig: Path, tmp_path: Path
) -> None:
    at = {"cluster": cluster, "kubeconfig": kubeconfig}
    both = [f"--kubeconfig={kubeconfig}", "--watch", "--lease-name=both"]
    with (
        Hook() as hook,
        Watcher(tmp_path / "a", **at, hook=hook, lease="a", sink="some_sink_name", playbooks=TUTORIAL) as tutorial,  # type: ignore[arg-type]
        Auditor(tmp_path / "both", TUTORIAL.replace("some_sink_name", "everything"), both) as server,
    ):
        jobs.kubectl("apply", "-f", str(CRASH))
        pods = crash_twice(jobs, "job-crash-demo")
        jobs.failed("job-crash-demo")
        uid = jobs.job("job-crash-demo")["metadata"]["uid"]

        (alone,) = eventually(lambda: tutorial.hooked(uid), "the webhook sink `some_sink_name` is told")
        within = server.notification("job-crash-demo")
        everywhere = watcher.telling(uid)

        assert len(tutorial.failures(name="job-crash-demo")) == len(server.entries(name="job-crash-demo")) == 1
    for notification in (alone, within, everywhere):
        is_complete(notification, pods)


def is_complete(notification: Document, pods: list[str]) -> None:
    """Check the finding of the demonstration: information, events, Pods, and the logs of both tries."""
    finding = notification["finding"]
    assert (finding["title"], finding["aggregation_key"]) == ("Job Failed", "job_failure")
    resource, operation = notification["entry"]["resource"], notification["entry"]["operation"]
    assert (operation, resource["kind"], resource["name"]) == ("FAILED", "Job", "job-crash-demo")

    information = dict(table(notification, "Job information"))
    assert "BackoffLimitExceeded" in information["status"]
    assert any("busybox:1.37.0" in value for value in information.values())
    assert any("BackoffLimitExceeded" in row for row in table(notification, "Job events"))
    # In no order: both Pods may have been made in the same second.
    assert sorted(row[0] for row in table(notification, "Job Pods")) == sorted(pods)
    attached = logs(notification)
    assert sorted(attached) == sorted(f"{pod}-import.log" for pod in pods)
    assert all(text.endswith(LAST_LINES) for text in attached.values())
