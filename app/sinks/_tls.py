"""Which certificates a receiver may show."""

from __future__ import annotations

import ssl
from pathlib import Path

from app.sinks.base import SinkSetupError


def trusting(sink: str, ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the authorities of the file, or the public ones without a file.

    Raises `SinkSetupError` that names the sink and the file, if that cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise SinkSetupError(f"sink {sink!r}: ca_file {ca_file}: holds no certificate in PEM form") from error
    except OSError as error:
        raise SinkSetupError(f"sink {sink!r}: ca_file {ca_file}: {error.strerror}") from error
