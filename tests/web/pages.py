"""A console's pages as a test reads them: status, headers, and the document as a tree."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx

from app.store.journal import Record
from tests.web.ledgers import client_of, console_of, write

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}{%x%}&lt;\u202e\x1b[31m\njavascript:alert(3)"


class Document(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " " * (tag in {"td", "th", "li", "div", "dt", "dd", "p"})

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of each tag that has these."""
        return [found for name, found in self.tags if name == tag and attributes.items() <= found.items()]

    def addresses(self) -> list[str]:
        """Everything that the page links to, loads or sends to."""
        return [value for _, found in self.tags for name in ("href", "src", "action") if (value := found.get(name))]

    def ids(self) -> list[str]:
        """The ids of the entries that it lists."""
        return [str(found["data-id"]) for _, found in self.tags if "data-id" in found]


async def get(data_dir: Path, address: str, **headers: str) -> httpx.Response:
    """Ask a console for a page."""
    async with client_of(console_of(data_dir)) as client:
        return await client.get(address, headers=headers)


async def document(data_dir: Path, address: str, status: int = 200) -> Document:
    """Ask a console for a page that must have this status."""
    answer = await get(data_dir, address)
    assert answer.status_code == status, answer.text
    return Document(answer.text)


async def ledger(data_dir: Path, *records: Record, limit: int = 50) -> list[str]:
    """Write a journal; return the ids of its entries, oldest first."""
    await write(data_dir, *records)
    async with client_of(console_of(data_dir)) as client:
        items: list[dict[str, Any]] = (await client.get("/api/v1/entries", params={"limit": limit})).json()["items"]
    return [item["id"] for item in reversed(items)]


def token(page: httpx.Response) -> str:
    """Return the token of a page's forms."""
    found = re.search(r'name="token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]
