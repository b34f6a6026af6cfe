"""Reads what containers wrote: the end of it, redacted before it is cut, or a note that says why there is nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from app.core.evidence import Log, WantedLog, tail
from app.core.redact import Redactor
from app.core.text import shorten
from app.kube.errors import ApiError

READS: Final = 8
"""Logs that are read at the same time: each passes through the API server, to a kubelet and back."""

ANSWER_SECONDS: Final = 10.0
PAUSES: Final = (0.5, 2.0)
"""Seconds before the second and the third try."""

_MORE_LINES: Final = 200
_MORE_BYTES: Final = 16 * 1024
"""Read beyond what is kept, so that a secret of several lines (a private key: 50) is seen whole, and so found."""

GONE: Final = "The Pod was deleted before its log could be read."

_LONGEST_REASON: Final = 300
_KEY_BORDER: Final = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """What is kept of one run of a container: its last lines, and of those the last bytes of UTF-8."""

    lines: int = 100
    limit_bytes: int = 32 * 1024


class LogSource(Protocol):
    """The one call that is made here; `KubernetesApi` has it."""

    async def tail(self, path: str, parameters: Mapping[str, str | int], limit_bytes: int) -> tuple[bytes, bool]:
        """Return the last bytes of an answer, and whether there were more before; raises ApiError."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A log to be read. `ended` says that the run had ended when it was decided to read it.

    `redactor` is one that knows the Pod's own secrets; None stands for that of the reader.
    """

    namespace: str
    pod: str
    wanted: WantedLog
    ended: bool
    redactor: Redactor | None = None

    @property
    def path(self) -> str:
        """Where the API server has it. Names of Pods and namespaces need no escaping."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}/log"


class LogReader:
    """Reads logs, at most `READS` at a time. `redactor` and `limits` may be replaced between two reads.

    `read` answers with a `Log` whatever happens: where there is no text, its note says why, and what to do.
    """

    def __init__(
        self, api: LogSource, redactor: Redactor, limits: LogLimits, *, pauses: Sequence[float] = PAUSES
    ) -> None:
        self.redactor = redactor
        self.limits = limits
        self._api = api
        self._pauses = pauses
        self._slots = asyncio.Semaphore(READS)

    async def read(self, reading: Reading, is_gone: Callable[[], bool]) -> Log:
        """Read the end of a log. What may pass is tried again, as long as the Pod is not gone."""
        for pause in (*self._pauses, None):
            try:
                return await self._attempt(reading)
            except ApiError as error:
                if pause is None or not error.is_temporary or is_gone():
                    return self._unread(reading, error)
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns")

    async def _attempt(self, reading: Reading) -> Log:
        limits, wanted = self.limits, reading.wanted
        parameters: dict[str, str | int] = {
            "container": wanted.container,
            "tailLines": limits.lines + _MORE_LINES,
            "timestamps": "false",
            "previous": "true" if wanted.previous else "false",
        }
        try:
            async with self._slots, asyncio.timeout(ANSWER_SECONDS):
                body, cut = await self._api.tail(reading.path, parameters, limits.limit_bytes + _MORE_BYTES)
        except TimeoutError as error:
            raise ApiError(f"no answer within {ANSWER_SECONDS:g} s", status=0) from error
        # 8 ms for 48 KiB, and more for more: others have their turn meanwhile.
        shown = await asyncio.to_thread(redacted, body, reading.redactor or self.redactor, cut)
        text, shortened = tail(shown, limits.lines, limits.limit_bytes)
        return Log(container=wanted.container, run=wanted.run, text=text, cut=cut or shortened, whole_run=reading.ended)

    def _unread(self, reading: Reading, error: ApiError) -> Log:
        """Return the note. What may be readable later does not count as the whole run, so that it is wanted again."""
        return Log(
            container=reading.wanted.container,
            run=reading.wanted.run,
            note=self._note(reading, error),
            whole_run=reading.ended and not (error.is_temporary or error.is_forbidden or error.is_unauthorized),
        )

    def _note(self, reading: Reading, error: ApiError) -> str:
        if error.is_forbidden:
            return f"The log may not be read: grant the verb get on pods/log in the namespace {reading.namespace}."
        if error.is_not_found:
            return GONE
        if "waiting to start" in str(error):
            return "The container had not started: there was no log."
        if "previous terminated container" in str(error):
            return "The log of this run was no longer kept on the node."
        # An answer may quote anything, such as a proxy's page.
        said = " ".join(self.redactor.text(str(error)).split())
        return f"The log could not be read: {shorten(said, _LONGEST_REASON)}"


def redacted(body: bytes, redactor: Redactor, cut: bool) -> str:
    """Return a log as it may be kept; of one whose beginning is missing, no secret that began there.

    What would give such a secret away (the name of a value, the first line of a key) is not there to be found.
    """
    text = body.decode(errors="replace")
    _, border, rest = text.partition("\n")
    if cut and border:
        text = rest
    key = _KEY_BORDER.search(text)
    if key and key[1] == "END":
        text = text[key.end() :].removeprefix("\n")
    shown = redactor.text(text)
    return shown[_MORE_BYTES // 2 :] if cut and not border else shown
