"""The sinks of the configuration in effect: those that work, and those that are missing until somebody mends them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from prometheus_client import Gauge

from app.config.model import Config
from app.config.reload import WatchedConfig
from app.sinks.base import Sink, SinkSetupError
from app.sinks.registry import Built, build_all
from app.web.health import Check

logger = structlog.get_logger(__name__)


class Employed:
    """Which sinks there are, and why others are missing.

    A sink whose options cannot work yet is tried again, and what is meant for it waits. One whose options make no
    sense is left out by the configuration: until that changes nothing is meant for it, and what already waits goes on
    waiting.
    """

    def __init__(self, config: WatchedConfig, up: Gauge) -> None:
        self._config = config
        self._up = up
        self._built = Built({}, {})
        self._shown: set[str] = set()

    @property
    def sinks(self) -> Mapping[str, Sink[Any]]:
        """The sinks that were made, by name."""
        return self._built.sinks

    @property
    def names(self) -> set[str]:
        """The names of all that the configuration declares, of the missing ones too."""
        return {*self._built.sinks, *self._built.failures, *(sink.name for sink in self._config.left_out)}

    @property
    def failures(self) -> Mapping[str, str]:
        """Why sinks cannot be made, by name."""
        return self._built.failures

    async def make(self, config: Config) -> Built:
        """Make the sinks of a configuration; those whose options stay the same are taken again.

        Raises SinkSetupError if one cannot be made and the configuration says not to go on without it.
        """
        built = build_all(config.sinks, self.sinks)
        if built.failures and not config.global_config.continue_on_sink_errors:
            await self._dismiss(built.sinks.values())
            raise SinkSetupError("\n".join(built.failures.values()))
        return built

    def take(self, built: Built) -> None:
        """Employ these sinks from now on; what changed about the missing ones is logged."""
        before, self._built = self._built, built
        for name in before.failures.keys() & built.sinks.keys():
            logger.info("sink can be made now", action="deliver", sink=name)
        for name, reason in built.failures.items():
            if before.failures.get(name) != reason:
                logger.error(
                    "sink cannot be made", action="retry", sink=name, at=self._config.place(name), error=reason
                )

    async def again(self) -> Built | None:
        """Try to make what is missing; return all sinks, ready to be taken, or None if nothing changed."""
        if not self._built.failures:
            return None
        built = build_all(self._config.current.sinks, self.sinks)
        return built if built.failures != self._built.failures else None

    def measure(self) -> None:
        """Set the gauge: 1 for a sink that works, 0 for a missing one; those that are declared no longer vanish."""
        left_out = {sink.name for sink in self._config.left_out}
        for name in self.names:
            self._up.labels(name).set(name in self.sinks and name not in left_out)
        for name in self._shown - self.names:
            self._up.remove(name)
        self._shown = self.names

    def check(self) -> Check:
        """Say which sinks are missing, where they are declared, and why."""
        reasons = [f"left out until it is mended: {sink}" for sink in self._config.left_out]
        reasons += [
            f"cannot be made, what is meant for it waits: {self._config.place(name)}: {reason}"
            for name, reason in self._built.failures.items()
        ]
        return Check("degraded", "; ".join(reasons)) if reasons else Check("ok")

    async def _dismiss(self, sinks: Iterable[Sink[Any]]) -> None:
        """Close those that nobody will use."""
        employed = set(map(id, self.sinks.values()))
        for sink in sinks:
            if id(sink) not in employed:
                await sink.aclose()
