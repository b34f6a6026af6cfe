"""Evidence: what is known of the Pods of a Job that fails, kept while the Pods themselves may vanish.

Every text in here is redacted already.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["init", "sidecar", "app"]


class Termination(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one run of a container ended. Times are RFC 3339, as Kubernetes writes them."""

    exit_code: int
    reason: str = ""
    message: str = ""
    signal: int = 0
    started_at: str = ""
    finished_at: str = ""


class ContainerEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container as it was last seen. `run` counts its starts from 0: it is the container's restart count.

    `ended` is the end of this run, None while it waits or runs; `ended_before` that of the run before.
    """

    name: str
    role: Role = "app"
    image: str = ""
    state: Literal["waiting", "running", "terminated"] = "waiting"
    reason: str = ""
    message: str = ""
    run: int = 0
    ended: Termination | None = None
    ended_before: Termination | None = None


class Log(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of what one run of a container wrote.

    `cut` says that there was more before it; `whole_run` that the run had ended when it was read. Where nothing could
    be read, `text` is empty and `note` says why.
    """

    container: str
    run: int = 0
    text: str = ""
    cut: bool = False
    whole_run: bool = False
    note: str = ""


class PodEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Pod as it was last seen. `deleted_at` is when its deletion was asked for; `gone` says that it is no more."""

    uid: str
    name: str
    node: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    created_at: str = ""
    deleted_at: str = ""
    gone: bool = False
    containers: tuple[ContainerEvidence, ...] = ()
    logs: tuple[Log, ...] = ()


class WantedLog(msgspec.Struct, frozen=True):
    """A log that should be read: of the container's run that is the current or, with `previous`, the one before."""

    container: str
    run: int
    previous: bool = False
