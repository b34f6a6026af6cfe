"""`kubewitness demo`: the main job on this machine, from certificates to a table of what was recorded."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import msgspec
import typer
from rich.text import Text

from app.cli import demo_cluster
from app.cli.controlplane import ControlPlaneError
from app.cli.failures import FAILED, complain, told
from app.cli.output import view
from app.cli.steps import Steps
from app.cli.tables import deliveries_table, entries_table
from app.core.change import Entry
from app.settings import Settings, kubebuilder_assets
from app.store.ledger import Ledger, Query
from app.tls.files import ensure_dev_certificates

_PATIENCE_SECONDS: Final = 20
_entry: Final = msgspec.json.Decoder(Entry)


class DemoError(Exception):
    """A step of the demo did not do what it should; the message says what happened."""


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit when everything was shown.")] = False,
    directory: Annotated[Path, typer.Option("--dir", help="Where the demo keeps its files.")] = Path(".demo"),
    admission_port: Annotated[int, typer.Option(help="Admission port; a free one if it is taken.")] = 10250,
    console_port: Annotated[int, typer.Option(help="Console port; a free one if it is taken.")] = 8080,
) -> None:
    """Run the main job here: a real server, recorded reviews posted as an API server does, what they left.

    With KUBEBUILDER_ASSETS set, a real API server is started instead, and driven with kubectl.
    """
    from app.bootstrap.process import run  # noqa: PLC0415  `--help` needs no web server
    from app.telemetry.logs import configure  # noqa: PLC0415

    configure("warning")
    with told(), _explained():
        code = run(lambda: _demo(directory.resolve(), once, (admission_port, console_port)))
    raise typer.Exit(code)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (DemoError, ControlPlaneError) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error


async def _demo(directory: Path, once: bool, ports: tuple[int, int]) -> int:
    """Go through the steps; leave the server running unless `once`."""
    assets = kubebuilder_assets()
    steps = Steps(5 if assets is None else 6)
    settings = _settings(directory, ports)
    with ExitStack() as afterwards:
        return await _run(steps, settings, directory, assets, once, afterwards)


async def _run(
    steps: Steps, settings: Settings, directory: Path, assets: Path | None, once: bool, afterwards: ExitStack
) -> int:
    auditor = await _start(steps, settings)
    try:
        if assets is None:
            count = await _post_recorded(steps, auditor, settings.tls_dir)
        else:
            cluster = await demo_cluster.start(steps.step, assets, directory / "cluster")
            afterwards.callback(cluster.stop)
            count = await demo_cluster.drive(steps.step, cluster, auditor.admission_address[1], settings.tls_dir)
        await steps.step("reading the ledger back", lambda: _wait_until_told(settings, count))
        _show(steps, settings, directory, auditor, once, assets is not None)
        code: int = await (auditor.stop(0) if once else auditor.run())
    except BaseException:
        await auditor.stop(0)
        raise
    return code


def _settings(directory: Path, ports: tuple[int, int]) -> Settings:
    shutil.rmtree(directory / "data", ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    notifications = directory / "notifications.jsonl"
    notifications.unlink(missing_ok=True)
    config = directory / "config.yaml"
    text = (resources.files("app.cli") / "demo.yaml").read_text("utf-8")
    config.write_text(text.replace("{{ env.KUBEWITNESS_DEMO_NOTIFICATIONS }}", str(notifications)), "utf-8")
    return Settings(
        config=config,
        data_dir=directory / "data",
        tls_dir=directory / "certs",
        admission_host="127.0.0.1",
        admission_port=ports[0],
        console_host="127.0.0.1",
        console_port=ports[1],
        drain_seconds=0,
    )


async def _start(steps: Steps, settings: Settings) -> Any:
    from app.bootstrap.auditor import Auditor  # noqa: PLC0415  `--help` needs no web server
    from app.web.errors import AddressInUseError  # noqa: PLC0415

    auditor: Any = None

    async def certificates() -> str:
        ensure_dev_certificates(settings.tls_dir, now=datetime.now(UTC))
        return str(settings.tls_dir)

    async def serve() -> str:
        nonlocal auditor, settings
        try:
            auditor = Auditor(settings)
            await auditor.start()
        except AddressInUseError:
            await auditor.backbone.journal.close(1)
            settings = settings.model_copy(update={"admission_port": 0, "console_port": 0})
            auditor = Auditor(settings)
            await auditor.start()
        return f"https://127.0.0.1:{auditor.admission_address[1]}/validate"

    await steps.step("development certificates", certificates)
    await steps.step("starting the server with an embedded journal", serve)
    return auditor


def _recorded() -> list[tuple[str, bytes]]:
    folder = resources.files("app.cli") / "recorded"
    return sorted((file.name.removesuffix(".json"), file.read_bytes()) for file in folder.iterdir())


async def _post_recorded(steps: Steps, auditor: Any, tls_dir: Path) -> int:
    reviews = _recorded()
    entries: list[str] = []

    async def connect() -> str:
        return f"{len(reviews)} AdmissionReviews recorded from Kubernetes 1.20"

    async def post() -> str:
        trust = ssl.create_default_context(cafile=str(tls_dir / "ca.crt"))
        url = f"https://127.0.0.1:{auditor.admission_address[1]}/validate?timeout=2s"
        async with httpx.AsyncClient(verify=trust, trust_env=False) as client:
            for name, body in reviews:
                answer = await client.post(url, content=body, headers={"content-type": "application/json"})
                response = answer.json().get("response", {}) if answer.is_success else {}
                if not response.get("allowed"):
                    raise DemoError(f"the review {name} was not allowed: {answer.status_code} {answer.text[:200]}")
                entries.extend((response.get("auditAnnotations") or {}).values())
        ignored = len(reviews) - len(entries)
        return f"all allowed, {len(entries)} recorded, {ignored} had nothing to record"

    await steps.step("loading reviews", connect)
    await steps.step("posting them as an API server does", post)
    return len(entries)


async def _wait_until_told(settings: Settings, count: int) -> str:
    """Wait until nothing is on its way to a sink any more."""
    path = settings.data_dir / "journal.db"
    for _ in range(_PATIENCE_SECONDS * 10):
        try:
            with closing(Ledger(path)) as ledger:
                found = ledger.search(Query(), limit=500).items
                told_of = ledger.deliveries(limit=500)
        except sqlite3.Error as error:
            raise DemoError(f"the ledger cannot be read: {error}") from error
        if len(found) >= count and all(each.state == "delivered" for each in told_of):
            return f"{len(found)} entries, {len(told_of)} notifications delivered"
        await asyncio.sleep(0.1)
    raise DemoError(f"after {_PATIENCE_SECONDS} s not every finding was delivered; see: kubewitness deliveries list")


def _show(steps: Steps, settings: Settings, directory: Path, auditor: Any, once: bool, with_cluster: bool) -> None:
    with closing(Ledger(settings.data_dir / "journal.db")) as ledger:
        entries = [_entry.decode(item) for item in ledger.search(Query(), limit=40).items]
        deliveries = ledger.deliveries(limit=20)
    steps.show(entries_table(entries, view()))
    steps.show(deliveries_table(deliveries, view()))
    data = f"--data-dir {directory / 'data'}"
    prefix = "python -m app" if sys.argv[0].endswith("__main__.py") else sys.argv[0]
    lines = [
        "look at it:",
        f"  {prefix} entries list {data}",
        f"  {prefix} entries show {data} {entries[0].id[:18] if entries else 'ID'}",
        f"  {directory / 'notifications.jsonl'}",
    ]
    if not once:
        base = f"http://127.0.0.1:{auditor.console_address[1]}"
        lines += [f"  {base}/", f"  {base}/api/v1/entries", f"  {base}/metrics", f"  {base}/readyz"]
        if with_cluster:
            kubeconfig = directory / "cluster" / "identities" / "admin.kubeconfig"
            lines.append(f"  kubectl --kubeconfig {kubeconfig} set image deployment/web web=nginx:1.29 -n shop")
        lines.append("the server is running; Ctrl-C ends it")
    steps.show(Text("\n".join(lines)))
