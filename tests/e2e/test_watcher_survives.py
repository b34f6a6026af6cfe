"""Each failed Job is told exactly once, whatever is killed, restarted, deleted or busy meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from app.bootstrap.watcher_parts import identity
from app.cli.controlplane import ControlPlane, Programs
from app.core import claims
from app.kube.shared_record import ANNOTATION
from tests.e2e.jobs import Jobs, manifest
from tests.e2e.kubelet import Kubelet
from tests.e2e.servers import Hook
from tests.e2e.watcher import NAMESPACE, Watcher, logs
from tests.e2e.webhooks import eventually

pytestmark = pytest.mark.e2e


def in_hook(hook: Hook, uids: Iterable[str]) -> Counter[str]:
    """How often the webhook sink was told of each Job."""
    told = Counter(each["entry"]["resource"]["uid"] for each in hook.notifications())
    return Counter({uid: told[uid] for uid in uids})


def in_ledgers(namespace: str, *watchers: Watcher) -> Counter[str]:
    """How many entries there are of each Job in the ledgers of all replicas."""
    return Counter(entry["resource"]["uid"] for each in watchers for entry in each.failures(namespace=namespace))


def once(uids: Iterable[str]) -> Counter[str]:
    return Counter(dict.fromkeys(uids, 1))


def test_a_job_that_fails_while_the_watcher_is_down_is_told_when_it_is_back(jobs: Jobs, another: Watcher) -> None:
    another.kill()
    uid = jobs.fail("meanwhile", "nobody listens\n")

    another.start()

    assert list(logs(another.telling(uid)).values()) == ["nobody listens\n"]


def test_evidence_survives_the_watcher_and_the_pod(jobs: Jobs, another: Watcher) -> None:
    uid = jobs.create(manifest("during", backoffLimit=6))["during"]
    pod = jobs.next_pod("during").write("the reason\n").run().crash()
    another.until_held("the reason")
    another.kill()
    pod.delete()
    jobs.expire("during")
    jobs.failed("during")

    another.start()

    assert "the reason\n" in logs(another.telling(uid))[f"{pod.name}-main.log"]


def test_what_was_told_is_not_told_again_after_a_kill(jobs: Jobs, another: Watcher) -> None:
    before = jobs.fail("before")
    another.telling(before)
    another.kill()

    another.start()

    # Afterwards, so that the silence about the first one means something.
    after = jobs.fail("after")
    another.telling(after)
    assert in_ledgers(jobs.namespace, another) == in_hook(another.hook, [before, after]) == once([before, after])


def test_the_first_start_does_not_tell_what_has_failed_before(
    jobs: Jobs, cluster: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    before = jobs.begin(30)
    jobs.expire(*before)
    jobs.failed(*before)
    with Hook() as hook, Watcher(tmp_path, cluster, kubeconfig, hook, lease="first-start") as watcher:
        uid = jobs.fail("news")

        watcher.telling(uid)

        assert in_ledgers(jobs.namespace, watcher) == once([uid])
        assert in_hook(hook, before.values()).total() == 0


def test_an_api_server_that_restarts_loses_and_repeats_nothing(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "plane").mkdir()
    with ControlPlane(programs, tmp_path / "plane") as cluster, Kubelet(cluster) as kubelet, Hook() as hook:
        cluster.kubectl("create", "namespace", NAMESPACE)
        options = [f"--lease-namespace={NAMESPACE}"]
        with (
            closing(Jobs(cluster, kubelet, "restarts")) as jobs,
            Watcher(tmp_path / "watcher", cluster, cluster.kubeconfig(), hook, options=options) as watcher,
        ):
            before = jobs.fail("before")
            watcher.telling(before)
            uid = jobs.create(manifest("across"))["across"]
            pod = jobs.next_pod("across").write("went on\n").run()

            cluster.restart_api_server()
            pod.crash()
            jobs.failed("across")

            assert list(logs(watcher.telling(uid)).values()) == ["went on\n"]
            assert in_ledgers("restarts", watcher) == in_hook(hook, [before, uid]) == once([before, uid])


def test_a_busy_receiver_is_told_of_200_jobs_that_fail_at_once(jobs: Jobs, another: Watcher) -> None:
    begun = jobs.begin(200)
    uids = list(begun.values())
    another.hook.busy = True
    jobs.expire(*begun)
    eventually(lambda: another.hook.refused >= 3, "the receiver has refused")
    another.hook.busy = False
    eventually(lambda: len(another.failures(namespace=jobs.namespace)) >= 200, "the ledger has all")

    eventually(lambda: in_hook(another.hook, uids).total() >= 200, "the receiver is told of all")
    assert in_hook(another.hook, uids) == in_ledgers(jobs.namespace, another) == once(uids)
    written = Counter(each["entry"]["resource"]["uid"] for each in another.told())
    assert Counter({uid: written[uid] for uid in uids}) == once(uids)


def test_a_leader_that_is_killed_loses_and_repeats_nothing(
    jobs: Jobs, cluster: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    with (
        Hook() as hook,
        Watcher(tmp_path / "a", cluster, kubeconfig, hook, lease="pair") as leader,
        Watcher(tmp_path / "b", cluster, kubeconfig, hook, lease="pair") as other,
    ):
        begun = jobs.begin(50)
        uids, names = list(begun.values()), list(begun)
        jobs.expire(*names[:25])
        eventually(lambda: len(in_ledgers(jobs.namespace, leader)) >= 5, "the leader tells")
        leader.kill()
        jobs.expire(*names[25:])
        other.until_leading()
        leader.start()

        eventually(lambda: in_hook(hook, uids).total() >= 50, "all are told")
        assert in_hook(hook, uids) == in_ledgers(jobs.namespace, leader, other) == once(uids)
        assert in_ledgers(jobs.namespace, other).total() >= 25


def test_what_a_killed_leader_has_claimed_is_told_at_once_when_it_is_back_and_another_leads(
    jobs: Jobs, cluster: ControlPlane, kubeconfig: Path, tmp_path: Path
) -> None:
    with (
        Hook() as hook,
        Watcher(tmp_path / "a", cluster, kubeconfig, hook, lease="heirs") as leader,
        Watcher(tmp_path / "b", cluster, kubeconfig, hook, lease="heirs") as other,
    ):
        leader.until_leading()
        leader.kill()
        uid = jobs.fail("between")
        leave_claimed(cluster, leader, jobs, "between", uid)
        other.until_leading()
        assert in_hook(hook, [uid]).total() == 0, "it may be on its way"
        leader.start()

        eventually(lambda: in_hook(hook, [uid]).total() >= 1, "it is told within the grace")
        assert in_ledgers(jobs.namespace, other) == in_hook(hook, [uid]) == once([uid])
        assert in_ledgers(jobs.namespace, leader).total() == 0


def leave_claimed(cluster: ControlPlane, watcher: Watcher, jobs: Jobs, name: str, uid: str) -> None:
    """Leave the record as a watcher does that is killed between claim and commit."""
    failed_at = int(datetime.fromisoformat(jobs.failed(name)["lastTransitionTime"]).timestamp())
    lease = (f"lease/{watcher.lease}-failed-jobs", f"--namespace={NAMESPACE}")
    found = msgspec.json.decode(cluster.kubectl("get", *lease, "--output=json").stdout)
    record = claims.decode(found["metadata"]["annotations"][ANNOTATION].encode())
    whose, now = identity(watcher.data), int(time.time())
    claim = claims.Claim(uid=uid, by=whose, namespace=jobs.namespace, name=name, failed_at=failed_at, at=now)
    claimed, won = claims.claim(record, [claim])
    assert won == (uid,)
    cluster.kubectl("annotate", "--overwrite", *lease, f"{ANNOTATION}={claims.encode(claimed).decode()}")
