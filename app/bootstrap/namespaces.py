"""The labels of namespaces within a process: followed while the configuration asks for them, and only then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from app.bootstrap.connecting import connected
from app.core.recent import Recent
from app.core.review import Change
from app.web.health import Check

if TYPE_CHECKING:
    from app.kube.namespaces import NamespaceView
    from app.kube.watching import Watch

logger = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 0.01
_EXPECTED: Final = 1024
_UNIT: Final = 1024
"""New namespaces whose labels are remembered until they are listed; one counts again for so many characters."""

_FIRST: Final = "they are being listed for the first time"
_CONSEQUENCE: Final = "scopes that ask for namespace_labels do not match meanwhile"


class Namespaces:
    """Gives the labels of namespaces to scopes; `follow` says whether they are wanted, `close` ends it.

    `labels` never waits: what is not known, or not yet, is None. Nobody is kept from starting by an API server that
    cannot be reached, or that does not let us list and watch namespaces: `check` and the log say so.
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        self._kubeconfig = kubeconfig
        self._view: NamespaceView | None = None
        self._watch: Watch | None = None
        self._task: asyncio.Task[None] | None = None
        self._missing = ""
        self._expected: Recent[str, Mapping[str, str]] = Recent(_EXPECTED)

    def labels(self, name: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace, None where they are not known."""
        if self._view is None or self._watch is None:
            return None
        known = self._view.labels(name)
        if known is None and self._watch.synced.is_set() and self._watch.last_error is None:
            known = self._expected.get(name)
        return known

    def notice(self, change: Change) -> None:
        """Remember the labels of a namespace that somebody creates.

        What is created in it may be reviewed before the API server tells us of it. A namespace that is known keeps the
        labels that it has, whatever somebody tries.
        """
        resource = change.resource
        if self._task is None or change.operation != "CREATE" or (resource.group, resource.kind) != ("", "Namespace"):
            return
        characters = sum(len(key) + len(value) for key, value in change.labels.items())
        self._expected.put(resource.name, change.labels, 1 + characters // _UNIT)

    async def settled(self, seconds: float) -> None:
        """Wait until the labels are known, or it is clear that they are not to be had, but no longer than this."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._is_looking:  # noqa: ASYNC110  what can go wrong has no event
                    await asyncio.sleep(_POLL_SECONDS)

    @property
    def _is_looking(self) -> bool:
        if self._task is None or self._task.done() or self._missing not in ("", _FIRST):
            return False
        return self._watch is None or not (self._watch.synced.is_set() or self._watch.last_error)

    def follow(self, *, wanted: bool) -> None:
        """Begin to follow the namespaces, or end it, as the configuration asks; needs a running event loop."""
        if wanted and self._task is None:
            self._missing = _FIRST
            self._task = asyncio.create_task(self._run(), name="namespaces")
        elif not wanted and self._task is not None:
            self._task.cancel()
            self._task = self._watch = self._view = None
            self._expected.clear()

    async def close(self) -> None:
        """End it."""
        task = self._task
        self.follow(wanted=False)
        if task is not None:
            await asyncio.wait([task])

    def check(self) -> Check:
        """Say whether the labels are known, where they are wanted."""
        if self._task is None:
            return Check("ok")
        if self._task.done():
            return Check("degraded", f"ended, which needs a restart; the log says why; {_CONSEQUENCE}")
        if self._watch is None or not self._watch.synced.is_set():
            found = self._watch.last_error if self._watch is not None else None
            return Check("degraded", f"{found or self._missing}; {_CONSEQUENCE}")
        if self._watch.last_error is not None:
            return Check("degraded", f"the labels may be old: {self._watch.last_error}")
        return Check("ok")

    async def _run(self) -> None:
        from app.kube.namespaces import NamespaceView, namespace_watch  # noqa: PLC0415  20 MB, which few need

        while True:
            api = await connected(self._kubeconfig, self._not_followed)
            try:
                self._view = NamespaceView()
                self._watch = namespace_watch(api, self._view)
                await self._watch.run()
            finally:
                await api.close()

    def _not_followed(self, error: Exception) -> None:
        self._missing = str(error)
        logger.warning("namespaces not followed", action="retry", error=self._missing, then=_CONSEQUENCE)
