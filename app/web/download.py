"""An answer that is made while it is sent: as fast as who asked takes it, and recognisably incomplete where it is."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from app.store.database import StoreError
from app.store.encoding import UNREADABLE
from app.web.ui.render import HEADERS

logger = structlog.get_logger(__name__)

STALLED_SECONDS: Final = 60.0
"""How long a client may take nothing of what is sent to it."""

_FAULTS: Final = (StoreError, sqlite3.Error, *UNREADABLE)


class Download(Response):
    """Sends chunks one by one, each when the one before has been taken.

    Whoever leaves is sent no more, and nothing more is read. Where a chunk cannot be made, or is not taken, the
    connection is closed before the body has ended: HTTP clients tell that from a whole one.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], media_type: str, file_name: str) -> None:
        super().__init__(media_type=None, headers=attached(media_type, file_name))
        del self.headers["content-length"]
        self._chunks = chunks

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async with aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    if gone.done():
                        return
                    async with asyncio.timeout(STALLED_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            logger.warning("download ended early", action="send", error="the client takes nothing any more")
        except _FAULTS as error:
            # Without the end of the body the server closes the connection.
            logger.error("download ended early", action="read", error=str(error))  # noqa: TRY400  no bug to trace
        finally:
            gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def attached(media_type: str, file_name: str) -> Mapping[str, str]:
    """Return the headers of a file that is to be kept, and never shown as a page of the console."""
    return {
        **HEADERS,
        "Content-Type": media_type,
        "Content-Disposition": f'attachment; filename="{file_name}"',
        "X-Accel-Buffering": "no",
    }
