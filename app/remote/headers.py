"""What consoles tell each other beside the way: in which headers, and how these are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

LOCAL: Final = "X-Kubewitness-Local"
"""Asks for what this process has recorded alone; a request between replicas has it, so that it is not passed on."""

NAMESPACES: Final = "X-Kubewitness-Namespaces"
"""Asks for no more than these namespaces, whatever else whoever asks may see."""

NARROWED: Final = "X-Kubewitness-Narrowed"
"""Tells that the answer keeps to `NAMESPACES`; one of an older version, or through a proxy, might not."""

MISSING: Final = "X-Kubewitness-Missing"
"""Tells which replicas did not answer, and why: what they recorded is not in the answer."""

INSTANCE: Final = "X-Kubewitness-Instance"
"""Tells which process has answered, so that one that is led to itself finds out."""

POSITION: Final = "X-Kubewitness-Position"
"""Tells how far the ledger was read, where the answer is no JSON."""

_LONGEST_MISSING: Final = 1000


def written_namespaces(namespaces: frozenset[str]) -> str:
    """Return namespaces as a header has them: escaped as in a URL, with commas between them; none make an empty one.

    The empty namespace, of objects of none, is an empty one between commas, and alone a comma.
    """
    return "," if namespaces == {""} else ",".join(quote(each, safe="") for each in sorted(namespaces))


def read_namespaces(header: str) -> frozenset[str]:
    """Return the namespaces of a header."""
    return frozenset(map(unquote, header.split(","))) if header else frozenset()


def written_missing(missing: Mapping[str, str]) -> str:
    """Return replicas with the reasons as a header has them: printable ASCII on one line."""
    text = "; ".join(f"{name}: {reason}" for name, reason in missing.items())[:_LONGEST_MISSING]
    return "".join(each if " " <= each <= "~" else "?" for each in text)
