# ruff: noqa: INP001, T201  a script, which is no package, and prints
"""Prints what the webhook sink posts: a line for each finding, and one for each changed field.

python receiver.py PORT
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def lines(document: dict[str, Any]) -> Iterator[str]:
    """Return what a person wants to know of a notification."""
    finding, entry = document["finding"], document["entry"]
    resource = entry["resource"]
    where = "/".join(filter(None, (resource["kind"], resource["namespace"], resource["name"])))
    # Nobody fails a Job: such an entry names no user.
    who = " by ".join(filter(None, (where, entry["user"]["username"])))
    yield f"{finding['severity']} {finding['title']}: {entry['operation']} {who}"
    for change in entry["changes"]:
        yield f"  {change['path']}: {json.dumps(change.get('old'))} -> {json.dumps(change.get('new'))}"


class Receiver(BaseHTTPRequestHandler):
    """Takes everything that it understands."""

    def do_GET(self) -> None:
        """Say that it is there."""
        self._answer(200)

    def do_POST(self) -> None:
        """Print a notification."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            text = "\n".join(lines(json.loads(body)))
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400)
            text = f"not a notification: {error!r}"
        else:
            self._answer(204)
        print(text, flush=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is given
        """Keep quiet about requests."""

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Receiver).serve_forever()
