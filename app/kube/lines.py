"""Cuts a stream of bytes into lines, or keeps its end: in time and memory that grow with what is kept alone."""

from __future__ import annotations

from collections.abc import AsyncIterator


class LineTooLongError(Exception):
    """A line is longer than was allowed."""


async def lines(chunks: AsyncIterator[bytes], max_line: int) -> AsyncIterator[bytes]:
    """Yield each line without its newline; what follows the last newline is torn and left out.

    Raises LineTooLongError as soon as a line has more than `max_line` bytes.
    """
    pieces: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            _check(size + len(part), max_line)
            yield b"".join([*pieces, part])
            pieces, size = [], 0
        pieces.append(rest)
        size += len(rest)
        _check(size, max_line)


def _check(size: int, max_line: int) -> None:
    if size > max_line:
        raise LineTooLongError(f"a line has more than {max_line} bytes")


async def tail(chunks: AsyncIterator[bytes], limit: int) -> tuple[bytes, bool]:
    """Return the last `limit` bytes of the stream, and whether there were more before them."""
    kept = bytearray()
    cut = False
    async for chunk in chunks:
        kept += chunk
        # Moving what is kept once per `limit` bytes, not once per chunk.
        if len(kept) > 2 * limit:
            cut = True
            del kept[:-limit]
    return bytes(kept[-limit:]), cut or len(kept) > limit
