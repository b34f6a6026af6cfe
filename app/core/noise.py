"""Noise: who need not be told of a finding, since they were told of the change that it repeats or follows from.

Nothing of this touches what is recorded, and nothing is lost: a sink is not told only where it was told of, or will be
told of, the entry that the reason names. What is remembered for that is bounded, belongs to this process and is gone
with it; what is forgotten is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.core.delivery import Addressee
from app.core.finding import Finding
from app.core.flapping import Flapping, Flaps, Hold
from app.core.playbook import TRACKER
from app.core.repeats import Attempt, Repeats
from app.core.review import Change, Request
from app.core.sighting import Sighting, fingerprint
from app.core.stories import Stories, Story

Reason = Literal["repeat", "rollout", "flapping"]


class Routed(Protocol):
    """A finding with the sinks that are to get it."""

    @property
    def finding(self) -> Finding:
        """What a playbook says."""

    @property
    def sinks(self) -> Sequence[str]:
        """Who is told."""


def _flapping(value: object) -> object:
    """Read what is written: nothing or true means the defaults, false none."""
    if value is False:
        return None
    return {} if value is True or value is None else value


class NoiseOptions(BaseModel):
    """Which notifications are withheld, or told together, since they would say nothing new."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    repeats: Annotated[
        bool,
        Field(description="Withhold further reviews of the same change, which the API server makes of some writes."),
    ] = True
    rollouts: Annotated[
        bool,
        Field(
            description="Withhold what the cluster's controllers write because of a change, such as the ReplicaSets and"
            " Pods of a Deployment, from the sinks that were told of that change."
        ),
    ] = True
    flapping: Annotated[
        Flapping | None,
        BeforeValidator(_flapping, json_schema_input_type=Flapping | bool | None),
        Field(description="Tell as one what changes the same fields back and forth; false tells each."),
    ] = Flapping()
    except_sinks: Annotated[
        list[str],
        Field(description="Names of sinks that are told everything, as those are that keep records, such as a file."),
    ] = []

    def spares(self, sink: str) -> bool:
        """Say whether the sink is told everything: it is excepted, or is one of a json_change_tracker."""
        return sink in self.except_sinks or sink.startswith(f"{TRACKER}:")


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """For each finding, in order, the sinks that are told of it, held or withheld; and of what entry it is an echo.

    `repeat_of` is the entry of the same change, `story` that of the change that it follows from; empty where there is
    none. `quieted` has a reason for each delivery that is not made at once.
    """

    addressees: tuple[tuple[Addressee, ...], ...]
    repeat_of: str = ""
    story: str = ""
    quieted: tuple[Reason, ...] = ()


class _Echo(NamedTuple):
    """What a change repeats, and what it follows from."""

    first: Attempt | None
    story: Story | None

    def reason(self, playbook: str, sink: str) -> tuple[Reason, str] | None:
        """Return why a sink need not be told, None if it has to be."""
        if self.first is not None and (playbook, sink) in self.first.told:
            return "repeat", f"the same change as entry {self.first.entry}"
        if self.story is not None and sink in self.story.sinks:
            return "rollout", f"follows from entry {self.story.entry} ({self.story.title})"
        return None


class Noise:
    """Remembers what was told, to know what only repeats it or follows from it. Pure: the time is passed in.

    Times are in milliseconds since the epoch.
    """

    def __init__(self) -> None:
        self._repeats = Repeats()
        self._stories = Stories()
        self._flaps = Flaps()

    def clear(self) -> None:
        """Forget all, so that what comes is told."""
        for memory in (self._repeats, self._stories, self._flaps):
            memory.clear()

    def notice(self, change: Change, request: Request, options: NoiseOptions, at: int) -> str:
        """Take note of a change that nobody is told of; return the entry that it follows from, or nothing."""
        seen = Sighting(change, request, at)
        if options.repeats:
            self._repeats.notice(seen)
        story = self._stories.follows(seen) if options.rollouts else None
        if story is None:
            self._stories.interrupt(seen)
        return story.entry if story is not None else ""

    def judge(
        self, change: Change, request: Request, routed: Sequence[Routed], entry: str, options: NoiseOptions, at: int
    ) -> Verdict:
        """Say who is told of a change that has this entry, and remember it for what comes after it."""
        if not any(each.sinks for each in routed):
            return Verdict(addressees=((),) * len(routed), story=self.notice(change, request, options, at))
        seen = Sighting(change, request, at)
        echo = _Echo(
            first=self._repeats.first(seen) if options.repeats else None,
            story=self._stories.follows(seen) if options.rollouts else None,
        )
        hold = self._hold(seen, routed, echo, options)
        self._remember(seen, entry, routed, echo, options)
        decided = [list(_decided(ordinal, each, echo, hold, options)) for ordinal, each in enumerate(routed)]
        return Verdict(
            addressees=tuple(tuple(addressee for addressee, _ in each) for each in decided),
            repeat_of=echo.first.entry if echo.first is not None else "",
            story=echo.story.entry if echo.story is not None else "",
            quieted=tuple(reason for each in decided for _, reason in each if reason is not None),
        )

    def _hold(self, seen: Sighting, routed: Sequence[Routed], echo: _Echo, options: NoiseOptions) -> Hold | None:
        """Return the hold that sinks wait for which would be told at once else."""
        if options.flapping is None:
            return None
        waits = (
            not options.spares(sink) and echo.reason(each.finding.playbook, sink) is None
            for each in routed
            for sink in each.sinks
        )
        return self._flaps.hold(seen, options.flapping) if any(waits) else None

    def _remember(
        self, seen: Sighting, entry: str, routed: Sequence[Routed], echo: _Echo, options: NoiseOptions
    ) -> None:
        if echo.first is not None:
            return
        told = frozenset((each.finding.playbook, sink) for each in routed for sink in each.sinks)
        if options.repeats:
            self._repeats.remember(seen, entry, told)
        if options.rollouts and echo.story is None:
            self._stories.begin(seen, entry, frozenset(sink for _, sink in told))


def _decided(
    ordinal: int, routed: Routed, echo: _Echo, hold: Hold | None, options: NoiseOptions
) -> Iterator[tuple[Addressee, Reason | None]]:
    """Yield the sinks of one finding, and why they are not told at once."""
    playbook = routed.finding.playbook
    for sink in routed.sinks:
        reason = None if options.spares(sink) else echo.reason(playbook, sink)
        if reason is not None:
            yield Addressee(sink, withheld=reason[1]), reason[0]
        elif hold is not None and not options.spares(sink):
            fold = fingerprint([hold.key.hex(), playbook, ordinal]).hex()
            yield Addressee(sink, fold=fold, after=hold.until), "flapping"
        else:
            yield Addressee(sink), None
