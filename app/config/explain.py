"""Validation errors in words for people: what is wrong, where, and the nearest right thing. Never a value."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.config.model import schema
from app.config.problems import KeyPath
from app.config.yaml_lines import Place
from app.core.kinds import BY_NAME
from app.core.nearest import nearest
from app.core.triggers import TRIGGERS

_NOUNS: Final = {"triggers": "trigger", "actions": "action", "sinksConfig": "sink type"}
_ELSEWHERE: Final = {
    "clusterName": "globalConfig.cluster_name",
    "active_playbooks": "customPlaybooks",
    "builtinPlaybooks": "customPlaybooks",
    "priorityBuiltinPlaybooks": "customPlaybooks",
    "platformPlaybooks": "customPlaybooks",
    "namedCustomPlaybooks": "customPlaybooks",
}
_ROBUSTA_ONLY: Final = frozenset(
    "alertRelabel argoRollouts automountServiceAccountToken clusterZone disabledPlaybooks enableHolmesGPT "
    "enablePlatformPlaybooks enablePrometheusStack enableServiceMonitors enabledManagedConfiguration fullnameOverride "
    "global grafanaRenderer holmes image kube-prometheus-stack kubewatch lightActions monitorHelmReleases openshift "
    "playbookRepos playbooksPersistentVolume playbooksPersistentVolumeSize playbooksPersistentVolumeStorageClass rsa "
    "runner runnerServiceAccount scaleAlertsProcessing".split()
)
"""Top-level Helm values of Robusta (its chart's values.yaml) without a counterpart here."""

_ROBUSTA_GLOBALS: Final = frozenset(
    "account_id check_prometheus_flags custom_annotations custom_severity_map grafana_api_key grafana_dashboard_uid "
    "grafana_url prometheus_rule_custom_labels prometheus_rule_group_name prometheus_url signing_key".split()
)
"""Keys of `globalConfig` that Robusta's chart has and that have no counterpart here."""

_ROBUSTA_SINKS: Final = {
    "robusta_sink": "remove it: it leads to Robusta's own service; the console shows the changes here",
    "incidentio_sink": "use webhook_sink with the URL of the alert source, or apprise_sink",
    "yamessenger_sink": "use webhook_sink, with something that translates, or another messenger's sink",
    "plivo_sink": "use apprise_sink, which sends text messages by plivo:// and others",
    "ms_teams_graph_sink": "use ms_teams_sink with the URL of a workflow of the channel",
    "slack_sink_preview": "use slack_sink, which has no templates of its own",
}
"""Sinks of Robusta that there are not here, with what to do instead."""

_ON_KIND: Final = re.compile(r"on_(\w+?)_(create|update|delete|all_changes)")
_KIND_WORDS: Final = frozenset(BY_NAME) | {"kubernetes_any_resource", "resource"}
_WORD: Final = re.compile(r"'([^']*)'")
_OF_A_SCOPE: Final = frozenset({"include", "exclude"})
"""Robusta's example of routing by severity has them beside an empty `scope`."""


class Complaint(msgspec.Struct, frozen=True):
    """What is wrong at a key path of the file. `of_key` points at the key, else at its value."""

    path: KeyPath
    message: str
    suggestion: str = ""
    of_key: bool = False
    place: Place | None = None


def complaints(error: ValidationError, below: KeyPath = ()) -> Iterator[Complaint]:
    """Yield one complaint per error; `below` is the key path of what was validated."""
    for details in error.errors(include_url=False):
        path = (*below, *(part for part in details["loc"] if part != "[key]"))
        yield _complaint(path, details)


def _complaint(path: KeyPath, details: ErrorDetails) -> Complaint:
    match details["type"]:
        case "extra_forbidden":
            return _unknown(path[:-1], str(path[-1]))
        case "missing":
            return Complaint(path[:-1], f"lacks the key {path[-1]!r}", of_key=True)
        case "value_error":
            error = details["ctx"]["error"]
            return Complaint(path, str(error), getattr(error, "suggestion", ""))
        case "literal_error" | "enum":
            # The value is only compared: the suggestion is one of the valid words.
            near = nearest(str(details["input"]), _WORD.findall(details["ctx"]["expected"]))
            return Complaint(path, _sentence(details["msg"]), near)
    return Complaint(path, _sentence(details["msg"]))


def _sentence(message: str) -> str:
    text = message.removesuffix(", unable to interpret input")
    text = text.replace("a valid dictionary or instance of", "a mapping of options, as for").replace("a valid ", "a ")
    return text.replace("Input ", "", 1) if text.startswith("Input ") else text


def _unknown(parent: KeyPath, word: str) -> Complaint:
    path = (*parent, word)
    if not parent and word in _ELSEWHERE:
        return Complaint(path, f"{word!r} is not read here", _ELSEWHERE[word], of_key=True)
    if not parent and word in _ROBUSTA_ONLY:
        return Complaint(path, f"{word!r} is a Helm value of Robusta that has no counterpart here", of_key=True)
    if word in _OF_A_SCOPE and "scope" in keys_at(parent):
        return Complaint(path, f"{word!r} belongs into scope: indent it", f"scope.{word}", of_key=True)
    if parent == ("globalConfig",) and word in _ROBUSTA_GLOBALS:
        return Complaint(path, f"{word!r} of Robusta has no counterpart here: remove it", of_key=True)
    if word in _ROBUSTA_SINKS and parent[:1] == ("sinksConfig",):
        return Complaint(path, f"{word!r} of Robusta does not exist here: {_ROBUSTA_SINKS[word]}", of_key=True)
    noun = _noun(parent)
    near = _nearest_trigger(word) if noun == "trigger" else nearest(word, keys_at(parent))
    return Complaint(path, f"unknown {noun} {word!r}{'' if near else _hint(noun, word, parent)}", near, of_key=True)


def _noun(parent: KeyPath) -> str:
    inside_item = len(parent) > 1 and isinstance(parent[-1], int)
    return _NOUNS.get(str(parent[-2]), "key") if inside_item else "key"


def _nearest_trigger(word: str) -> str:
    """Compare kinds with kinds: `on_certificate_update` is a custom resource's, whatever ends in `_update`."""
    change = _ON_KIND.fullmatch(word)
    if change is None:
        return nearest(word, TRIGGERS)
    kind = nearest(change[1], _KIND_WORDS, alike=0.8 if len(change[1]) > len("node") else 0.6)
    return f"on_{kind}_{change[2]}" if kind else ""


def _hint(noun: str, word: str, parent: KeyPath) -> str:
    change = _ON_KIND.fullmatch(word)
    if noun == "trigger" and change:
        return f"; for a custom resource write on_resource_{change[2]}: {{group: ..., kind: ...}}"
    known = sorted(keys_at(parent))
    return f"; there are {', '.join(known)}" if 0 < len(known) <= 40 else ""  # noqa: PLR2004  what a line can hold


@functools.cache
def _schema() -> dict[str, Any]:
    return schema()


def keys_at(path: KeyPath) -> frozenset[str]:
    """Return the keys that are valid in the mapping at a key path of the file."""
    places = _flat(_schema())
    for part in path:
        places = [inner for place in places for child in _children(place, part) for inner in _flat(child)]
    return frozenset(key for place in places for key in place.get("properties", {}))


def _flat(place: dict[str, Any]) -> list[dict[str, Any]]:
    """Follow references and alternatives to the schemas that they mean."""
    if "$ref" in place:
        return _flat(_schema()["$defs"][place["$ref"].rpartition("/")[2]])
    choices = [*place.get("anyOf", ()), *place.get("oneOf", ()), *place.get("allOf", ())]
    return [inner for choice in choices for inner in _flat(choice)] or [place]


def _children(place: dict[str, Any], part: str | int) -> Iterator[dict[str, Any]]:
    if isinstance(part, int):
        child = place.get("items")
    else:
        child = place.get("properties", {}).get(part, place.get("additionalProperties"))
    if isinstance(child, dict):
        yield child
