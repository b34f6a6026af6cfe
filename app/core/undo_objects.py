"""A deleted object as it can be created again: without what the API server gives to each anew."""

from __future__ import annotations

import copy
from typing import Any, Final

from app.core.change import Resource
from app.core.raw import at, items, mapping

_GIVEN: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
)
_OF_DELETION: Final = frozenset({"foregroundDeletion", "orphan"})
"""Finalizers that the API server adds for a deletion (metav1.FinalizerDeleteDependents, FinalizerOrphanDependents)."""

_OF_JOBS: Final = frozenset(
    {"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"}
)
"""Labels that the API server gives to a Job and its Pods, with its new uid (k8s.io/kubernetes, registry/batch/job)."""


def recreatable(resource: Resource, document: dict[str, Any]) -> dict[str, Any]:
    """Return the object to create; what it says of other objects stays as it was. It must have `metadata`."""
    version = f"{resource.group}/{resource.version}" if resource.group else resource.version
    kept = copy.deepcopy({"apiVersion": version, "kind": resource.kind, **document})
    kept.pop("status", None)
    metadata = kept["metadata"]
    for field in _GIVEN:
        metadata.pop(field, None)
    _leave_out(metadata, "finalizers", [each for each in items(metadata, "finalizers") if each not in _OF_DELETION])
    if (resource.group, resource.kind) == ("", "Namespace"):
        kept.pop("spec", None)  # it holds the finalizer that the API server adds
    if (resource.group, resource.kind) == ("batch", "Job") and at(kept, "spec", "manualSelector") is not True:
        _without_selector(kept)
    return kept


def _without_selector(job: dict[str, Any]) -> None:
    if type(spec := job.get("spec")) is dict:
        spec.pop("selector", None)
    for metadata in (job["metadata"], at(job, "spec", "template", "metadata")):
        if type(metadata) is dict:
            labels = mapping(metadata, "labels")
            _leave_out(metadata, "labels", {key: value for key, value in labels.items() if key not in _OF_JOBS})


def _leave_out(metadata: dict[str, Any], field: str, kept: Any) -> None:
    if kept:
        metadata[field] = kept
    else:
        metadata.pop(field, None)
