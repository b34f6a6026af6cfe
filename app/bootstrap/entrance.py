"""Whom the console lets in, as the settings say, and the connection by which the API server is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from app.config.users_file import UsersFile
from app.core.viewer import Viewer
from app.settings import CommonSettings
from app.store.reading import Reader
from app.web.access import Access
from app.web.attempts import Attempts
from app.web.identities import Method, TokenMethod
from app.web.sessions import Sessions, derived
from app.web.users import Users

if TYPE_CHECKING:
    from app.kube.client import KubernetesApi

_MOST_WORDS: Final = 1000
_BEGINNINGS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
"""With which names of namespaces begin (RFC 1123)."""

CONSOLE: Final = "console token"
REPLICA: Final = "another replica"


class Entrance:
    """Finds out who asks. `secret` is what replicas share, of which sessions and the token between them are made.

    `token` gives that of the console, empty where there is none; `namespaces` are those of the ledger. `open` raises
    KubernetesSetupError where the API server cannot be asked, and `close` ends the connection to it.
    """

    def __init__(
        self, settings: CommonSettings, secret: bytes, token: Callable[[], str], namespaces: Callable[[], Sequence[str]]
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._token = token
        self._namespaces = namespaces
        self._attempts = Attempts()
        self._api: KubernetesApi | None = None
        self.access = self._access([])

    @property
    def replica_token(self) -> str:
        """What replicas show each other: whoever has this one may do what the person may for whom they ask."""
        return derived(self._secret, b"replicas").hex()

    async def open(self) -> None:
        """Make ready to ask the API server, where the settings say so."""
        settings = self._settings
        if not settings.console_kubernetes_auth:
            return
        # 20 MB that only who asks the API server needs.
        from app.kube.client import KubernetesApi  # noqa: PLC0415
        from app.kube.reviews import Reviews  # noqa: PLC0415
        from app.web.kubernetes_users import KubernetesUsers  # noqa: PLC0415

        self._api = await KubernetesApi.connect(settings.kubeconfig)
        reviews = Reviews(self._api, settings.console_kubernetes_audience)
        requeue = settings.console_requeue
        users = KubernetesUsers(reviews, self._namespaces, self._attempts, may_requeue=requeue)
        self.access = self._access([users])

    async def close(self) -> None:
        """End the connection to the API server."""
        if self._api is not None:
            await self._api.close()

    def _access(self, more: Sequence[Method]) -> Access:
        requeue = self._settings.console_requeue
        methods: list[Method] = [
            # First: replicas show that of the console, too, for those that do not share the secret.
            TokenMethod(
                "replica", lambda: self.replica_token, Viewer(name=REPLICA, may_requeue=True), is_offered=False
            ),
            TokenMethod("token", self._token, Viewer(name=CONSOLE, may_requeue=requeue)),
        ]
        if self._settings.console_users_file is not None:
            methods.append(Users(UsersFile(self._settings.console_users_file), self._attempts, may_requeue=requeue))
        return Access([*methods, *more], Sessions(self._secret), may_requeue=requeue)


def namespaces_in(ledger: Reader) -> Sequence[str]:
    """Return all namespaces of which something is in a ledger, however many these are."""
    found = ledger.words("namespace")
    if len(found) < _MOST_WORDS:
        return found
    return sorted({name for beginning in _BEGINNINGS for name in ledger.words("namespace", beginning)})
