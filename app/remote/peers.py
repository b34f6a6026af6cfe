"""The other replicas of an installation: who they are, and how they were when they were last asked."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx
import structlog

from app.remote.headers import INSTANCE, LOCAL, NAMESPACES, written_namespaces
from app.remote.http import ANSWER_SECONDS, HttpTransport, client
from app.remote.ledger import RemoteLedger
from app.remote.merged import MergedLedger, Part
from app.remote.transport import RemoteError
from app.store.reading import Reader

logger = structlog.get_logger(__name__)

REST_SECONDS: Final = 5.0
"""How long a peer that did not answer is not asked again."""

NEWEST_SECONDS: Final = 0.3
"""How long it is believed that nothing has come: whoever follows would ask several times a second."""

_THREADS: Final = 32
_UNANSWERED: Final = (0, HTTPStatus.UNAUTHORIZED)

Headers = Callable[[], Mapping[str, str]]
"""What to show at this moment, so that replicas let this process in."""


class Peer:
    """One replica, as its console answers. May be used by several threads at once."""

    def __init__(self, name: str, url: str, http: httpx.Client, credentials: Headers, own_instance: str) -> None:
        self.name = name
        self.url = url
        self.is_self = False
        self._was_another = False
        self._http = http
        self._credentials = credentials
        self._own_instance = own_instance
        self._rests_until = 0.0
        self._problem = ""
        self._newest = (-NEWEST_SECONDS, 0)
        self._asking = threading.Lock()

    @property
    def problem(self) -> str:
        """Why it is not asked at the moment; empty where it is."""
        return self._problem if time.monotonic() < self._rests_until else ""

    def ledger(self, namespaces: frozenset[str] | None) -> RemoteLedger:
        """Return what it has recorded itself, as far as these namespaces may be seen."""
        return RemoteLedger(self.transport(namespaces))

    def transport(self, namespaces: frozenset[str] | None) -> HttpTransport:
        """Return the way to it, on which nothing is asked that it would pass on."""
        narrowed = {} if namespaces is None else {NAMESPACES: written_namespaces(namespaces)}
        return HttpTransport(self._http, self.url, lambda: {**self.shown(), **narrowed}, self._notice)

    def shown(self) -> Mapping[str, str]:
        """Return the headers of every request to it."""
        return {**self._credentials(), LOCAL: "true"}

    def newest(self, ledger: RemoteLedger) -> int:
        """Return its highest sequence number, as of some tenths of a second ago."""
        if not self._asking.acquire(timeout=ANSWER_SECONDS):
            raise RemoteError(f"does not answer within {ANSWER_SECONDS:g} s")
        try:
            if self.problem:  # found by who asked while this one waited
                raise RemoteError(self.problem)
            at, newest = self._newest
            if time.monotonic() - at > NEWEST_SECONDS:
                try:
                    newest = ledger.newest()
                except RemoteError as error:
                    self.failed(error)
                    raise
                self._newest = time.monotonic(), newest
            return newest
        finally:
            self._asking.release()

    def answered(self) -> None:
        """Take note that it does answer."""
        if self._problem:
            logger.info("replica answers again", action="ask", replica=self.name)
        self._problem = ""

    def failed(self, error: RemoteError) -> None:
        """Take note of an answer that did not come: for a while nobody waits for another."""
        if self.is_self or (error.status not in _UNANSWERED and error.status < HTTPStatus.INTERNAL_SERVER_ERROR):
            return
        if not self._problem:
            logger.warning("replica does not answer", action="leave out", replica=self.name, error=str(error))
        self._problem = str(error)
        self._rests_until = time.monotonic() + REST_SECONDS

    def _notice(self, headers: Mapping[str, str]) -> None:
        if headers.get(INSTANCE) != self._own_instance:
            self._was_another = True
            return
        if self._was_another:  # such as the Service of all replicas: who is behind it would be left out unnoticed
            raise RemoteError(
                "leads to this very process, and to another at times: each replica needs a URL of its own"
            )
        self.is_self = True
        raise RemoteError("is this very process")


class Peers:
    """All other replicas of this process, which let it in for its credentials. `close` ends the connections to them.

    `name` is what the URL of this process itself would give it, if it is among the others; without one it is called as
    its machine is, and finds out which URL is its own when it is answered by itself.
    """

    def __init__(self, urls: Sequence[str], name: str, credentials: Headers) -> None:
        self.name = name or socket.gethostname()
        self.instance = secrets.token_hex(8)
        self._http = client(secure=any(url.startswith("https:") for url in urls))
        others = [url for url in urls if not name or _short_name(url) != name]
        named = _names(others, self.name).items()
        self._peers = [Peer(each, url, self._http, credentials, self.instance) for url, each in named]
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="peers")

    @property
    def others(self) -> list[Peer]:
        """The replicas that are not this process."""
        return [each for each in self._peers if not each.is_self]

    def merged(self, own: Reader, namespaces: frozenset[str] | None) -> Reader:
        """Return the ledgers of all as one; that of this process alone where there is no other."""
        others = [Part(each, each.ledger(namespaces)) for each in self.others]
        return MergedLedger(self.name, own, others, self._threads) if others else own

    @property
    def is_closed(self) -> bool:
        """Whether nobody can be asked any more."""
        return self._http.is_closed

    def close(self) -> None:
        """End the connections, without waiting for what is being asked."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.close()


def _names(urls: Sequence[str], own: str) -> dict[str, str]:
    """Return the name of each replica by its URL: that of its Pod, or else what makes it the only one.

    That is host and port, or the URL. A StatefulSet's Pods are reached by `<pod>.<service>.<namespace>.svc`.
    """
    short = Counter([own, *map(_short_name, urls)])
    places = Counter([own, *map(_place, urls)])
    return {url: _only((_short_name(url), short), (_place(url), places)) or url for url in urls}


def _only(*choices: tuple[str, Counter[str]]) -> str:
    """Return the first name that nobody else has; empty where there is none."""
    return next((name for name, counts in choices if counts[name] == 1), "")


def _place(url: str) -> str:
    return urlsplit(url).netloc


def _short_name(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_address = ":" in host or host.replace(".", "").isdecimal()
    return parts.netloc if is_address else host.partition(".")[0]
