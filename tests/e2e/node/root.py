"""The file system of a container, as a shell script that makes it in a mount namespace of its own."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "sys")
"""Folders (or links to such) of the machine that are in every image, and that nobody may write."""

SETTINGS: Final = (
    "alternatives",
    "group",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "passwd",
    "protocols",
    "services",
    "ssl",
)
"""What an image has of /etc; files of the Pod itself come beside them."""

DEVICES: Final = ("null", "zero", "full", "random", "urandom")
EMPTY: Final = ("home", "mnt", "opt", "run", "srv", "var/lib", "var/log", "var/cache")
RESOLVER: Final = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
"""Names are in /etc/hosts; nobody answers here, so that others fail at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder or file of the machine, at its place in the container."""

    source: Path
    target: str
    read_only: bool = False


def script(root: Path, *, paths: Sequence[Path], mounts: Sequence[Mount], read_only: bool) -> str:
    """Return the commands that make the file system and then, in it, run the arguments of the script.

    The machine's own folders are read-only. `paths` are such folders, at the same place whatever rights the folders
    above them have. With `read_only` nothing can be written but what `mounts` allow, and /dev/shm.
    """
    lines = ["set -eu", "umask 022", f"mount -t tmpfs -o mode=0755 root {quote(root)}", f"cd {quote(root)}"]
    lines += [*_system(), *_settings(), *_devices()]
    for mount in sorted(mounts, key=lambda mount: len(mount.target)):
        lines += _bind(mount.source, mount.target, read_only=mount.read_only)
    # After the mounts, which would hide them: a checkout may be below /tmp, where Pods have volumes.
    for path in paths:
        lines += _bind(path, str(path), read_only=True)
    if read_only:
        lines.append("mount -o remount,ro,bind .")
    return "\n".join([*lines, 'exec chroot . "$@"'])


def quote(path: Path | str) -> str:
    """Return a path as a shell reads it."""
    return shlex.quote(str(path))


def _bind(source: Path, target: str, *, read_only: bool) -> Iterator[str]:
    place = quote("./" + target.lstrip("/"))
    if source.is_dir():
        yield f"mkdir -p {place}"
    else:
        yield f"mkdir -p {quote('./' + str(Path(target).parent).lstrip('/'))}"
        yield f"test -e {place} || : > {place}"
    yield f"mount --bind {quote(source)} {place}"
    if read_only:
        yield f"mount -o remount,ro,bind {place}"


def _system() -> Iterator[str]:
    yield f"mkdir -p etc proc dev/shm tmp var/tmp {' '.join(EMPTY)}"
    yield "chmod 1777 tmp var/tmp"
    yield "mount -t proc proc proc"
    for name in SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            yield f"ln -s {quote(path.readlink())} {name}"
        elif path.is_dir():
            yield from _bind(path, name, read_only=True)


def _settings() -> Iterator[str]:
    present = [f"/etc/{name}" for name in SETTINGS if Path("/etc", name).exists()]
    yield f"cp -a {' '.join(present)} etc/"
    yield f"printf %s {quote(RESOLVER)} > etc/resolv.conf"


def _devices() -> Iterator[str]:
    for name in DEVICES:
        yield from _bind(Path("/dev", name), f"dev/{name}", read_only=False)
    yield "mount -t tmpfs -o mode=1777,size=64m shm dev/shm"
    yield "ln -s /proc/self/fd dev/fd"
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        yield f"ln -s /proc/self/fd/{number} dev/{name}"
