"""The labels of every namespace, followed live, for scopes that ask for them.

A watch of namespaces needs the verbs list and watch on namespaces in all namespaces (a ClusterRole). Of each namespace
only name and labels are kept: 10,000 namespaces with five labels each take some 10 MB. What reads them never waits.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

import msgspec

from app.kube.client import KubernetesApi
from app.kube.handling import ChangeKind
from app.kube.watching import Watch

NAMESPACES: Final = "/api/v1/namespaces"


class _Metadata(msgspec.Struct):
    name: str
    labels: dict[str, str] | None = None


class _Namespace(msgspec.Struct):
    metadata: _Metadata


_namespace: Final = msgspec.json.Decoder(_Namespace)


class NamespaceView:
    """The labels of each namespace by its name, as a watch shows them; the last known ones while it is interrupted."""

    def __init__(self) -> None:
        self._labels: dict[str, Mapping[str, str]] = {}
        self._listed: set[str] = set()

    def labels(self, name: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace; None where they are not known, or not yet."""
        return self._labels.get(name)

    def __len__(self) -> int:
        return len(self._labels)

    def begin(self) -> None:
        """See Handler."""
        self._listed = set()

    def listed(self, item: msgspec.Raw) -> None:
        """See Handler."""
        self._listed.add(self._keep(item))

    def end(self) -> None:
        """See Handler."""
        self._labels = {name: labels for name, labels in self._labels.items() if name in self._listed}
        self._listed = set()

    def changed(self, event: ChangeKind, item: msgspec.Raw) -> None:
        """See Handler."""
        name = self._keep(item)
        if event == "DELETED":
            del self._labels[name]

    def forget(self) -> None:
        """Forget all, as at the beginning."""
        self._labels, self._listed = {}, set()

    def _keep(self, item: msgspec.Raw) -> str:
        metadata = _namespace.decode(item).metadata
        # Keys and many values are the same in every namespace: one text each is enough.
        labels = metadata.labels or {}
        self._labels[metadata.name] = {sys.intern(key): sys.intern(value) for key, value in labels.items()}
        return metadata.name


def namespace_watch(api: KubernetesApi, view: NamespaceView) -> Watch:
    """Return the watch that keeps the view; to be run."""
    return Watch(api, NAMESPACES, view, name="namespaces")
