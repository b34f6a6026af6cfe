"""Who is a person: what tells human actors from controllers, by the name that the API server authenticated."""

from __future__ import annotations

from typing import Final, Literal

ActorKind = Literal["human", "controller"]

CONTROLLERS: Final = "system:"
"""Names begin so that Kubernetes gives away: service accounts, nodes, the control plane's own identities."""

PEOPLE: Final = ("system:admin", "system:anonymous", "system:unauthenticated")
"""Names that begin so and that people use: k3s' and OpenShift's administrator, and nobody in particular."""


def actor_kind(username: str) -> ActorKind:
    """Return whether a person or a program goes by this name."""
    return "controller" if username.startswith(CONTROLLERS) and username not in PEOPLE else "human"
