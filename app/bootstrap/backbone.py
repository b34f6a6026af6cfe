"""What every process of the program stands on: configuration, journal, delivery, upkeep and the console."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from starlette.types import ASGIApp

from app.audit.fingerprint_key import fingerprint_key
from app.bootstrap.entrance import Entrance, namespaces_in
from app.bootstrap.process import Background, every
from app.bootstrap.replicas import peers_of
from app.bootstrap.sinks import Employed
from app.config.model import Config
from app.config.reload import WatchedConfig
from app.config.token_file import TokenFile
from app.core.identity import EntryIds
from app.core.paths import compile_pattern
from app.core.redact import Redactor
from app.delivery.dispatcher import Dispatcher
from app.settings import CommonSettings, environment
from app.store.absent import ERROR as NO_SUCH_SINK
from app.store.absent import give_up_absent
from app.store.database import connect_reader
from app.store.deliveries import CLOCK_STEP, DeliveryQueue, forget_memories, queue_state
from app.store.journal import Journal, JournalObserver
from app.store.ledger import Ledger
from app.store.reading import Reader
from app.store.retention import Retention, forget, is_over, journal_size
from app.store.search.indexer import Indexer
from app.telemetry.metrics import Metrics
from app.web.access import guarded
from app.web.health import Check, Health
from app.web.server import listen, listener, stop

if TYPE_CHECKING:
    from app.bootstrap.installation import Installation
    from app.remote.peers import Peers

logger = structlog.get_logger(__name__)

_RETENTION_SECONDS: Final = 60.0
_QUEUE_SECONDS: Final = 5.0
_SINKS_SECONDS: Final = 30.0


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


class Backbone:
    """The common half of a process. `on_config` is told every configuration that takes effect after the first.

    `open`, `employ_sinks` and `listen` raise what the operator must mend; then `begin` starts the work, which the owner
    cancels in `background` before it calls `close`.
    """

    def __init__(self, settings: CommonSettings, on_config: Callable[[Config], None]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.background = Background()
        self.listeners = Background()
        self.groups = [self.background, self.listeners]
        self.config = WatchedConfig(settings.config, environment(), self._apply, self._count_configuration)
        self.journal = Journal(
            settings.data_dir,
            synchronous=settings.synchronous,
            commit_budget=settings.commit_budget_seconds,
            observer=_Observer(self.metrics),
        )
        self.search = Indexer(self.journal.path)
        self.installation: Installation | None = None
        self.entrance: Entrance | None = None
        self.peers: Peers | None = None
        self._on_config = on_config
        self._measured_sinks: set[str] = set()
        self.employed = Employed(self.config, self.metrics.sink_up)
        self._retention = Retention(settings.retention_age, settings.retention_size or None)
        self._size_over_limit: int | None = None
        self._clock_ahead = time.time() - time.monotonic()

    async def open(self) -> None:
        """Open the journal, and find the key of the fingerprints and the token of the console.

        With `--secret` that waits until the API server gives them, however long.
        """
        self.ids = EntryIds(self.journal.start())
        # Identifiers must be unique, not secret: a system call for each would cost more than it gives.
        self.random = functools.partial(random.Random(secrets.randbits(128)).getrandbits, 62)  # noqa: S311
        if self.settings.secret:
            from app.bootstrap.installation import Installation  # noqa: PLC0415  20 MB that only who has one needs

            self.installation = await Installation.open(self.settings)
        self._key = self._fingerprint_key()
        self.console_token = self._console_token()
        self.entrance = Entrance(self.settings, self._key, self.console_token, self._namespaces)
        await self.entrance.open()
        self.peers = peers_of(self.settings, self.entrance.replica_token, self.console_token)
        self.metrics.follow_journal(lambda: self.journal.pending, lambda: self.journal.pending_seconds)

    async def employ_sinks(self) -> None:
        """Make the sinks; raises SinkSetupError if one cannot be made and the configuration says not to go on then."""
        self._deliveries = deliveries = DeliveryQueue(self.journal)
        await deliveries.recover()
        self.employed.take(await self.employed.make(self.config.current))
        self.employed.measure()
        self.dispatcher = Dispatcher(
            deliveries,
            self.employed.sinks.values(),
            clock=lambda: datetime.now(UTC),
            random=random.SystemRandom().random,
            on_outcome=self._count_delivery,
            link=self._link,
        )
        self.journal.on_deliveries = self.dispatcher.wake

    def begin(self) -> None:
        """Begin to deliver, to follow the configuration, to index and to forget."""
        self.dispatcher.start()
        self.search.start()
        self.metrics.search_behind.set_function(lambda: self.search.behind)
        self.background.start(self.config.run(), "config")
        self.background.start(every(_RETENTION_SECONDS, self.forget), "retention")
        self.background.start(every(_QUEUE_SECONDS, self.measure_queue), "queue")
        self.background.start(every(_SINKS_SECONDS, self.employ_missing), "sinks")

    async def listen(
        self, make_app: Callable[[Health], Awaitable[Any]], checks: Mapping[str, Callable[[], Check]]
    ) -> None:
        """Open the console port; `checks` are those of the process beside those of the backbone."""
        settings = self.settings
        self.health = Health(
            {
                "journal": self._check_journal,
                "config": self._check_config,
                "sinks": self.employed.check,
                **checks,
                "tasks": self._check_tasks,
            }
        )
        app = await make_app(self.health)
        self._console_socket = listen(settings.console_host, settings.console_port, "--console-port")
        self._console = listener(app)
        serving = self._console.serve(sockets=[self._console_socket])
        self._console_task = self.listeners.start(serving, "console listener")

    @property
    def console_address(self) -> tuple[str, int]:
        """Where the console listens."""
        return address(self._console_socket)

    async def close(self) -> int:
        """Flush and stop; return 1 where entries were lost."""
        flush = self.settings.flush_seconds
        # What waits for the disk is written meanwhile, as soon as that lets it: the journal needs no closing for that.
        await self.dispatcher.close(timedelta(seconds=flush))
        lost = await self.journal.close(flush)
        await asyncio.to_thread(self.search.close)
        await stop(self._console, self._console_task)
        await self._disconnect()
        logger.info("stopped", action="stop", entries_lost=lost)
        return 1 if lost else 0

    def _fingerprint_key(self) -> bytes:
        given = self.settings.fingerprint_key_file
        if self.installation is not None and given is None:
            self.installation.keep_fingerprint_key(self.settings.data_dir)
            return self.installation.fingerprint_key
        return fingerprint_key(self.settings.data_dir, given)

    def _console_token(self) -> Callable[[], str]:
        """Return what gives the token of the moment; it gives an empty one where there is none."""
        if self.settings.console_token_file is not None:
            return TokenFile(self.settings.console_token_file)
        token = self.installation.console_token if self.installation is not None else ""
        return lambda: token

    @contextlib.asynccontextmanager
    async def starting(self) -> AsyncIterator[None]:
        """Leave no connection to the API server open where the start comes to nothing."""
        try:
            yield
        except BaseException:
            await self._disconnect()
            raise

    async def _disconnect(self) -> None:
        """End the connections to the API server, and to the other replicas."""
        if self.peers is not None:
            self.peers.close()
        if self.entrance is not None:
            await self.entrance.close()
        if self.installation is not None:
            await self.installation.close()

    def guarded(self, app: ASGIApp) -> ASGIApp:
        """Return the console, shown to those whom the settings let in."""
        if self.entrance is None:
            raise RuntimeError("the backbone is not open")
        return guarded(app, self.entrance.access)

    def _namespaces(self) -> Sequence[str]:
        """Return the namespaces of which something is in the ledger of any replica."""
        own: Reader = Ledger(self.journal.path)
        with contextlib.closing(self.peers.merged(own, None) if self.peers is not None else own) as ledger:
            return namespaces_in(ledger)

    def redactor(self, config: Config) -> Redactor:
        """Return the redactor that a configuration asks for."""
        redact = config.global_config.redact
        return Redactor(
            self._key,
            field_patterns=map(compile_pattern, redact.field_patterns),
            value_patterns=redact.compiled_values(),
        )

    def cluster_name(self, config: Config) -> str:
        """Return the cluster's name in entries."""
        return config.global_config.cluster_name or self.settings.cluster_name

    async def _apply(self, config: Config) -> None:
        """Take over a changed configuration: rules at once, sinks as their running sends end."""
        built = await self.employed.make(config)
        self._on_config(config)
        await self.dispatcher.replace_sinks(built.sinks.values())
        self.employed.take(built)

    async def employ_missing(self) -> None:
        """Try again to make the sinks that could not be made: the file that one needs may be there by now."""
        built = await self.employed.again()
        if built is not None:
            await self.dispatcher.replace_sinks(built.sinks.values())
            self.employed.take(built)

    async def forget(self) -> None:
        """Give up what nobody is configured to take, then forget what may be forgotten."""
        if self._clock_was_set_back():
            await self._deliveries.heed_clock()
        call, retention, names = self.journal.call, self._retention, self.employed.names
        while given_up := await call(lambda c: give_up_absent(c, names, datetime.now(UTC))):
            logger.warning("deliveries given up", action="dead", reason=NO_SUCH_SINK, deliveries=given_up)
        while forgotten := await call(lambda c: forget(c, retention, datetime.now(UTC))):
            self.metrics.forgotten.inc(forgotten)
        await call(lambda c: forget_memories(c, datetime.now(UTC)))
        size = await call(journal_size)
        self._size_over_limit = size if is_over(size, retention) else None
        self.metrics.journal_over_limit.set(self._size_over_limit is not None)

    def _clock_was_set_back(self) -> bool:
        """Say whether the clock on the wall went back since this was asked before."""
        before, self._clock_ahead = self._clock_ahead, time.time() - time.monotonic()
        return before - self._clock_ahead > CLOCK_STEP.total_seconds()

    async def measure_queue(self) -> None:
        """Set the gauges of the journal, of the deliveries and of the sinks."""
        self.employed.measure()

        def measured() -> tuple[int, list[tuple[str, int, int, float]]]:
            with contextlib.closing(connect_reader(self.journal.path)) as connection:
                return journal_size(connection), queue_state(connection, datetime.now(UTC))

        size, states = await asyncio.to_thread(measured)
        self.metrics.journal_size.set(size)
        found = {sink: numbers for sink, *numbers in states}
        self._measured_sinks |= found.keys() | self.employed.names
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

    def _check_tasks(self) -> Check:
        ended = [name for group in self.groups for name in group.ended()]
        if ended:
            return Check("unavailable", f"ended, which needs a restart; the log says why: {', '.join(ended)}")
        return Check("ok")

    def _count_configuration(self, valid: bool, _message: str) -> None:
        self.metrics.config_reloads.labels("success" if valid else "failure").inc()
        self.metrics.config_valid.set(valid)

    def _link(self, entry_id: str) -> str:
        """Return the address of an entry's page, as the configuration in effect says where the console is."""
        console = self.config.current.global_config.console_url
        return f"{str(console).rstrip('/')}/entries/{entry_id}" if console else ""

    def _count_delivery(self, sink: str, outcome: str, seconds: float, deliveries: int) -> None:
        self.metrics.deliveries.labels(sink, outcome).inc()
        self.metrics.deliveries_together.labels(sink).inc(deliveries - 1)
        self.metrics.delivery_seconds.labels(sink).observe(seconds)


def address(sock: socket.socket) -> tuple[str, int]:
    """Return host and port of a bound socket."""
    host, port = sock.getsockname()[:2]
    return str(host), int(port)
