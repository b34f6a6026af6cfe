"""The contract of a sink, and the outcomes that it may report.

SinkSetupError       the options cannot work on this machine: nothing was sent
SinkError
├── TemporaryError   try again later, not before `retry_after`
└── PermanentError   trying again is useless: the receiver refuses this notification
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from app.core.finding import Notification
from app.core.scope import Match, Scope


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


class SinkConfig(BaseModel):
    """Options that every sink has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, Field(min_length=1, max_length=253, description="Unique name, used in playbooks' `sinks`.")]
    default: Annotated[bool, Field(description="Gets findings of playbooks that name no sinks.")] = True
    scope: Annotated[Scope | None, Field(description="Which findings this sink takes.")] = None
    match: Annotated[Match, Field(description="Older form of `scope`.")] = None
    stop: Annotated[bool, Field(description="Later sinks do not get a finding that this sink took.")] = False


C = TypeVar("C", bound=SinkConfig)


class Sink(ABC, Generic[C]):
    """Sends notifications to one receiver. Made once per configuration, used by one worker at a time.

    `Config` is the model of the options. A constructor takes the options alone, does no I/O but reading the files
    that they name, and raises `SinkSetupError` where those cannot work.
    """

    Config: ClassVar[type[SinkConfig]]

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    async def send(self, notification: Notification) -> None:
        """Deliver the notification; returning means that it arrived.

        Raises `TemporaryError` or `PermanentError`. May be cancelled at any await.
        """

    async def aclose(self) -> None:
        """Free what the sink holds; may be called more than once."""
