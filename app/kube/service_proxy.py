"""The console of an installation, reached through the API server's service proxy: nothing needs to be exposed.

Kubernetes authorizes the way: `get` on `services/proxy`. Who may read what there is the console's to say, by its token
or by the caller's own, which the API server does not pass on by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from app.kube.client import Heed, KubernetesApi
from app.kube.errors import ApiError

T = TypeVar("T")

SELECTOR: Final = "app.kubernetes.io/name=kubewitness,app.kubernetes.io/component=server"
"""The labels of the chart's Services that lead to servers."""

PORT: Final = "console"
"""The name of the console's port in the chart's Service."""

TOKEN_KEY: Final = "console-token"
"""Where the Secret of an installation holds the console's token."""

TOKEN_HEADER: Final = "X-Kubewitness-Token"
"""Takes a token where `Authorization` is for the API server."""

_HEADLESS: Final = "None"
_USER: Final = re.compile(r'User "([^"\\]{1,200})" cannot')
_INSTANCE: Final = "app.kubernetes.io/instance"


class Console(msgspec.Struct, frozen=True):
    """The Service of an installation's console; its Secret has the same name."""

    namespace: str
    name: str
    release: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """The console's first page in the Kubernetes API, without a slash at the end."""
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/services/{quote(self.name, safe='')}:{PORT}/proxy"


class ConsoleNotFoundError(Exception):
    """There is no one console that could be meant, or it may not be looked for; the message says what to write."""


class _Port(msgspec.Struct, frozen=True):
    name: str = ""


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    ports: tuple[_Port, ...] = ()


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    namespace: str
    labels: dict[str, str] = {}


class _Service(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec = _Spec()

    @property
    def is_console(self) -> bool:
        """Whether it leads to the console of all replicas."""
        return self.spec.cluster_ip != _HEADLESS and any(each.name == PORT for each in self.spec.ports)


class _Services(msgspec.Struct, frozen=True):
    items: tuple[_Service, ...] = ()


class _Secret(msgspec.Struct, frozen=True):
    data: dict[str, bytes] = {}


async def find_console(api: KubernetesApi, namespace: str = "", release: str = "") -> Console:
    """Return the one console with the chart's labels, there or in any namespace, of this release or of any.

    Who may not list Services says both, and is believed. Raises ApiError, or ConsoleNotFoundError.
    """
    try:
        found = await _consoles(api, namespace, release)
    except ApiError as error:
        if not error.is_forbidden:
            raise
        if namespace and release:
            return Console(namespace, _full_name(release), release)
        raise ConsoleNotFoundError(_unlisted(namespace, error)) from error
    if len(found) != 1:
        raise ConsoleNotFoundError(_several(found) if found else _none(namespace, release))
    return found[0]


async def _consoles(api: KubernetesApi, namespace: str, release: str) -> list[Console]:
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    selector = f"{SELECTOR},{_INSTANCE}={release}" if release else SELECTOR
    answer = await api.get(f"/api/v1{place}/services", {"labelSelector": selector}, attempts=1)
    services = _read(answer, _Services).items
    return [
        Console(each.metadata.namespace, each.metadata.name, each.metadata.labels.get(_INSTANCE, ""))
        for each in services
        if each.is_console
    ]


async def installed_token(api: KubernetesApi, console: Console) -> str:
    """Return the token of the installation's Secret, empty where it has none; raises ApiError."""
    place = f"/api/v1/namespaces/{quote(console.namespace, safe='')}/secrets/{quote(console.name, safe='')}"
    try:
        secret = _read(await api.get(place, attempts=1), _Secret)
    except ApiError as error:
        if error.is_not_found:
            return ""
        raise
    return secret.data.get(TOKEN_KEY, b"").decode("ascii", "replace").strip()


async def ask(
    api: KubernetesApi,
    console: Console,
    path: str,
    parameters: Mapping[str, str],
    *,
    token: str,
    seconds: float,
    heed: Heed = lambda _: None,
) -> bytes:
    """Return what the console answers for a path relative to it; raises ApiError, `answer` being the console's own.

    `heed` gets the headers of an answer of success.
    """
    headers = {TOKEN_HEADER: token} if token else {}
    return await api.get(f"{console.path}/{path}", parameters, headers=headers, heed=heed, attempts=2, timeout=seconds)


def way_advice(console: Console, error: ApiError) -> str:
    """Return what is missing where the API server does not pass a call on, and the commands that grant it."""
    name = f"{console.name}:{PORT}"
    return (
        f"may not get services/proxy in the namespace {console.namespace}, by which the console is reached. Whoever may"
        f" grant it: {_grant(console, 'console', 'services/proxy', name, error)} ({error})"
    )


def token_advice(console: Console, error: ApiError) -> str:
    """Return what is missing where the Secret may not be read, and the commands that grant it."""
    return (
        f"may not get the Secret {console}, which holds the console's token. Name a file that has it with --token-file;"
        f" or, whoever may grant it: {_grant(console, 'token', 'secrets', console.name, error)} ({error}). The Secret"
        " holds the keys of the installation as well: better is a console that asks Kubernetes who may see what"
        " (console.kubernetesAuth.enabled of the chart), which takes your own token"
    )


def _grant(console: Console, what: str, resource: str, name: str, error: ApiError) -> str:
    found = _USER.search(error.message)
    role, user = f"{console.name}-{what}", found[1] if found else "USER"
    place = f"kubectl -n {console.namespace} create"
    return (
        f"`{place} role {role} --verb=get --resource={resource} --resource-name={name}` and"
        f" `{place} rolebinding {role} --role={role} --user={user}`"
    )


def _full_name(release: str) -> str:
    """Return the name of a release's objects, as the chart's `auditor.fullname` makes it."""
    name = release if "kubewitness" in release else f"{release}-kubewitness"
    return name[:40].removesuffix("-")


def _unlisted(namespace: str, error: ApiError) -> str:
    where = f"in the namespace {namespace}" if namespace else "in all namespaces"
    needed = "--release" if namespace else "--witness-namespace and --release"
    return f"may not list services {where}, to find the console: say where it is with {needed} ({error})"


def _none(namespace: str, release: str) -> str:
    where = f"in the namespace {namespace}" if namespace else "in this cluster"
    what = f"no release {release} of kubewitness" if release else "no kubewitness"
    return f"there is {what} {where}, as far as Services say ({SELECTOR}); is this the right --context?"


def _several(found: list[Console]) -> str:
    choices = "; ".join(f"--witness-namespace {each.namespace} --release {each.release}" for each in found[:5])
    return f"there are {len(found)} installations in this cluster; say which: {choices}"


def _read(answer: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(answer, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ApiError("the API server's answer cannot be read") from None
