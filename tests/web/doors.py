"""Who is let in to a console of a test."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.viewer import Viewer
from app.web.access import Access
from app.web.identities import Method, TokenMethod
from app.web.sessions import Sessions

SECRET: Final = b"a secret that replicas share, of 32 bytes at least"
OWNER: Final = Viewer(may_requeue=True)


def door(token: Callable[[], str], *more: Method, may_requeue: bool = False) -> Access:
    """Let in whoever shows the token, and whom the other methods know."""
    own = TokenMethod("token", token, Viewer(name="console token", may_requeue=may_requeue))
    return Access([own, *more], Sessions(SECRET), may_requeue=may_requeue)


def as_viewer(app: ASGIApp, viewer: Viewer = OWNER) -> ASGIApp:
    """Let everybody in as this viewer."""
    form_token = secrets.token_hex()

    async def still() -> bool:
        return True

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        state = {**scope.get("state", {}), "viewer": viewer, "form_token": form_token, "still": still}
        await app({**scope, "state": state}, receive, send)

    return wrapped
