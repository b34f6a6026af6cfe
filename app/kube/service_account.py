"""The service account of a Pod: the files that Kubernetes puts into it, rotated in place by the kubelet.

They are read here, and not by the `kubernetes` package: its loader reads the CA once and the token once a minute, and
importing it costs 11 MB, a seventh of what the watcher may have.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.kube.access import Access, proven, stamp
from app.kube.errors import KubernetesSetupError

FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST_VARIABLE: Final = "KUBERNETES_SERVICE_HOST"
PORT_VARIABLE: Final = "KUBERNETES_SERVICE_PORT"
"""From https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/."""

ADVICE: Final = "the Pod needs a service account, and automountServiceAccountToken must not be false"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """`token`, `ca.crt` and `namespace` in a folder, and the API server's address in the environment."""

    environment: Mapping[str, str]
    folder: Path = FOLDER

    async def load(self) -> Access:
        """Read everything anew; raises KubernetesSetupError."""
        token, authority = self.folder / "token", self.folder / "ca.crt"
        files = (stamp(token), stamp(authority))
        return Access(
            host=self._host(),
            authorization=f"Bearer {proven(_text(token), token, ADVICE)}",
            namespace=self._namespace(),
            files=files,
            tls=_trust(authority),
        )

    def _host(self) -> str:
        host, port = self.environment.get(HOST_VARIABLE, ""), self.environment.get(PORT_VARIABLE, "")
        if not host or not port:
            raise KubernetesSetupError(f"{HOST_VARIABLE} and {PORT_VARIABLE} are not both set, as in a Pod they are")
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def _namespace(self) -> str:
        try:
            return (self.folder / "namespace").read_text().strip() or "default"
        except OSError:
            return "default"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise KubernetesSetupError(f"{path}: cannot be read ({_why(error)}); {ADVICE}") from error


def _trust(authority: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(authority))
    except (OSError, ValueError) as error:
        raise KubernetesSetupError(f"{authority}: holds no certificate ({_why(error)}); {ADVICE}") from error
    # Python 3.13 refuses authorities without a key identifier, which kubectl accepts and older clusters have.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
