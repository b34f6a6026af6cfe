"""The apprise library, loaded where it is asked for: it costs memory, and it would log URLs with their credentials."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from typing_extensions import override

from app.core.nearest import UnknownWordError, nearest
from app.sinks._secrets import LEAST_SECRET, scrubbed

LOGGER: Final = "apprise"

# They log whole requests at DEBUG, the paths of URLs among them.
for _name in (LOGGER, "urllib3", "requests_oauthlib", "oauthlib"):
    logging.getLogger(_name).setLevel(logging.WARNING)
logging.getLogger(LOGGER).propagate = False


def load(module: str) -> Any:
    """Return a module of apprise, which has no types; its log goes to nobody but handlers of `LOGGER`."""
    with warnings.catch_warnings():
        # It looks for a module of the standard library that newer Pythons do not have, which older ones warn about.
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(module)


def service(url: str) -> Any:
    """Return apprise's service for a URL; raises ValueError with what is wrong, without the URL."""
    with captured() as said, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = load("apprise").Apprise.instantiate(url, asset=_asset())
    if found is not None:
        return found
    schema = url.partition("://")[0]
    if schema not in (known := schemas()):
        raise UnknownWordError(
            f"apprise knows no service {schema}://", f"{near}://" if (near := nearest(schema, known)) else ""
        )
    reason = scrubbed(said[0], url_secrets(url)) if said else "it says not why"
    raise ValueError(f"apprise does not take this {schema}:// URL: {reason}")


def schemas() -> list[str]:
    """Return the schemes of all services that apprise knows."""
    return sorted(load("apprise.manager_plugins").NotificationManager().schemas())


def _asset() -> Any:
    return load("apprise").AppriseAsset(
        app_id="kubewitness", app_desc="Kubernetes change auditor", app_url="", async_mode=False, secure_logging=True
    )


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
    """Collect what apprise logs in this thread: its only word on why something failed."""
    handler = _Collector()
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    try:
        yield handler.said
    finally:
        logger.removeHandler(handler)


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._thread = threading.get_ident()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.said.append(record.getMessage())


def url_secrets(url: str) -> set[str]:
    """Return what of a URL must not be shown: all of it but the scheme and a host with a dot."""
    _scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    credentials, _, host = authority.rpartition("@")
    pieces = [*re.split(r"[:]", credentials), *re.split(r"[/?&=:@,;]+", path)]
    if "." not in host and not host.startswith("localhost"):
        pieces += re.split(r"[:?&=]+", host)
    wholes = {piece for raw in pieces for piece in (raw, unquote(raw)) if len(piece) >= LEAST_SECRET}
    return wholes | ({url, rest} if len(rest) >= LEAST_SECRET else set())
