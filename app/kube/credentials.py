"""Who we are to the API server and whom we trust: read from files, and read again when those change.

The package's loaders read the files (with exec plugins and providers); what they leave out is done here: they read
kubeconfigs once, a service account's CA once, and its token once a minute.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import structlog
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, SERVICE_TOKEN_FILENAME, InClusterConfigLoader
from kubernetes.aio.config.kube_config import load_kube_config

from app.kube.errors import KubernetesSetupError

SERVICE_ACCOUNT: Final = Path(SERVICE_TOKEN_FILENAME).parent
DEFAULT_KUBECONFIG: Final = "~/.kube/config"
PLUGIN_TIMEOUT: Final = 60.0
"""Seconds that reading a kubeconfig may take: it may run a plugin that asks a person to log in."""

Stamp: TypeAlias = tuple[str, int, int, int]
"""Path, modification time in ns, inode and size of a file; zeros if there is none."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a call needs to reach the API server and to be known there. Equal if made of the same files and token."""

    host: str
    authorization: str = field(repr=False)
    namespace: str
    server_name: str | None
    proxy: str | None
    files: tuple[Stamp, ...]
    tls: ssl.SSLContext = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a source says: the package's configuration, the namespace, and the files that may be rotated."""

    configuration: Configuration
    namespace: str
    files: tuple[Path, ...]


class Source(Protocol):
    """Where credentials come from."""

    async def load(self) -> Loaded:
        """Read everything anew; raises KubernetesSetupError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """The files that Kubernetes puts into a Pod: `token`, `ca.crt` and `namespace`, rotated in place by the kubelet."""

    environment: Mapping[str, str]
    folder: Path = SERVICE_ACCOUNT

    async def load(self) -> Loaded:
        """Read everything anew; raises KubernetesSetupError."""
        token, authority = self.folder / "token", self.folder / "ca.crt"
        configuration = Configuration()
        loader = InClusterConfigLoader(  # type: ignore[no-untyped-call]
            token_filename=str(token),
            cert_filename=str(authority),
            # Its hook reads the token once a minute, and fails a call when it cannot; we look at the file instead.
            try_refresh_token=False,
            environ=self.environment,
        )
        advice = "the Pod needs a service account, and automountServiceAccountToken must not be false"
        with _setup(str(self.folder), advice):
            loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
        return Loaded(configuration=configuration, namespace=self._namespace(), files=(token, authority))

    def _namespace(self) -> str:
        try:
            return (self.folder / "namespace").read_text().strip() or "default"
        except OSError:
            return "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """One kubeconfig, or several to be merged, written as in the variable KUBECONFIG. They are never written to."""

    paths: str

    async def load(self) -> Loaded:
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
        return Loaded(configuration=configuration, namespace=namespace, files=files)


def choose(kubeconfig: Path | None, environment: Mapping[str, str]) -> Source:
    """Return the source that a person means: the file they name, else the Pod's account, else their own kubeconfig."""
    if kubeconfig is not None:
        return Kubeconfig(paths=str(kubeconfig))
    if environment.get(SERVICE_HOST_ENV_NAME):
        return ServiceAccount(environment=environment)
    return Kubeconfig(paths=environment.get("KUBECONFIG") or DEFAULT_KUBECONFIG)


class Credentials:
    """The access that counts now. A rotated file is noticed before the next call; one that cannot be read is not used.

    Safe for concurrent calls on one event loop: whoever notices first reads, the others wait for it.
    """

    def __init__(self, source: Source, access: Access) -> None:
        self._source = source
        self._access = access
        self._seen = access.files
        self._lock = asyncio.Lock()

    @classmethod
    async def read(cls, source: Source) -> Credentials:
        """Read the source for the first time; raises KubernetesSetupError."""
        return cls(source, await _access(source))

    @property
    def namespace(self) -> str:
        """The namespace of the service account or of the kubeconfig's context."""
        return self._access.namespace

    async def current(self) -> Access:
        """Return the access, read anew if one of its files has changed."""
        if self._changed():
            async with self._lock:
                if self._changed():
                    await self._renew()
        return self._access

    async def renewed(self, refused: Access) -> Access:
        """Return an access other than the refused one, or the same if reading everything anew gives no other."""
        async with self._lock:
            if self._access is refused:
                await self._renew()
        return self._access

    def _changed(self) -> bool:
        return any(_stamp(Path(stamp[0])) != stamp for stamp in self._seen)

    async def _renew(self) -> None:
        # Where reading fails, it is tried again when the file changes again, not at every call.
        self._seen = tuple(_stamp(Path(stamp[0])) for stamp in self._seen)
        try:
            access = await _access(self._source)
        except KubernetesSetupError as error:
            logger.warning("kubernetes_credentials_not_read", error=str(error))
            return
        if access != self._access:
            logger.info("kubernetes_credentials_renewed")
            self._access = access
            self._seen = access.files


async def _access(source: Source) -> Access:
    loaded = await source.load()
    configuration = loaded.configuration
    paths = (*loaded.files, *_tls_files(configuration))
    files = tuple(_stamp(path) for path in paths)
    return Access(
        host=configuration.host.rstrip("/"),
        authorization=await _authorization(configuration),
        namespace=loaded.namespace,
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


def _stamp(path: Path) -> Stamp:
    try:
        seen = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), seen.st_mtime_ns, seen.st_ino, seen.st_size
