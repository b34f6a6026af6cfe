"""Credentials of a kubeconfig, by the `kubernetes` package, which knows exec plugins and providers.

What it leaves out is done by `Credentials`: it reads kubeconfigs once.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.kube_config import load_kube_config

from app.kube.access import Access, stamp
from app.kube.errors import KubernetesSetupError

PLUGIN_TIMEOUT: Final = 60.0
"""Seconds that reading a kubeconfig may take: it may run a plugin that asks a person to log in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """One kubeconfig, or several to be merged, written as in the variable KUBECONFIG. They are never written to."""

    paths: str

    async def load(self) -> Access:
        """Read everything anew; raises KubernetesSetupError."""
        files = tuple(path for path in map(_expanded, self.paths.split(os.pathsep)) if path.is_file())
        if not files:
            raise KubernetesSetupError(f"there is no kubeconfig {self.paths}: name one, or set KUBECONFIG")
        configuration = Configuration()
        with _setup(self.paths, "kubectl config view shows what is in it"):
            async with asyncio.timeout(PLUGIN_TIMEOUT):
                loader = await load_kube_config(  # type: ignore[no-untyped-call]
                    self.paths, client_configuration=configuration, persist_config=False
                )
            namespace = loader.current_context["context"].get("namespace") or "default"
        return await _access(configuration, namespace, files)


async def _access(configuration: Configuration, namespace: str, kubeconfigs: tuple[Path, ...]) -> Access:
    files = tuple(stamp(path) for path in (*kubeconfigs, *_tls_files(configuration)))
    return Access(
        host=configuration.host.rstrip("/"),
        authorization=await _authorization(configuration),
        namespace=namespace,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        files=files,
        tls=_tls(configuration),
    )


async def _authorization(configuration: Configuration) -> str:
    settings = await configuration.auth_settings()
    value = settings["BearerToken"]["value"] if "BearerToken" in settings else ""
    # People's token files end in a newline, which the loaders keep and a header must not have.
    return (value or "").strip()


def _tls_files(configuration: Configuration) -> tuple[Path, ...]:
    named = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    return tuple(Path(name) for name in dict.fromkeys(named) if name)


def _tls(configuration: Configuration) -> ssl.SSLContext:
    # Python 3.13 refuses authorities without a key identifier, which kubectl accepts and older clusters have.
    configuration.disable_strict_ssl_verification = True
    names = ", ".join(map(str, _tls_files(configuration)))
    with _setup(names, "they must be PEM, and the key must be that of the certificate"):
        context: ssl.SSLContext = RESTClientObject(configuration).ssl_context
    return context


@contextmanager
def _setup(place: str, advice: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise KubernetesSetupError(f"{place}: its login plugin took longer than {PLUGIN_TIMEOUT:g} s") from error
    except yaml.YAMLError as error:
        raise KubernetesSetupError(f"{place}: no YAML: {' '.join(str(error).split())}") from error
    except (LookupError, TypeError, AttributeError) as error:
        # What the loaders raise when a mapping or a list is something else.
        raise KubernetesSetupError(f"{place}: not of the shape that it should have; {advice}") from error
    except (ConfigException, OSError, ValueError) as error:
        raise KubernetesSetupError(f"{place}: {error}; {advice}") from error


def _expanded(path: str) -> Path:
    return Path(path).expanduser()
