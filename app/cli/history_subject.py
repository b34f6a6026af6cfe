"""Which object a command is about, and its entries: what `history`, `blame` and `diff` have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
import typer

from app.cli.completion import complete_objects, completing
from app.cli.times import clock
from app.core.change import Entry
from app.core.kinds import BY_NAME, canonical
from app.core.moments import parse_moment
from app.core.nearest import nearest
from app.store.reading import Reader

NOTHING: Final = 1
"""Exit code where there is nothing to tell."""

ARGUMENT: Final = "KIND/NAME"

_SHORT: Final = {
    "cj": "CronJob",
    "cm": "ConfigMap",
    "crd": "CustomResourceDefinition",
    "deploy": "Deployment",
    "ds": "DaemonSet",
    "hpa": "HorizontalPodAutoscaler",
    "ing": "Ingress",
    "netpol": "NetworkPolicy",
    "no": "Node",
    "ns": "Namespace",
    "pdb": "PodDisruptionBudget",
    "po": "Pod",
    "pv": "PersistentVolume",
    "pvc": "PersistentVolumeClaim",
    "quota": "ResourceQuota",
    "rs": "ReplicaSet",
    "sa": "ServiceAccount",
    "sts": "StatefulSet",
    "svc": "Service",
}
"""Short names that kubectl takes (`kubectl api-resources`)."""


class Subject(msgspec.Struct, frozen=True):
    """An object as a person names it, and its entries, oldest first."""

    kind: str
    namespace: str
    name: str
    entries: tuple[Entry, ...]

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


ObjectArgument = Annotated[
    str,
    typer.Argument(
        metavar=ARGUMENT,
        help="The object: deployment/web, svc/web, certificates.example.org/web.",
        autocompletion=complete_objects,
    ),
]
NamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="Its namespace; not needed where the ledger knows one such object.",
        autocompletion=completing("namespace"),
    ),
]


def read_subject(ledger: Reader, text: str, namespace: str) -> Subject:
    """Read the entries of an object that may have none; raises BadParameter for what names no one object."""
    kind, group, name = _named(text)
    kind = _known(ledger, kind)
    where = _where(ledger, kind, namespace, name)
    return Subject(kind, where, name, tuple(ledger.of_object(kind, where, name, group=group)))


def moment_option(text: str, option: str, otherwise: datetime) -> datetime:
    """Read a time that a person wrote, in the local zone; raises BadParameter that says what can be written."""
    now = clock()
    try:
        return parse_moment(text, now, now.tzinfo or UTC) if text else otherwise
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _named(text: str) -> tuple[str, str | None, str]:
    """Return kind, group and name of `deployment.apps/web`; the group is None where it is not said."""
    word, slash, name = text.partition("/")
    if not (word and slash and name) or "/" in name:
        raise typer.BadParameter(f"{text!r} is no object; write kind and name: deployment/web", param_hint=ARGUMENT)
    kind, dot, group = word.partition(".")
    return kind, group if dot else None, name


def _known(ledger: Reader, word: str) -> str:
    """Return the kind that a word means; raises BadParameter for one that is neither built in nor in the ledger."""
    kind = _SHORT.get(word.lower()) or canonical(word)
    seen = ledger.words("kind")
    if kind.lower() in BY_NAME or kind in seen:
        return kind
    for each in seen:
        if word.lower() in (each.lower(), f"{each.lower()}s", f"{each.lower()}es"):
            return each
    near = nearest(word, {each.lower() for each in seen} | set(BY_NAME))
    hint = f"; did you mean {near}?" if near else ""
    raise typer.BadParameter(f"the ledger knows no kind {word!r}{hint}", param_hint=ARGUMENT)


def _where(ledger: Reader, kind: str, namespace: str, name: str) -> str:
    built_in = BY_NAME.get(kind.lower())
    if namespace or (built_in and not built_in.namespaced):
        return "" if built_in and not built_in.namespaced else namespace
    found = ledger.places(kind, name)
    if len(found) > 1:
        places = ", ".join(repr(each) if each else "no namespace" for each in found[:5])
        raise typer.BadParameter(f"{kind} {name} is in {places}; say in which", param_hint="--namespace")
    return found[0] if found else ""
