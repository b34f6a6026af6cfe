"""The other replicas of the installation, and what they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from app.settings import CommonSettings
from app.web.shown import TOKEN_HEADER

if TYPE_CHECKING:
    from app.remote.peers import Peers

logger = structlog.get_logger(__name__)


def peers_of(settings: CommonSettings, replica_token: str, console_token: Callable[[], str]) -> Peers | None:
    """Return those that the settings name, None where there are none.

    They are shown what replicas of one secret share, and the token of the console for those that share only that.
    """
    if not settings.peers:
        return None
    from app.remote.peers import Peers  # noqa: PLC0415  most have none

    def credentials() -> Mapping[str, str]:
        token = console_token()
        return {TOKEN_HEADER: replica_token, **({"Authorization": f"Bearer {token}"} if token else {})}

    peers = Peers(settings.peers, settings.console_name, credentials)
    logger.info("replicas named", action="start", replica=peers.name, others=[each.name for each in peers.others])
    return peers
