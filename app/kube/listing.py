"""Lists objects page by page: each page is handed over and forgotten before the next is asked for."""

from __future__ import annotations

from typing import Final

import msgspec

from app.kube.client import KubernetesApi, Parameters
from app.kube.errors import ApiError
from app.kube.handling import UNREADABLE, Handler
from app.kube.turns import Turns

PAGE_TIMEOUT: Final = 120.0
"""Seconds for one page: 200 Jobs may be some megabytes, and networks may be slow."""


class _ListMeta(msgspec.Struct, rename={"version": "resourceVersion", "proceed": "continue"}):
    version: str = ""
    proceed: str = ""


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


_PAGE: Final = msgspec.json.Decoder(_Page)


class Listing:
    """One list on its way. A page that fails may be asked for again: those before it are not lost.

    No `resourceVersion` is asked for: with 0 an API server up to 1.33 ignores `limit` and answers everything at once.
    """

    def __init__(self, api: KubernetesApi, path: str, selectors: Parameters, handler: Handler, page_size: int) -> None:
        self.version = ""
        self.expired: ApiError | None = None
        self._api = api
        self._path = path
        self._parameters: dict[str, str | int] = {**selectors, "limit": page_size}
        self._handler = handler
        self._begun = False

    async def page(self) -> bool:
        """Hand the next page to the handler, with turns for others in between, and return whether more follow.

        A list takes its time, and after five minutes etcd may have forgotten the version at which it began. It is
        then completed at a newer one, as the error's token allows: everything that exists has been named, but changes
        to the earlier pages in between have not. `expired` is then the error, and the list should be done again.
        Raises ApiError.
        """
        answer = await self._page()
        if not self._begun:
            self._begun = True
            self._handler.begin()
        turns = Turns()
        for item in answer.items or ():
            self._handler.listed(item)
            await turns.give()
        return self._proceed(answer.metadata)

    async def _page(self) -> _Page:
        try:
            return await self._read()
        except ApiError as error:
            if not (error.is_gone and error.proceed and self._begun):
                raise
            self.expired = error
            self._parameters["continue"] = error.proceed
        return await self._read()

    async def _read(self) -> _Page:
        # One attempt: who watches decides when to try again, and may be told to wait for long.
        answer = await self._api.get(self._path, self._parameters, attempts=1, timeout=PAGE_TIMEOUT)
        try:
            return _PAGE.decode(answer)
        except UNREADABLE as error:
            raise ApiError(f"GET {self._path}: no list that can be read: {error}") from error

    def _proceed(self, metadata: _ListMeta) -> bool:
        if metadata.proceed:
            self._parameters["continue"] = metadata.proceed
            return True
        self._handler.end()
        self.version = metadata.version
        return False
