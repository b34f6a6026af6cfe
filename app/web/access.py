"""Who may read the console: whoever is on this machine, and whoever proves who they are."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.viewer import Viewer
from app.remote.headers import NAMESPACES, read_namespaces
from app.web import refusals
from app.web.cautious import cautious
from app.web.identities import Known, Method, Offer, TooManyAttemptsError, UnavailableError
from app.web.near import is_meant_for_loopback, is_near, peer_of
from app.web.refusals import RefusalError
from app.web.sessions import Session, Sessions
from app.web.shown import TOKEN_HEADER, Shown, shown_in

if TYPE_CHECKING:
    from app.web.login import SignIn

__all__ = ["OPEN", "TOKEN_HEADER", "Access", "Asker", "guarded"]

OPEN: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""What the kubelet and Prometheus ask for: states and counts, no entry of the ledger."""

CLUSTER: Final = "kubernetes"
"""The method by which users of the cluster are known."""

_SIGN_IN: Final = ("/login", "/logout")
_STATIC: Final = "/static/"
"""Style sheet, script and icon, which say nothing of the cluster."""

_DEEPEST: Final = 32
"""Slashes of a path: more than any has, and few enough for every link of a page to lead back past them."""

_NOWHERE: Final = JSONResponse({"detail": "there is no such path"}, status_code=404)
_API: Final = "/api/"
_READING: Final = ("GET", "HEAD")
_OWN_SITE: Final = ("", "same-origin", "none")
"""What browsers say of who asks, if it is a page of the console or a person (https://www.w3.org/TR/fetch-metadata/)."""


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, what their forms are bound to, and whether they could sign out."""

    viewer: Viewer
    bound_to: str
    is_signed_in: bool = False


class Access:
    """Finds out who asks: by the place they ask from, a session, or what they show. Methods are tried in their order.

    `may_requeue` is for the machine itself; methods say it of those whom they know.
    """

    def __init__(self, methods: Sequence[Method], sessions: Sessions, *, may_requeue: bool = False) -> None:
        self.sessions = sessions
        self._methods = tuple(methods)
        self._local = Asker(viewer=Viewer(may_requeue=may_requeue), bound_to=f"process:{secrets.token_urlsafe(12)}")

    @property
    def offers(self) -> frozenset[Offer]:
        """What is taken from who is to become known; nothing where only the machine itself is answered."""
        return frozenset().union(*(each.offers for each in self._methods))

    @property
    def asks_cluster(self) -> bool:
        """Whether tokens of the cluster are taken."""
        return any(each.name == CLUSTER for each in self._methods)

    async def asker(self, scope: Scope) -> Asker:
        """Return who asks; raises RefusalError."""
        headers = Headers(scope=scope)
        if is_of_another_site(scope, headers):
            raise RefusalError(403, refusals.OTHER_SITE)
        if is_near(scope) and is_meant_for_loopback(headers):
            return self._local
        if not self.offers:
            raise RefusalError(403, refusals.STRANGE_HOST if is_near(scope) else refusals.NONE)
        try:
            found = await self._of_session(scope, headers) or await self._of_shown(scope, headers)
        except UnavailableError as error:
            raise RefusalError(503, str(error)) from error
        except TooManyAttemptsError as error:
            raise RefusalError(429, refusals.TOO_MANY) from error
        if found.viewer.namespaces == frozenset():
            raise refusals.sees_nothing(found.viewer.name)
        return found

    async def identified(self, shown: Sequence[Shown], peer: str) -> tuple[str, Known] | None:
        """Return which method knows whose credentials these are, and whose; raises as that does."""
        for method in self._methods:
            for each in shown:
                known = await method.identified(each, peer)
                if known is not None:
                    return method.name, known
        return None

    async def resumed(self, session: Session, peer: str) -> Viewer | None:
        """Return whose session it is, None where it does not count any more; raises as its method does."""
        method = next((each for each in self._methods if each.name == session.method), None)
        return None if method is None else await method.resumed(session.user, session.keepsake, peer)

    async def _of_session(self, scope: Scope, headers: Headers) -> Asker | None:
        """Return who has signed in. Through the API nothing is changed by a session: that takes a form of a page."""
        if scope["path"].startswith(_API) and scope["method"] not in _READING:
            return None
        for session in self.sessions.of(headers):
            viewer = await self.resumed(session, peer_of(scope))
            if viewer is not None:
                return Asker(viewer=viewer, bound_to=f"session:{session.id}", is_signed_in=True)
        return None

    async def _of_shown(self, scope: Scope, headers: Headers) -> Asker:
        shown, is_browser = shown_in(headers), "sec-fetch-mode" in headers
        found = await self.identified(shown, peer_of(scope))
        if found is not None:
            method, known = found
            return Asker(viewer=known.viewer, bound_to=f"{method}:{known.viewer.name}:{known.keepsake}")
        if any(name in headers for name in ("authorization", TOKEN_HEADER)):
            raise refusals.wrong(self.offers, is_browser=is_browser)
        raise refusals.needed(self.offers, is_near=is_near(scope), is_browser=is_browser)


def is_of_another_site(scope: Scope, headers: Headers) -> bool:
    """Say whether a page of another site has a browser ask, other than by a link to look at something."""
    is_link = scope.get("method") in _READING and headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site", "") not in _OWN_SITE and not is_link


def guarded(app: ASGIApp, access: Access) -> ASGIApp:
    """Let pass what may be seen: `OPEN` and the page to sign in to all, the rest to those whom `access` knows.

    Loopback is the peer of the connection, asked for by a loopback name. The application is told in the state of the
    request: `viewer`; `form_token`, which its forms must carry; `is_signed_in`; and `still`, which says whether it is
    still so, for answers that take long. Everybody else gets 401, 403, 429 or 503 with a JSON `detail` that says what
    to do, and who reads pages a page, or the one to sign in. All answers are `cautious`.
    """
    return _Guard(app, access)


class _Guard:
    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._sign_in: SignIn | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif (scope.get("raw_path") or b"").count(b"/") > _DEEPEST:
            await _NOWHERE(scope, receive, cautious(send))
        elif scope["path"] in OPEN:
            await self._app(scope, receive, cautious(send))
        elif scope["type"] == "http" and (scope["path"] in _SIGN_IN or scope["path"].startswith(_STATIC)):
            await (await self._pages())(scope, receive, cautious(send))
        else:
            await self._guarded(scope, receive, cautious(send, is_narrowed=NAMESPACES in Headers(scope=scope)))

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            asker = await self._access.asker(scope)
        except RefusalError as refusal:
            await (await self._answer(scope, refusal))(scope, receive, send)
            return
        told = {**scope, "state": {**scope.get("state", {}), **self._state(scope, asker)}}
        await self._app(told, receive, send)

    def _state(self, scope: Scope, asker: Asker) -> dict[str, Any]:
        return {
            "viewer": _narrowed(asker.viewer, Headers(scope=scope)),
            "form_token": self._access.sessions.form_token(asker.bound_to),
            "is_signed_in": asker.is_signed_in,
            "still": self._still(scope, asker),
        }

    def _still(self, scope: Scope, asker: Asker) -> Callable[[], Awaitable[bool]]:
        async def still() -> bool:
            try:
                return await self._access.asker(scope) == asker
            except RefusalError:
                return False

        return still

    async def _answer(self, scope: Scope, refusal: RefusalError) -> ASGIApp:
        if scope["type"] == "http" and _reads_pages(scope):
            return (await self._pages()).refused(scope, refusal)
        return JSONResponse({"detail": refusal.detail}, status_code=refusal.status, headers=refusal.headers)

    async def _pages(self) -> SignIn:
        if self._sign_in is None:
            # Templates take a twentieth of a second, for which reviews would wait.
            self._sign_in = await asyncio.to_thread(_sign_in, self._access)
        return self._sign_in


def _sign_in(access: Access) -> SignIn:
    from app.web.login import SignIn  # noqa: PLC0415  2 MB that only who reads pages needs

    return SignIn(access)


def _reads_pages(scope: Scope) -> bool:
    return not scope["path"].startswith(_API) and "text/html" in Headers(scope=scope).get("accept", "")


def _narrowed(viewer: Viewer, headers: Headers) -> Viewer:
    """Return who asks, with no more than the namespaces that the request names, where it names any."""
    for value in headers.getlist(NAMESPACES):
        viewer = viewer.narrowed(read_namespaces(value))
    return viewer
