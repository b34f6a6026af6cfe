"""Errors that people can mend, told in one line and an exit code instead of a traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from app.audit.fingerprint_key import FingerprintKeyError
from app.config.problems import ConfigError
from app.config.token_file import TokenFileError
from app.kube.errors import KubernetesSetupError
from app.settings import PREFIX
from app.sinks.base import SinkSetupError
from app.store.database import StoreError
from app.tls.errors import CertificateError
from app.web.errors import AddressInUseError

_EXPLAINED: Final = (
    ConfigError,
    SinkSetupError,
    CertificateError,
    StoreError,
    AddressInUseError,
    FingerprintKeyError,
    KubernetesSetupError,
    TokenFileError,
)
"""Errors whose message names the place and the remedy."""

_TOO_DEEP: Final = (
    "the object has hundreds of maps or lists within each other, too many to work with; kubewitness entries list -o"
    " json has the entries as they were recorded"
)

FAILED: Final = 1
USAGE: Final = 2


@contextmanager
def told() -> Iterator[None]:
    """Turn what the operator can mend into a message on standard error and exit code 1."""
    try:
        yield
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0]) if problem["loc"] else "?"
            complain(f"--{name.replace('_', '-')} ({PREFIX}{name.upper()}): {problem['msg']}")
        raise typer.Exit(USAGE) from error
    except _EXPLAINED as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    except OSError as error:
        if error.filename is None:  # of no file: nothing that a path could mend
            raise
        complain(f"{error.filename}: {error.strerror}")
        raise typer.Exit(FAILED) from error
    except RecursionError as error:
        complain(_TOO_DEEP)
        raise typer.Exit(FAILED) from error
    except sqlite3.Error as error:
        complain(f"the journal cannot be used: {error}")
        raise typer.Exit(FAILED) from error


def complain(message: str) -> None:
    """Print an error for people."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), message))
