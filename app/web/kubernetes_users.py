"""Users of the cluster: their token says who they are, and their rights which namespaces they see."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

import structlog

from app.core.viewer import Viewer
from app.kube.errors import ApiError
from app.kube.reviews import REQUEUE, SEE, Identity, Reviews
from app.store.database import StoreError
from app.web.attempts import Attempts
from app.web.identities import Known, Offer, UnavailableError
from app.web.remembered import Remembered
from app.web.shown import Shown

logger = structlog.get_logger(__name__)

KEPT_SECONDS: Final = 60.0
"""How long it is known what somebody may see: a right that was taken away ends then at the latest."""

_REFUSED_SECONDS: Final = 5.0
_PROVEN_SECONDS: Final = 3600.0
"""How long a token that was somebody's is asked about without a place among those who guess."""

_AT_ONCE: Final = 16
"""Reviews that are asked for together."""

_JWT: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*$", re.ASCII)
"""How a token looks that is shown as a password; the API server shall see no passwords."""

_NOBODY: Final = Viewer(namespaces=frozenset())

_ASK: Final = (
    "The API server cannot be asked who you are and what you may see, so nothing is shown. {reason} Until it answers,"
    " the console's own token works, and so does asking from the machine itself, such as through kubectl port-forward."
)
_RIGHTS: Final = (
    "The console may not create tokenreviews and subjectaccessreviews: the chart's value console.kubernetesAuth.enabled"
    " grants both, and by hand a ClusterRoleBinding to system:auth-delegator does."
)


class KubernetesUsers:
    """Knows users by a token of the cluster, and asks for their rights at most once a minute.

    Who may `get` `entries.kubewitness.io` in the whole cluster sees everything, others the namespaces of the ledger in
    which they may. To queue deliveries again takes the first of these and `update` on `deliveries.kubewitness.io`.
    """

    name: Final = "kubernetes"
    offers: Final[frozenset[Offer]] = frozenset({"token"})

    def __init__(
        self,
        reviews: Reviews,
        namespaces: Callable[[], Sequence[str]],
        attempts: Attempts,
        *,
        may_requeue: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reviews = reviews
        self._namespaces = namespaces
        self._attempts = attempts
        self._may_requeue = may_requeue
        self._found = Remembered[Viewer](clock)
        self._proven = Remembered[bool](clock)
        self._asking: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def identified(self, shown: Shown, peer: str) -> Known | None:
        """Return whose token this is, with what they may see, which may be nothing."""
        if shown.user is not None and not _JWT.match(shown.secret):
            return None
        key = self._found.key(shown.secret)
        if self._proven.get(key):
            viewer = await self.resumed("", shown.secret, peer)
        else:
            viewer = await self._of_stranger(key, shown.secret, peer)
        return None if viewer is None else Known(viewer, shown.secret)

    async def resumed(self, user: str, keepsake: str, peer: str) -> Viewer | None:
        """Return whose token this is, as they may see it now; it was somebody's before, so that this is no guess."""
        found = await self._asked(self._found.key(keepsake), keepsake)
        return None if found is _NOBODY else found

    async def _of_stranger(self, key: bytes, token: str, peer: str) -> Viewer | None:
        found = self._found.get(key)
        if found is None:
            async with self._attempts.place(peer):
                found = await self._asked(key, token)
                if found is _NOBODY:
                    await self._attempts.failed()
        if found is _NOBODY:
            return None
        self._proven.put(key, True, _PROVEN_SECONDS)
        return found

    async def _asked(self, key: bytes, token: str) -> Viewer:
        """Ask once, however many requests wait for the answer."""
        async with self._asking.setdefault(key, asyncio.Lock()):
            found = self._found.get(key)
            if found is None:
                found = await self._viewer(token)
                self._found.put(key, found, _REFUSED_SECONDS if found is _NOBODY else KEPT_SECONDS)
        return found

    async def _viewer(self, token: str) -> Viewer:
        try:
            who = await self._reviews.identity(token)
            return _NOBODY if who is None else await self._rights(who)
        except ApiError as error:
            logger.warning("rights not reviewed", action="refuse", error=str(error))
            raise UnavailableError(_ASK.format(reason=_RIGHTS if error.is_forbidden else f"{error}.")) from error
        except (StoreError, sqlite3.Error) as error:
            raise UnavailableError("The ledger cannot be read at the moment.") from error

    async def _rights(self, who: Identity) -> Viewer:
        if await self._reviews.may(who, SEE):
            requeue = self._may_requeue or await self._reviews.may(who, REQUEUE)
            return Viewer(name=who.username, may_requeue=requeue)
        names = await asyncio.to_thread(self._namespaces)
        try:
            async with asyncio.TaskGroup() as together:
                asked = {name: together.create_task(self._sees(who, name)) for name in names}
        except ExceptionGroup as errors:
            # One is enough to say, and to ask for no more.
            raise errors.exceptions[0] from None
        return Viewer(name=who.username, namespaces=frozenset(name for name, task in asked.items() if task.result()))

    async def _sees(self, who: Identity, namespace: str) -> bool:
        async with self._places:
            return await self._reviews.may(who, SEE, namespace)
