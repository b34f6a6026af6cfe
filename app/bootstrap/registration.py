"""What API servers are told to trust, followed where somebody else writes it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from app.kube.bells import registration_watch
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError
from app.kube.installation import RegistrationObject
from app.tls.trust import Trust
from app.tls.upkeep import Upkeep

_INTERVAL: Final = timedelta(seconds=30)
"""How late a change is seen that no watch has told."""


async def follow_registration(api: KubernetesApi, name: str, trust: Trust) -> None:
    """Keep `trust` told of the webhook configuration, for ever."""
    registration = RegistrationObject(api, name)

    async def look() -> None:
        try:
            trust.saw(await registration.get())
        except ApiError as error:
            trust.failed(error)
            raise

    upkeep = Upkeep(look, wait=lambda: _INTERVAL, tell=lambda _: None, what=str(registration))
    async with asyncio.TaskGroup() as group:
        group.create_task(upkeep.run())
        group.create_task(registration_watch(api, name, upkeep.ring).run())
