"""Templates into answers: everything escaped, nothing inline, nothing from elsewhere."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse

from app import __version__
from app.core import text as plain
from app.web.ui import static, words

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY: Final = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
))  # fmt: skip
"""https://www.w3.org/TR/CSP3/. No inline script or style, so that what an escape would miss still does nothing."""

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


_KNOWN: Final = (("dead", 0), ("viewer", None), ("is_signed_in", False), ("form_token", ""))
"""What the state of a request says of who asks, and what it is where nobody has found out."""


@functools.cache
def environment() -> Environment:
    """Return the templates, read at the first page: who never looks at one pays nothing for them."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  5 MB that only pages need

    made = Environment(
        loader=PackageLoader("app.web.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(line=plain.one_line, age=words.age, number=words.number, second=_second)
    made.globals.update(version=__version__, asset=static.address)
    return made


def _second(moment: str) -> str:
    """Return a moment as people read it where no script makes it local: `2026-01-02 03:04:05 UTC`."""
    return plain.second(moment).replace("T", " ").replace("Z", " UTC")


def page(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Return a page. Its `root` leads to the first page, so that all may be reached below any path.

    `missing` are the replicas that did not answer, with the reasons, `dead` is how many deliveries were given up, which
    every page says, and `viewer` who looks at it, None on those for whoever is not known yet.
    """
    state = request.scope.get("state", {})
    known = {name: state.get(name, default) for name, default in _KNOWN}
    missing = getattr(state.get("ledger"), "missing", {})  # of several replicas, which may not even be loaded here
    text = environment().get_template(template).render({"root": root(request), "missing": missing, **known, **context})
    return HTMLResponse(text, status_code=status, headers=HEADERS)


def root(request: Request) -> str:
    """Return the relative address of the first page: `./` on that page itself, `../` below one folder."""
    # As the browser counts: an escaped slash is part of a name.
    return "../" * (path(request).count("/") - 1) or "./"


def path(request: Request) -> str:
    """Return the path that was asked for, still escaped."""
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    return raw.partition(b"?")[0].decode("latin-1")
