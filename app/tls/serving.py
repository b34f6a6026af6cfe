"""What a TLS server shows: one context for life, and the key pair of the moment behind it."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Final

from app.tls.errors import CertificateError
from app.tls.issue import KeyPair


class Serving:
    """Serves the newest pair from the next handshake on; connections that exist stay as they are.

    `context` stays the same object for life: hand it to the server once. A handshake that comes before the first
    `serve` fails.
    """

    def __init__(self) -> None:
        self.pair: KeyPair | None = None
        self._newest: ssl.SSLContext | None = None
        self.context: Final = _server_context()
        self.context.sni_callback = self._choose

    def serve(self, pair: KeyPair, source: str) -> None:
        """Serve this pair; raises CertificateError, which names `source`, if OpenSSL does not take it."""
        self._newest = _loaded_context(pair, source)
        self.pair = pair

    @property
    def not_after(self) -> datetime:
        """When (UTC) the certificate that is served expires; raises CertificateError if there is none yet."""
        if self.pair is None:
            raise CertificateError("no certificate is served yet")
        return self.pair.not_after

    # A context keeps one certificate per kind of key, so loading an EC pair over an RSA one would leave the old
    # RSA one in use. Every pair has its own context instead, and each handshake is given the newest.
    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if self._newest is not None:
            connection.context = self._newest


def _server_context() -> ssl.SSLContext:
    """Return a context without certificate: TLS 1.2 or newer, and HTTP/1.1, which API servers speak to webhooks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _loaded_context(pair: KeyPair, source: str) -> ssl.SSLContext:
    """Return a context that serves exactly these bytes, whatever happens to where they came from."""
    context = _server_context()
    with _readable(pair.certificate_pem) as certificate, _readable(pair.private_key_pem) as key:
        try:
            context.load_cert_chain(certificate, key)
        except ssl.SSLError as error:
            raise CertificateError(f"OpenSSL does not take {source}: {error.reason}") from error
    return context


@contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """Give the bytes a path while the context lasts: OpenSSL reads files alone, and keys belong on no disk."""
    with _anonymous_file() as file:
        file.write(content)
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _anonymous_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("pem"), "w+b")
    return tempfile.TemporaryFile()
