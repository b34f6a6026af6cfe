"""The way to an API server that need not be there yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from app.kube.client import KubernetesApi

RETRY_SECONDS: Final = 30.0
"""Between two attempts to read the credentials: by then somebody may have put them there."""


async def connected(kubeconfig: Path | None, failed: Callable[[Exception], None]) -> KubernetesApi:
    """Return the API as soon as there are credentials for it, however long that takes; the caller closes it.

    `failed` is told at each attempt why there are none.
    """
    from app.kube.client import KubernetesApi  # noqa: PLC0415  20 MB that only who asks for it needs
    from app.kube.errors import KubernetesSetupError  # noqa: PLC0415  as above

    while True:
        try:
            return await KubernetesApi.connect(kubeconfig)
        except (KubernetesSetupError, OSError) as error:
            failed(error)
        await asyncio.sleep(RETRY_SECONDS)
