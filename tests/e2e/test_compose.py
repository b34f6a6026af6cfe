"""What `docker compose up` promises: a change by kubectl, and a failed Job, reach the ledger and the receiver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.cli.controlplane import ControlPlane, Programs
from tests.dockerfile import ROOT
from tests.e2e.composition import Composition
from tests.e2e.webhooks import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CHANGE = '  spec.template.spec.containers[nginx].image: "nginx:1.27" -> "nginx:1.28"'


@pytest.fixture(scope="module")
def composed(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    # Of its own: this webhook is shown everything, and goes while others still watch theirs.
    with ControlPlane(programs, tmp_path_factory.mktemp("k3s")) as running:
        yield running


@pytest.fixture(scope="module")
def services(composed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    with Composition(tmp_path_factory.mktemp("compose") / "services", composed) as running:
        composed.kubectl("create", "deployment", "probe", "--image=nginx:1.27")
        eventually(lambda: shown(composed, running, "probe"), "the API server shows changes to the auditor")
        yield running


def shown(cluster: ControlPlane, services: Composition, name: str) -> bool:
    cluster.kubectl("annotate", "deployment", name, f"seen={len(entries(services))}", "--overwrite")
    return f"Deployment/default/{name} " in entries(services)


def entries(services: Composition) -> str:
    return services.run("auditor", "kubewitness", "entries", "list")


def test_services_start_in_an_order_that_ends_with_the_watcher(services: Composition) -> None:
    order = services.order()

    assert order.index("certificates") < order.index("auditor") < order.index("register")
    assert order[-1] == "watcher"


def test_a_new_image_is_in_the_ledger_and_at_the_receiver(composed: ControlPlane, services: Composition) -> None:
    composed.kubectl("create", "deployment", "web", "--image=nginx:1.27")
    composed.kubectl("set", "image", "deployment/web", "nginx=nginx:1.28", user="alice")

    eventually(lambda: CHANGE in services.log("receiver").splitlines(), "the receiver prints the change")
    assert "INFO Deployment/default/web updated: UPDATE Deployment/default/web by alice" in services.log("receiver")
    assert "nginx:1.27 → nginx:1.28" in entries(services)


def test_a_failed_job_reaches_the_receiver(composed: ControlPlane, services: Composition) -> None:
    composed.kubectl("apply", "-f", str(ROOT / "deploy/compose/job.yaml"))

    told = "HIGH Job Failed: FAILED Job/default/too-late"
    eventually(lambda: told in services.log("receiver").splitlines(), "the receiver prints the failure")
    assert "DeadlineExceeded" in services.log("receiver")


def test_starting_again_changes_nothing(composed: ControlPlane, services: Composition) -> None:
    before = bundle(composed)

    services.start_again("certificates")
    services.start_again("register")

    assert bundle(composed) == before


def bundle(cluster: ControlPlane) -> str:
    where = "jsonpath={.webhooks[0].clientConfig.caBundle}"
    return cluster.kubectl("get", "validatingwebhookconfiguration", "kubewitness", f"--output={where}").stdout
