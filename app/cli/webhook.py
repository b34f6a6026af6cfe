"""`kubewitness webhook`: what is registered with the API server, and its removal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from app.cli.failures import FAILED, complain, told
from app.cli.output import OutputOption, console, print_documents
from app.cli.troubles import authorities, bundle_trouble
from app.core import text as plain
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError
from app.kube.webhooks import DOMAIN, Configuration, Rule, Webhook, find, find_all, remove

webhook_app = typer.Typer(no_args_is_help=True, help="Show what is registered with the API server, or remove it.")

KubeconfigOption = Annotated[
    Path | None,
    typer.Option(help="How to reach the API server; in a cluster its service account is enough; else ~/.kube/config."),
]
T = TypeVar("T")


class ForeignError(Exception):
    """A configuration is not ours; the message says what it holds instead."""


@webhook_app.command("show")
def show_command(
    name: Annotated[str, typer.Option(help="Only the configuration of this name.")] = "",
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = "table",
) -> None:
    """Show which changes the API server is told to show, where to, and until when it trusts who is there.

    Exit 1 where nothing is registered.
    """
    found = _called(kubeconfig, lambda api: _found(api, name))
    now = datetime.now(UTC)
    documents = [_document(each, webhook, now) for each in found for webhook in each.own or each.webhooks]
    if output != "table":
        print_documents(documents, output)
    for document in documents if output == "table" else ():
        console().print(_table(document))
    if not documents:
        complain(f"there is no webhook configuration {name}" if name else "no webhook of kubewitness is registered")
        raise typer.Exit(FAILED)


@webhook_app.command("remove")
def remove_command(
    name: Annotated[str, typer.Option(help="Name of the ValidatingWebhookConfiguration.")],
    kubeconfig: KubeconfigOption = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds that it may take.")] = 60.0,
) -> None:
    """Delete a ValidatingWebhookConfiguration of kubewitness and wait until it is gone; there being none is success.

    Before a release goes: a webhook that leads nowhere would delay every change until its timeout.
    """
    typer.echo(_called(kubeconfig, lambda api: _removed(api, name, timeout)))


def _called(kubeconfig: Path | None, work: Callable[[KubernetesApi], Awaitable[T]]) -> T:
    async def connected() -> T:
        api = await KubernetesApi.connect(kubeconfig)
        try:
            return await work(api)
        finally:
            await api.close()

    with told(), _explained():
        return asyncio.run(connected())


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (ApiError, ForeignError) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error


async def _found(api: KubernetesApi, name: str) -> list[Configuration]:
    if not name:
        return await find_all(api)
    found = await find(api, name)
    return [found] if found else []


async def _removed(api: KubernetesApi, name: str, seconds: float) -> str:
    found = await _known(api, name)
    try:
        async with asyncio.timeout(seconds):
            await remove(api, name)
    except TimeoutError as error:
        held = (
            f"; its finalizers are {', '.join(found.metadata.finalizers)}"
            if found and found.metadata.finalizers
            else ""
        )
        raise ApiError(f"the webhook configuration {name} is not gone after {seconds:g} s{held}") from error
    return f"the webhook configuration {name} is gone: the API server calls it no longer"


async def _known(api: KubernetesApi, name: str) -> Configuration | None:
    """Return the configuration, if it may be read; raises ForeignError for one that is somebody else's."""
    try:
        found = await find(api, name)
    except ApiError as error:
        if error.is_forbidden or error.is_temporary:  # to delete it may be allowed, or possible later
            return None
        raise
    if found and found.webhooks and not found.own:
        names = ", ".join(webhook.name for webhook in found.webhooks)
        raise ForeignError(f"{name} is no configuration of kubewitness: it has {names}, and none ends in {DOMAIN}")
    return found


def _document(configuration: Configuration, webhook: Webhook, now: datetime) -> dict[str, Any]:
    bundle = webhook.client_config.ca_bundle
    trouble = bundle_trouble(bundle, now)
    expiries = sorted(each.not_valid_after_utc.isoformat() for each in authorities(bundle)) if not trouble else []
    selector = webhook.namespace_selector
    return {
        "configuration": configuration.metadata.name,
        "webhook": webhook.name,
        "calls": str(webhook.client_config),
        "authorities_valid_until": expiries,
        "trouble": trouble,
        "failure_policy": webhook.failure_policy,
        "timeout_seconds": webhook.timeout_seconds,
        "namespace_selector": [f"{key}={value}" for key, value in selector.match_labels.items()]
        + [f"{each.key} {each.operator} {' '.join(each.values)}".strip() for each in selector.match_expressions],
        "match_conditions": [condition.name for condition in webhook.match_conditions],
        "rules": [_rule(rule) for rule in webhook.rules],
    }


def _rule(rule: Rule) -> str:
    kinds = [f"{group or 'core'}/{version}" for group in rule.api_groups for version in rule.api_versions]
    scope = "" if rule.scope == "*" else f" ({rule.scope.lower()})"
    return f"{' '.join(rule.operations)}: {' '.join(kinds)}: {' '.join(rule.resources)}{scope}"


def _table(document: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for key, value in document.items():
        texts = value if isinstance(value, list) else [value]
        for number, text in enumerate(texts):
            style = "bold red" if key == "trouble" else ""
            if text != "":
                table.add_row(
                    Text("" if number else key.replace("_", " "), "dim"), Text(plain.one_line(str(text), 1000), style)
                )
    return table
