"""The contract of a sink, and the outcomes that it may report.

SinkSetupError       the options cannot work on this machine: nothing was sent
SinkError
├── TemporaryError   try again later, not before `retry_after`
└── PermanentError   trying again is useless: the receiver refuses this notification
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Generic, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from app.core.finding import Notification
from app.core.grouping import Grouping
from app.core.scope import Match, Scope
from app.core.windows import Activity, MuteInterval


class SinkSetupError(ValueError):
    """A sink cannot be made from its options; the message names the option, the file and what is wrong."""


class SinkError(Exception):
    """A notification was not delivered. The message is shown to people: it never contains a credential."""


class TemporaryError(SinkError):
    """The receiver cannot take the notification now; `retry_after` is what it asked for, if it did."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(SinkError):
    """The receiver will never take this notification."""


ACCEPTED: Final = "Accepted for Robusta's sake"
"""Begins the description of an option that does nothing, so that a file need not be changed."""


class SinkConfig(BaseModel):
    """Options that every sink has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    keeps_records: ClassVar[bool] = False
    """Whether the receiver keeps records instead of people's attention: it is told everything, noise or not."""

    name: Annotated[str, Field(min_length=1, max_length=253, description="Unique name, used in playbooks' `sinks`.")]
    default: Annotated[bool, Field(description="Gets findings of playbooks that name no sinks.")] = True
    scope: Annotated[Scope | None, Field(description="Which findings this sink takes.")] = None
    match: Annotated[Match, Field(description="Older form of `scope`.")] = None
    stop: Annotated[bool, Field(description="Later sinks do not get a finding that this sink took.")] = False
    activity: Annotated[Activity | None, Field(description="When it is told anything; by default always.")] = None
    mute_intervals: Annotated[list[MuteInterval] | None, Field(description="When it is told nothing.")] = None
    grouping: Annotated[Grouping | None, Field(description="How to tell less: summaries, or only what repeats.")] = None
    send_svg: Annotated[bool, Field(description=f"{ACCEPTED}; nothing here draws pictures.")] = False


class Pace(NamedTuple):
    """What a receiver takes at most: so many messages in so many seconds."""

    messages: int
    seconds: float


Rendering = str | dict[str, Any] | list[Any]
"""What a sink sends, as text or as JSON."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A group of notifications: what they have in common, and how many there were of which sort."""

    last: Notification
    group: tuple[tuple[str, str], ...]
    headers: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], int], ...]
    since: datetime
    interval: timedelta

    @property
    def total(self) -> int:
        """How many notifications there were."""
        return sum(count for _, count in self.rows)


C = TypeVar("C", bound=SinkConfig)


class Sink(ABC, Generic[C]):
    """Sends notifications to one receiver. Made once per configuration, used by one worker at a time.

    `Config` is the model of the options. A constructor takes the options alone, does no I/O but reading the files
    that they name, and raises `SinkSetupError` where those cannot work.
    """

    Config: ClassVar[type[SinkConfig]]
    pace: ClassVar[Pace | None] = None
    """What the receiver documents that it takes, for each `lane`; None where it documents nothing."""

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    async def send(self, notification: Notification) -> None:
        """Deliver the notification; returning means that it arrived.

        Raises `TemporaryError` or `PermanentError`. May be cancelled at any await.
        """

    @abstractmethod
    def render(self, notification: Notification) -> Rendering:
        """Return what `send` sends, within the receiver's limits and without any credential; no I/O."""

    def lane(self, notification: Notification) -> str:
        """Return what the receiver counts messages by, such as the channel; by default it counts them all."""
        return ""

    @property
    def threads(self) -> bool:
        """Whether its messages can be changed and answered to, as configured: then it is a `ThreadedSink`."""
        return False

    async def aclose(self) -> None:
        """Free what the sink holds; may be called more than once."""


class ThreadedSink(Sink[C]):
    """A sink whose messages can be changed and answered to, so that a group of notifications can be one message.

    A reference names a message for as long as the receiver keeps it; the caller stores it. `summarise` and `reply` are
    called only where `threads` is true.
    """

    @property
    @override
    def threads(self) -> bool:
        return True

    @abstractmethod
    async def summarise(self, summary: Summary, reference: str) -> str:
        """Send the summary, or bring the message that `reference` names up to date; return the message's reference.

        Raises what `send` does.
        """

    @abstractmethod
    async def reply(self, notification: Notification, reference: str) -> None:
        """Send the notification into the thread of a message; raises what `send` does."""
