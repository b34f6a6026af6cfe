"""Whether this process is alive, and whether it should get reviews."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

State = Literal["ok", "degraded", "unavailable"]


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part's state. `degraded` means that it needs somebody's attention but still does its work."""

    state: State
    message: str = ""


class Health:
    """Collects the checks behind `/readyz`.

    A degraded part leaves the process ready: as long as reviews are answered and their entries kept, taking it out of
    the Service would make the API server fail open, and lose what could have been recorded.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Check]]) -> None:
        self.draining = False
        self._checks = checks

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Return whether this process should get reviews, and why."""
        results = {name: check() for name, check in self._checks.items()}
        if self.draining:
            results["shutdown"] = Check("unavailable", "draining: new connections should go elsewhere")
        states = {check.state for check in results.values()}
        status = next((state for state in ("unavailable", "degraded") if state in states), "ok")
        return status != "unavailable", {"status": status, "checks": msgspec.to_builtins(results)}
