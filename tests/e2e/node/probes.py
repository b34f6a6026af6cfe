"""Probes of containers: what is asked, and when that says something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeAlias

import httpx

from tests.e2e.servers import Document

Verdicts: TypeAlias = AsyncGenerator[bool, None]


async def verdicts(probe: Document, check: Callable[[], Awaitable[bool]]) -> Verdicts:
    """Yield whether all is well, whenever a threshold is reached or surpassed, until nobody asks any more."""
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    streak, last = 0, None
    while True:
        well = await check()
        streak = streak + 1 if well is last else 1
        last = well
        if streak >= (probe.get("successThreshold", 1) if well else probe.get("failureThreshold", 3)):
            yield well
        await asyncio.sleep(probe.get("periodSeconds", 10))


async def is_well(probe: Document, address: str, port: Callable[[str | int], int], enter: tuple[str, ...]) -> bool:
    """Ask once; whatever goes wrong, or takes longer than its timeout, is a no. `enter` begins what `exec` runs."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
            if "httpGet" in probe:
                return await _http(probe["httpGet"], address, port(probe["httpGet"]["port"]))
            if "tcpSocket" in probe:
                return await _tcp(address, port(probe["tcpSocket"]["port"]))
            return await _command((*enter, *probe["exec"]["command"]))
    except (OSError, TimeoutError, httpx.HTTPError):
        return False


async def _http(get: Document, address: str, port: int) -> bool:
    headers = {each["name"]: each["value"] for each in get.get("httpHeaders") or []}
    url = f"{get.get('scheme', 'HTTP').lower()}://{address}:{port}{get.get('path', '/')}"
    # As a kubelet: a connection for each, and certificates say nothing.
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=None) as client:
        answer = await client.get(url, headers={"User-Agent": "kube-probe/1", "Connection": "close", **headers})
    return answer.is_success or answer.is_redirect


async def _tcp(address: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(address, port)
    writer.close()
    await writer.wait_closed()
    return True


async def _command(command: tuple[str, ...]) -> bool:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        return await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
