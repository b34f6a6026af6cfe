"""Replicas at one Secret and one caBundle, in any order, with lost calls, restarts, and people who interfere."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.tls.authorities import ROTATE, Certificates
from app.tls.issue import issue_authority
from app.tls.rotation import Terms
from tests.tls.objects import START, Fault, Objects, Replica

TERMS: Final = Terms(leaf=timedelta(seconds=60), authority=timedelta(seconds=900), overlap=timedelta(seconds=10))
FOREIGN: Final = issue_authority("somebody else", now=START).certificate_pem
SKEWS: Final = (0.0, 3.0, -3.0)
LONGEST_SILENCE: Final = 50.0
"""Seconds after which every replica has looked: less than a leaf's life."""

replicas = st.integers(0, len(SKEWS) - 1)
faults: st.SearchStrategy[Fault] = st.sampled_from(["refused", "lost"])


class Installation(RuleBasedStateMachine):
    """API servers may act on any caBundle that was in force less than the overlap ago."""

    @initialize()
    def begin(self) -> None:
        self.objects = Objects()
        self.replicas = [Replica(self.objects, TERMS, skew=skew) for skew in SKEWS]
        self.looked = [0.0 for _ in SKEWS]
        self.history: list[tuple[float, Certificates]] = []
        self.interfered()
        for index in [*range(len(SKEWS))] * 2:
            self.looks(index)

    def interfered(self) -> None:
        """Expect nothing until every replica has looked twice undisturbed: once to mend, and once to see it mended."""
        self.to_look = [2 for _ in SKEWS]

    @rule(index=replicas, calls=st.integers(1, 8))
    def goes_on(self, index: int, calls: int) -> None:
        for _ in range(calls):
            self.replicas[index].step()
            self.note()

    @rule(index=replicas)
    def looks(self, index: int) -> None:
        """Let one replica finish what it was at, and then look at once, without a fault of others."""
        replica = self.replicas[index]
        replica.finish()
        self.objects.faults.clear()
        failure = replica.look()
        self.note()
        assert failure is None
        self.looked[index] = self.objects.clock
        if all(self.to_look[other] <= self.to_look[index] for other in range(len(SKEWS))):
            self.to_look[index] = max(self.to_look[index] - 1, 0)

    @rule(seconds=st.floats(0.1, 12), times=st.integers(1, 8))
    def time_passes(self, seconds: float, times: int) -> None:
        for _ in range(times):
            self.objects.clock += seconds
            for index, replica in enumerate(self.replicas):
                replica.managed.renew()
                if self.objects.clock - self.looked[index] > LONGEST_SILENCE:
                    self.looks(index)
            self.every_leaf_is_trusted_by_every_api_server()

    @rule(fault=faults)
    def a_call_fails(self, fault: Fault) -> None:
        self.objects.faults.append(fault)

    @rule(index=replicas)
    def restarts(self, index: int) -> None:
        self.replicas[index].end()
        self.replicas[index] = Replica(self.objects, TERMS, skew=SKEWS[index])
        self.looks(index)

    @rule()
    def somebody_wants_a_rotation(self) -> None:
        self.objects.put_secret(self.objects.contents, {**self.objects.annotations, ROTATE: "now"})

    def note(self) -> None:
        """Keep what API servers may act on; what was before somebody interfered is forgotten."""
        now, trusted = self.objects.clock, self.objects.trusted
        if any(self.to_look):
            self.history = [(now, trusted)]
        elif self.history[-1][1] != trusted:
            self.history.append((now, trusted))
        else:
            return

    @invariant()
    def every_leaf_is_trusted_by_every_api_server(self) -> None:
        if any(self.to_look):
            return
        now, overlap = self.objects.clock, TERMS.overlap.total_seconds()
        ends = [begin for begin, _ in self.history[1:]] + [now + overlap]
        acted_on = [trusted for end, (_, trusted) in zip(ends, self.history, strict=True) if end > now - overlap]
        for replica in self.replicas:
            assert all(replica.signer in trusted for trusted in acted_on)
            assert replica.managed.leaf is not None
            assert replica.managed.leaf.not_after > START + timedelta(seconds=now)

    def teardown(self) -> None:
        for replica in self.replicas:
            replica.end()


class DisturbedInstallation(Installation):
    """With people who change what is not theirs: expected is that all is well again soon."""

    @rule(bundle=st.sampled_from([b"", FOREIGN, b"no certificate"]))
    def somebody_overwrites_the_bundle(self, bundle: bytes) -> None:
        self.objects.put_bundle(bundle)
        self.interfered()

    @rule(lost=st.sampled_from([(), ("ca.crt", "ca.key"), ("ca.key",), ("next.crt",), ("previous.crt",)]))
    def somebody_removes_what_the_secret_holds(self, lost: tuple[str, ...]) -> None:
        kept = {key: value for key, value in self.objects.contents.items() if lost and key not in lost}
        self.objects.put_secret(kept, self.objects.annotations)
        self.interfered()


Installation.TestCase.settings = settings(
    max_examples=25, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
DisturbedInstallation.TestCase.settings = settings(Installation.TestCase.settings, max_examples=15)
test_replicas_serve_what_api_servers_trust = Installation.TestCase
test_replicas_mend_what_somebody_changed = DisturbedInstallation.TestCase
