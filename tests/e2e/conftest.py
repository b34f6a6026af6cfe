"""A control plane and an auditor for all end-to-end tests, and a namespace for each of them."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from app.cli.controlplane import ControlPlane, ControlPlaneError, Programs
from tests.e2e.auditor import Auditor, Document
from tests.e2e.environment import Environment, do_without
from tests.e2e.jobs import Jobs
from tests.e2e.kubelet import Kubelet
from tests.e2e.node import ground as grounds
from tests.e2e.node.commands import missing
from tests.e2e.servers import Hook
from tests.e2e.watcher import NAMESPACE, Account, Watcher
from tests.e2e.webhooks import Webhook

PLAYBOOKS: Final = """
customPlaybooks:
- triggers:
    - on_deployment_update: {}
  actions:
    - resource_babysitter:
        omitted_fields: []
        fields_to_monitor: ["images"]
  sinks:
  - everything
- triggers:
    - on_configmap_all_changes: {}
  actions:
    - resource_babysitter: {}
  sinks:
  - everything
- triggers:
    - on_secret_all_changes: {}
  actions:
    - resource_babysitter: {}
  sinks:
  - everything
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A namespace of its own: what kubectl does there, and what the ledger says of it."""

    cluster: ControlPlane
    auditor: Auditor
    namespace: str

    def kubectl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, **options)

    def entries(self, **filters: str) -> list[Document]:
        return self.auditor.entries(namespace=self.namespace, **filters)

    def actions(self, **filters: str) -> list[Document]:
        """Entries without repeats: the API server asks again when a write conflicts with a controller's."""
        entries = self.entries(**filters)
        return list({_what_it_says(entry): entry for entry in reversed(entries)}.values())[::-1]


def _what_it_says(entry: Document) -> bytes:
    said = {key: entry.get(key) for key in ("operation", "dry_run", "resource", "user", "changes")}
    return msgspec.json.encode(said)


@pytest.fixture(scope="session")
def programs() -> Programs:
    try:
        return Programs.find(Environment().kubebuilder_assets)
    except ControlPlaneError as error:
        do_without(str(error))


@pytest.fixture(scope="package")
def ground(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[grounds.Ground]:
    """Return a control plane with a node that runs Pods; apart from `cluster`, as it may be restarted."""
    if reason := missing():
        do_without(reason)
    with grounds.ground(programs, tmp_path_factory.mktemp("ground")) as running:
        yield running


@pytest.fixture(scope="package")
def cluster(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(programs, tmp_path_factory.mktemp("cluster"), manager_flags=grounds.MANAGER_FLAGS) as running:
        yield running


@pytest.fixture(scope="package")
def kubelet(cluster: ControlPlane) -> Iterator[Kubelet]:
    with Kubelet(cluster) as running:
        yield running


@pytest.fixture
def jobs(cluster: ControlPlane, kubelet: Kubelet, numbers: Iterator[int]) -> Iterator[Jobs]:
    """Return a namespace of its own for Jobs."""
    with closing(Jobs(cluster, kubelet, f"jobs-{next(numbers)}")) as made:
        yield made


@pytest.fixture(scope="package")
def kubeconfig(cluster: ControlPlane) -> Path:
    """Return the kubeconfig of a service account that may do what the watcher needs, and nothing else."""
    if cluster.kubectl("get", "namespace", NAMESPACE, check=False).returncode:
        cluster.kubectl("create", "namespace", NAMESPACE)
    return Account(cluster, "watcher").grant()


@pytest.fixture(scope="package")
def hook() -> Iterator[Hook]:
    with Hook() as running:
        yield running


@pytest.fixture(scope="package")
def watcher(
    tmp_path_factory: pytest.TempPathFactory, cluster: ControlPlane, kubeconfig: Path, hook: Hook
) -> Iterator[Watcher]:
    """Return the watcher that runs all the time, with the rules of the README to the letter."""
    assert kubeconfig.exists()  # and so does the namespace
    exact = Account(cluster, "kubewitness-watcher").grant(any_lease=False)
    with Watcher(tmp_path_factory.mktemp("watcher"), cluster, exact, hook) as running:
        yield running


@pytest.fixture
def another(tmp_path: Path, cluster: ControlPlane, kubeconfig: Path, numbers: Iterator[int]) -> Iterator[Watcher]:
    """Return a watcher of the test's own, which knows nothing of the first one; it may be killed."""
    with Hook() as own, Watcher(tmp_path, cluster, kubeconfig, own, lease=f"lease-{next(numbers)}") as running:
        yield running


@pytest.fixture(scope="package")
def auditor(tmp_path_factory: pytest.TempPathFactory, cluster: ControlPlane) -> Iterator[Auditor]:
    with Auditor(tmp_path_factory.mktemp("auditor"), PLAYBOOKS) as running:
        yield running


@pytest.fixture(scope="package")
def webhook(cluster: ControlPlane, auditor: Auditor) -> Webhook:
    """Return the webhook of the auditor, for everything that happens in the cluster, when it is effective."""
    webhook = auditor.webhook("everything")
    webhook.register(cluster)
    assert auditor.entries(kind="ConfigMap", name="probe")
    return webhook


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def place(cluster: ControlPlane, auditor: Auditor, webhook: Webhook, numbers: Iterator[int]) -> Place:
    namespace = f"place-{next(numbers)}"
    cluster.kubectl("create", "namespace", namespace)
    return Place(cluster=cluster, auditor=auditor, namespace=namespace)


@pytest.fixture
def web(place: Place) -> Place:
    """A place with a Deployment `web` that has one container, `nginx`."""
    place.kubectl("create", "deployment", "web", "--image=nginx:1.24")
    return place
