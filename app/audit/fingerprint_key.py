"""The key of the fingerprints: made once, kept beside the journal, never shown."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

FILE_NAME: Final = "fingerprint.key"
LENGTH: Final = 32
"""Bytes that a key has at least; one that is made is written as twice as many hexadecimal digits."""


class FingerprintKeyError(ValueError):
    """The key file cannot be used; the message names it."""


def fingerprint_key(data_dir: Path, given: Path | None) -> bytes:
    """Read the key: from `given` (shared by replicas), else from the data folder, where it is made if missing."""
    path = given or data_dir / FILE_NAME
    if given is None and not path.exists():
        _create(path)
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise FingerprintKeyError(f"{path}: cannot read the fingerprint key: {error.strerror}") from error
    if len(key) < LENGTH:
        raise FingerprintKeyError(f"{path}: the fingerprint key is too short; make one: openssl rand -hex {LENGTH}")
    return key


def keep_fingerprint_key(data_dir: Path, key: bytes) -> None:
    """Have the data folder hold this key, for its owner alone; raises OSError if it cannot be written.

    The journal's fingerprints are of this key: with a copy beside it, they can be compared with later ones even if
    where the key came from is lost, such as a Secret that went with what it was installed by.
    """
    path = data_dir / FILE_NAME
    if not path.exists() or path.read_bytes().strip() != key:
        _write(path, key)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, secrets.token_hex(LENGTH).encode())


def _write(path: Path, key: bytes) -> None:
    """Write all of it or nothing: half a key would be no key at the next start."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key + b"\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
