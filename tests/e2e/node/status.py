"""What a kubelet says of a Pod, from what its containers are."""

from __future__ import annotations

from collections.abc import Sequence

from tests.e2e.node.container import Container
from tests.e2e.servers import Document


def phase(policy: str, init: Sequence[Container], containers: Sequence[Container]) -> str:
    """Return the phase of a Pod with this restart policy."""
    if policy == "Never" and any(each.exit_code for each in init if "terminated" in each.state):
        return "Failed"
    if any(_never_ran(each) for each in containers):
        return "Pending"
    if policy != "Always" and all("terminated" in each.state for each in containers):
        failed = any(each.exit_code for each in containers)
        return "Failed" if failed and policy == "Never" else "Running" if failed else "Succeeded"
    return "Running"


def conditions(phase: str, init: Sequence[Container], containers: Sequence[Container]) -> dict[str, tuple[bool, str]]:
    """Return of each condition whether it holds, and why not."""
    ended = "PodCompleted" if phase in ("Succeeded", "Failed") else ""
    unready = [each.name for each in containers if not each.is_ready]
    ready = (not unready, ended or ("ContainersNotReady" if unready else ""))
    initialized = all(each.exit_code == 0 for each in init)
    return {
        "Initialized": (initialized, "" if initialized else "ContainersNotInitialized"),
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": (True, ""),
    }


def merged(before: Sequence[Document], wanted: dict[str, tuple[bool, str]], moment: str) -> list[Document]:
    """Return the conditions to report; one that holds as before keeps the time since when it does."""
    known = {each["type"]: each for each in before}
    result = []
    for kind, (holds, reason) in wanted.items():
        status = "True" if holds else "False"
        old = known.get(kind, {})
        since = old["lastTransitionTime"] if old.get("status") == status else moment
        why = {"reason": reason} if reason else {}
        result.append({"type": kind, "status": status, "lastTransitionTime": since, **why})
    return result


def _never_ran(container: Container) -> bool:
    return "waiting" in container.state and container.exit_code is None
