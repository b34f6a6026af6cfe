"""`helm upgrade`, rolling restarts and rotations under a constant load of updates: not one review is missed."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from cryptography import x509

from app.tls.issue import issue_authority
from tests.chart.helm import Helm
from tests.e2e.installed import WEBHOOK, Release
from tests.e2e.load import Load, Witness, recorded
from tests.e2e.node.ground import Ground
from tests.e2e.servers import Document
from tests.e2e.webhooks import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LOADED: Final = "loaded"
LEAF_SECONDS: Final = 30
OVERLAP_SECONDS: Final = 3
ADMISSION_PORT: Final = 10250
FOREIGN: Final = issue_authority("somebody else", now=datetime.now(UTC))
ROLLOUT_SECONDS: Final = 150.0
"""Two replicas, one after the other: each drains for 15 s, and begins anew."""
TUTORIAL: Final = {
    "customPlaybooks": [
        {
            "triggers": [{"on_deployment_update": {}}],
            "actions": [{"resource_babysitter": {"omitted_fields": [], "fields_to_monitor": ["images"]}}],
            "sinks": ["some_sink_name"],
        }
    ],
    "sinksConfig": [{"stdout_sink": {"name": "some_sink_name"}}],
}
TWO: Final[dict[str, Any]] = {
    "replicas": 2,
    "certificates": {"managed": {"leafSeconds": LEAF_SECONDS, "overlapSeconds": OVERLAP_SECONDS}},
}


@pytest.fixture(scope="module")
def release(ground: Ground, helm: Helm) -> Iterator[Release]:
    ground.cluster.kubectl("create", "namespace", LOADED)
    with Release(helm, ground.cluster, "kubewitness") as made:
        made.install(TWO)
        yield made


@pytest.fixture
def load(ground: Ground, release: Release, witness: Witness) -> Iterator[Load]:
    """A load that the auditor is seen to follow; it begins after its witness."""
    assert witness.complaints() == []
    with Load(ground.cluster, LOADED) as running:
        running.more(20)
        eventually(lambda: set(recorded(release.entries(namespace=LOADED))), "the first updates in a ledger")
        yield running


@pytest.fixture
def witness(ground: Ground, release: Release) -> Witness:
    assert release.name
    return Witness(ground.cluster, WEBHOOK)


def assert_nothing_was_missed(load: Load, release: Release, witness: Witness) -> None:
    load.end()
    assert load.refused == []
    assert len(load.written) > 100
    assert load.written - set(recorded(release.entries(namespace=LOADED))) == set()
    assert witness.called >= len(load.written)
    assert witness.complaints() == []


def test_helm_upgrade_adds_the_playbook(ground: Ground, release: Release, load: Load, witness: Witness) -> None:
    before = [pod["metadata"]["uid"] for pod in release.pods()]
    ground.cluster.kubectl("create", "deployment", "web", "--image=nginx:1.24", f"--namespace={LOADED}")

    release.upgrade(TWO | TUTORIAL)
    eventually(lambda: all(has_loaded(release, pod) for pod in release.pods()), "the playbook in both replicas")
    load.more()
    ground.cluster.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", f"--namespace={LOADED}")
    told = eventually(lambda: [each for each in release.entries(kind="Deployment") if each["findings"]], "a finding")

    assert [each["path"] for each in told[0]["changes"]] == ["spec.template.spec.containers[nginx].image"]
    assert [pod["metadata"]["uid"] for pod in release.pods()] == before
    assert_nothing_was_missed(load, release, witness)


def test_a_rolling_restart_of_two_replicas(release: Release, load: Load, witness: Witness) -> None:
    before = {pod["metadata"]["uid"] for pod in release.pods()}

    release.kubectl("rollout", "restart", f"statefulset/{release.name}")
    eventually(lambda: is_rolled_out(release), "the new Pods", seconds=ROLLOUT_SECONDS)
    load.more()

    assert before.isdisjoint(pod["metadata"]["uid"] for pod in release.pods())
    assert_nothing_was_missed(load, release, witness)


def test_renewed_certificates_and_a_new_authority(release: Release, load: Load, witness: Witness) -> None:
    (old,) = bundle(release)
    leaves = {leaf(release, pod).serial_number for pod in release.pods()}

    release.kubectl("annotate", "secret", release.name, "kubewitness/rotate=now")
    both = eventually(lambda: found if len(found := bundle(release)) == 2 else None, "both authorities in the bundle")
    after = OVERLAP_SECONDS + 2 * LEAF_SECONDS
    (new,) = eventually(lambda: found if len(found := bundle(release)) == 1 else None, "the new one", seconds=after)
    load.more()

    assert {old, new} == set(both)
    assert old != new
    served = [leaf(release, pod) for pod in release.pods()]
    assert leaves.isdisjoint(each.serial_number for each in served)
    for each in served:
        each.verify_directly_issued_by(new)
    assert_nothing_was_missed(load, release, witness)


def test_a_ca_bundle_that_somebody_overwrites_is_repaired(release: Release) -> None:
    before = bundle(release)
    path = "/webhooks/0/clientConfig/caBundle"
    foreign = base64.b64encode(FOREIGN.certificate_pem).decode()

    release.kubectl(
        "patch",
        "validatingwebhookconfiguration",
        release.name,
        "--type=json",
        f'--patch=[{{"op": "replace", "path": "{path}", "value": "{foreign}"}}]',
    )

    eventually(lambda: bundle(release) == before, "the bundle as it was")


def has_loaded(release: Release, pod: Document) -> bool:
    lines = release.log(pod["metadata"]["name"])
    return any(line["event"] == "config_loaded" and line["playbooks"] == 1 for line in lines)


def is_rolled_out(release: Release) -> bool:
    found = release.get("statefulset", release.name)
    status = found["status"]
    is_seen = status["observedGeneration"] == found["metadata"]["generation"]
    is_over = status["currentRevision"] == status["updateRevision"] and status.get("readyReplicas") == 2
    return bool(is_seen and is_over)


def bundle(release: Release) -> list[x509.Certificate]:
    """The authorities that the API server trusts."""
    (webhook,) = release.get("validatingwebhookconfiguration", release.name)["webhooks"]
    return x509.load_pem_x509_certificates(base64.b64decode(webhook["clientConfig"]["caBundle"]))


def leaf(release: Release, pod: Document) -> x509.Certificate:
    """What a replica serves now."""
    pem = ssl.get_server_certificate((pod["status"]["podIP"], ADMISSION_PORT))
    return x509.load_pem_x509_certificate(pem.encode())
