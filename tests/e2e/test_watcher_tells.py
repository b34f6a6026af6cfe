"""What a finding about a failed Job says, whatever became of its Pods and of the watcher's permissions."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from app.cli.controlplane import ControlPlane
from tests.e2e.auditor import Auditor
from tests.e2e.jobs import Jobs, container, manifest
from tests.e2e.kubelet import Kubelet
from tests.e2e.servers import Hook
from tests.e2e.watcher import Account, Watcher, logs, table, text_of
from tests.e2e.webhooks import Webhook, eventually

pytestmark = pytest.mark.e2e

SECRETS: Final = ("hunter2-in-a-log", "hunter2-in-a-variable", "hunter2-in-a-url", "hunter2-in-a-message")


def until_asked(kubelet: Kubelet, pod: str, *, previous: bool = False) -> None:
    """Return when somebody has asked for a container's log."""
    eventually(
        lambda: any((each.run.pod, each.run.previous) == (pod, previous) for each in kubelet.requests),
        f"a request for a log of {pod}",
    )


def test_a_job_that_succeeds_is_not_told(jobs: Jobs, watcher: Watcher) -> None:
    jobs.create(manifest("well"))
    jobs.next_pod("well").run().succeed()
    eventually(lambda: jobs.job("well")["status"].get("succeeded"), "the Job completes")

    # Afterwards, so that the silence about the first one means something.
    watcher.telling(jobs.fail("crashes"))

    assert [entry["resource"]["name"] for entry in watcher.failures(namespace=jobs.namespace)] == ["crashes"]


def test_every_container_is_told_with_its_own_log(jobs: Jobs, watcher: Watcher) -> None:
    containers = [container("import", resources={"limits": {"memory": "64Mi"}}), container("proxy", image="proxy:2")]
    uid = jobs.create(manifest("three", init=[container("prepare")], containers=containers))["three"]
    pod = jobs.next_pod("three").write("prepared\n", container="prepare").write("proxied\n", container="proxy")
    pod.write("imported\n", container="import").run().crash(137, container="import", reason="OOMKilled")

    told = watcher.telling(uid)

    assert logs(told) == {
        f"{pod.name}-import.log": "imported\n",
        f"{pod.name}-prepare.log": "prepared\n",
        f"{pod.name}-proxy.log": "proxied\n",
    }
    (row,) = table(told, "Job Pods")
    assert any("import: exit 137 (OOMKilled" in cell for cell in row)
    assert any("64Mi" in cell for row in table(told, "Job information") for cell in row)


def test_both_runs_are_told_when_the_job_deletes_the_pod_that_restarts(
    jobs: Jobs, watcher: Watcher, kubelet: Kubelet
) -> None:
    uid = jobs.create(manifest("loops", restart_policy="OnFailure", backoffLimit=1))["loops"]
    pod = jobs.next_pod("loops").write("run 0\n", previous=True).write("run 1\n").run().restart(137, reason="OOMKilled")
    until_asked(kubelet, pod.name, previous=True)
    until_asked(kubelet, pod.name)
    pod.finish_deletion()

    told = watcher.telling(uid)

    assert jobs.pods("loops") == []
    assert logs(told)[f"{pod.name}-main.run0.log"] == "run 0\n"
    assert logs(told)[f"{pod.name}-main.log"].endswith("run 1\n")
    assert "OOMKilled" in text_of(told)


def test_a_pod_that_a_deadline_ends_is_told(jobs: Jobs, watcher: Watcher, kubelet: Kubelet) -> None:
    uid = jobs.create(manifest("slow"))["slow"]
    pod = jobs.next_pod("slow").write("still at it\n").run()
    jobs.expire("slow")
    until_asked(kubelet, pod.name)
    pod.finish_deletion()

    told = watcher.telling(uid)

    assert "DeadlineExceeded" in dict(table(told, "Job information"))["status"]
    assert any("still at it" in text for text in logs(told).values())


def test_a_pod_that_never_started_is_told_with_its_reason(jobs: Jobs, watcher: Watcher) -> None:
    uid = jobs.create(manifest("typo", containers=[container(image="busybox:1.73")]))["typo"]
    jobs.next_pod("typo").wait("ImagePullBackOff", "no such tag").delete()
    pod = jobs.next_pod("typo").wait("ImagePullBackOff", "no such tag")
    jobs.expire("typo")
    pod.finish_deletion()

    assert "ImagePullBackOff" in text_of(watcher.telling(uid))


def test_a_kubelet_that_does_not_answer_costs_the_log_and_not_the_finding(
    jobs: Jobs, watcher: Watcher, kubelet: Kubelet
) -> None:
    uid = jobs.create(manifest("mute"))["mute"]
    pod = jobs.next_pod("mute").write("unheard\n")
    kubelet.hold(pod.name)
    pod.run().crash(3)

    told = watcher.telling(uid)
    kubelet.hold(pod.name).set()

    (row,) = table(told, "Job Pods")
    assert "main: exit 3 (Error)" in row
    assert logs(told) == {}
    assert "logs could not be read within 5 s" in text_of(told)


@pytest.mark.parametrize(("resource", "log"), [("pods/log", False), ("events", True)])
def test_a_missing_permission_is_a_note_in_the_finding(
    cluster: ControlPlane, jobs: Jobs, kubeconfig: Path, tmp_path: Path, resource: str, log: bool
) -> None:
    name = f"without-{resource.replace('/', '-')}"
    without = Account(cluster, name).grant(without=resource)
    with Hook() as hook, Watcher(tmp_path, cluster, without, hook, lease=name) as watcher:
        uid = jobs.fail("crashes", "last words\n")

        told = watcher.telling(uid)

    assert dict(table(told, "Job information"))["status"]
    assert ("last words" in text_of(told)) is log
    notes = [block["text"] for block in told["finding"]["blocks"] if block["type"] == "text"]
    assert any(f"on {resource}" in note for note in notes)


def everything_known(watcher: Watcher, entry: str) -> dict[str, bytes]:
    """Return every place that anybody could read, with what stands there."""
    places = {str(path): content for path, content in watcher.files()}
    places |= {f"rows of {name}": watcher.rows(name) for name in ("entries", "findings", "evidence")}
    places["the API"] = watcher.get(f"/api/v1/entries/{entry}").content
    places["the webhook sink"] = b"\n".join(watcher.hook.bodies())
    return places


def leaks(places: dict[str, bytes]) -> set[str]:
    return {place for place, content in places.items() for secret in SECRETS if secret.encode() in content}


def test_secrets_in_logs_and_variables_are_nowhere(jobs: Jobs, watcher: Watcher) -> None:
    in_log, in_variable, in_url, in_message = SECRETS
    variables = [{"name": "DB_PASSWORD", "value": in_variable}]
    uid = jobs.create(manifest("leaks", containers=[container(env=variables)], backoffLimit=6))["leaks"]
    log = f"password={in_log}\nGET https://user:{in_url}@db/\nopening db with {in_variable}\nand so it ended\n"
    jobs.next_pod("leaks").write(log).run().crash(message=f"token: {in_message}")
    watcher.until_held("and so it ended")
    before = watcher.rows("evidence")
    jobs.expire("leaks")

    told = watcher.telling(uid)

    places = everything_known(watcher, told["entry"]["id"])
    assert leaks({**places, "the evidence before": before}) == set()
    shown = {place for place, content in places.items() if b"and so it ended" in content}
    assert {"rows of findings", "the webhook sink", str(watcher.sink)} <= shown


def test_who_changed_the_cron_job_is_told(
    cluster: ControlPlane, jobs: Jobs, kubeconfig: Path, auditor: Auditor, webhook: Webhook, tmp_path: Path
) -> None:
    ledger = f"--ledger-url={auditor.console_url}"
    path = "/spec/jobTemplate/spec/template/spec/containers/0/image"
    patch = f'[{{"op": "replace", "path": "{path}", "value": "busybox:1.37.0"}}]'
    jobs.create_cron_job("nightly", "busybox:1.36.1")
    jobs.kubectl("patch", "cronjob", "nightly", "--type=json", f"--patch={patch}", user="alice")
    with Hook() as hook, Watcher(tmp_path, cluster, kubeconfig, hook, lease="owned", options=[ledger]) as watcher:
        uid = jobs.fail("nightly-1", owner=jobs.owner("cronjob", "nightly"))

        told = watcher.telling(uid)

    sentence = next(block["text"] for block in told["finding"]["blocks"] if block["type"] == "text")
    assert "by alice" in sentence
    assert "CronJob" in sentence
    assert "busybox:1.36.1" in text_of(told)
