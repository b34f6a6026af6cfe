"""What is gathered of a failed Job: all that was asked for and can be had; whatever cannot be had is a note."""

from __future__ import annotations

import asyncio
import json
import re
import time
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from app.core.actions import JobEnricher, JobEventsEnricher, JobInfoEnricher, JobPodEnricher
from app.core.evidence import ContainerEvidence, Log, PodEvidence, Termination
from app.core.job_report import FailedJob, blocks
from app.core.redact import Redactor
from app.kube.errors import ApiError
from app.watcher.changes import Documents
from app.watcher.gather import Gatherer
from app.watcher.jobs import FailedCandidate
from tests.builders import KEY
from tests.core.recorded_jobs import entry, recorded

AT = datetime(2026, 11, 22, 11, 59, tzinfo=UTC)
EVERYTHING = (JobInfoEnricher(), JobEventsEnricher(), JobPodEnricher())
JOB = "/apis/batch/v1/namespaces/shop/jobs/import"
PODS = "/api/v1/namespaces/shop/pods"
EVENTS = "/api/v1/namespaces/shop/events"
CRON_JOB = "/apis/batch/v1/namespaces/shop/cronjobs/night"
REFUSALS = {
    "gone": (ApiError("404", status=404, reason="NotFound"), "it is gone"),
    "forbidden": (ApiError("403", status=403, reason="Forbidden"), "permission is missing; the watcher's role needs"),
    "broken": (ApiError("500", status=500, reason="InternalError"), "the API server answered 500 InternalError"),
    "silent": (ApiError("no answer"), "the API server did not answer"),
    "no JSON": (b"<html>", "the API server's answer is not understood"),
    "cut": (b'{"items": [', "the API server's answer is not understood"),
    "no object": (b"[7]", "the API server's answer is not understood"),
    "no text": (b'{"items": "\xff"}', "the API server's answer is not understood"),
    "deep": (b'{"items":' * 100_000 + b"1" + b"}" * 100_000, "the API server's answer is not understood"),
}


class Api:
    """The API server: a document or an error for each path, else that there is no such object."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Mapping[str, str | int]]] = []

    async def get(
        self,
        path: str,
        parameters: Mapping[str, str | int] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  as the client has it
    ) -> bytes:
        assert timeout is not None, "a finding waits for this"
        self.asked.append((path, parameters or {}))
        answer = self.answers.get(path, REFUSALS["gone"][0])
        if isinstance(answer, ApiError):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


class Held:
    """Who holds the evidence of Pods."""

    def __init__(self) -> None:
        self.pods: list[PodEvidence] = []
        self.shown: list[tuple[str, str]] = []
        self.settled_for: list[str] = []
        self.settles = True

    def seen(self, job_uid: str, item: msgspec.Raw) -> None:
        self.shown.append((job_uid, json.loads(bytes(item))["metadata"]["name"]))

    async def settled(self, job_uid: str, timeout_seconds: float) -> bool:
        assert timeout_seconds <= 10
        self.settled_for.append(job_uid)
        return self.settles

    async def held(self, job_uid: str) -> Sequence[PodEvidence]:
        return self.pods if self.settled_for == [job_uid] else []


class World:
    def __init__(self) -> None:
        self.api = Api()
        self.held = Held()
        self.changes: Documents | LookupError = []
        self.changes_asked: list[tuple[str, str, str, datetime]] = []
        self.redactor = Redactor(KEY)
        self.facts: list[dict[str, Any]] = []
        self.enrichers: Sequence[JobEnricher] = EVERYTHING

    async def recent(self, kind: str, namespace: str, name: str, until: datetime) -> Documents:
        self.changes_asked.append((kind, namespace, name, until))
        if isinstance(self.changes, LookupError):
            raise self.changes
        return self.changes

    def _wanted(self, document: dict[str, Any]) -> Sequence[JobEnricher]:
        self.facts.append(document)
        return self.enrichers

    async def gather(self, document: dict[str, Any] | None = None, **fields: Any) -> FailedJob:
        known: dict[str, Any] = {"uid": "uid-1", "namespace": "shop", "name": "import", "failed_at": AT}
        if document is not None:
            known["document"] = zlib.compress(json.dumps(document).encode())
        gatherer = Gatherer(self.api, self.held, self.recent, lambda: self.redactor, self._wanted)
        return await gatherer.gather(FailedCandidate(**known | fields))


@pytest.fixture
def world() -> World:
    return World()


def job(*owners: dict[str, Any], **fields: Any) -> dict[str, Any]:
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit",
        "lastTransitionTime": "2026-11-22T11:59:00Z",
    }
    document = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"uid": "uid-1", "name": "import", "namespace": "shop", "ownerReferences": list(owners)},
        "spec": {"selector": {"matchLabels": {"controller-uid": "uid-1"}}},
        "status": {"conditions": [failed]},
    }
    return document | fields


def owned_by(kind: str, name: str, api_version: str) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": "uid-owner", "controller": True}


def pod(name: str, *owners: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "ownerReferences": [{"kind": "Job", "uid": uid} for uid in owners]}}


def notes(failed: FailedJob) -> list[str]:
    return [note.text for note in failed.notes]


async def test_without_playbooks_nothing_is_asked(world: World) -> None:
    world.enrichers = ()

    failed = await world.gather(job())

    assert (world.api.asked, world.changes_asked, world.held.settled_for) == ([], [], [])
    assert (failed.failure.reason, failed.failure.at, failed.notes) == ("BackoffLimitExceeded", AT, ())


@pytest.mark.parametrize(
    ("enricher", "paths"),
    [
        (JobInfoEnricher(), {CRON_JOB}),
        (JobEventsEnricher(), {EVENTS}),
        (JobPodEnricher(), {PODS, EVENTS}),
    ],
    ids=["info", "events", "pods"],
)
async def test_an_enricher_costs_what_it_shows(world: World, enricher: JobEnricher, paths: set[str]) -> None:
    world.enrichers = (enricher,)

    await world.gather(job(owned_by("CronJob", "night", "batch/v1")))

    assert set(world.api.paths) == paths


async def test_pods_are_found_by_the_selector_of_the_job_and_told_by_their_owner(world: World) -> None:
    world.api.answers[PODS] = {"items": [pod("mine", "uid-1"), pod("of-another", "uid-2"), pod("of-nobody")]}
    world.held.pods = [PodEvidence(uid="mine", name="mine")]

    failed = await world.gather(job())

    assert world.api.asked[0] == (PODS, {"labelSelector": "controller-uid=uid-1", "limit": 100})
    assert world.held.shown == [("uid-1", "mine")]
    assert [each.name for each in failed.pods] == ["mine"]


@pytest.mark.parametrize(
    ("labels", "selector"),
    [
        ({"app": "import", "example.com/a_b": "x.y-z"}, "app=import,example.com/a_b=x.y-z"),
        ({"app": "a,tier=db"}, "job-name=import"),
        ({"app": "a b", "good": "", "a!": "b"}, "good="),
        ({"app": 7, "a=b": ""}, "app=7"),
        ({}, "job-name=import"),
        (None, "job-name=import"),
        ("app=import", "job-name=import"),
    ],
)
async def test_a_selector_says_what_the_job_says_and_nothing_else(world: World, labels: Any, selector: str) -> None:
    world.enrichers = (JobPodEnricher(events=False),)

    await world.gather(job(spec={"selector": {"matchLabels": labels}}))

    assert world.api.asked[0][1]["labelSelector"] == selector


async def test_a_selector_of_expressions_alone_finds_the_pods_too(world: World) -> None:
    expressions = [{"key": "app", "operator": "In", "values": ["import", "export"]}]

    await world.gather(job(spec={"selector": {"matchExpressions": expressions}}))

    assert world.api.asked[0][1]["labelSelector"] == "app in (import,export)"


async def test_many_pods_leave_turns_to_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.api.answers[PODS] = {"items": [pod(f"p{number}", "uid-1") for number in range(20)]}
    shown_at_turns: set[int] = set()

    def slow(job_uid: str, item: msgspec.Raw) -> None:
        until = time.perf_counter() + 0.004
        while time.perf_counter() < until:
            pass
        world.held.shown.append((job_uid, ""))

    async def others() -> None:
        while len(world.held.shown) < 20:
            shown_at_turns.add(len(world.held.shown))
            await asyncio.sleep(0)

    monkeypatch.setattr(world.held, "seen", slow)
    beside = asyncio.create_task(others())
    await world.gather(job())
    await beside

    assert len(shown_at_turns) > 3


async def test_what_is_gathered_has_no_more_logs_than_are_shown(world: World) -> None:
    ended = Termination(exit_code=1)
    text = "x" * 32 * 1024
    containers = tuple(ContainerEvidence(name=f"c{number}", run=1, ended=ended) for number in range(10))
    logs = tuple(Log(container=each.name, run=run, text=text) for each in containers for run in (0, 1))
    world.held.pods = [PodEvidence(uid=f"{n}", name=f"p{n}", containers=containers, logs=logs) for n in range(10)]

    found = await world.gather(job())

    assert 256 * 1024 <= sum(len(log.text) for each in found.pods for log in each.logs) <= (256 + 32) * 1024
    untrimmed = msgspec.structs.replace(found, pods=tuple(world.held.pods))
    assert blocks(JobPodEnricher(), found, AT) == blocks(JobPodEnricher(), untrimmed, AT)


async def test_secret_parts_of_arguments_are_hidden_in_events(world: World) -> None:
    containers = [{"name": "main", "args": ["--token=cmdlinesecret2"]}]
    document = job(spec={"template": {"spec": {"containers": containers}}})
    world.api.answers[EVENTS] = {"items": [{"type": "Warning", "reason": "Odd", "message": "bad cmdlinesecret2"}]}

    found = await world.gather(document)

    assert [each.message.startswith("bad redacted:") for each in found.events] == [True]


async def test_logs_that_are_still_being_read_are_a_note_and_not_waited_for(world: World) -> None:
    world.held.settles = False

    failed = await world.gather(job())

    assert [note.topic for note in failed.notes if "could not be read within 5 s" in note.text] == ["logs"]


async def test_odd_pods_are_left_out(world: World) -> None:
    odd: list[Any] = [7, None, {}, {"metadata": []}, {"metadata": {"ownerReferences": [7, {"uid": 7}]}}]
    world.api.answers[PODS] = {"items": [*odd, pod("mine", "uid-1")]}

    failed = await world.gather(job())

    assert world.held.shown == [("uid-1", "mine")]
    assert "Pods" not in " ".join(notes(failed))


@pytest.mark.parametrize("items", [None, []])
async def test_a_list_of_nothing_is_no_problem(world: World, items: Any) -> None:
    world.api.answers |= {PODS: {"items": items}, EVENTS: {}}

    failed = await world.gather(job())

    assert failed.notes == ()


async def test_events_are_asked_for_by_uid_of_the_job_and_of_its_newest_pods(world: World) -> None:
    world.held.pods = [PodEvidence(uid=f"pod-{number}", name=f"import-{number}") for number in range(8)]
    world.api.answers[EVENTS] = recorded("k8s-1.20/events")

    failed = await world.gather(job())

    selectors = [asked["fieldSelector"] for path, asked in world.api.asked if path == EVENTS]
    about = ["uid-1", *(f"pod-{number}" for number in range(3, 8))]
    assert selectors == [f"involvedObject.uid={uid}" for uid in about]
    assert failed.events
    assert failed.pod_events


async def test_odd_events_are_left_out(world: World) -> None:
    world.api.answers[EVENTS] = {"items": [7, None, [], *recorded("k8s-1.20/events")["items"]]}

    assert (await world.gather(job())).events


@pytest.mark.parametrize("version", ["batch/v1", "batch/v1beta1"])
async def test_the_cron_job_is_read_in_the_version_of_its_cluster(world: World, version: str) -> None:
    world.api.answers[f"/apis/{version}/namespaces/shop/cronjobs/night"] = recorded("k8s-1.20/cron-job")

    failed = await world.gather(job(owned_by("CronJob", "night", version)))

    assert failed.cron_job is not None
    assert failed.cron_job["spec"]["schedule"]
    assert failed.owner == "CronJob shop/night"
    assert world.changes_asked == [("CronJob", "shop", "night", AT)]


@pytest.mark.parametrize(
    ("kind", "version"), [("Workflow", "argoproj.io/v1alpha1"), ("CronJob", "batch.volcano.sh/v1"), ("CronJob", "v1")]
)
async def test_an_owner_of_another_kind_is_named_and_asked_for_in_the_ledger_alone(
    world: World, kind: str, version: str
) -> None:
    failed = await world.gather(job(owned_by(kind, "night", version)))

    assert failed.owner == f"{kind} shop/night"
    assert world.changes_asked == [(kind, "shop", "night", AT)]
    assert [path for path in world.api.paths if "night" in path] == []


async def test_a_job_of_its_own_has_its_own_changes(world: World) -> None:
    world.changes = [entry("2026-11-22T11:47:00Z", "spec.parallelism", "1", "2")]

    failed = await world.gather(job())

    assert failed.owner == ""
    assert world.changes_asked == [("Job", "shop", "import", AT)]
    assert [each.user for each in failed.owner_changes] == ["alice"]


async def test_a_ledger_that_does_not_tell_leaves_a_note(world: World) -> None:
    world.changes = LookupError("the ledger at --ledger-url did not tell (ConnectError)")

    failed = await world.gather(job(owned_by("CronJob", "night", "batch/v1")))

    assert (
        "The last changes of CronJob night are not known: the ledger at --ledger-url did not tell (ConnectError)."
        in notes(failed)
    )


PATHS = {
    PODS: ("pods", "Pods could not be read: ", "list on pods"),
    EVENTS: ("events", "Events could not be read: ", "list on events"),
    CRON_JOB: ("cron_job", "The CronJob could not be read: ", "get on cronjobs"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_what_cannot_be_read_leaves_one_note_that_says_why(world: World, path: str, refusal: str) -> None:
    answer, reason = REFUSALS[refusal]
    topic, beginning, right = PATHS[path]
    world.api.answers = {PODS: {}, EVENTS: {}, CRON_JOB: {}} | {path: answer}
    world.held.pods = [PodEvidence(uid="pod-1", name="import-1")]

    failed = await world.gather(job(owned_by("CronJob", "night", "batch/v1")))

    (note,) = failed.notes
    assert note.topic == topic
    assert note.text.startswith(beginning + reason)
    assert (right in note.text) is (refusal == "forbidden")
    assert failed.pods == tuple(world.held.pods), "what is held is told all the same"


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_job_that_cannot_be_read_is_told_with_what_is_known(world: World, refusal: str) -> None:
    answer, reason = REFUSALS[refusal]
    world.api.answers = {JOB: answer, PODS: {}, EVENTS: {}}

    failed = await world.gather()

    assert notes(failed) == [f"The Job could not be read: {reason}{_right(refusal)}."]
    assert failed.document["metadata"] == {"name": "import", "namespace": "shop", "uid": "uid-1"}
    assert (failed.document["apiVersion"], failed.document["kind"]) == ("batch/v1", "Job")
    assert (failed.failure.reason, failed.failure.at) == ("Failed", AT)
    assert all(blocks(enricher, failed, AT) for enricher in EVERYTHING)


def _right(refusal: str) -> str:
    return " the verb get on jobs" if refusal == "forbidden" else ""


async def test_a_job_whose_document_was_not_kept_is_read_again(world: World) -> None:
    world.api.answers[JOB] = job()

    failed = await world.gather()

    assert world.api.paths[0] == JOB
    assert failed.failure.reason == "BackoffLimitExceeded"


async def test_another_job_of_the_same_name_is_not_taken_for_it(world: World) -> None:
    world.api.answers[JOB] = job() | {"metadata": {"uid": "uid-2", "name": "import", "labels": {"was": "uid-1"}}}

    failed = await world.gather()

    assert notes(failed)[0] == "The Job could not be read: it was deleted, and another has its name."
    assert "labels" not in failed.document["metadata"]


@pytest.mark.parametrize("odd", [{"metadata": []}, {"metadata": {"uid": 7}}, {"status": 7}])
async def test_an_odd_job_is_told_with_what_is_known(world: World, odd: dict[str, Any]) -> None:
    world.api.answers[JOB] = job() | odd

    assert (await world.gather()).document["metadata"]["uid"] == "uid-1"


HOSTILE = ["..", ".", "", "../../../secrets/root", "night?watch=1", "night#", "night/status", "a%2Fb", "a b", "ä"]


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_name_leads_anywhere_else(world: World, name: str) -> None:
    failed = await world.gather(job(owned_by("CronJob", name, "batch/v1")))

    assert [path for path in world.api.paths if "cronjobs" in path] == []
    assert "The CronJob could not be read: Kubernetes allows no such name." in notes(failed)


@pytest.mark.parametrize("version", ["batch/..", "batch/v1?x=", "batch/", "batch/v1#"])
async def test_no_version_leads_anywhere_else(world: World, version: str) -> None:
    await world.gather(job(owned_by("CronJob", "night", version)))

    assert [path for path in world.api.paths if "night" in path] == []


@pytest.mark.parametrize("name", ["..", "a/b", "a?b"])
async def test_a_claim_whose_job_has_a_hostile_name_leads_nowhere(world: World, name: str) -> None:
    failed = await world.gather(name=name, namespace=name)

    assert world.api.asked == []
    assert failed.document["metadata"]["name"] == name


async def test_secrets_of_the_job_and_its_cron_job_stay_here(world: World) -> None:
    env = [{"name": "DB_PASSWORD", "value": "hunter2"}]
    template = {"spec": {"containers": [{"name": "main", "env": env}]}}
    document = job(owned_by("CronJob", "night", "batch/v1"), spec={"template": template})
    document["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}
    document["status"]["conditions"][0]["message"] = "password=hunter2"
    world.api.answers[CRON_JOB] = {"spec": {"jobTemplate": {"spec": {"template": template}}}}

    failed = await world.gather(document)

    assert failed.cron_job
    assert b"hunter2" not in msgspec.json.encode(failed)
    assert "hunter2" not in str(world.facts)


async def test_a_pattern_for_secrets_does_not_hide_which_job_it_is(world: World) -> None:
    world.redactor = Redactor(KEY, value_patterns=[re.compile("uid-1"), re.compile("import")])

    failed = await world.gather(job())

    assert failed.document["metadata"] | {"ownerReferences": []} == {
        "uid": "uid-1",
        "name": "import",
        "namespace": "shop",
        "ownerReferences": [],
    }


async def test_what_says_which_field_is_whose_is_left_out(world: World) -> None:
    document = job()
    document["metadata"]["managedFields"] = [{"manager": "kubectl"}]

    assert "managedFields" not in (await world.gather(document)).document["metadata"]


async def test_a_failure_that_does_not_say_when_has_the_time_it_is_known_by(world: World) -> None:
    document = job(status={"conditions": [{"type": "Failed", "status": "True"}]})

    assert (await world.gather(document)).failure.at == AT
