"""A real Kubernetes control plane on this machine's loopback: etcd, kube-apiserver, kube-controller-manager.

There is no node, so nothing runs in Pods; everything that an API server decides, stores and shows to webhooks
is real. For the demo and the end-to-end tests. The programs come from a folder in the envtest convention, as
`KUBEBUILDER_ASSETS` names it.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from app.cli.identities import Identities, write_identities
from app.cli.processes import Processes, free_ports

DEFAULT_FOLDER: Final = Path("~/.cache/kubewitness/control-plane-1.20.2")
"""Where `.ci/control-plane` puts the programs."""

SERVICE_CIDR: Final = "127.96.0.0/16"
"""Cluster IPs are loopback addresses, so that a local process can stand in for a Service."""

START_TIMEOUT: Final = timedelta(seconds=50)
COMMAND_TIMEOUT: Final = timedelta(seconds=30)


class ControlPlaneError(Exception):
    """The programs are missing, or a kubectl command failed; the message shows what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs of a control plane; without a controller manager nothing acts on what is stored."""

    etcd: Path
    api_server: Path
    kubectl: Path
    controller_manager: Path | None = None

    @classmethod
    def find(cls, folder: Path | None = None) -> Self:
        """Find the programs in `folder` (default: DEFAULT_FOLDER), kubectl also in the PATH.

        Raises ControlPlaneError that says what is missing and how to get it.
        """
        place = (folder or DEFAULT_FOLDER).expanduser()
        found = {name: _executable(place, name) for name in ("etcd", "kube-apiserver", "kubectl")}
        missing = [name for name, path in found.items() if path is None]
        if missing:
            raise ControlPlaneError(
                f"no {', '.join(missing)} in {place}; run .ci/control-plane, "
                "or set KUBEBUILDER_ASSETS to a folder that has them"
            )
        etcd, api_server, kubectl = (path for path in found.values() if path is not None)
        manager = _executable(place, "kube-controller-manager")
        return cls(etcd=etcd, api_server=api_server, kubectl=kubectl, controller_manager=manager)


def _executable(folder: Path, name: str) -> Path | None:
    # Any release of kubectl will do; the others must be the ones that the folder's owner chose.
    found = shutil.which(folder / name) or (shutil.which(name) if name == "kubectl" else None)
    return Path(found) if found else None


class ControlPlane:
    """A control plane that is ready inside its `with` block (in about 5 s) and gone after it.

    All that it writes is in `directory`: `etcd/`, `identities/`, and a log for each process. Its users are
    `admin` and `alice` (group `dev-team`), both with all rights. A start that fails raises ProcessError, which
    shows the end of what was printed. Its certificate also has the first address of `service_cidr`, which is that
    of the Service `kubernetes`; whoever runs Pods forwards it to `url`.
    """

    def __init__(
        self,
        programs: Programs,
        directory: Path,
        *,
        service_cidr: str = SERVICE_CIDR,
        api_server_flags: Sequence[str] = (),
        manager_flags: Sequence[str] = (),
    ) -> None:
        self.programs = programs
        self.directory = directory
        self._service_cidr = service_cidr
        self._extra_flags = tuple(api_server_flags)
        self._extra_manager_flags = tuple(manager_flags)
        self._etcd_port, self._peer_port, api_server_port, self._manager_port = free_ports(4)
        self.url = f"https://127.0.0.1:{api_server_port}"
        self._identities = Identities(directory=directory / "identities")
        # Apart, because the API server can be restarted alone.
        self._etcd, self._api_server, self._manager = (Processes(directory) for _ in range(3))
        self._api_server_process_id = 0

    def __enter__(self) -> Self:
        # Pods know the API server by the first address for Services.
        service = str(ipaddress.ip_network(self._service_cidr)[1])
        write_identities(self._identities.directory, url=self.url, addresses=("127.0.0.1", service))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def kubeconfig(self, user: str = "admin") -> Path:
        """Return the kubeconfig file of `admin` or `alice`."""
        return self._identities.kubeconfig(user)

    def tls(self, user: str = "admin") -> ssl.SSLContext:
        """Return a client's context that trusts the API server and shows it this user's certificate."""
        context = ssl.create_default_context(cafile=str(self._identities.authority))
        context.load_cert_chain(self._identities.certificate(user), self._identities.key(user))
        return context

    def client(self, user: str = "admin") -> httpx.Client:
        """Return an HTTP client of the API server with this user's certificate; the caller closes it."""
        return httpx.Client(base_url=self.url, verify=self.tls(user), trust_env=False, timeout=10)

    def kubectl(
        self, *arguments: str, user: str = "admin", stdin: str = "", check: bool = True, editor: str = "false"
    ) -> subprocess.CompletedProcess[str]:
        """Return what kubectl printed, run as `user`; with `check`, a failure raises ControlPlaneError.

        `editor` is the command that `kubectl edit` runs on the file.
        """
        done = subprocess.run(  # noqa: S603  a list, no shell
            [str(self.programs.kubectl), f"--kubeconfig={self.kubeconfig(user)}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT.total_seconds(),
            check=False,
            # Its cache of what a server offers goes by address, which may have been another server's.
            env={"HOME": str(self.directory), "PATH": os.defpath, "KUBE_EDITOR": editor},
        )
        if check and done.returncode:
            command = f"kubectl {' '.join(arguments)} (as {user})"
            raise ControlPlaneError(f"{command} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def metrics(self, prefix: str) -> tuple[Sample, ...]:
        """Return the API server's own metrics whose names start with `prefix`."""
        with self.client() as client:
            lines = client.get("/metrics").raise_for_status().text.splitlines()
        wanted = [line for line in lines if line.removeprefix("# TYPE ").startswith(prefix)]
        families = text_string_to_metric_families("\n".join(wanted))
        return tuple(sample for family in families for sample in family.samples)

    def log(self, process: str = "kube-apiserver") -> str:
        """Return what a process has printed so far."""
        return self._api_server.log(process)

    def restart_api_server(self) -> None:
        """Kill the API server, start it again at the same address, and return when it is ready."""
        os.kill(self._api_server_process_id, signal.SIGKILL)
        self._api_server.stop()
        self._start_api_server()

    def stop(self) -> None:
        """End the processes of this control plane; does nothing when there are none."""
        # The API server waits for those who watch, so that they go first.
        for processes in (self._manager, self._api_server, self._etcd):
            processes.stop()

    def _start(self) -> None:
        self._etcd.start("etcd", self.programs.etcd, self._etcd_flags())
        self._start_api_server()
        if self.programs.controller_manager is not None:
            manager = self.programs.controller_manager
            self._manager.start("kube-controller-manager", manager, self._manager_flags(manager))
            # Before its namespace has a service account no Pod is accepted.
            self._wait_for("/api/v1/namespaces/default/serviceaccounts/default")
        self.kubectl("create", "clusterrolebinding", "alice", "--clusterrole=cluster-admin", "--user=alice")

    def _start_api_server(self) -> None:
        self._api_server_process_id = self._api_server.start(
            "kube-apiserver", self.programs.api_server, self._api_server_flags()
        )
        self._wait_for("/readyz")

    def _wait_for(self, path: str) -> None:
        with self.client() as client:
            self._api_server.wait_until(lambda: self._answers(client, path), path, timeout=START_TIMEOUT)

    def _answers(self, client: httpx.Client, path: str) -> bool:
        self._etcd.require_running()
        self._manager.require_running()
        try:
            return client.get(path).is_success
        except httpx.TransportError:
            return False

    def _etcd_flags(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        return [
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        ]

    def _api_server_flags(self) -> list[str]:
        identities = self._identities
        flags = [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self.url.rpartition(':')[2]}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            # Endpoints must not name a loopback address, and nothing here needs those of the API server.
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={self._service_cidr}",
            f"--client-ca-file={identities.authority}",
            f"--tls-cert-file={identities.certificate('apiserver')}",
            f"--tls-private-key-file={identities.key('apiserver')}",
            f"--service-account-key-file={identities.key('service-accounts')}",
            f"--service-account-signing-key-file={identities.key('service-accounts')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            # A node of tests is on this machine, under no name. It is asked for logs.
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={identities.certificate('apiserver')}",
            f"--kubelet-client-key={identities.key('apiserver')}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
        ]
        if self.programs.controller_manager is None:
            # Nobody makes service accounts then, and without one no Pod would be accepted.
            flags.append("--disable-admission-plugins=ServiceAccount")
        return [*flags, *self._extra_flags]

    def _manager_flags(self, manager: Path) -> list[str]:
        identities = self._identities
        kubeconfig = identities.kubeconfig("system:kube-controller-manager")
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={identities.key('service-accounts')}",
            f"--root-ca-file={identities.authority}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._manager_port}",
            *_insecure_port_flag(manager),
            "--controllers=*,-nodeipam,-route,-cloud-node-lifecycle",
            *self._extra_manager_flags,
        ]


def _insecure_port_flag(manager: Path) -> list[str]:
    """Switch off the fixed insecure port (10252), which two control planes on a machine would fight for.

    The flag exists up to Kubernetes 1.23.
    """
    printed = subprocess.run([str(manager), "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    minor = int(printed.split("v1.")[1].split(".")[0])
    return ["--port=0"] if minor < 24 else []  # noqa: PLR2004  see above
