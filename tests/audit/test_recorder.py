"""The recorder keeps what is a change, once, with what a playbook says about it, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from app.audit.recorder import Recorder
from app.core.change import FindingSummary
from app.core.finding import Finding, JsonBlock, Severity
from app.core.identity import sequence_of
from app.core.noise import NoiseOptions, Routed
from app.core.redact import Redactor
from app.core.review import Change, Review, decode
from app.store.encoding import read_finding
from app.store.journal import Appended, Record
from tests.builders import (
    KeptRecords,
    Told,
    about,
    entry_of,
    make_body,
    make_recorder,
    make_review,
    make_rules,
    record,
    recorded_review,
    sent,
)

FINDING = Finding(playbook="replicas", title="web scaled", severity=Severity.HIGH)


def tells(*sinks: str) -> Any:
    def evaluate(_change: Change, _redactor: Redactor) -> Sequence[Routed]:
        return [Told(FINDING, sinks)]

    return evaluate


async def recorded(review: Review, **rules: Any) -> KeptRecords:
    journal = KeptRecords()
    await sent(make_recorder(journal, make_rules(**rules)), review)
    return journal


async def test_an_entry_says_who_changed_what_when_and_where() -> None:
    journal = KeptRecords()

    answer = await sent(make_recorder(journal), make_review())

    (entry,) = journal.entries
    assert (answer.entry_id, answer.result) == (entry.id, "recorded")
    assert (entry.cluster, entry.operation, entry.outcome) == ("test", "UPDATE", "attempted")
    assert (str(entry.resource), entry.user.username) == ("Deployment/shop/web", "alice")
    assert entry.review_uid == make_review().request.uid
    assert entry.at.endswith("Z")


async def test_the_row_has_what_can_be_looked_for() -> None:
    journal = await recorded(make_review())

    row = journal.records[0].entry
    assert (row.kind, row.namespace, row.name) == ("Deployment", "shop", "web")
    assert (row.username, row.operation) == ("alice", "UPDATE")
    assert row.seq == sequence_of(journal.entries[0].id)


async def test_a_finding_is_kept_with_its_sinks_and_summed_up_in_the_entry() -> None:
    journal = await recorded(make_review(), evaluate=tells("slack", "mail"))

    (finding,) = journal.records[0].findings
    assert (finding.ordinal, finding.sinks) == (0, ("slack", "mail"))
    assert read_finding(finding.body) == FINDING
    assert journal.entries[0].findings == (FindingSummary("replicas", "web scaled", "HIGH"),)


async def test_a_dry_run_is_recorded_as_one_and_nobody_is_told() -> None:
    journal = await recorded(make_review(dryRun=True), evaluate=tells("slack"))

    assert journal.entries[0].dry_run
    assert journal.records[0].findings == ()


@pytest.mark.parametrize("name", ["deployment-update-managed-fields-only", "deployment-status-update-by-controller"])
async def test_an_update_of_managed_fields_or_status_alone_is_not_recorded(name: str) -> None:
    assert (await recorded(recorded_review(name))).records == []


async def test_status_is_recorded_where_it_is_wanted() -> None:
    journal = await recorded(recorded_review("deployment-status-update-by-controller"), status=True)

    assert {change.path.split(".")[0] for change in journal.entries[0].changes} == {"status"}


async def test_the_status_beside_another_change_is_left_out() -> None:
    old, new = ({"spec": each, "status": {"seen": each}} for each in (1, 2))

    (entry,) = (await recorded(make_review(oldObject=old, object=new))).entries

    assert [change.path for change in entry.changes] == ["spec"]
    assert [each["path"] for each in entry.patch] == ["/spec"]


async def test_the_status_that_a_finding_is_about_is_kept() -> None:
    review = recorded_review("deployment-status-update-by-controller")

    (entry,) = (await recorded(review, evaluate=tells("slack"))).entries

    assert entry.changes


UPKEEP = [
    about("Lease", "leases", "coordination.k8s.io"),
    about("Event", "events"),
    about("EndpointSlice", "endpointslices", "discovery.k8s.io"),
    about("Pod", "pods", subResource="binding"),
    about("Deployment", "deployments", "apps", subResource="status"),
]


@pytest.mark.parametrize("request_about", UPKEEP, ids=lambda fields: fields["resource"]["resource"])
async def test_the_clusters_own_upkeep_is_not_recorded(request_about: dict[str, Any]) -> None:
    assert (await recorded(make_review(**request_about))).records == []


async def test_upkeep_that_a_playbook_tells_about_is_recorded() -> None:
    assert (await recorded(make_review(**UPKEEP[0]), evaluate=tells("slack"))).records


async def test_the_same_review_sent_twice_is_recorded_once() -> None:
    journal = KeptRecords()
    recorder = make_recorder(journal)

    first, second = [await sent(recorder, make_review()) for _ in range(2)]

    assert len(journal.records) == 1
    assert first.entry_id == second.entry_id


async def test_reviews_with_different_uids_are_different_changes() -> None:
    journal = KeptRecords()
    recorder = make_recorder(journal)

    for uid in ("a", "b"):
        await sent(recorder, make_review(uid=uid))

    assert [entry.review_uid for entry in journal.entries] == ["a", "b"]


async def test_reviews_are_forgotten_after_thousands_of_others() -> None:
    journal = KeptRecords()
    recorder = make_recorder(journal)

    for uid in ["first", *map(str, range(4096)), "first"]:
        await sent(recorder, make_review(uid=uid))

    assert len(journal.records) == 4098


@pytest.mark.parametrize("answer", ["pending", "lost"])
async def test_what_became_of_the_record_is_passed_on(answer: Appended) -> None:
    recorded = await sent(make_recorder(KeptRecords(answer)), make_review())

    assert recorded.result == answer


async def test_a_review_that_was_lost_is_recorded_when_it_is_sent_again() -> None:
    journal = KeptRecords("lost")
    recorder = make_recorder(journal)

    answers = [await sent(recorder, make_review()) for _ in range(2)]

    assert [answer.result for answer in answers] == ["lost", "recorded"]
    assert len(journal.records) == 2


class BrokenJournal(KeptRecords):
    """Fails once."""

    def submit(self, record: Record, answer: Callable[[Appended], None]) -> None:
        if not self.records:
            self.records.append(record)
            raise OSError("disk gone")
        super().submit(record, answer)


async def test_a_review_that_met_a_fault_is_recorded_when_it_is_sent_again() -> None:
    journal = BrokenJournal()
    recorder: Recorder = make_recorder(journal)

    answers = [await sent(recorder, make_review()) for _ in range(2)]

    assert [answer.result for answer in answers] == ["fault", "recorded"]
    assert len(journal.records) == 2


async def test_of_a_review_only_its_uid_and_its_entry_are_remembered() -> None:
    recorder = make_recorder()

    await sent(recorder, make_review(uid="a"))

    assert [(uid, seen.waiting, seen.result) for uid, seen in recorder._seen.items()] == [("a", [], "recorded")]


@pytest.mark.parametrize("depth", [100, 300, 450, 600, 900, 2000])
@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "DELETE"])
async def test_an_object_of_any_depth_leaves_an_entry(depth: int, operation: str) -> None:
    nested = b'{"a":[' * depth + b"1" + b"]}" * depth
    objects = {"CREATE": (None, "HERE"), "DELETE": ("HERE", None), "UPDATE": ({"a": 1}, "HERE")}
    old, new = objects[operation]
    body = make_body(operation=operation, oldObject=old, object=new).replace(b'"HERE"', nested)

    (entry,) = (await recorded(decode(body))).entries

    assert str(entry.resource) == "Deployment/shop/web"
    assert entry.user.username == "alice"


async def test_a_truncated_review_leaves_an_entry_that_says_so_and_is_told() -> None:
    review = decode(make_body(object="HERE").replace(b'"HERE"', b"[" * 3000 + b"]" * 3000))

    journal = await recorded(review, evaluate=tells("slack"))

    assert journal.entries[0].truncated is True
    assert [finding.sinks for finding in journal.records[0].findings] == [("slack",)]


async def test_the_parent_of_a_scaled_custom_resource_is_named_once_its_kind_was_seen() -> None:
    journal = KeptRecords()
    recorder = make_recorder(journal)
    mouse = about("Mouse", "mice", "example.com")
    scale = mouse | {"uid": "2", "subResource": "scale", "kind": {"group": "autoscaling", "kind": "Scale"}}

    for fields in (mouse, scale):
        await sent(recorder, make_review(**fields))

    assert [entry.resource.kind for entry in journal.entries] == ["Mouse", "Mouse"]


async def test_new_rules_count_from_the_next_review_on() -> None:
    journal = KeptRecords()
    recorder = make_recorder(journal)

    await sent(recorder, make_review(uid="a"))
    recorder.rules = make_rules(exclude=[{"kind": "Deployment"}])
    await sent(recorder, make_review(uid="b"))

    assert len(journal.records) == 1


@pytest.mark.parametrize("name", ["secret-create", "secret-update", "deployment-update-env-secretish"])
def test_no_secret_of_a_recorded_review_is_kept(name: str) -> None:
    entry = entry_of(recorded_review(name))

    assert not any(secret in str(entry) for secret in ("MQ==", "Mg==", "hunter2"))


def test_an_update_that_changes_nothing_is_not_recorded() -> None:
    same = {"metadata": {"name": "web"}, "spec": {"replicas": 1}}

    assert record(make_review(oldObject=same, object=json.loads(json.dumps(same)))) is None


async def test_a_review_cut_for_its_depth_is_answered_as_truncated() -> None:
    # Deep enough for redaction to give up, not for reading: so it is cut after it was read.
    nested = b'{"a":[' * 350 + b"1" + b"]}" * 350
    review = decode(make_body(operation="CREATE", oldObject=None, object="HERE").replace(b'"HERE"', nested))
    journal = KeptRecords()

    answer = await sent(make_recorder(journal), review)

    assert not review.truncated
    assert (answer.review.truncated, journal.entries[0].truncated) == (True, True)


async def test_a_uid_of_any_length_is_answered_and_a_long_one_is_not_remembered() -> None:
    journal = KeptRecords()
    recorder = make_recorder(journal)

    answers = [await sent(recorder, make_review(uid="u" * 100_000)) for _ in range(2)]

    assert [answer.result for answer in answers] == ["recorded", "recorded"]
    assert len(journal.records) == 2


async def test_an_object_is_redacted_once_for_its_entry_and_its_findings() -> None:
    shown: list[Any] = []

    def evaluate(change: Change, redactor: Redactor) -> Sequence[Routed]:
        assert change.new is not None
        shown.extend(redactor.object("Secret", change.new) for _ in range(2))
        return []

    await recorded(make_review(operation="CREATE", oldObject=None, object={"data": {"a": "x"}}), evaluate=evaluate)

    assert shown[0] is shown[1]


def scaled(uid: str, *, replicas: int = 3) -> Review:
    """A review of a Deployment that has a uid."""
    old, new = ({"metadata": {"name": "web", "uid": "d"}, "spec": {"replicas": each}} for each in (1, replicas))
    return make_review(uid=uid, oldObject=old, object=new)


def replica_set(uid: str) -> Review:
    """A review of what the deployment-controller makes of it."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d"}
    document = {"metadata": {"name": "web-1", "uid": "r", "ownerReferences": [owner]}}
    controller = {"username": "system:serviceaccount:kube-system:deployment-controller"}
    fields = about("ReplicaSet", "replicasets", "apps", name="web-1", operation="CREATE", userInfo=controller)
    return make_review(uid=uid, object=document, oldObject=None, **fields)


async def heard(*reviews: Review, journal: KeptRecords | None = None, **rules: Any) -> KeptRecords:
    journal = journal or KeptRecords()
    recorder = make_recorder(journal, make_rules(**{"evaluate": tells("slack"), **rules}))
    for review in reviews:
        await sent(recorder, review)
    return journal


def withheld(journal: KeptRecords) -> list[str]:
    return [each.withheld for record in journal.records for row in record.findings for each in row.addressees]


async def test_a_change_that_is_reviewed_again_is_recorded_and_not_told_again() -> None:
    journal = await heard(scaled("a"), scaled("b"))

    first, second = journal.entries
    assert (first.repeat_of, second.repeat_of) == (msgspec.UNSET, first.id)
    assert second.findings == first.findings
    assert withheld(journal) == ["", f"the same change as entry {first.id}"]


async def test_what_follows_from_a_change_is_recorded_with_it_and_not_told() -> None:
    journal = await heard(scaled("a"), replica_set("b"))

    first, second = journal.entries
    assert (first.story, second.story) == (msgspec.UNSET, first.id)
    assert withheld(journal) == ["", f"follows from entry {first.id} (Deployment/shop/web)"]


async def test_what_follows_from_a_change_is_recorded_with_it_where_no_playbook_speaks_of_it() -> None:
    def evaluate(change: Change, _redactor: Redactor) -> Sequence[Routed]:
        return [Told(FINDING, ["slack"])] if change.resource.kind == "Deployment" else []

    journal = await heard(scaled("a"), replica_set("b"), evaluate=evaluate)

    first, second = journal.entries
    assert second.story == first.id


async def test_of_a_change_that_was_lost_nothing_is_withheld() -> None:
    journal = await heard(scaled("a"), scaled("b"), replica_set("c"), journal=KeptRecords("lost", "lost"))

    assert withheld(journal) == ["", "", ""]


async def test_of_a_change_that_met_a_fault_nothing_is_withheld() -> None:
    journal = await heard(scaled("a"), scaled("b"), journal=BrokenJournal())

    assert withheld(journal) == ["", ""]


def dry_run(review: Review) -> Review:
    return Review(msgspec.structs.replace(review.request, dry_run=True))


async def test_a_dry_run_is_no_attempt_at_a_change() -> None:
    assert withheld(await heard(dry_run(scaled("a")), scaled("b"))) == [""]


async def test_a_dry_run_between_them_does_not_hide_a_repeat() -> None:
    journal = await heard(scaled("a"), dry_run(scaled("b", replicas=5)), scaled("c"))

    assert journal.entries[2].repeat_of == journal.entries[0].id


async def test_of_a_change_that_was_cut_for_its_depth_nothing_is_withheld() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    findings = iter([msgspec.structs.replace(FINDING, blocks=(JsonBlock(deep),)), FINDING, FINDING])

    journal = await heard(
        scaled("a"), scaled("b"), evaluate=lambda _change, _redactor: [Told(next(findings), ["slack"])]
    )

    assert [entry.truncated for entry in journal.entries] == [True, msgspec.UNSET]
    assert withheld(journal) == ["", ""]


async def test_noise_is_told_where_that_is_wanted() -> None:
    noise = NoiseOptions(repeats=False, rollouts=False, flapping=False)

    assert withheld(await heard(scaled("a"), scaled("b"), replica_set("c"), noise=noise)) == ["", "", ""]


async def test_what_is_not_told_is_counted_by_reason() -> None:
    counted: list[str] = []
    recorder = make_recorder(rules=make_rules(evaluate=tells("slack", "mail")), on_quieted=counted.append)

    for review in (scaled("a"), scaled("b"), replica_set("c")):
        await sent(recorder, review)

    assert counted == ["repeat", "repeat", "rollout", "rollout"]
