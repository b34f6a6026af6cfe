"""What all replicas of an installation share: the Secret with the key of the fingerprints and the console's token."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from app.audit.fingerprint_key import FILE_NAME, LENGTH, FingerprintKeyError, fingerprint_key, keep_fingerprint_key
from app.kube.access import is_token
from app.kube.client import KubernetesApi
from app.kube.installation import InstallationSecret, ObjectApi
from app.settings import CommonSettings
from app.tls.upkeep import Upkeep

logger = structlog.get_logger(__name__)

FINGERPRINT_KEY: Final = "fingerprint-key"
CONSOLE_TOKEN: Final = "console-token"


class SharedSecret:
    """Fills the Secret of the installation, so that all replicas read the same from it, whoever comes first.

    What is there and can be used stays. A key of the fingerprints that lies in the data folder is taken over, else one
    is made; the token is always made. `contents` are what is there then.
    """

    def __init__(self, api: ObjectApi, namespace: str, name: str, data_dir: Path) -> None:
        self.document = InstallationSecret(api, namespace, name)
        self.contents: Mapping[str, bytes] = {}
        self._data_dir = data_dir

    async def fill(self) -> None:
        """Fill and read it; raises ApiError, also a conflict where somebody else fills it at the same time."""
        stored = await self.document.get()
        lacking = self._lacking(stored.contents)
        if lacking:
            stored = await self.document.put(
                stored.with_contents({**stored.contents, **lacking}, stored.annotations),
            )
            logger.info("secret filled", action="make", secret=str(self.document), keys=sorted(lacking))
        self.contents = {key: stored.contents[key].strip() for key in (FINGERPRINT_KEY, CONSOLE_TOKEN)}

    async def wait(self) -> None:
        """Fill and read it, however long the API server, or the right to do so, is to be waited for."""
        upkeep = Upkeep(self.fill, wait=timedelta, tell=lambda _: None, what=str(self.document))
        await upkeep.until(lambda: bool(self.contents))

    def _lacking(self, contents: Mapping[str, bytes]) -> dict[str, bytes]:
        lacking = {}
        if len(contents.get(FINGERPRINT_KEY, b"").strip()) < LENGTH:
            lacking[FINGERPRINT_KEY] = self._own_key()
        if not is_token(contents.get(CONSOLE_TOKEN, b"").strip().decode("ascii", "replace")):
            lacking[CONSOLE_TOKEN] = secrets.token_urlsafe(LENGTH).encode()
        for key in lacking:
            if contents.get(key):
                logger.warning("secret mended", action="replace", secret=str(self.document), unusable=key)
        return lacking

    def _own_key(self) -> bytes:
        path = self._data_dir / FILE_NAME
        if path.exists():
            try:
                return fingerprint_key(self._data_dir, path)
            except FingerprintKeyError as error:
                logger.warning("fingerprint key not taken over", action="replace", error=str(error))
        return secrets.token_hex(LENGTH).encode()


class Installation:
    """The API server, and what this installation's Secret gives. `open` waits for both; `close` ends it."""

    def __init__(self, api: KubernetesApi, shared: SharedSecret) -> None:
        self.api = api
        self.secret = shared.document
        self.shared: Final = dict(shared.contents)

    @classmethod
    async def open(cls, settings: CommonSettings) -> Installation:
        """Read the Secret, whose lacks are filled; raises KubernetesSetupError where there are no credentials."""
        api = await KubernetesApi.connect(settings.kubeconfig)
        shared = SharedSecret(api, api.namespace, settings.secret, settings.data_dir)
        try:
            await shared.wait()
        except BaseException:
            await api.close()
            raise
        return cls(api, shared)

    @property
    def fingerprint_key(self) -> bytes:
        """The key of the fingerprints, the same for all replicas."""
        return self.shared[FINGERPRINT_KEY]

    def keep_fingerprint_key(self, data_dir: Path) -> None:
        """Leave a copy beside the journal, for the day on which the journal is there and the Secret is not."""
        try:
            keep_fingerprint_key(data_dir, self.fingerprint_key)
        except OSError as error:
            logger.warning("fingerprint key not copied", action="skip", folder=str(data_dir), error=str(error))

    @property
    def console_token(self) -> str:
        """What others than this machine show to the console."""
        return self.shared[CONSOLE_TOKEN].decode()

    async def close(self) -> None:
        """Close the connections."""
        await self.api.close()
