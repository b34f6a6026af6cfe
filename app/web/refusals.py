"""What is said to whoever may not see something: which right or token it takes, and where that is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from app.kube.reviews import binding_command
from app.web.identities import Offer

_FETCH: Final = "kubectl -n NAMESPACE get secret RELEASE -o jsonpath='{.data.console-token}' | base64 -d"
_PLACE: Final = f"the console's token is in the Secret of the installation ({_FETCH})"
_NEAR: Final = "ask from the machine itself, such as through kubectl port-forward"
_TOKEN: Final = "send `Authorization: Bearer TOKEN` or `X-Kubewitness-Token: TOKEN`"
_PASSWORD: Final = "`Authorization: Basic` with the name and the password of a user"

NONE: Final = (
    "the console answers only to its own machine, since it has no token: start it with --console-token-file, or with"
    f" --secret in a cluster; or {_NEAR}"
)
STRANGE_HOST: Final = (
    "this request comes from the machine itself, but was meant for another host or passed a proxy: ask for"
    " http://localhost and the port, or show the console's token"
)
OTHER_SITE: Final = "another site had your browser ask for this; open it from a page of the console"
TOO_MANY: Final = "too many sign-ins from your address are waiting; try again in a moment"


class RefusalError(Exception):
    """Somebody may not see what they asked for. `command` grants the right that they lack, `user` is who they are."""

    def __init__(self, status: int, detail: str, *, challenge: str = "", command: str = "", user: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.challenge = challenge
        self.command = command
        self.user = user

    @property
    def headers(self) -> dict[str, str]:
        """What the answer's head says beside the status."""
        headers = {"Cache-Control": "no-store"}
        if self.challenge:
            headers["WWW-Authenticate"] = self.challenge
        if self.status in {429, 503}:
            headers["Retry-After"] = "2"
        return headers


def needed(offers: Collection[Offer], *, is_near: bool, is_browser: bool) -> RefusalError:
    """Return the refusal of who has shown nothing."""
    if is_near:
        return RefusalError(401, STRANGE_HOST, challenge=_challenge(offers, is_browser=is_browser))
    ways = [text for offer, text in (("token", _TOKEN), ("password", _PASSWORD)) if offer in offers]
    detail = f"the console shows nothing to strangers: {', or '.join(ways)}; {_PLACE}; or {_NEAR}"
    return RefusalError(401, detail, challenge=_challenge(offers, is_browser=is_browser))


def wrong(offers: Collection[Offer], *, is_browser: bool) -> RefusalError:
    """Return the refusal of who has shown what is not accepted."""
    if "password" not in offers:
        detail = f"this is not the console's token, nor another that it accepts; {_PLACE}"
    else:
        detail = f"this is neither the password of a user nor a token that the console accepts; {_PLACE}"
    return RefusalError(401, detail, challenge=_challenge(offers, is_browser=is_browser, error=True))


def _challenge(offers: Collection[Offer], *, is_browser: bool, error: bool = False) -> str:
    bearer = 'Bearer error="invalid_token"' if error else "Bearer"
    # A browser would ask for the password in a window of its own, over the page.
    basic = ', Basic realm="kubewitness", charset="UTF-8"' if "password" in offers and not is_browser else ""
    return bearer + basic


def sees_nothing(user: str) -> RefusalError:
    """Return the refusal of who is known, and may see no namespace."""
    detail = (
        "you may not see any namespace of the ledger: it takes the right to get entries.kubewitness.io, which is part"
        f" of the cluster role view; somebody who may grant it runs: {binding_command(user)}"
    )
    return RefusalError(403, detail, command=binding_command(user), user=user)
