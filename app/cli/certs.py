"""`kubewitness certs`: certificates for development."""

from __future__ import annotations

import base64
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.output import OutputOption, print_documents
from app.tls.errors import CertificateError
from app.tls.files import (
    DEV_DNS_NAMES,
    DEV_IP_ADDRESSES,
    CertificateFiles,
    DevCertificates,
    init_certificates,
)
from app.tls.issue import AUTHORITY_LIFETIME, LEAF_LIFETIME

certs_app = typer.Typer(no_args_is_help=True, help="Make certificates for development.")


@certs_app.callback()
def certs() -> None:
    """Make certificates for development."""


@certs_app.command()
def init(
    directory: Annotated[Path, typer.Option("--dir", help="Where the files go; made if it is missing.")] = Path(
        "certs"
    ),
    dns: Annotated[
        list[str] | None,
        typer.Option("--dns", help="DNS name, repeatable.", show_default=", ".join(DEV_DNS_NAMES)),
    ] = None,
    ip: Annotated[
        list[str] | None,
        typer.Option("--ip", help="IP address, repeatable.", show_default=", ".join(DEV_IP_ADDRESSES)),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=AUTHORITY_LIFETIME.days, help="How long the server's certificate is valid.")
    ] = LEAF_LIFETIME.days,
    force: Annotated[bool, typer.Option("--force", help="Replace tls.crt and tls.key.")] = False,
    output: OutputOption = "table",
) -> None:
    """Write ca.crt, ca.key, tls.crt and tls.key for a server on this machine or in a test cluster.

    A usable authority (ca.crt, ca.key) in the directory is kept and signs the new server certificate.
    """
    try:
        made = init_certificates(
            directory,
            now=datetime.now(UTC),
            dns_names=dns or DEV_DNS_NAMES,
            ip_addresses=ip or DEV_IP_ADDRESSES,
            lifetime=timedelta(days=days),
            force=force,
        )
    except CertificateError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    if output == "table":
        typer.echo(_table(directory, made))
    else:
        print_documents(_document(directory, made), output)


def _table(directory: Path, made: DevCertificates) -> str:
    authority, leaf = CertificateFiles.of_authority(directory), CertificateFiles.of_leaf(directory)
    until, fate = made.authority.not_after, "written" if made.authority_is_new else "kept"
    rows = [
        ("FILE", "WHAT", "EXPIRES", ""),
        (str(authority.certificate), "authority", f"{until:%Y-%m-%d}", fate),
        (str(authority.private_key), "authority's key", "", fate),
        (str(leaf.certificate), "server certificate", f"{made.leaf.not_after:%Y-%m-%d}", "written"),
        (str(leaf.private_key), "server's key", "", "written"),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *_hints(directory, authority.certificate)])


def _hints(directory: Path, authority: Path) -> list[str]:
    return [
        f"caBundle for the webhook configuration:  base64 -w0 {shlex.quote(str(authority))}",
        f"serve it:  kubewitness serve --tls-dir {shlex.quote(str(directory))}",
    ]


def _document(directory: Path, made: DevCertificates) -> dict[str, Any]:
    authority, leaf = CertificateFiles.of_authority(directory), CertificateFiles.of_leaf(directory)
    return {
        "authority": _described(authority, made.authority.not_after, written=made.authority_is_new),
        "leaf": _described(leaf, made.leaf.not_after, written=True),
        "ca_bundle": base64.b64encode(made.authority.certificate_pem).decode(),
    }


def _described(files: CertificateFiles, not_after: datetime, *, written: bool) -> dict[str, Any]:
    return {
        "certificate": str(files.certificate),
        "private_key": str(files.private_key),
        "not_after": not_after.isoformat(),
        "written": written,
    }
