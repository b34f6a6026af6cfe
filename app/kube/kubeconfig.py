"""Credentials of a kubeconfig, by the `kubernetes` package, which knows exec plugins and providers.

What it leaves out is done by `Credentials`: it reads kubeconfigs once.
"""

from __future__ import annotations

import asyncio
import os
import re
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
from kubernetes.aio.config.kube_config import KubeConfigLoader, load_kube_config

from app.kube.access import Access, Stamp, proven, stamp
from app.kube.errors import KubernetesSetupError

PLUGIN_TIMEOUT: Final = 60.0
"""Seconds that reading a kubeconfig may take: it may run a plugin that asks a person to log in."""

_ADVICE: Final = "kubectl config view shows what is in it"
_CONTENT: Final = re.compile(r"/\{.*\}", re.DOTALL)
"""How the package names a part of a kubeconfig that it does not understand: by all that is in it, tokens included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """One kubeconfig, or several to be merged, written as in the variable KUBECONFIG. They are never written to.

    `named_by` is the option or the variable that a person named them with, if one did. Without a `context` the current
    one counts.
    """

    paths: str
    context: str = ""
    named_by: str = ""

    async def load(self) -> Access:
        """Read everything anew; raises KubernetesSetupError."""
        files = tuple(path for path in map(_expanded, self.paths.split(os.pathsep)) if path.is_file())
        if not files:
            raise KubernetesSetupError(self._absent())
        # Before they are read: a login plugin takes its time, and what changes meanwhile must be noticed.
        stamps = tuple(map(stamp, files))
        configuration = Configuration()
        with _setup(self.paths, _ADVICE):
            async with asyncio.timeout(PLUGIN_TIMEOUT):
                loader = await load_kube_config(  # type: ignore[no-untyped-call]
                    self.paths,
                    context=self.context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
            namespace = loader.current_context["context"].get("namespace") or "default"
            token_file = _token_file(loader)
        return await _access(configuration, namespace, stamps, token_file)

    def _absent(self) -> str:
        if self.named_by:
            return f"{self.named_by}: there is no file {self.paths}; it takes the kubeconfig of the cluster to watch"
        return f"there is no {self.paths}: name a kubeconfig with --kubeconfig FILE or KUBECONFIG"


async def _access(
    configuration: Configuration, namespace: str, kubeconfigs: tuple[Stamp, ...], token_file: Path | None
) -> Access:
    place = token_file or kubeconfigs[0][0]
    named = (*([token_file] if token_file else ()), *_tls_files(configuration))
    return Access(
        host=configuration.host.rstrip("/"),
        authorization=await _authorization(configuration, place, is_needed=token_file is not None),
        namespace=namespace,
        server_name=configuration.tls_server_name,
        proxy=configuration.proxy,
        files=(*kubeconfigs, *map(stamp, named)),
        tls=_tls(configuration),
    )


async def _authorization(configuration: Configuration, place: object, *, is_needed: bool) -> str:
    settings = await configuration.auth_settings()
    value = settings["BearerToken"]["value"] if "BearerToken" in settings else ""
    scheme, _, token = (value or "").partition(" ")
    return f"{scheme} {proven(token, place, _ADVICE)}" if scheme or is_needed else ""


def _token_file(loader: KubeConfigLoader) -> Path | None:
    # Only the loader knows the user, and the kubeconfig that a relative path starts from, after several are merged.
    user = loader._user  # noqa: SLF001
    if user is None or "exec" in user or "tokenFile" not in user or "token" in user:
        return None
    return Path(user.path).parent / str(user["tokenFile"])


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
        raise KubernetesSetupError(f"{place}: {_CONTENT.sub('', str(error))}; {advice}") from error


def _expanded(path: str) -> Path:
    return Path(path).expanduser()
