"""The page to sign in, the way out, and the pages of whoever may not see what they asked for; they need no script."""

from __future__ import annotations

import re
import secrets
from typing import Final
from urllib.parse import quote

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from app.core import text as plain
from app.web import refusals
from app.web.access import Access
from app.web.identities import TooManyAttemptsError, UnavailableError
from app.web.near import peer_of
from app.web.refusals import RefusalError
from app.web.sessions import (
    COOKIE,
    FORM_COOKIE,
    LIFETIME_SECONDS,
    LONGEST,
    Session,
    cookies,
    is_https,
    set_cookie,
)
from app.web.shown import Shown
from app.web.ui import forms, static
from app.web.ui.render import HEADERS, environment, page, path, root

logger = structlog.get_logger(__name__)

_NEXT: Final = re.compile(r"(?!/)(?:(?!//|\.\.|%2[eE])[\w.~%!$&'()*+,;=:@/?-])*", re.ASCII)
"""A place below the first page, as `place` writes them: nothing that a browser or a proxy could read as elsewhere."""

_LONGEST_NEXT: Final = 2000
_TEMPLATES: Final = ("layout.html", "login.html", "again.html", "refused.html")
_NONCE: Final = re.compile(r"[\w-]{22}", re.ASCII)
_WRONG_TOKEN: Final = "This token is not accepted. It may have expired, or be one of another cluster."
_WRONG_PASSWORD: Final = "This is not the name and the password of a user."
_NO_COOKIE: Final = "Your browser did not keep the cookie of this page. Allow cookies for this address, and try again."
_LONG: Final = "This token is too long for a cookie. Make a shorter one, such as by kubectl create token."
_TITLES: Final = {403: "You may not see this", 429: "One moment", 503: "Nobody can say who you are"}


def place(scope: Scope) -> str:
    """Return what was asked for, below the first page; empty where it is that, or nothing to come back to."""
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = path(Request(scope)).removeprefix("/") + (f"?{query}" if query else "")
    return next_of(wanted) if scope["method"] in ("GET", "HEAD") else ""


def next_of(text: str) -> str:
    """Return where to go after signing in, empty for the first page: never anywhere else than to the console."""
    return text if len(text) <= _LONGEST_NEXT and _NEXT.fullmatch(text) else ""


def refused(scope: Scope, refusal: RefusalError, access: Access) -> Response:
    """Return the page for a refusal: the one to sign in where that would help."""
    request = Request(scope)
    if refusal.status == 401:  # noqa: PLR2004  nobody has said who asks
        wanted = place(scope)
        return _led(root(request) + "login" + (f"?next={quote(wanted, safe='')}" if wanted else ""))
    session = next(access.sessions.of(request.headers), None)
    answer = page(
        request,
        "refused.html",
        status=refusal.status,
        title=_TITLES[refusal.status],
        refusal=refusal,
        sign_out="" if session is None else access.sessions.form_token(_bound(session)),
    )
    answer.headers.update(refusal.headers)
    return answer


class SignIn:
    """Answers `/login`, `/logout` and what these pages load, to anybody. To be made away from the event loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._sessions = access.sessions
        for template in _TEMPLATES:
            environment().get_template(template)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            answer = await self._answered(request)
        except HTTPException as error:
            answer = self._form(request, str(error.detail), status=error.status_code)
        await answer(scope, receive, send)

    def refused(self, scope: Scope, refusal: RefusalError) -> Response:
        """Return the page for a refusal."""
        return refused(scope, refusal, self._access)

    async def _answered(self, request: Request) -> Response:
        where, method = request.scope["path"], request.method
        if where.startswith("/static/"):
            return _file(request, where.removeprefix("/static/"))
        if method in ("GET", "HEAD"):
            return await self._asked(request)
        if method != "POST":
            return Response(status_code=405, headers={"Allow": "GET, HEAD, POST"})
        return await (self._signed_in(request) if where == "/login" else self._signed_out(request))

    async def _asked(self, request: Request) -> Response:
        """Show the form, or lead on who is signed in."""
        wanted = next_of(request.query_params.get("next", ""))
        try:
            await self._access.asker(request.scope)
        except RefusalError as refusal:
            if refusal.status != 401:  # noqa: PLR2004  who is unknown
                return refused(request.scope, refusal, self._access)
            return self._form(request) if _has_cookies(request) else _again(request, wanted)
        return _led(f"./{wanted}")

    async def _signed_in(self, request: Request) -> Response:
        """Make a session of a token or a password, and lead to what was asked for."""
        nonce = next(iter(cookies(request.headers, FORM_COOKIE)), "")
        if not nonce:
            return self._form(request, _NO_COOKIE, status=400)
        fields = await forms.read(request, self._sessions.form_token(f"form:{nonce}"))
        shown = _shown(fields)
        try:
            found = await self._access.identified([shown], peer_of(request.scope))
        except UnavailableError as error:
            return self._form(request, str(error), fields, status=503)
        except TooManyAttemptsError:
            return self._form(request, refusals.TOO_MANY.capitalize() + ".", fields, status=429)
        if found is None:
            logger.warning("sign-in refused", action="refuse", peer=peer_of(request.scope))
            wrong = _WRONG_TOKEN if shown.user is None else _WRONG_PASSWORD
            return self._form(request, wrong, fields, status=401)
        method, known = found
        session = Session(method=method, user=known.viewer.name, keepsake=known.keepsake)
        return self._entered(request, session, next_of(fields.get("next", "")))

    def _entered(self, request: Request, session: Session, wanted: str) -> Response:
        sealed = self._sessions.sealed(session)
        if len(sealed) > LONGEST:
            return self._form(request, _LONG, status=400)
        logger.info("signed in", action="enter", method=session.method, user=plain.one_line(session.user))
        answer = _led(f"./{wanted}")
        _keep(request, answer, COOKIE, sealed, LIFETIME_SECONDS)
        return answer

    async def _signed_out(self, request: Request) -> Response:
        """Have the browser forget the session, if one of its pages asks for that."""
        session = next(self._sessions.of(request.headers), None)
        if session is not None:
            await forms.read(request, self._sessions.form_token(_bound(session)))
        answer = _led("login?again=1")
        _keep(request, answer, COOKIE, "", 0)
        return answer

    def _form(
        self, request: Request, problem: str = "", fields: dict[str, str] | None = None, status: int = 200
    ) -> Response:
        """Return the form, bound to the browser by a cookie: no other site can fill in one for somebody."""
        given = fields or {}
        nonces = [each for each in cookies(request.headers, FORM_COOKIE) if _NONCE.fullmatch(each)]
        nonce = nonces[0] if nonces else secrets.token_urlsafe(16)
        answer = page(
            request,
            "login.html",
            status=status,
            problem=problem,
            user=given.get("user", ""),
            next=next_of(given.get("next", "") or request.query_params.get("next", "")),
            form_token=self._sessions.form_token(f"form:{nonce}"),
            offers=self._access.offers,
            is_cluster=self._access.asks_cluster,
        )
        _keep(request, answer, FORM_COOKIE, nonce, LIFETIME_SECONDS)
        return answer


def _bound(session: Session) -> str:
    return f"session:{session.id}"


def _shown(fields: dict[str, str]) -> Shown:
    """Return what somebody typed: a token, or else a name and a password, to the letter."""
    token = fields.get("secret", "").strip()
    if token:
        return Shown(token)
    return Shown(fields.get("password", ""), fields.get("user", "").strip())


def _has_cookies(request: Request) -> bool:
    """Say whether a browser has shown the cookies that it has: not where another site led here (SameSite=Strict)."""
    site = request.headers.get("sec-fetch-site", "cross-site")
    return site in ("same-origin", "none") or "again" in request.query_params


def _again(request: Request, wanted: str) -> Response:
    """Have a browser ask once more by itself, with its cookies: who follows a link from a chat need not sign in."""
    answer = page(
        request, "again.html", address="login?again=1" + (f"&next={quote(wanted, safe='')}" if wanted else "")
    )
    answer.headers["Vary"] = "Sec-Fetch-Site"
    return answer


def _file(request: Request, name: str) -> Response:
    try:
        return static.serve(request, name)
    except KeyError:
        return Response(status_code=404)


def _led(address: str) -> Response:
    return RedirectResponse(address, status_code=303, headers=HEADERS)


def _keep(request: Request, answer: Response, name: str, value: str, seconds: int) -> None:
    https = is_https(request.scope.get("scheme", "http"), Headers(scope=request.scope))
    answer.headers.append("set-cookie", set_cookie(name, value, seconds, is_https=https))
