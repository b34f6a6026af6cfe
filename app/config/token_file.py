"""A token in a file, such as one of a mounted Secret, which whoever mounted it may exchange at any time."""

from __future__ import annotations

from pathlib import Path

import structlog

from app.kube.access import Stamp, is_token, stamp

logger = structlog.get_logger(__name__)


class TokenFileError(ValueError):
    """The file gives no token; the message names it and the remedy, and never shows what is in it."""


def read_token(path: Path) -> str:
    """Return the token of a file, without the line break that files end in; raises TokenFileError."""
    try:
        token = path.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise TokenFileError(f"{path}: cannot read the token: {error.strerror}") from error
    if not token:
        raise TokenFileError(f"{path}: is empty; it should hold a token on one line")
    if not is_token(token):
        raise TokenFileError(f"{path}: is no token: it should be one line of ASCII letters, digits and signs")
    return token


class TokenFile:
    """Gives the token that a file holds now: read anew when the file changes, empty as long as there never was one.

    A file that gives none any more leaves the last token in force, and is logged once: Secrets are mounted by
    exchanging links, and whoever reads in between should not be locked out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: Stamp | None = None
        self._token = ""

    def __call__(self) -> str:
        """Return the token."""
        seen = stamp(self._path)
        if seen != self._seen:
            self._seen = seen
            self._read()
        return self._token

    def _read(self) -> None:
        try:
            self._token = read_token(self._path)
        except TokenFileError as error:
            logger.warning("token not read", action="keep" if self._token else "wait", error=str(error))
