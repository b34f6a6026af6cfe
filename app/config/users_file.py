"""The users of the console in a file: lines of `htpasswd -B`, which whoever mounted it may exchange at any time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from app.kube.access import Stamp, stamp

logger = structlog.get_logger(__name__)

_HASH: Final = re.compile(r"\$2[aby]\$(?:0[4-9]|1\d|2\d|3[01])\$[./A-Za-z0-9]{53}")
"""A bcrypt hash: version, cost, and salt with digest (https://www.openwall.com/crypt/)."""


class UsersFileError(ValueError):
    """The file cannot be used; the message names it, the line and the remedy, and never shows what is in it."""


def read_users(path: Path) -> dict[str, str]:
    """Return the hash of each user's password; raises UsersFileError. Blank lines and comments (#) are left out."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise UsersFileError(f"{path}: cannot read the users: {error.strerror}") from error
    except ValueError as error:
        raise UsersFileError(f"{path}: is no text in UTF-8") from error
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            name, hashed = _read(line.strip(), f"{path}:{number}")
            users[name] = hashed
    return users


def _read(line: str, place: str) -> tuple[str, str]:
    name, colon, hashed = line.partition(":")
    if not colon or not name or not name.isprintable():
        raise UsersFileError(f"{place}: takes NAME:HASH, as `htpasswd -B` writes it")
    if not _HASH.fullmatch(hashed):
        raise UsersFileError(f"{place}: the password is no bcrypt hash; `htpasswd -B` and `htpasswd -nB` make one")
    return name, hashed


class UsersFile:
    """Gives the users that a file names now: read anew when it changes, none as long as there never were any.

    A file that cannot be read any more leaves the last users in force, and is logged once: Secrets are mounted by
    exchanging links, and whoever signs in meanwhile should not be locked out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: Stamp | None = None
        self._users: Mapping[str, str] = {}

    def __call__(self) -> Mapping[str, str]:
        """Return the hash of each user's password."""
        seen = stamp(self._path)
        if seen != self._seen:
            self._seen = seen
            self._read()
        return self._users

    def _read(self) -> None:
        try:
            self._users = read_users(self._path)
        except UsersFileError as error:
            logger.warning("users not read", action="keep" if self._users else "wait", error=str(error))
