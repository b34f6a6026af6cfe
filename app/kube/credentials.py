"""Who we are to the API server and whom we trust: read from files, and read again when those change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import structlog

from app.kube.access import Access, stamp
from app.kube.errors import KubernetesSetupError
from app.kube.service_account import HOST_VARIABLE, ServiceAccount

DEFAULT_KUBECONFIG: Final = "~/.kube/config"
OPTION: Final = "--kubeconfig"
VARIABLE: Final = "KUBECONFIG"

logger = structlog.get_logger(__name__)


class Source(Protocol):
    """Where credentials come from."""

    async def load(self) -> Access:
        """Read everything anew; raises KubernetesSetupError."""


def choose(kubeconfig: Path | None, environment: Mapping[str, str], context: str = "") -> Source:
    """Return the source that a person means: the file they name, else the Pod's account, else their own kubeconfig.

    A context is one of a kubeconfig, also in a Pod.
    """
    if kubeconfig is None and not context and environment.get(HOST_VARIABLE):
        return ServiceAccount(environment=environment)
    # In a Pod it is not needed: the package brings its synchronous half along, with requests and oauthlib, 11 MB.
    from app.kube.kubeconfig import Kubeconfig  # noqa: PLC0415

    if kubeconfig is not None:
        return Kubeconfig(paths=str(kubeconfig), context=context, named_by=OPTION)
    if named := environment.get(VARIABLE):
        return Kubeconfig(paths=named, context=context, named_by=VARIABLE)
    return Kubeconfig(paths=DEFAULT_KUBECONFIG, context=context)


class Credentials:
    """The access that counts now. A rotated file is noticed before the next call; one that cannot be read is not used.

    Safe for concurrent calls on one event loop: whoever notices first reads, the others wait for it.
    """

    def __init__(self, source: Source, access: Access) -> None:
        self._source = source
        self._access = access
        self._seen = access.files
        self._lock = asyncio.Lock()

    @classmethod
    async def read(cls, source: Source) -> Credentials:
        """Read the source for the first time; raises KubernetesSetupError."""
        return cls(source, await source.load())

    @property
    def namespace(self) -> str:
        """The namespace of the service account or of the kubeconfig's context."""
        return self._access.namespace

    async def current(self) -> Access:
        """Return the access, read anew if one of its files has changed."""
        if self._changed():
            async with self._lock:
                if self._changed():
                    await self._renew()
        return self._access

    async def renewed(self, refused: Access) -> Access:
        """Return an access other than the refused one, or the same if reading everything anew gives no other."""
        async with self._lock:
            if self._access is refused:
                await self._renew()
        return self._access

    def _changed(self) -> bool:
        return any(stamp(Path(seen[0])) != seen for seen in self._seen)

    async def _renew(self) -> None:
        # Where reading fails, it is tried again when the file changes again, not at every call.
        self._seen = tuple(stamp(Path(seen[0])) for seen in self._seen)
        try:
            access = await self._source.load()
        except KubernetesSetupError as error:
            logger.warning("credentials not read", action="keep", error=str(error))
            return
        if access != self._access:
            logger.info("credentials renewed", action="renew")
            self._access = access
            self._seen = access.files
