"""What enters the ledger, whether or not a playbook tells anybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.core.facts import ChangeFacts, NamespaceLabels, unknown_namespaces
from app.core.fields import is_status
from app.core.kinds import is_noise
from app.core.matching import CompiledScope
from app.core.review import Change
from app.core.scope import ChangeScopeItem, compile_scope

Selector = Callable[[Change], bool]


class Record(BaseModel):
    """What is recorded: by default every change but the cluster's own upkeep.

    Upkeep is what nobody decides: leases, events, endpoints, access reviews, tokens, bindings of Pods to nodes, and
    every status.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    include: Annotated[list[ChangeScopeItem] | None, Field(description="Record only what one of these matches.")] = None
    exclude: Annotated[list[ChangeScopeItem] | None, Field(description="Record nothing that one of these matches.")] = (
        None
    )
    defaults: Annotated[bool, Field(description="Leave out upkeep such as leases, events and endpoints.")] = True
    status: Annotated[bool, Field(description="Record changes of the status, too.")] = False

    def scope(self) -> CompiledScope:
        """Return what `include` and `exclude` say; without them, everything is within."""
        return compile_scope(self.include, self.exclude)

    def compile(self, namespaces: NamespaceLabels = unknown_namespaces) -> Selector:
        """Return the test that says whether a change is recorded; an update without a change never is."""
        defaults, status = self.defaults, self.status
        within = self.scope() if self.include or self.exclude else None

        def selector(change: Change) -> bool:
            resource = change.resource
            if defaults and is_noise(resource.group, resource.resource, resource.subresource):
                return False
            if not status and (resource.subresource == "status" or _is_status_only(change)):
                return False
            if change.operation == "UPDATE" and not change.deltas and not change.truncated:
                return False
            return within is None or within(ChangeFacts(change, namespaces))

        return selector

    def describe(self) -> str:
        """Say in a few words what is recorded."""
        what = "what `include` matches" if self.include else "every change"
        parts = [
            "" if self.defaults else "with leases, events and other upkeep",
            "with status changes" if self.status else "",
            "but what `exclude` matches" if self.exclude else "",
        ]
        usual = "but the cluster's own upkeep (leases, events, endpoints, ...)" if self.defaults else ""
        return ", ".join(part for part in [f"{what} {usual}".strip(), *parts] if part)


def _is_status_only(change: Change) -> bool:
    return bool(change.deltas) and all(is_status(delta.path) for delta in change.deltas)
