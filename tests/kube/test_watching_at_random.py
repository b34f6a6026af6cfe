"""Whatever a server does, the view becomes the server's state and never goes back in time."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.kube.api_server import serving
from tests.kube.cluster import Cluster
from tests.kube.views import watching


@pytest.mark.parametrize("seed", range(40))
async def test_the_view_becomes_the_state_of_a_server_that_misbehaves(seed: int, tmp_path: Path) -> None:
    cluster = Cluster(chance=random.Random(seed))
    async with serving() as server:
        server.otherwise = cluster.answer
        async with watching(server, tmp_path, page_size=3) as running:
            for _ in range(60):
                await cluster.change()
                for _ in range(cluster.chance.randrange(12)):
                    await asyncio.sleep(0)
            await cluster.calm_down()
            await running.view.becomes(cluster.objects())

            for name in {name for _, name, _ in running.view.told}:
                versions = [version for _, told, version in running.view.told if told == name]
                assert versions == sorted(versions)
