"""The composition root: builds the parts, starts them in order, and stops them in the opposite one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import random
import secrets
import signal
import socket
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from app.audit.fingerprint_key import fingerprint_key
from app.audit.recorder import Recorder, Rules
from app.config.model import Config
from app.config.reload import WatchedConfig
from app.core.identity import EntryIds
from app.core.paths import compile_pattern
from app.core.redact import Redactor
from app.delivery.dispatcher import Dispatcher
from app.settings import Settings, environment
from app.sinks.base import Sink
from app.sinks.registry import build_all
from app.store.absent import ERROR as NO_SUCH_SINK
from app.store.absent import give_up_absent
from app.store.database import connect_reader
from app.store.deliveries import DeliveryQueue, queue_state
from app.store.journal import Journal, JournalObserver
from app.store.kinds import custom_kinds
from app.store.retention import Retention, forget, is_over, journal_size
from app.telemetry.metrics import Metrics
from app.tls.reload import LiveCertificate
from app.web.admission import AdmissionEndpoint, admission_app
from app.web.console import console
from app.web.health import Check, Health
from app.web.server import Listener, listen, listener, stop

logger = structlog.get_logger(__name__)

_RETENTION_SECONDS: Final = 60.0
_QUEUE_SECONDS: Final = 5.0


class _Observer(JournalObserver):
    """Counts what the journal does."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def committed(self, entries: int, seconds: float) -> None:
        if entries:
            self._metrics.commit_entries.observe(entries)
            self._metrics.commit_seconds.observe(seconds)

    def failed(self, error: str) -> None:
        self._metrics.commit_failures.inc()

    def lost(self, entries: int, reason: str) -> None:
        self._metrics.unrecorded.labels(reason).inc(entries)


class Auditor:
    """The whole service. `start` raises what the operator must mend; `run` serves until told to stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.config = WatchedConfig(settings.config, environment(), self._apply, self._count_configuration)
        self.certificate = LiveCertificate(settings.tls_dir, on_reload=self._count_certificate)
        self.journal = Journal(
            settings.data_dir,
            synchronous=settings.synchronous,
            commit_budget=settings.commit_budget_seconds,
            observer=_Observer(self.metrics),
        )
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._measured_sinks: set[str] = set()
        self._sinks: dict[str, Sink[Any]] = {}
        self._retention = Retention(settings.retention_age, settings.retention_size or None)
        self._size_over_limit: int | None = None

    async def start(self) -> None:
        """Open the journal, compile the configuration, begin to deliver and to listen."""
        settings = self.settings
        last = self.journal.start()
        self._key = fingerprint_key(settings.data_dir, settings.fingerprint_key_file)
        self.metrics.follow_journal(lambda: self.journal.pending, lambda: self.journal.pending_seconds)
        self._count_certificate(True)
        self.recorder = Recorder(
            self.journal,
            self._rules(self.config.current),
            EntryIds(last),
            # Identifiers must be unique, not secret: a system call for each would cost more than it gives.
            functools.partial(random.Random(secrets.randbits(128)).getrandbits, 62),  # noqa: S311
            await self.journal.call(custom_kinds),
        )
        deliveries = DeliveryQueue(self.journal)
        await deliveries.recover()
        self._sinks = build_all(self.config.current.sinks)
        self.dispatcher = Dispatcher(
            deliveries,
            self._sinks.values(),
            clock=lambda: datetime.now(UTC),
            random=random.SystemRandom().random,
            on_outcome=self._count_delivery,
        )
        self.journal.on_deliveries = self.dispatcher.wake
        self.health = Health(
            {
                "journal": self._check_journal,
                "config": self._check_config,
                "certificate": self._check_certificate,
                "tasks": self._check_tasks,
            }
        )
        self._listen()
        self.dispatcher.start()
        self._in_background(self.config.run(), "config")
        self._in_background(self.certificate.watch(), "certificate")
        self._in_background(_every(_RETENTION_SECONDS, self._forget), "retention")
        self._in_background(_every(_QUEUE_SECONDS, self._measure_queue), "queue")

    def _listen(self) -> None:
        settings = self.settings
        app = console(self.journal.path, self.health, self.metrics)
        self.admission = AdmissionEndpoint(admission_app(), self.recorder, self.metrics, max_body=settings.max_body)
        self._admission_socket = listen(settings.admission_host, settings.admission_port, "--admission-port")
        try:
            self._console_socket = listen(settings.console_host, settings.console_port, "--console-port")
        except OSError:
            self._admission_socket.close()
            raise
        self._admission_server = listener(self.admission, tls=self.certificate.context)
        self._console_server = listener(app)
        self._admission_task = _serve(self._admission_server, self._admission_socket, "admission listener")
        self._console_task = _serve(self._console_server, self._console_socket, "console listener")
        logger.info(
            "listening",
            action="start",
            admission=_address(self._admission_socket),
            console=_address(self._console_socket),
            playbooks=len(self.config.current.custom_playbooks),
        )

    @property
    def admission_address(self) -> tuple[str, int]:
        """Where reviews are taken."""
        host, port = self._admission_socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def console_address(self) -> tuple[str, int]:
        """Where the console listens."""
        host, port = self._console_socket.getsockname()[:2]
        return str(host), int(port)

    def request_stop(self) -> None:
        """Begin to stop; asked twice, do not wait for the drain time."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; return the process' exit code: 1 where entries were lost at the end."""
        self._hurry = asyncio.Event()
        with _signals(self.request_stop):
            await self._stopping.wait()
            return await self.stop(self.settings.drain_seconds)

    async def stop(self, drain_seconds: float) -> int:
        """Fail readiness, go on serving while that spreads, then flush; return 1 where entries were lost."""
        logger.info("draining", action="stop", seconds=drain_seconds)
        self.health.draining = True
        self.admission.draining = True
        if drain_seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), drain_seconds)
        await stop(self._admission_server, self._admission_task)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        flush = self.settings.flush_seconds
        # What waits for the disk is written meanwhile, as soon as that lets it: the journal needs no closing for that.
        await self.dispatcher.close(timedelta(seconds=flush))
        lost = await self.journal.close(flush)
        await stop(self._console_server, self._console_task)
        logger.info("stopped", action="stop", entries_lost=lost)
        return 1 if lost else 0

    async def _apply(self, config: Config) -> None:
        """Take over a changed configuration: rules at once, sinks as their running sends end."""
        sinks = build_all(config.sinks, self._sinks)
        self.recorder.rules = self._rules(config)
        await self.dispatcher.replace_sinks(sinks.values())
        self._sinks = sinks

    def _rules(self, config: Config) -> Rules:
        redact = config.global_config.redact
        redactor = Redactor(
            self._key,
            field_patterns=map(compile_pattern, redact.field_patterns),
            value_patterns=redact.compiled_values(),
        )
        cluster = config.global_config.cluster_name or self.settings.cluster_name
        return Rules(
            selects=config.record.compile(),
            keeps_status=config.record.status,
            evaluate=functools.partial(config.compile().evaluate, cluster=cluster),
            redactor=redactor,
            cluster=cluster,
        )

    def _in_background(self, work: Any, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        task.add_done_callback(_report_end)
        self._tasks.append(task)

    async def _forget(self) -> None:
        """Give up what nobody is configured to take, then forget what may be forgotten."""
        call, retention = self.journal.call, self._retention
        while given_up := await call(lambda c: give_up_absent(c, self._sinks, datetime.now(UTC))):
            logger.warning("deliveries given up", action="dead", reason=NO_SUCH_SINK, deliveries=given_up)
        while forgotten := await call(lambda c: forget(c, retention, datetime.now(UTC))):
            self.metrics.forgotten.inc(forgotten)
        size = await call(journal_size)
        self._size_over_limit = size if is_over(size, retention) else None
        self.metrics.journal_over_limit.set(self._size_over_limit is not None)

    async def _measure_queue(self) -> None:
        def measured() -> tuple[int, list[tuple[str, int, int, float]]]:
            with closing(connect_reader(self.journal.path)) as connection:
                return journal_size(connection), queue_state(connection, datetime.now(UTC))

        size, states = await asyncio.to_thread(measured)
        self.metrics.journal_size.set(size)
        found = {sink: numbers for sink, *numbers in states}
        self._measured_sinks |= found.keys() | {sink.name for sink in self.config.current.sinks}
        for sink in self._measured_sinks:
            pending, dead, age = found.get(sink, (0, 0, 0.0))
            self.metrics.queue_pending.labels(sink).set(pending)
            self.metrics.queue_dead.labels(sink).set(dead)
            self.metrics.queue_age.labels(sink).set(age)

    def _check_journal(self) -> Check:
        if self.journal.full:
            return Check("unavailable", "entries are being lost: the journal cannot be written and the queue is full")
        if self.journal.last_error is not None:
            return Check("degraded", f"entries wait in memory: {self.journal.last_error}")
        if self.journal.pending_seconds > self.settings.commit_budget_seconds:
            return Check("degraded", f"commits are slow: an entry waits for {self.journal.pending_seconds:.1f} s")
        if self._size_over_limit is not None:
            return Check(
                "degraded",
                f"the journal has {self._size_over_limit} bytes, more than --retention-size allows: entries wait for"
                " their deliveries (kubewitness deliveries list --state pending)",
            )
        return Check("ok")

    def _check_config(self) -> Check:
        if self.config.last_error is None:
            return Check("ok")
        return Check(
            "degraded", f"the changed configuration was refused, the one before stays: {self.config.last_error}"
        )

    def _check_certificate(self) -> Check:
        left = self.certificate.not_after - datetime.now(UTC)
        if left <= timedelta(0):
            return Check("unavailable", f"the certificate expired at {self.certificate.not_after.isoformat()}")
        if self.certificate.last_error is not None:
            return Check("degraded", f"the changed certificate was refused: {self.certificate.last_error}")
        return Check("ok")

    def _check_tasks(self) -> Check:
        tasks = (*self._tasks, self._admission_task, self._console_task)
        ended = [task.get_name() for task in tasks if task.done()]
        if ended:
            return Check("unavailable", f"ended, which needs a restart; the log says why: {', '.join(ended)}")
        return Check("ok")

    def _count_configuration(self, valid: bool, _message: str) -> None:
        self.metrics.config_reloads.labels("success" if valid else "failure").inc()
        self.metrics.config_valid.set(valid)

    def _count_certificate(self, valid: bool) -> None:
        self.metrics.certificate_reloads.labels("success" if valid else "failure").inc()
        self.metrics.certificate_expiry.set(self.certificate.not_after.timestamp())

    def _count_delivery(self, sink: str, outcome: str, seconds: float) -> None:
        self.metrics.deliveries.labels(sink, outcome).inc()
        self.metrics.delivery_seconds.labels(sink).observe(seconds)


def _serve(server: Listener, sock: socket.socket, name: str) -> asyncio.Task[None]:
    task: asyncio.Task[None] = asyncio.create_task(server.serve(sockets=[sock]), name=name)
    task.add_done_callback(_report_end)
    return task


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"{host}:{port}"


@contextlib.contextmanager
def _signals(handler: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work again and again; what goes wrong once is logged and tried again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except (OSError, sqlite3.Error) as error:
            logger.warning("background work failed", action="retry", error=str(error))
        except Exception:
            # A loop boundary: a fault in one round must not end all that would follow.
            logger.exception("background work failed", action="bug")


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("background task ended", action="bug", task=task.get_name(), exc_info=task.exception())


async def serve(settings: Settings) -> int:
    """Run the service until it is told to stop; return the exit code."""
    auditor = Auditor(settings)
    await auditor.start()
    _calm_the_collector()
    return await auditor.run()


def _calm_the_collector() -> None:
    """Spare what was loaded at the start from garbage collection, and collect less often.

    Every review is a tree of some hundred maps and lists without cycles, freed by counting. The default thresholds take
    them for a reason to look through everything again every few reviews, which costs more than the reviews do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def run(main: Callable[[], Any]) -> int:
    """Run a coroutine function in the fastest event loop there is."""
    import uvloop  # noqa: PLC0415  only where a server runs

    sys.setswitchinterval(0.0005)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code: int = runner.run(main())
    return code
