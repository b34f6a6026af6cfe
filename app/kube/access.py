"""What a call needs to reach an API server and to be known there."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from app.kube.errors import KubernetesSetupError

Stamp: TypeAlias = tuple[str, int, int, int]
"""Path, modification time in ns, inode and size of a file; zeros if there is none."""

_TOKEN: Final = re.compile("[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Equal if made of the same files and token. `files` are those that may be rotated, as they were when read."""

    host: str
    authorization: str = field(repr=False)
    namespace: str
    server_name: str | None = None
    proxy: str | None = None
    files: tuple[Stamp, ...]
    tls: ssl.SSLContext = field(repr=False, compare=False)


def stamp(path: Path) -> Stamp:
    """Return what changes when a file is written or replaced."""
    try:
        seen = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), seen.st_mtime_ns, seen.st_ino, seen.st_size


def is_token(text: str) -> bool:
    """Whether a header can carry it as a token: visible ASCII characters, at least one, on one line."""
    return _TOKEN.fullmatch(text) is not None


def proven(token: str, place: object, advice: str) -> str:
    """Return a token without the line break that files end in; raises KubernetesSetupError, which never shows it."""
    text = token.strip()
    if not text:
        raise KubernetesSetupError(f"{place}: is empty; {advice}")
    if not is_token(text):
        raise KubernetesSetupError(f"{place}: is no token: it must be one line of letters, digits and signs; {advice}")
    return text
