"""The watcher as a process that is looked at from outside: what it holds, works, and asks the API server."""

from __future__ import annotations

import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from typing_extensions import override

from app.cli.controlplane import ControlPlane
from app.kube.service_account import FOLDER, HOST_VARIABLE, PORT_VARIABLE
from tests.e2e.program import PROGRAM, Program
from tests.e2e.watcher import NAMESPACE, PLAYBOOK

ACCOUNT: Final = "watcher"
START_TIMEOUT: Final = timedelta(seconds=120)
TICK: Final = 1 / os.sysconf("SC_CLK_TCK")

AUDIT_POLICY: Final = f"""
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules:
- level: Metadata
  users: ["system:serviceaccount:{NAMESPACE}:{ACCOUNT}"]
- level: None
"""
"""The API server writes down what the watcher's service account asks, and nothing else."""

_IN_A_POD: Final = 'mount -t tmpfs tmpfs /var/run && mkdir -p "${2%/*}" && cp -r "$1" "$2" && shift 2 && exec "$@"'
"""Puts the service account's files where a Pod has them, seen by this process alone."""


class Access(ABC):
    """How the watcher is let into the cluster."""

    name: str

    @abstractmethod
    def command(self, arguments: Sequence[str]) -> tuple[Path, Sequence[str]]:
        """Return the program to start, and what follows it."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables that belong to it."""
        return {}


class WithKubeconfig(Access):
    """A kubeconfig file, as outside of a cluster."""

    name = "kubeconfig"

    def __init__(self, path: Path) -> None:
        self.path = path

    @override
    def command(self, arguments: Sequence[str]) -> tuple[Path, Sequence[str]]:
        return PROGRAM, [*arguments, f"--kubeconfig={self.path}"]


class InCluster(Access):
    """The files and variables of a Pod, in a mount namespace of the process' own."""

    name = "in-cluster"

    def __init__(self, cluster: ControlPlane, token: str) -> None:
        self._port = cluster.url.rpartition(":")[2]
        self._files = cluster.directory / "serviceaccount"
        self._files.mkdir()
        (self._files / "token").write_text(token)
        (self._files / "namespace").write_text(NAMESPACE)
        shutil.copy(cluster.directory / "identities/ca.crt", self._files / "ca.crt")

    @override
    def command(self, arguments: Sequence[str]) -> tuple[Path, Sequence[str]]:
        script = ["sh", "-c", _IN_A_POD, "sh", str(self._files), str(FOLDER), str(PROGRAM)]
        return Path("/usr/bin/unshare"), ["--mount", "--map-root-user", *script, *arguments]

    @override
    def environment(self) -> Mapping[str, str]:
        return {HOST_VARIABLE: "127.0.0.1", PORT_VARIABLE: self._port}


class Watched(Program):
    """`kubewitness watch` with a file sink and a webhook sink; it goes by one Lease, whoever runs it."""

    def __init__(self, directory: Path, access: Access, hook_url: str, lease: str) -> None:
        super().__init__(directory, f"- webhook_sink: {{name: hook, url: '{hook_url}'}}\n{PLAYBOOK}")
        self._access = access
        self._lease = lease
        self._resumed = 0.0

    @override
    def start(self) -> None:
        program, arguments = self._access.command(self._arguments())
        self._process_id = self._processes.start("program", program, arguments, environment=self._environment())
        self._processes.wait_until(self._is_ready, "/readyz", timeout=START_TIMEOUT)

    @override
    def _arguments(self) -> Sequence[str]:
        return ["watch", *self._common(), f"--lease-name={self._lease}"]

    @override
    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), **self._access.environment()}

    def until_leading(self) -> None:
        """Return when it tells."""
        leads = "this replica tells"
        self._processes.wait_until(lambda: leads in self.get("/readyz").text, "leadership", timeout=START_TIMEOUT)

    def resident(self) -> float:
        """Return what is resident now, in MB (10^6 bytes, as of a Pod's limit of 80M)."""
        return self._status("VmRSS")

    def peak(self) -> float:
        """Return the most that was resident, in MB, since the start or `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Count the peak from now on (proc(5), clear_refs)."""
        (self._proc / "clear_refs").write_text("5")

    def worked(self) -> float:
        """Return the seconds of CPU time so far, of all threads, as fine as the clock ticks."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK

    def pause(self) -> None:
        """Stop it, as a machine does that is short of CPU."""
        os.kill(self._process_id, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._process_id, signal.SIGCONT)

    @property
    def _proc(self) -> Path:
        return Path(f"/proc/{self._process_id}")

    def _status(self, name: str) -> float:
        text = (self._proc / "status").read_text()
        return int(text.partition(f"{name}:")[2].split()[0]) * 1024 / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of the watcher, as the API server wrote it down when it came."""

    verb: str
    resource: str
    name: str
    at: datetime


class _Object(msgspec.Struct):
    resource: str = ""
    subresource: str = ""
    name: str = ""


class _Event(msgspec.Struct, rename="camel"):
    verb: str
    stage_timestamp: datetime
    object_ref: _Object = msgspec.field(default_factory=_Object)


class Calls:
    """What the watcher asks of the API server, read from its audit log as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._decoder = msgspec.json.Decoder(_Event)

    def new(self) -> list[Call]:
        """Return the requests since the last look."""
        return list(self._read())

    def _read(self) -> Iterator[Call]:
        with self._path.open("rb") as log:
            log.seek(self._position)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                yield _call(self._decoder.decode(line))

    def until_listed(self, *resources: str) -> datetime:
        """Wait until the watcher has listed each resource and asks to watch it; return when it did."""
        deadline = time.monotonic() + START_TIMEOUT.total_seconds()
        begun: set[str] = set()
        watched: dict[str, datetime] = {}
        while missing := set(resources) - watched.keys():
            assert time.monotonic() < deadline, f"no list and watch of {missing}"
            time.sleep(0.05)
            for call in self.new():
                if call.verb == "list":
                    begun.add(call.resource)
                elif call.verb == "watch" and call.resource in begun:
                    watched[call.resource] = call.at
        return max(watched[resource] for resource in resources)


def _call(event: _Event) -> Call:
    what = event.object_ref
    resource = f"{what.resource}/{what.subresource}" if what.subresource else what.resource
    return Call(verb=event.verb, resource=resource, name=what.name, at=event.stage_timestamp)


def counted(calls: Sequence[Call], lease: str) -> Counter[str]:
    """Count requests by what they are for; the election's own renewals are left out."""
    found: Counter[str] = Counter()
    for call in calls:
        if call.verb != "watch" and call.name != lease:
            found[f"{call.verb} {call.resource}"] += 1
    return found
