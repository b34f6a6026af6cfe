"""A control plane with a node, on which a chart can be installed for real."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.cli.controlplane import ControlPlane, Programs
from tests.e2e.node.network import Network
from tests.e2e.node.node import Node

MANAGER_FLAGS: Final = ("--kube-api-qps=500", "--kube-api-burst=1000")
"""By default controllers wait for each other, such as while many Jobs fail: they make 20 requests per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Its parts."""

    cluster: ControlPlane
    network: Network
    node: Node

    def kubectl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Return what kubectl printed; see `ControlPlane.kubectl`."""
        return self.cluster.kubectl(*arguments, **options)


@contextmanager
def ground(programs: Programs, directory: Path) -> Iterator[Ground]:
    """Yield a ground of one's own, ready in about 6 s; all of it is gone after the block."""
    with (
        Network() as network,
        ControlPlane(programs, directory, service_cidr=network.services, manager_flags=MANAGER_FLAGS) as cluster,
        Node(cluster, network) as node,
    ):
        yield Ground(cluster=cluster, network=network, node=node)
