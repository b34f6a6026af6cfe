"""Asks the console of an installation in a cluster, with a kubeconfig, through the API server's service proxy."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from app.core.text import one_line
from app.kube.client import Heed, KubernetesApi
from app.kube.errors import ApiError
from app.kube.service_proxy import (
    Console,
    ConsoleNotFoundError,
    ask,
    find_console,
    installed_token,
    token_advice,
    way_advice,
)
from app.remote.transport import RemoteError

_SECONDS: Final = 30.0
_LIMIT: Final = 1500
_GRACE: Final = 1.0
"""Seconds by which whoever is asked comes first to say that it took too long: they know at what."""

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True):
    """Which cluster and installation a person means; what is empty is found out."""

    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = ""
    release: str = ""


class _Detail(msgspec.Struct):
    detail: str


class ClusterTransport:
    """Asks one installation's console. Looks for it when it is first asked; close it at the end.

    The token that it shows is the given one, else that of the installation's Secret where the user may read it, else
    the user's own. `heed` gets the headers of each answer.
    """

    def __init__(self, place: Place, token: str = "", seconds: float = _SECONDS, heed: Heed = lambda _: None) -> None:
        self._place = place
        self._token = token
        self._seconds = seconds
        self._heed = heed
        self._lock = threading.Lock()
        self._found: _Found | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """Return the body of a successful answer; raises RemoteError, or KubernetesSetupError of the kubeconfig."""
        found = self._console()
        try:
            return self._done(
                ask(
                    found.api,
                    found.console,
                    path,
                    parameters,
                    token=found.token,
                    seconds=self._seconds,
                    heed=self._heed,
                )
            )
        except ApiError as error:
            raise _explained(found, error) from error

    def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(RemoteError):
            self._done(_ended(self._found.api if self._found is not None else None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _console(self) -> _Found:
        with self._lock:
            if self._found is None:
                self._found = self._done(_found(self._place, self._token))
            return self._found

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it on the loop of this transport's own thread, and wait for it; Ctrl-C ends the wait."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(self._seconds + _GRACE)
        except TimeoutError:
            raise RemoteError(f"the API server took longer than {self._seconds:g} s") from None
        finally:
            future.cancel()


class _Found(msgspec.Struct, frozen=True):
    """The console, and what is shown to it. `unread` is why the installation's token is not."""

    api: KubernetesApi
    console: Console
    token: str
    unread: ApiError | None


async def _ended(api: KubernetesApi | None) -> None:
    """Close all connections, after what was given up has closed its own."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    if api is not None:
        await api.close()


async def _found(place: Place, token: str) -> _Found:
    api = await KubernetesApi.connect(place.kubeconfig, place.context)
    try:
        console = await find_console(api, place.namespace, place.release)
        return await _with_token(api, console, token)
    except (ApiError, ConsoleNotFoundError) as error:
        await api.close()
        raise RemoteError(one_line(str(error), _LIMIT)) from error
    except BaseException:
        await api.close()
        raise


async def _with_token(api: KubernetesApi, console: Console, token: str) -> _Found:
    if token:
        return _Found(api, console, token, None)
    unread = None
    try:
        token = await installed_token(api, console)
    except ApiError as error:
        if not error.is_forbidden:
            raise
        unread = error
    return _Found(api, console, token or await api.bearer_token(), unread)


def _explained(found: _Found, error: ApiError) -> RemoteError:
    """Say what is wrong: of the console, which has its own words, or of the way to it."""
    if error.answer:
        return RemoteError(one_line(_refused(found, error), _LIMIT), error.status)
    said = way_advice(found.console, error) if error.is_forbidden else f"no way to the console: {error}"
    return RemoteError(one_line(said, _LIMIT))


def _refused(found: _Found, error: ApiError) -> str:
    if error.is_unauthorized and found.unread is not None:
        shown = "does not know your token" if found.token else "needs a token"
        return f"the console {found.console} {shown}, and you {token_advice(found.console, found.unread)}"
    return f"the console {found.console} answers {error.status}: {_detail(error)}"


def _detail(error: ApiError) -> str:
    try:
        return msgspec.json.decode(error.answer, type=_Detail).detail
    except (msgspec.DecodeError, UnicodeDecodeError):
        return str(error)
