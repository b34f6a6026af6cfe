"""What consoles tell each other beside the way: in which headers, and how these are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LOCAL: Final = "X-Kubewitness-Local"
"""Asks for what this process has recorded alone; a request between replicas has it, so that it is not passed on."""

NAMESPACES: Final = "X-Kubewitness-Namespaces"
"""Asks for no more than these namespaces, whatever else whoever asks may see."""

MISSING: Final = "X-Kubewitness-Missing"
"""Tells which replicas did not answer, and why: what they recorded is not in the answer."""

INSTANCE: Final = "X-Kubewitness-Instance"
"""Tells which process has answered, so that one that is led to itself finds out."""

POSITION: Final = "X-Kubewitness-Position"
"""Tells how far the ledger was read, where the answer is no JSON."""

_NO_NAMESPACE: Final = "-"
"""Stands for the objects of no namespace: no namespace can have this name."""

_LONGEST_MISSING: Final = 1000


def written_namespaces(namespaces: frozenset[str]) -> str:
    """Return namespaces as a header has them; none make an empty one, which asks for nothing."""
    return ",".join(sorted(each or _NO_NAMESPACE for each in namespaces))


def read_namespaces(header: str) -> frozenset[str]:
    """Return the namespaces of a header, where the empty one stands for objects of no namespace."""
    named = (each.strip() for each in header.split(","))
    return frozenset("" if each == _NO_NAMESPACE else each for each in named if each)


def written_missing(missing: Mapping[str, str]) -> str:
    """Return replicas with the reasons as a header has them: printable ASCII on one line."""
    text = "; ".join(f"{name}: {reason}" for name, reason in missing.items())[:_LONGEST_MISSING]
    return "".join(each if " " <= each <= "~" else "?" for each in text)
