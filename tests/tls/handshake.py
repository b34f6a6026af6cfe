"""A strict client and a server, joined in memory: what a real handshake says about certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

from app.tls.issue import KeyPair


def strict_client(authority: KeyPair) -> ssl.SSLContext:
    """Trust the authority alone, check names, and insist on RFC 5280."""
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def server(leaf: KeyPair, directory: Path) -> ssl.SSLContext:
    certificate, key = directory / "server.crt", directory / "server.key"
    certificate.write_bytes(leaf.certificate_pem)
    key.write_bytes(leaf.private_key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Return the client's side of a finished handshake; raises what the client raises."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):  # each round carries one flight of messages; TLS 1.3 needs three
        if all([_step(near), _step(far)]):
            return near
    raise AssertionError("the handshake does not end")


def _step(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
