"""Certificates that look after themselves: the authority in a Secret, the `caBundle`, and the leaf that is served.

Every replica does the same, and none leads. What keeps them from harming each other:

* Both objects are written by their resourceVersion: who is late gets a conflict, and reads again.
* The webhook configuration is read before the Secret, so that what is written to the `caBundle` is never older than
  what was replaced there: an authority signs only after it was seen in the `caBundle`, and that changed its version.
* A leaf is signed by what the Secret held when it was read; that is trusted until a leaf's life after it was replaced.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from app.kube.errors import ApiError
from app.kube.installation import InstallationSecret, Registration, RegistrationObject, SecretDocument
from app.tls.authorities import (
    CURRENT,
    NEXT,
    PREVIOUS,
    Authorities,
    Certificates,
    certificates,
    read_secret,
    write_annotations,
    write_contents,
)
from app.tls.errors import CertificateError
from app.tls.leaves import Leaf, Sightings, choose_signer, is_due, sign
from app.tls.rotation import Step, Terms, next_step
from app.tls.serving import Serving
from app.tls.trust import Trust, Verdict

logger = structlog.get_logger(__name__)

LOOK_INTERVAL: Final = timedelta(seconds=30)
"""How late a change is seen that no watch has told."""

REPAIRS: Final = 30
"""Times a minute at most that a replica writes a caBundle again which somebody else goes on changing."""

_MINUTE: Final = 60.0


class Observer(Protocol):
    """Counts what happens to certificates."""

    def served(self, not_after: datetime) -> None:
        """Take note of a new leaf, and when it ends."""

    def authority(self, not_after: datetime) -> None:
        """Take note of when the authority ends that signs."""

    def rotated(self) -> None:
        """Count that this replica has promoted the next authority."""

    def repaired(self) -> None:
        """Count that this replica has written a caBundle again that somebody else had changed."""


class ManagedCertificates:
    """Keeps a live certificate in `serving`, signed by an authority that API servers trust. `look` does the work.

    `keep` are other contents of the Secret that belong to the installation: a Secret that has lost everything is
    restored from memory, authorities and all. One that lost its authority alone gets a new one.
    """

    def __init__(
        self,
        secret: InstallationSecret,
        registration: RegistrationObject,
        *,
        serving: Serving,
        names: Sequence[str],
        terms: Terms,
        observer: Observer,
        keep: Mapping[str, bytes],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        moment: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trust = Trust(registration.name, is_kept=True)
        self.last_error = ""
        self._secret = secret
        self._registration = registration
        self._serving = serving
        self._names = names
        self._terms = terms
        self._observer = observer
        self._keep = keep
        self._clock = clock
        self._moment = moment
        self._held: Authorities | None = None
        self._leaf: Leaf | None = None
        self._sightings = Sightings()
        self._in_place: Certificates | None = None
        self._repairs = deque[float](maxlen=REPAIRS)

    @property
    def leaf(self) -> Leaf | None:
        """What is served."""
        return self._leaf

    @property
    def wait(self) -> timedelta:
        """How long nothing is to be done, if nobody changes anything."""
        waits, held = [LOOK_INTERVAL], self._held or Authorities()
        if held.next is not None:
            seen = self._sightings.lasted(held.next.certificate, self._moment())
            waits.append(self._terms.overlap - (seen or timedelta(0)))
        if held.previous and held.promoted is not None:
            waits.append(held.promoted + self._terms.leaf + self._terms.overlap - self._clock())
        return max(min(waits), timedelta(seconds=0.1))

    async def look(self) -> None:
        """Read both objects, and do what is to be done now; raises ApiError, after which to look again.

        A conflict is no failure: somebody else was faster. Whatever fails, a leaf goes on being served and renewed.
        """
        found = await self._look_at_registration()
        document = await self._whole(await self._secret.get())
        while (step := self._next_step(read_secret(document.contents, document.annotations), found)) is not None:
            document = await self._write(document, step.after)
            self._tell(step, read_secret(document.contents, document.annotations))
        self._held = read_secret(document.contents, document.annotations)
        self.renew()
        if found is not None:
            await self._publish(found, self._held)

    def renew(self) -> None:
        """Serve a new leaf if it is time to, by what is in memory; a leaf that cannot be renewed stays."""
        if self._held is None or self._held.current is None:
            return
        now, terms = self._clock(), self._terms
        signer = choose_signer(
            self._leaf, self._held.current, self._sightings, moment=self._moment(), overlap=terms.overlap, now=now
        )
        is_same = self._leaf is not None and self._leaf.signer.certificate == signer.certificate
        if self._leaf is not None and is_same and not is_due(self._leaf, now=now, lifetime=terms.leaf):
            return
        try:
            self._serve(sign(signer, self._names, now=now, lifetime=terms.leaf))
        except CertificateError as error:
            logger.warning("certificate not renewed", action="retry", error=str(error))
            return
        self._observer.authority(self._held.current.not_after)

    def tell(self, error: str) -> None:
        """Take note of what is wrong with the looks, empty while they succeed."""
        self.last_error = error

    def verdict(self) -> Verdict:
        """Say whether API servers trust what is served."""
        if self._leaf is None:
            return Verdict("unavailable", self.last_error or "no certificate has been signed yet")
        if self._leaf.not_after <= self._clock():
            return Verdict("unavailable", f"the certificate expired at {self._leaf.not_after.isoformat()}")
        verdict = self.trust.verdict(self._leaf.pair.certificate_pem)
        return Verdict("degraded", self.last_error) if verdict.state == "ok" and self.last_error else verdict

    async def _look_at_registration(self) -> Registration | None:
        try:
            found = await self._registration.get()
        except ApiError as error:
            self.trust.failed(error)
            if not error.is_forbidden:
                raise
            # What is left can still be done: a leaf that the caBundle of before trusts.
            logger.warning("webhook configuration not read", action="retry", error=str(error))
            return None
        self._saw(found)
        return found

    def _saw(self, found: Registration | None) -> None:
        self.trust.saw(found)
        self._sightings = self._sightings.after(self.trust.seen, self._moment())

    def _next_step(self, held: Authorities, found: Registration | None) -> Step | None:
        seen = None
        if found is not None and held.next is not None:
            seen = self._sightings.lasted(held.next.certificate, self._moment())
        return next_step(held, now=self._clock(), terms=self._terms, next_seen=seen)

    async def _whole(self, document: SecretDocument) -> SecretDocument:
        """Return the document, restored first if it has lost everything."""
        ours = {*CURRENT, *NEXT, PREVIOUS, *self._keep}
        if self._held is None or not ours.isdisjoint(document.contents):
            return document
        restored = await self._write(document, self._held, self._keep)
        logger.warning("secret restored", action="restore", secret=str(self._secret))
        return restored

    async def _write(
        self, document: SecretDocument, held: Authorities, keep: Mapping[str, bytes] | None = None
    ) -> SecretDocument:
        contents = write_contents(held, {**(keep or {}), **document.contents})
        return await self._secret.put(
            document.with_contents(contents, write_annotations(held, document.annotations)),
        )

    def _tell(self, step: Step, held: Authorities) -> None:
        if step.name == "promoted":
            self._observer.rotated()
        until = held.current.not_after.isoformat() if held.current is not None else ""
        log = logger.warning if step.name == "replaced" else logger.info
        damage = {"damage": step.damage} if step.damage else {}
        log("authority", action=step.name, secret=str(self._secret), not_after=until, **damage)

    def _serve(self, leaf: Leaf) -> None:
        self._serving.serve(leaf.pair, f"a certificate of {self._secret}")
        self._leaf = leaf
        self._observer.served(leaf.not_after)
        logger.info("certificate signed", action="serve", not_after=leaf.not_after.isoformat())

    async def _publish(self, found: Registration, held: Authorities) -> None:
        """Have every caBundle hold what is in force, and nothing else."""
        wanted = frozenset(held.in_force)
        if not found.bundles or all(frozenset(certificates(each)) == wanted for each in found.bundles):
            self._in_place = wanted
            return
        is_repair, writer = self._is_repair(found, wanted), found.bundle_writer
        if is_repair:
            self._pace(writer)
        self._saw(await self._registration.publish(found, held.bundle))
        self._in_place = wanted
        if is_repair:
            self._observer.repaired()
            logger.warning("caBundle repaired", action="restore", what=str(self._registration), was_written_by=writer)
        else:
            logger.info("caBundle written", action="publish", what=str(self._registration), certificates=len(wanted))

    def _pace(self, writer: str) -> None:
        """Raise ApiError, which says when to go on, where two write the same field as fast as they can."""
        now = self._moment()
        wait = self._repairs[0] + _MINUTE - now if len(self._repairs) == REPAIRS else 0
        if wait > 0:
            raise ApiError(
                f"the caBundle of {self._registration} was changed {REPAIRS} times within a minute, last by "
                f"{writer or 'somebody'}: have one of the two not write it; it is written again in {wait:.0f} s",
                retry_after=wait,
            )
        self._repairs.append(now)

    def _is_repair(self, found: Registration, wanted: Certificates) -> bool:
        """Whether somebody else has changed it, rather than we what is wanted."""
        if self._in_place is not None:
            return any(frozenset(certificates(each)) != self._in_place for each in found.bundles)
        return any(each and not frozenset(certificates(each)) & wanted for each in found.bundles)
