"""The services of docker-compose.yml as plain processes: their own commands, with other paths and addresses.

What an engine gives stands in for: volumes are folders, the network is the loopback, and the API server of `k3s` is a
control plane of the tests. Users, read-only roots and capabilities are those of whoever runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

import yaml

from app.cli.controlplane import ControlPlane
from app.cli.processes import Processes, free_ports
from tests.dockerfile import DOCKERFILE, ROOT, environment, stages
from tests.e2e.program import PROGRAM

START_TIMEOUT: Final = timedelta(seconds=30)
IMAGE: Final = stages(DOCKERFILE.read_text("utf-8"))[-1]
PROGRAMS: Final = {"kubewitness": str(PROGRAM), "python": sys.executable}

PORTS: Final = {
    "receiver": {8000: ""},
    "auditor": {10250: "--admission-port", 8080: "--console-port"},
    "watcher": {8081: "--console-port"},
}
"""The ports that services listen on, each with the option that moves it; without one it is an argument."""


class Composition:
    """All services but `k3s`, started in their order and ready inside the `with` block."""

    def __init__(self, directory: Path, cluster: ControlPlane) -> None:
        self.directory = directory
        self._cluster = cluster
        self._services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
            "services"
        ]
        self._processes = Processes(directory)
        listening = [port for ports in PORTS.values() for port in ports]
        self._ports = dict(zip(listening, free_ports(len(listening)), strict=True))

    def __enter__(self) -> Self:
        try:
            self._prepare()
            for name in self.order():
                self._start(name)
        except BaseException:
            self._processes.stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._processes.stop()

    def order(self) -> list[str]:
        """Return the services without `k3s`, each after those that it waits for."""
        ordered: list[str] = ["k3s"]
        while waiting := [name for name in self._services if name not in ordered]:
            ordered.append(next(name for name in waiting if self._waits_for(name) <= set(ordered)))
        return ordered[1:]

    def run(self, service: str, *arguments: str) -> str:
        """Return what a command prints in a service, as with `docker compose exec`."""
        return self._run(service, arguments).stdout

    def start_again(self, service: str) -> None:
        """Run a service that ends by itself once more, as the next `docker compose up` does."""
        self._run(service, self._command(service))

    def log(self, service: str) -> str:
        """Return what a service has printed so far."""
        return self._processes.log(service)

    def _waits_for(self, name: str) -> set[str]:
        return set(self._services[name].get("depends_on", ()))

    def _prepare(self) -> None:
        for name in ("kubeconfig", "certificates", "auditor", "watcher"):
            (self.directory / name).mkdir(parents=True)
        # As k3s leaves it, for the administrator alone.
        shutil.copy(self._cluster.kubeconfig(), self.directory / "kubeconfig/k3s.yaml")
        shutil.copytree(ROOT / "deploy/compose", self.directory / "compose")
        for path in (self.directory / "compose").iterdir():
            if path.is_file():
                path.write_text(self._moved(path.read_text("utf-8")), "utf-8")
        # No more than the image of k3s is sure to have.
        (self.directory / "bin").mkdir()
        (self.directory / "bin/kubectl").symlink_to(self._cluster.programs.kubectl.resolve())
        (self.directory / "bin/sleep").symlink_to("/bin/sleep")

    def _start(self, name: str) -> None:
        service = self._services[name]
        if "healthcheck" not in service:
            self._run(name, self._command(name))
            return
        program, *arguments = self._translated(name, self._command(name))
        self._processes.start(name, Path(program), arguments, environment=self._environment(name))
        kind, *check = service["healthcheck"]["test"]
        assert kind == "CMD"
        self._processes.wait_until(lambda: self._succeeds(name, check), f"{name} is healthy", timeout=START_TIMEOUT)

    def _command(self, name: str) -> list[str]:
        service = self._services[name]
        (entrypoint,) = (json.loads(each.text) for each in IMAGE if each.keyword == "ENTRYPOINT")
        moved = [f"{option}={self._ports[port]}" for port, option in PORTS.get(name, {}).items() if option]
        return [*service.get("entrypoint", entrypoint), *service["command"], *moved]

    def _succeeds(self, name: str, command: Sequence[str]) -> bool:
        return self._run(name, command, check=False).returncode == 0

    def _run(self, name: str, command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._translated(name, command),
            env=self._environment(name),
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT.total_seconds(),
            check=False,
        )
        assert not (check and done.returncode), f"{name}: {command} exited with {done.returncode}:\n{done.stderr}"
        return done

    def _translated(self, name: str, command: Sequence[str]) -> list[str]:
        words = [self._moved(self._path(name, word)) for word in command]
        return [PROGRAMS.get(words[0], words[0]), *words[1:]]

    def _environment(self, name: str) -> dict[str, str]:
        service = self._services[name]
        own = environment(IMAGE) if service["image"].startswith("kubewitness:") else {}
        said = {**own, **service.get("environment", {})}
        given = {key: self._path(name, value) for key, value in said.items() if key not in {"PATH", "HOME"}}
        path = str(self.directory / "bin") if not own else os.defpath
        # Nobody else has to learn that the auditor leaves.
        return {**given, "PATH": path, "HOME": str(self.directory), "KUBEWITNESS_DRAIN_SECONDS": "0"}

    def _path(self, name: str, word: str) -> str:
        """Replace the paths of a service's volumes by those of the folders that stand in for them."""
        for source, target in self._volumes(name):
            word = word.replace(target, str(self.directory / Path(source).name))
        return word

    def _volumes(self, name: str) -> Iterator[tuple[str, str]]:
        for mount in self._services[name].get("volumes", ()):
            source, target, *_mode = mount.split(":")
            yield source, target

    def _moved(self, text: str) -> str:
        """Replace the addresses of services by those where they are."""
        text = text.replace("https://k3s:6443", self._cluster.url)
        for service, ports in PORTS.items():
            for port in ports:
                for host in (service, "127.0.0.1"):
                    text = text.replace(f"{host}:{port}", f"127.0.0.1:{self._ports[port]}")
        return str(self._ports[8000]) if text == "8000" else text
