"""`kubewitness verify`: makes a change and finds it in the ledger, or says what to look at."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import msgspec
import typer

from app.cli.failures import FAILED, USAGE, complain, told
from app.cli.output import view
from app.cli.replicas import ConsoleError, Replicas
from app.cli.steps import Steps
from app.cli.tables import entries_table
from app.cli.troubles import registration_hints
from app.cli.webhook import KubeconfigOption
from app.config.token_file import TokenFileError, read_token
from app.core.change import Entry
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError

_LOOK_SECONDS: Final = 0.25
_CHANGE_SECONDS: Final = 2.0
"""An API server follows a new webhook or caBundle within about a second: what it missed is changed again."""

_CLEAN_SECONDS: Final = 10.0
_MANAGER: Final = {"fieldManager": "kubewitness-verify"}

_FORWARD: Final = (
    "in a cluster it takes `kubectl -n NAMESPACE port-forward service/RELEASE 8080` beside this,"
    " or the console's address in --console-url"
)
_RECORD: Final = "record, in the configuration, decides what enters the ledger: does it leave ConfigMaps out?"


class VerifyError(Exception):
    """A change did not come through; the message says what to look at, a line each."""

    def __init__(self, message: str, hints: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *(f"  - {hint}" for hint in hints)]))


def verify(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Where the change is made; not the release's own namespace.")
    ] = "default",
    console_url: Annotated[
        str, typer.Option(help="Console of the server; each address of its host name is asked.")
    ] = "http://127.0.0.1:8080",
    console_token_file: Annotated[
        Path | None, typer.Option(help="File with the console's token; not needed through kubectl port-forward.")
    ] = None,
    kubeconfig: KubeconfigOption = None,
    timeout: Annotated[float, typer.Option(min=1, max=3600, help="Seconds until the change must be found.")] = 60.0,
) -> None:
    """Make a ConfigMap, change it, find the change in the ledger, and delete it again.

    Exit 0 if the change was found, 1 with what to look at if not. Needs the right to create, patch and delete
    ConfigMaps in the namespace.
    """
    with told(), _explained():
        url, token = _checked(console_url), read_token(console_token_file) if console_token_file else ""
        asyncio.run(_verify(Replicas(url, token), namespace, kubeconfig, timeout))


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        complain(f"--console-url takes an address such as http://127.0.0.1:8080, not {url!r}")
        raise typer.Exit(USAGE)
    return url


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (VerifyError, ApiError, TokenFileError) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    except asyncio.CancelledError as error:
        raise typer.Abort from error


async def _verify(replicas: Replicas, namespace: str, kubeconfig: Path | None, seconds: float) -> None:
    _end_on_sigterm()
    api = await KubernetesApi.connect(kubeconfig)
    try:
        verification = Verification(api, replicas, namespace, seconds)
        await verification.run(Steps(5))
    finally:
        await api.close()
    if verification.left_behind:
        raise typer.Exit(FAILED)


def _end_on_sigterm() -> None:
    """Let the end of a Pod be like Ctrl-C, so that what was made is deleted."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


class Verification:
    """One ConfigMap from its making to its end, which comes in any case. `seconds` are what everything may take."""

    def __init__(self, api: KubernetesApi, replicas: Replicas, namespace: str, seconds: float) -> None:
        self.left_behind = False
        self._api = api
        self._replicas = replicas
        self._namespace = namespace
        self._seconds = seconds
        self._deadline = _now() + seconds
        self._name = f"kubewitness-verify-{secrets.token_hex(4)}"
        self._collection = f"/api/v1/namespaces/{namespace}/configmaps"
        self._may_exist = False
        self._changes = 0
        self._entry: Entry | None = None

    async def run(self, steps: Steps) -> None:
        """Go through the steps, and show the entry; raises VerifyError, which says what to look at."""
        await steps.step(f"asking the console at {self._replicas.url}", self._reach)
        try:
            await steps.step("making a ConfigMap", self._make)
            await steps.step("changing it", self._change)
            await steps.step("finding the change in the ledger", self._find)
        finally:
            if self._may_exist:
                await steps.step("deleting it", self._delete)
        if self._entry is not None:
            steps.show(entries_table([self._entry], view()))

    async def _reach(self) -> str:
        """Wait until one replica shows its ledger."""
        while True:
            try:
                return _reached(await self._replicas.all_entries(limit="1"))
            except ConsoleError as error:
                is_down_here = self._replicas.is_local and not error.status
                if is_down_here or not error.may_pass or self._is_over:
                    raise VerifyError(str(error), [_FORWARD] if is_down_here else []) from error
            await asyncio.sleep(_LOOK_SECONDS)

    async def _make(self) -> str:
        labels = {"app.kubernetes.io/managed-by": "kubewitness"}
        document = {"metadata": {"name": self._name, "labels": labels}, "data": {"change": "0"}}
        self._may_exist = True
        try:
            await self._api.send("POST", self._collection, msgspec.json.encode(document), _MANAGER)
        except ApiError as error:
            self._may_exist = error.status == 0
            raise VerifyError(str(error), _making_hints(error, self._namespace)) from error
        return f"{self._namespace}/{self._name}"

    async def _change(self) -> str:
        self._changes += 1
        patch = msgspec.json.encode({"data": {"change": str(self._changes)}})
        await self._api.send("PATCH", self._path, patch, _MANAGER, "application/merge-patch+json")
        return f"data.change is {self._changes}"

    async def _find(self) -> str:
        """Look until the change is there; change again what the API server may not have known how to show."""
        began = changed = _now()
        while not (found := await self._look()):
            if self._is_over:
                raise VerifyError(self._nothing_found(), await self._hints())
            if _now() - changed >= _CHANGE_SECONDS:
                await self._change()
                changed = _now()
            await asyncio.sleep(_LOOK_SECONDS)
        self._entry = msgspec.convert(next(iter(found.values()))[0], Entry)
        missed = self._changes - sum(map(len, found.values()))
        note = f"; not recorded: {missed} before the API server had learned of the webhook" if missed > 0 else ""
        return f"recorded by {', '.join(found)} within {_now() - began:.1f} s{note}"

    async def _look(self) -> dict[str, list[dict[str, Any]]]:
        """Return the updates that each replica knows of, where it knows of any."""
        wanted = {"kind": "ConfigMap", "namespace": self._namespace, "name": self._name, "operation": "UPDATE"}
        try:
            answers = await self._replicas.all_entries(dry_run="false", **wanted)
        except ConsoleError:
            return {}
        return {address: found for address, found in answers.items() if found and not isinstance(found, ConsoleError)}

    async def _delete(self) -> str:
        try:
            await self._api.send("DELETE", self._path, b"", timeout=_CLEAN_SECONDS)
        except ApiError as error:
            if not error.is_not_found:
                self.left_behind = True
                complain(f"delete it yourself: kubectl -n {self._namespace} delete configmap {self._name} ({error})")
                return "it is left behind"
        return "gone"

    def _nothing_found(self) -> str:
        return (
            f"after {self._seconds:g} s no change of ConfigMap {self._namespace}/{self._name} is in the ledger"
            f" ({self._changes} were made); what to look at:"
        )

    async def _hints(self) -> list[str]:
        return [*await self._states(), *await registration_hints(self._api, self._namespace), _RECORD]

    async def _states(self) -> list[str]:
        try:
            addresses = await self._replicas.addresses()
        except ConsoleError as error:
            return [str(error)]
        return [await self._state(address) for address in addresses]

    async def _state(self, address: str) -> str:
        try:
            return f"{address} is {await self._replicas.readiness(address)}"
        except ConsoleError as error:
            return str(error)

    @property
    def _path(self) -> str:
        return f"{self._collection}/{self._name}"

    @property
    def _is_over(self) -> bool:
        return _now() >= self._deadline


def _now() -> float:
    return asyncio.get_running_loop().time()


def _reached(answers: Mapping[str, list[dict[str, Any]] | ConsoleError]) -> str:
    errors = [answer for answer in answers.values() if isinstance(answer, ConsoleError)]
    if len(errors) == len(answers):
        raise min(errors, key=lambda error: error.may_pass)
    return f"{len(answers) - len(errors)} of {len(answers)} addresses show their ledger"


def _making_hints(error: ApiError, namespace: str) -> list[str]:
    if error.is_forbidden:
        return [f"it takes the right to create, patch and delete configmaps in the namespace {namespace}"]
    if error.is_not_found:
        return [f"is there a namespace {namespace}? name one with --namespace"]
    return []
