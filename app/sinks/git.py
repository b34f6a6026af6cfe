"""Git sink: each object's clean manifest, committed with the actor as author and pushed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator, Field, SecretStr
from typing_extensions import override

from app.core import text as plain
from app.core.change import Entry
from app.core.finding import JsonBlock, Notification
from app.sinks._git_errors import failures, outcome
from app.sinks._git_remote import TRAILER, Change, Remote
from app.sinks._git_transport import Place
from app.sinks._manifest import Rewritten, path, rewritten
from app.sinks._markdown import inert
from app.sinks._secrets import option_secrets
from app.sinks._text import Markup, message
from app.sinks._thread import OwnThread
from app.sinks.base import PermanentError, Rendering, Sink, SinkConfig

SUBJECT_LIMIT: Final = 100
BODY_LIMIT: Final = 8000
"""Characters of a commit message beneath its subject; what does not fit is counted."""

PARTIAL: Final = "The file holds only what is known: the object was not seen whole, or a change of it was missed."

_CLOSING_SECONDS: Final = 0.5
# RFC 5321, 4.5.3.1.1
_LOCAL_LIMIT: Final = 64
_REMOTE: Final = re.compile(r"(?:https?|ssh|file)://\S+|[\w.-]+@[\w.-]+:[^\s:]\S*|/\S+")
# Stricter than git check-ref-format, and enough for people.
_BRANCH: Final = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock$|\.lock/))[A-Za-z0-9_][A-Za-z0-9._/-]{0,200}(?<![./])")
_MAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_GH: Final = re.compile(r"(?i)\b(GH)-(?=\d)")


def _url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not _REMOTE.fullmatch(text):
        raise ValueError(
            "is no repository; right is https://host/name.git, ssh://git@host/name.git, git@host:name.git, "
            "or the absolute path of a bare repository"
        )
    return SecretStr(text)


def _branch(text: str) -> str:
    if not _BRANCH.fullmatch(text):
        raise ValueError(f"{text!r} is no branch; right is a name such as main or audit/prod")
    return text


class GitConfig(SinkConfig):
    """Options of the git sink."""

    keeps_records: ClassVar[bool] = True

    url: Annotated[
        SecretStr,
        AfterValidator(_url),
        Field(
            description="Repository: an https or ssh URL, or the path of a bare one; shown nowhere but for its host."
        ),
    ]
    branch: Annotated[
        str, AfterValidator(_branch), Field(description="Branch to commit to; it is made if there is none.")
    ] = "main"
    username: Annotated[str | None, Field(description="User for https; for a token often any, such as `git`.")] = None
    password: Annotated[SecretStr | None, Field(description="Password or token for https.")] = None
    ssh_key_file: Annotated[
        Path | None, Field(description="Private key for ssh, without a passphrase; needs the program ssh.")
    ] = None
    known_hosts_file: Annotated[Path | None, Field(description="Keys of ssh servers, as ssh-keyscan writes them.")] = (
        None
    )
    ca_file: Annotated[Path | None, Field(description="PEM file of the authorities to trust for https.")] = None
    verify_tls: Annotated[bool, Field(description="Check the server's certificate.")] = True
    directory: Annotated[
        Path | None,
        Field(description="Folder for a copy of the history, of this sink alone; by default a temporary one."),
    ] = None
    timeout_seconds: Annotated[float, Field(gt=0, le=300, description="How long the server may be silent.")] = 20


class GitSink(Sink[GitConfig]):
    """One commit for each delivery, found again by its last line `Delivery: <id>`, so that a retry makes no second.

    A commit whose file does not change tells what has no manifest, such as a failed Job. Without the whole object, the
    file says what is known of it.
    """

    Config = GitConfig

    def __init__(self, config: GitConfig, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(config)
        self._clock = clock
        self._thread = OwnThread(f"sink-{config.name}")
        self._place = _place(config)
        self._remote = Remote(self._place)
        inner = urlsplit(self._place.url).password if "://" in self._place.url else None
        self._secrets = option_secrets(config) | ({inner} if inner else set())

    @override
    def render(self, notification: Notification) -> Rendering:
        entry = notification.entry
        made = rewritten(None, entry)
        if entry.patch:
            shown = "".join(f"{msgspec.json.encode(each).decode()}\n" for each in entry.patch)
        else:
            shown = made.content.decode() if made.content is not None else "(no file)\n"
        return (
            f"Author: {author(entry)}\nDate:   {entry.at}\nFile:   {path(entry)}\n\n"
            f"{commit_message(notification, is_whole=True)}\n{shown}"
        )

    @override
    async def send(self, notification: Notification) -> None:
        change, now = commit(notification), int(self._clock())
        try:
            await self._thread.run(lambda: self._remote.record(change, now))
        except asyncio.CancelledError:
            # Or a server that says nothing would keep the thread, and all that comes after.
            self._remote.abort()
            raise
        except failures() as error:
            raise outcome(error, self._place.shown, self._secrets) from error

    @override
    async def aclose(self) -> None:
        self._remote.abort()
        # In its thread, where a push may still be under way; what is not freed now, the end of the process frees.
        with contextlib.suppress(TimeoutError, RuntimeError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._thread.run(self._remote.close)
        self._thread.close()


def _place(config: GitConfig) -> Place:
    url = config.url.get_secret_value()
    host = urlsplit(url).hostname if "://" in url else url.partition("@")[2].partition(":")[0]
    return Place(
        url=url,
        shown=host or url,
        branch=config.branch,
        committer="kubewitness <kubewitness@localhost>",
        username=config.username,
        password=config.password.get_secret_value() if config.password else None,
        ssh_key_file=config.ssh_key_file,
        known_hosts_file=config.known_hosts_file,
        ca_file=config.ca_file,
        verify_tls=config.verify_tls,
        timeout_seconds=config.timeout_seconds,
        directory=config.directory,
    )


def commit(notification: Notification) -> Change:
    """Return what to commit; raises `PermanentError` where there is no object that could have a file."""
    entry = notification.entry
    if not entry.resource.kind or not entry.resource.name:
        raise PermanentError("the object has no name yet, and so no file")

    def rewrite(current: bytes | None) -> tuple[bytes | None, str]:
        made: Rewritten = rewritten(current, entry)
        return made.content, commit_message(notification, is_whole=made.is_whole)

    return Change(
        delivery_id=notification.delivery_id,
        path=path(entry),
        author=author(entry),
        at=int(datetime.fromisoformat(entry.at).timestamp()),
        rewrite=rewrite,
    )


def author(entry: Entry) -> str:
    """Return `alice <alice@prod>`: the actor, or kubewitness where there is none; a mail address stays one."""
    name = re.sub(r"[<>]", "", plain.one_line(entry.user.username, SUBJECT_LIMIT)).strip(" .,:;\"'") or "kubewitness"
    if _MAIL.fullmatch(name):
        return f"{name} <{name}>"
    host = re.sub(r"[^a-z0-9.-]+", "-", entry.cluster.lower()[:SUBJECT_LIMIT]).strip("-.") or "kubernetes"
    return f"{name} <{re.sub(r'[^A-Za-z0-9._+-]+', '-', name).strip('-.')[:_LOCAL_LIMIT] or 'unknown'}@{host}>"


def commit_message(notification: Notification, *, is_whole: bool) -> str:
    """Return subject, who, what and link, and the trailers; nothing of it can mention people or close issues."""
    subject = _inert(plain.one_line(notification.finding.title, SUBJECT_LIMIT)) or "Changed"
    paragraphs = [
        subject,
        message(_without_documents(notification), MARKUP, BODY_LIMIT, titled=False),
        *([] if is_whole else [PARTIAL]),
        f"Entry: {notification.entry.id}\n{TRAILER}{notification.delivery_id}",
    ]
    return "\n\n".join(paragraphs) + "\n"


def _without_documents(notification: Notification) -> Notification:
    """Return the notification without whole objects, which are in the file."""
    blocks = tuple(block for block in notification.finding.blocks if not isinstance(block, JsonBlock))
    finding = msgspec.structs.replace(notification.finding, blocks=blocks)
    return msgspec.structs.replace(notification, finding=finding)


def _inert(text: str) -> str:
    """Return text without what GitHub and GitLab read in commit messages: mentions, issues, links."""
    return _GH.sub("\\1\u2010", inert(text))


MARKUP: Final = Markup(
    text=_inert,
    bold=_inert,
    code=_inert,
    pre=lambda lines: "\n".join(f"    {_inert(line)}" for line in lines),
    link=lambda url, words: f"{words}: {url}",
)
