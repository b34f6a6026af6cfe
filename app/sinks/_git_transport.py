"""How to get to a git repository: a path, https or ssh, with what opens it."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple


class Place(NamedTuple):
    """Where the repository is, and how to get in; `shown` is what of it people may see."""

    url: str
    shown: str
    branch: str
    committer: str
    username: str | None
    password: str | None
    ssh_key_file: Path | None
    known_hosts_file: Path | None
    ca_file: Path | None
    verify_tls: bool
    timeout_seconds: float
    directory: Path | None

    @property
    def local(self) -> str | None:
        """The path of a repository on this machine; None if it is elsewhere."""
        path = self.url.removeprefix("file://")
        return path if path.startswith("/") else None


class Transport:
    """Makes dulwich's clients, and frees what they leave: processes that hung up, connections of refused requests."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._pool: Any = None
        self._processes: list[Any] = []

    @contextlib.contextmanager
    def connected(self) -> Iterator[tuple[Any, str]]:
        """Give a client and the repository's path there; its processes end with the block."""
        try:
            yield self._client()
        finally:
            while self._processes:
                self._processes.pop().close(timeout=1)

    def abort(self) -> None:
        """End the processes under way, from another thread; whoever waits for them sees that the server hung up."""
        for process in tuple(self._processes):
            process.proc.kill()

    def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            self._pool.clear()

    def _client(self) -> tuple[Any, str]:
        from dulwich.client import SSHGitClient, get_transport_and_path  # noqa: PLC0415  heavy

        place = self._place
        more: dict[str, Any] = {"username": place.username, "password": place.password}
        if place.url.startswith("http"):
            self._pool = self._pool or _pool(place)
            more["pool_manager"] = self._pool
        elif place.ssh_key_file is not None:
            more["key_filename"] = str(place.ssh_key_file)
        client, path = get_transport_and_path(place.url, ssh_command=shlex.join(_ssh(place)), quiet=True, **more)
        if isinstance(client, SSHGitClient):
            client.ssh_vendor = _vendor(self._processes)
        return client, path


def _ssh(place: Place) -> list[str]:
    seconds = max(int(place.timeout_seconds), 1)
    options = ["BatchMode=yes", f"ConnectTimeout={seconds}", f"ServerAliveInterval={seconds}", "ServerAliveCountMax=1"]
    if place.ssh_key_file is not None:
        options.append("IdentitiesOnly=yes")
    if place.known_hosts_file is not None:
        options += [f"UserKnownHostsFile={place.known_hosts_file}", "StrictHostKeyChecking=yes"]
    return ["ssh", *(word for option in options for word in ("-o", option))]


def _vendor(processes: list[Any]) -> Any:
    """Return what starts ssh for dulwich, and notes the processes."""
    from dulwich.client import SubprocessSSHVendor  # noqa: PLC0415  heavy

    class Vendor(SubprocessSSHVendor):
        def run_command(self, *arguments: Any, **options: Any) -> Any:
            """Start ssh."""
            process = super().run_command(*arguments, **options)
            processes.append(process)
            return process

    return Vendor()


def _pool(place: Place) -> Any:
    import urllib3  # noqa: PLC0415  comes with dulwich, heavy

    class Pool(urllib3.PoolManager):
        def urlopen(self, *arguments: Any, **options: Any) -> urllib3.BaseHTTPResponse:
            """Free the connection of an answer that nobody will read."""
            response = super().urlopen(*arguments, **options)
            if response.status >= HTTPStatus.BAD_REQUEST:
                response.close()
            return response

    return Pool(
        timeout=place.timeout_seconds,
        # The dispatcher tries again. Redirects are followed; dulwich sends credentials to no other server.
        retries=urllib3.Retry(connect=0, read=0, redirect=3, other=0),
        cert_reqs="CERT_REQUIRED" if place.verify_tls else "CERT_NONE",
        ca_certs=str(place.ca_file) if place.ca_file else None,
    )
