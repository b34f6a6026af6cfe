"""The ground that the watcher's tests stand on: a node with logs, and Jobs that the real Job controller fails."""

from __future__ import annotations

import httpx
import pytest

from app.cli.controlplane import ControlPlane
from tests.e2e.jobs import Jobs, container, manifest
from tests.e2e.kubelet import Kubelet
from tests.e2e.webhooks import eventually

pytestmark = pytest.mark.e2e


def test_kubectl_logs_shows_what_a_container_has_printed(jobs: Jobs, kubelet: Kubelet) -> None:
    jobs.create(manifest("talks"))
    pod = jobs.next_pod("talks").write("one\ntwo\nthree\n").run()

    assert jobs.kubectl("logs", pod.name, "--tail=2") == "two\nthree\n"
    assert jobs.kubectl("logs", pod.name, "--limit-bytes=5") == "one\nt"
    asked = [request for request in kubelet.requests if request.run.pod == pod.name]
    assert asked[0].query["tailLines"] == "2"


def test_logs_of_the_run_before_are_apart(jobs: Jobs) -> None:
    jobs.create(manifest("restarts", restart_policy="OnFailure", backoffLimit=6))
    pod = jobs.next_pod("restarts").run().restart(137, reason="OOMKilled")
    pod.write("first run\n", previous=True).write("second run\n")

    assert jobs.kubectl("logs", pod.name, "--previous") == "first run\n"
    assert jobs.kubectl("logs", pod.name) == "second run\n"


def test_the_node_can_refuse_and_hold_logs(jobs: Jobs, kubelet: Kubelet, cluster: ControlPlane) -> None:
    jobs.create(manifest("refused"))
    pod = jobs.next_pod("refused").write("text\n").run()
    with cluster.client() as client:
        kubelet.refuse(pod.name, 500)
        assert client.get(f"{pod.path}/log").status_code == 500

        kubelet.refuse(pod.name, 200)
        kubelet.hold(pod.name)
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"{pod.path}/log", timeout=0.2)
        kubelet.hold(pod.name).set()
        assert client.get(f"{pod.path}/log").is_success


def test_logs_are_served_to_the_api_server_alone(kubelet: Kubelet) -> None:
    with httpx.Client(verify=False, trust_env=False) as stranger, pytest.raises(httpx.TransportError):
        stranger.get(f"https://127.0.0.1:{kubelet.port}/containerLogs/default/web/nginx")


def test_the_job_controller_gives_up_after_the_last_try(jobs: Jobs) -> None:
    jobs.fail("crashes", "no\n")

    assert jobs.failed("crashes")["reason"] == "BackoffLimitExceeded"


def test_too_many_restarts_fail_the_job_and_delete_its_pod(jobs: Jobs) -> None:
    jobs.create(manifest("loops", restart_policy="OnFailure", backoffLimit=1))
    pod = jobs.next_pod("loops").run().restart()
    pod.finish_deletion()

    assert jobs.failed("loops")["reason"] == "BackoffLimitExceeded"
    assert jobs.pods("loops") == []


def test_a_deadline_fails_the_job_and_deletes_its_pod(jobs: Jobs) -> None:
    jobs.create(manifest("slow", init=[container("prepare")]), manifest("waits"))
    pod = jobs.next_pod("slow").run()

    jobs.expire("slow", "waits")
    pod.finish_deletion()

    assert {jobs.failed(name)["reason"] for name in ("slow", "waits")} == {"DeadlineExceeded"}
    assert jobs.pods("slow") == jobs.pods("waits") == []


def test_a_job_that_succeeds_has_not_failed(jobs: Jobs) -> None:
    jobs.create(manifest("well"))
    jobs.next_pod("well").run().succeed()

    eventually(lambda: jobs.job("well")["status"].get("succeeded") == 1, "the Job completes")


def test_the_node_is_ready(cluster: ControlPlane, kubelet: Kubelet) -> None:
    def taints() -> str:
        return cluster.kubectl("get", "node", kubelet.name, "-o", "jsonpath={.spec.taints}").stdout

    # A new node has a taint until the node lifecycle controller has seen it.
    eventually(lambda: not taints(), "the node lifecycle controller calls the node ready")
