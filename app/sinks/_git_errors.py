"""What goes wrong between us and a git server, read as an outcome, with advice for people."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

from app.sinks._secrets import scrubbed
from app.sinks.base import PermanentError, SinkError, TemporaryError

RACED: Final = re.compile(
    r"fetch first|non-fast-forward|stale info|incorrect old value|failed to (?:update|lock) ref|cannot lock ref"
    r"|unable to set|reference already exists",
    re.IGNORECASE,
)
"""How servers say that somebody else has pushed in the meantime: git's receive-pack, GitHub, GitLab, dulwich."""

_STATUS: Final = re.compile(r"unexpected http resp (\d{3})")
_TEMPORARY_STATUS: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500
_REFUSALS: Final = (
    ("permission denied", "is the key one that may write to the repository? see ssh_key_file"),
    ("host key verification failed", "put the server's key into known_hosts_file: ssh-keyscan HOST"),
    ("repository not found", "is there such a repository, and may the account read it?"),
    ("does not appear to be a git repository", "make it first: git init --bare"),
    ("could not be found or you don't have permission", "is there such a repository, and may the account read it?"),
)
"""What ssh and git servers say before they hang up."""


def failures() -> tuple[type[Exception], ...]:
    """Return what git, the network and the disk raise; all else is a bug."""
    from dulwich import client, errors, file  # noqa: PLC0415  heavy, and only people who use it should load it

    unauthorized = (client.HTTPUnauthorized, client.HTTPProxyUnauthorized)
    return (*unauthorized, errors.NotGitRepository, errors.GitProtocolError, file.FileLocked, OSError)


def outcome(error: Exception, place: str, secrets: Set[str]) -> SinkError:
    """Return how one of `failures` is to be read, with advice where people can do something.

    Nothing of the credentials is quoted; `place` is the server's host or the path.
    """
    from dulwich import client, errors, file  # noqa: PLC0415  as above

    said = scrubbed(" ".join(str(error).split()), secrets)
    match error:
        case client.HTTPUnauthorized():
            return PermanentError(f"{place} does not accept the credentials; set username and password (a token)")
        case client.HTTPProxyUnauthorized():
            return PermanentError(f"{place}: the proxy asks for credentials")
        case errors.NotGitRepository():
            return PermanentError(f"{place}: there is no such repository; make it first, or check the account's rights")
        case errors.HangupException():
            return _hung_up(said, place)
        case errors.GitProtocolError():
            return _protocol(said, place)
        case file.FileLocked():
            return TemporaryError(f"{place}: another program holds a lock in the repository")
        case PermissionError():
            return PermanentError(f"{place}: {said}; the repository must be writable")
        case FileNotFoundError() if error.filename == "ssh":
            return PermanentError(f"{place}: the program ssh is not installed; use an https URL, or an image with ssh")
    return TemporaryError(f"{place}: {said or type(error).__name__}")


def refused(said: str, place: str, branch: str) -> SinkError:
    """Return the error for a push that the server understood and did not want."""
    return PermanentError(f"{place} refuses the push to {branch}: {said}; is the branch protected?")


def _hung_up(said: str, place: str) -> SinkError:
    for words, advice in _REFUSALS:
        if words in said.lower():
            return PermanentError(f"{place}: {said}; {advice}")
    return TemporaryError(f"{place}: {said}")


def _protocol(said: str, place: str) -> SinkError:
    found = _STATUS.search(said)
    status = int(found[1]) if found else 0
    if not found or status >= _SERVER_ERROR or status in _TEMPORARY_STATUS:
        return TemporaryError(f"{place}: {f'answered {status}' if found else said}")
    advice = "; may the account write to the repository?" if status == 403 else ""  # noqa: PLR2004  HTTP's own
    return PermanentError(f"{place} answered {status}{advice}")
