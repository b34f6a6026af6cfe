"""The blocks that the enrichers attach to a finding about a failed Job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.core.actions import JobEnricher, JobEventsEnricher, JobInfoEnricher, JobPodEnricher
from app.core.change import Entry, Resource, User
from app.core.durations import elapsed, precise, relative
from app.core.evidence import NOT_KEPT, ContainerEvidence, Log, PodEvidence, Termination
from app.core.finding import Block, FileBlock, Finding, Notification, TableBlock, TextBlock
from app.core.job_events import EventLine, read_events
from app.core.job_pods import trimmed
from app.core.job_report import FailedJob, Note, blocks
from app.core.jobs import Failure
from app.core.playbook import Playbook
from app.core.recorded_changes import read_changes
from app.core.text import plain_text
from tests.core.recorded_jobs import FOLDER, REDACTOR, entry, failed_job, failure_of, recorded

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
END = Termination(exit_code=1, reason="Error")
GIVEN_UP = Failure(reason="BackoffLimitExceeded", message="gave up", at=NOW)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "metadata spec status template containers initContainers name resources requests cpu podFailurePolicy "
                "rules onExitCodes values onPodConditions involvedObject series count lastTimestamp message "
                "type reason startTime schedule changes at path old user".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=30,
)


def job(**more: Any) -> FailedJob:
    known: dict[str, Any] = {"document": {}, "failure": GIVEN_UP}
    return FailedJob(**known | more)


def attached(enricher: JobEnricher, failed: FailedJob) -> list[Block]:
    return list(blocks(enricher, failed, NOW))


def table(found: list[Block], title: str) -> TableBlock:
    (found_table,) = [each for each in found if isinstance(each, TableBlock) and each.title == title]
    return found_table


def texts(found: list[Block]) -> list[str]:
    return [each.text for each in found if isinstance(each, TextBlock)]


def files(found: list[Block]) -> dict[str, str]:
    return {each.name: each.content for each in found if isinstance(each, FileBlock)}


def info(document: dict[str, Any], **more: Any) -> dict[str, str]:
    return dict(table(attached(JobInfoEnricher(), job(document=document, **more)), "Job information").rows)  # type: ignore[arg-type]


def event(reason: str = "BackOff", minute: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "type": "Warning",
        "reason": reason,
        "message": "m",
        "involvedObject": {"kind": "Pod", "name": "p"},
        "count": 1,
        "lastTimestamp": f"2026-03-04T05:{minute:02}:00Z",
    } | more


def pod(name: str = "p", *logs: Log, **more: Any) -> PodEvidence:
    containers = more.pop("containers", (ContainerEvidence(name="main", state="terminated", ended=END),))
    return PodEvidence(**{"uid": name, "name": name, "phase": "Failed", "containers": containers, "logs": logs} | more)


def logs_of(parameters: str | dict[str, Any], *pods: PodEvidence) -> dict[str, str]:
    return files(attached(JobPodEnricher.model_validate(parameters), job(pods=pods)))


# The whole report


def test_a_report_reads_as_it_did() -> None:
    enrichers = (JobInfoEnricher(), JobEventsEnricher(), JobPodEnricher())
    every = tuple(block for each in enrichers for block in blocks(each, failed_job(), NOW))
    told = Notification(
        delivery_id="1",
        finding=Finding(playbook="p", title="Job shop/nightly-1795344480 failed", blocks=every),
        entry=Entry(id="1", at="2026-11-22T10:48:09Z", operation="FAILED", resource=Resource(), user=User()),
    )

    assert plain_text(told, 64 * 1024).splitlines() == (FOLDER / "report.txt").read_text().splitlines()


def test_an_enricher_of_no_kind_is_a_bug() -> None:
    with pytest.raises(TypeError, match="JobEnricher does not say what to attach"):
        blocks(JobEnricher(), job(), NOW)


# Job information


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "published/failed-indexes",
            {
                "status": "Failed (FailedIndexes)",
                "completions": "5/10",
                "failures": "10",
                "backoffLimitPerIndex": "1",
                "maxFailedIndexes": "5",
                "failed indexes": "0,2,4,6,8",
                "completed indexes": "1,3,5,7,9",
                "parallelism": "3",
                "duration": "never started, failed 2026-03-04T05:06:07Z",
            },
        ),
        (
            "published/pod-failure-policy",
            {
                "status": "Failed (PodFailurePolicy)",
                "podFailurePolicy rule 0": "FailJob on exit codes In 42 of main",
                "completions": "0/8",
            },
        ),
        (
            "published/deadline",
            {
                "activeDeadlineSeconds": "15",
                "completions": "2/5",
                "duration": "18s (2025-04-15T20:02:22Z to 2025-04-15T20:02:40Z)",
            },
        ),
        ("published/backoff-limit", {"duration": "11m50s (2026-04-26T18:35:42Z to 2026-04-26T18:47:32Z)"}),
    ],
)
def test_jobs_of_newer_versions_tell_what_only_they_have(name: str, expected: dict[str, str]) -> None:
    document = recorded(name)

    assert info(document, failure=failure_of(document)).items() >= expected.items()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"status": {"succeeded": 3}}, {"completions": "3 (no number is asked for)"}),
        ({"spec": {"suspend": True}}, {"suspended": "yes"}),
        ({"spec": {"managedBy": "kueue.x-k8s.io/multikueue"}}, {"managed by": "kueue.x-k8s.io/multikueue"}),
        ({"status": {"terminating": 2}}, {"Pods still terminating": "2"}),
        (
            {"spec": {"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "Gone"}]}]}}},
            {"podFailurePolicy rule 0": "Ignore on Pod conditions Gone=True"},
        ),
    ],
)
def test_what_a_job_may_have_is_told_when_it_is_there(document: dict[str, Any], expected: dict[str, str]) -> None:
    assert info(document).items() >= expected.items()
    assert not info({}).keys() & (expected.keys() - {"completions"})


def test_containers_tell_their_image_requests_and_limits_in_order() -> None:
    spec = {
        "initContainers": [{"name": "proxy", "image": "p:1", "restartPolicy": "Always"}],
        "containers": [{"name": "main", "resources": {"requests": {"cpu": 1}, "limits": {"cpu": "2", "memory": None}}}],
    }
    rows = table(
        attached(JobInfoEnricher(), job(document={"spec": {"template": {"spec": spec}}})), "Job information"
    ).rows

    assert rows[-8:] == (
        ("sidecar container", "proxy"),
        ("image", "p:1"),
        ("cpu (request/limit)", "none/none"),
        ("memory (request/limit)", "none/none"),
        ("container", "main"),
        ("image", "none"),
        ("cpu (request/limit)", "1/2"),
        ("memory (request/limit)", "none/none"),
    )


def test_many_containers_are_counted() -> None:
    spec = {"containers": [{"name": str(number)} for number in range(25)]}

    assert info({"spec": {"template": {"spec": spec}}})["containers"] == "5 more are not shown"


def test_a_job_without_a_time_of_failure_takes_the_clocks() -> None:
    found = info({"status": {"startTime": "2026-03-04T05:00:00Z"}}, failure=Failure())

    assert found["duration"] == "6m7s (2026-03-04T05:00:00Z to 2026-03-04T05:06:07Z)"
    assert found["status"] == "Failed"


def test_a_cron_job_tells_when_it_last_worked() -> None:
    cron_job = {
        "spec": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin", "suspend": True},
        "status": {"lastScheduleTime": "2026-03-04T02:00:00Z", "lastSuccessfulTime": "2026-03-01T02:04:00Z"},
    }
    found = info({}, owner="CronJob shop/nightly", cron_job=cron_job)

    assert found["schedule"] == "0 3 * * * (Europe/Berlin)"
    assert found["schedule suspended"] == "yes"
    assert found["last success"] == "2026-03-01T02:04:00Z"


# What the ledger knows


def changes(*entries: dict[str, Any], owner: str = "CronJob shop/nightly") -> list[Block]:
    document = {"metadata": {"namespace": "shop", "name": "nightly-1"}}
    known = job(document=document, owner=owner, owner_changes=read_changes(entries))
    return [each for each in attached(JobInfoEnricher(), known) if getattr(each, "title", "") != "Job information"]


def test_the_last_change_of_the_spec_is_told_first_even_if_a_label_changed_later() -> None:
    found = changes(
        entry("2026-03-04T05:00:00Z", "metadata.labels.team", "a", "b", user="bob"),
        entry("2026-03-04T04:54:07Z", "spec.image", "a1", "a2"),
        entry("2026-03-04T03:00:00Z", "spec.image", "a0", "a1"),
        entry("2026-03-04T05:06:10Z", "spec.image", "a2", "a3"),
    )

    assert texts(found) == [
        "CronJob shop/nightly changed 12 minutes before the failure, by alice with kubectl-edit: spec.image: a1 -> a2."
    ]
    assert [row[0] for row in table(found, "Last changes of CronJob shop/nightly").rows] == [
        "3 seconds after",
        "6 minutes before",
        "12 minutes before",
        "2 hours before",
    ]


def test_without_a_change_of_the_spec_the_newest_is_told() -> None:
    found = changes(entry("2026-03-04T05:00:00Z", "metadata.labels.team", "a", "b"))

    assert "metadata.labels.team: a -> b." in texts(found)[0]


def test_changes_of_a_job_of_its_own_are_told_of_itself() -> None:
    created = entry("2026-03-04T05:06:05Z", "", "", "", operation="CREATE", changes=[], user="", field_manager="")
    found = changes(created, owner="")

    assert texts(found) == ["Job shop/nightly-1 was created 2 seconds before the failure, by an unknown user."]
    assert table(found, "Last changes of Job shop/nightly-1").rows == (
        ("2 seconds before", "an unknown user", "created"),
    )


def test_only_changes_after_the_failure_make_a_table_and_no_sentence() -> None:
    assert not texts(changes(entry("2026-03-04T06:00:00Z", "spec.image", "a", "b")))


def test_many_fields_and_many_changes_are_counted() -> None:
    fields = [{"path": f"spec.f{number}", "op": "add", "new": number} for number in range(5)]
    found = changes(*[entry(f"2026-03-04T04:{minute:02}:00Z", "", "", "", changes=fields) for minute in range(12)])

    assert texts(found)[0].endswith(
        "spec.f0: (none) -> 0; spec.f1: (none) -> 1; spec.f2: (none) -> 2; and 2 more fields."
    )
    assert texts(found)[1] == "Changes of CronJob shop/nightly: 2 older not shown."


def test_what_is_no_change_is_not_told_as_one() -> None:
    at = "2026-03-04T05:00:00Z"
    entries = [
        entry(at, "spec.a", "1", "2", operation="FAILED"),
        entry(at, "spec.a", "1", "2", dry_run=True),
        entry("some day", "spec.a", "1", "2"),
    ]

    assert read_changes(entries) == ()
    assert changes(*entries) == []


# Events


def test_recorded_events_are_read() -> None:
    found = read_events(recorded("k8s-1.20/events")["items"], REDACTOR)

    assert [(each.reason, each.kind, each.name) for each in found[:4]] == [
        ("BackoffLimitExceeded", "Job", "hungry"),
        ("DeadlineExceeded", "Job", "late"),
        ("BackoffLimitExceeded", "Job", "import"),
        ("BackoffLimitExceeded", "Job", "nightly-1795344480"),
    ]
    assert {each.type for each in found[4:]} == {"Normal"}
    assert found[-1].reason == "SawCompletedJob"


def test_equal_events_are_one_with_their_counts_and_the_newest_time() -> None:
    other = event(involvedObject={"kind": "Pod", "name": "q"})
    found = read_events([event(minute=2, count=3), event(minute=1, count=None), other], REDACTOR)

    assert [(each.name, each.count, each.at and each.at.minute) for each in found] == [("q", 1, 0), ("p", 4, 2)]


def test_an_event_of_the_new_style_has_a_series_or_a_time() -> None:
    at = "2026-03-04T05:06:07.123456Z"
    plain = event(count=0, lastTimestamp=None, eventTime=at)
    series = event("Series", count=None, lastTimestamp=None, series={"count": 7, "lastObservedTime": at})

    assert [(each.count, each.at) for each in read_events([plain, series], REDACTOR)] == [
        (1, NOW.replace(microsecond=123456)),
        (7, NOW.replace(microsecond=123456)),
    ]


def test_the_newest_events_are_shown_warnings_first_and_the_rest_counted() -> None:
    events = [event(f"W{minute}", minute) for minute in range(3)] + [
        event(f"N{minute}", minute, type="Normal") for minute in range(3)
    ]
    enricher = JobEventsEnricher(max_events=4)
    found = attached(enricher, job(events=read_events(events, REDACTOR)))

    assert [row[:3] for row in table(found, "Job events").rows] == [
        ("Warning", "W1", "5 minutes before"),
        ("Warning", "W2", "4 minutes before"),
        ("Normal", "N1", "5 minutes before"),
        ("Normal", "N2", "4 minutes before"),
    ]
    assert texts(found) == ["Job events: 2 older ones are not shown."]


def test_only_events_of_the_included_types_are_shown() -> None:
    events = read_events([event("W"), event("N", type="Normal"), event("O", type="Odd")], REDACTOR)
    found = attached(JobEventsEnricher(included_types=("Normal",)), job(events=events))

    assert [row[1] for row in table(found, "Job events").rows] == ["N"]


def test_no_events_say_so_or_why() -> None:
    note = Note("events", "Events could not be read: forbidden; the role needs the verb list on events.")

    assert texts(attached(JobEventsEnricher(), job())) == [
        "No events of the Job were found: Kubernetes keeps them for an hour."
    ]
    assert texts(attached(JobEventsEnricher(), job(notes=(note,)))) == [note.text]


def test_messages_of_events_are_redacted() -> None:
    (found,) = read_events([event(message="cannot pull https://bob:hunter2hunter2@registry.example/x")], REDACTOR)

    assert "hunter2" not in found.message


# Pods


def test_a_pod_tells_how_its_containers_ended() -> None:
    killed = Termination(exit_code=137, reason="OOMKilled", signal=9, started_at="2026-03-04T05:00:00Z")
    found = pod(
        containers=(
            ContainerEvidence(name="proxy", role="sidecar", state="running"),
            ContainerEvidence(
                name="main", state="waiting", reason="CrashLoopBackOff", run=2, ended=killed, ended_before=END
            ),
        ),
        reason="Evicted",
        node="n1",
        deleted_at="2026-03-04T05:05:00Z",
        gone=True,
    )
    (row,) = table(attached(JobPodEnricher(), job(pods=(found,))), "Job Pods").rows

    main = "main: exit 137 (OOMKilled, signal 9), waiting (CrashLoopBackOff), before: exit 1 (Error)"
    assert row == (
        "p",
        "Failed (Evicted), gone",
        f"proxy (sidecar): running; {main}",
        "n1",
        "2",
        "2026-03-04T05:00:00Z",
        "",
    )


def test_what_a_pod_waits_for_is_told_with_its_message() -> None:
    image = ContainerEvidence(name="main", reason="ImagePullBackOff", message='Back-off pulling image "x"')
    found = pod(containers=(image,), phase="Pending", reason="Odd", message="m" * 400, deleted_at="now")
    (row,) = table(attached(JobPodEnricher(), job(pods=(found,))), "Job Pods").rows

    assert row[1] == f"Pending (Odd, {'m' * 299}…), being deleted"
    assert row[2] == 'main: waiting (ImagePullBackOff, Back-off pulling image "x")'


def test_a_pod_has_ended_when_its_containers_have_whatever_its_sidecars_do() -> None:
    ended = Termination(exit_code=1, started_at="2026-03-04T05:00:00Z", finished_at="2026-03-04T05:00:09Z")
    fetched = Termination(exit_code=0, started_at="2026-03-04T05:00:01Z", finished_at="2026-03-04T05:00:02Z")
    containers = (
        ContainerEvidence(name="fetch", role="init", ended=fetched),
        ContainerEvidence(name="proxy", role="sidecar", state="running"),
        ContainerEvidence(name="main", ended=ended),
    )
    waiting = pod(containers=(*containers, ContainerEvidence(name="other")), created_at="2026-03-04T04:00:00Z")
    rows = table(attached(JobPodEnricher(), job(pods=(pod(containers=containers), waiting))), "Job Pods").rows

    assert [row[-2:] for row in rows] == [
        ("2026-03-04T05:00:00Z", "2026-03-04T05:00:09Z"),
        ("2026-03-04T05:00:00Z", ""),
    ]


def test_the_newest_pods_are_shown_last_and_the_older_ones_counted() -> None:
    found = attached(JobPodEnricher(), job(pods=tuple(pod(f"p{number}") for number in range(23))))

    assert [row[0] for row in table(found, "Job Pods").rows] == [f"p{number}" for number in range(3, 23)]
    assert texts(found)[0] == "3 older Pods are not shown."


def test_events_of_pods_say_of_which() -> None:
    events = read_events([event()], REDACTOR)
    found = table(attached(JobPodEnricher(), job(pod_events=events)), "Pod events")

    assert found.rows == (("Warning", "BackOff", "6 minutes before", "1", "Pod p", "m"),)
    assert not attached(JobPodEnricher(events=False), job(pods=(pod(),), pod_events=events))[1:]


def test_no_pods_say_so_or_why() -> None:
    note = Note("pods", "Pods could not be read: forbidden; the role needs the verb list on pods.")

    assert texts(attached(JobPodEnricher(), job())) == [
        "No Pods of the Job are known: it had none, or they were gone before they were seen."
    ]
    assert texts(attached(JobPodEnricher(), job(notes=(note,)))) == [note.text]


@pytest.mark.parametrize(
    ("topic", "enricher"),
    [
        ("job", JobInfoEnricher()),
        ("cron_job", JobInfoEnricher()),
        ("changes", JobInfoEnricher()),
        ("events", JobEventsEnricher()),
        ("events", JobPodEnricher()),
        ("pods", JobPodEnricher()),
        ("logs", JobPodEnricher()),
    ],
)
def test_a_note_stands_where_it_belongs(topic: Any, enricher: JobEnricher) -> None:
    noted = job(notes=(Note(topic, "why"),), events=read_events([event()], REDACTOR), pods=(pod(),))

    assert texts(attached(enricher, noted)) == ["why"]


# Logs


def test_logs_of_the_two_newest_failed_pods_and_the_first_come_failed_containers_and_last_runs_first() -> None:
    containers = (
        ContainerEvidence(name="fetch", role="init", ended=Termination(exit_code=0)),
        ContainerEvidence(name="main", run=1, ended=END, ended_before=END),
    )
    logs = tuple(
        Log(container=name, run=run, text=f"{name}{run}", whole_run=True)
        for name, run in (("fetch", 0), ("main", 0), ("main", 1))
    )
    pods = [pod(f"p{number}", *logs, containers=containers) for number in range(4)]
    healthy = pod("ok", *logs, phase="Running", containers=(ContainerEvidence(name="main", state="running"),))

    assert list(logs_of({}, *pods, healthy).items()) == [
        (f"p{number}-{name}", text)
        for number in (3, 2, 0)
        for name, text in (("main.log", "main1"), ("main.run0.log", "main0"), ("fetch.log", "fetch0"))
    ]


def test_without_a_failed_pod_the_newest_ones_logs_are_attached() -> None:
    healthy = [
        pod(name, Log(container="main", text=name, whole_run=True), phase="Running", containers=containers)
        for containers in [(ContainerEvidence(name="main", state="running"),)]
        for name in ("a", "b")
    ]

    assert logs_of({}, *healthy) == {"b-main.log": "b"}


@pytest.mark.parametrize(
    ("log", "content"),
    [
        (Log(container="main", text="a\n", whole_run=True), "a\n"),
        (Log(container="main", text="a\n", whole_run=True, cut=True), "(earlier lines were cut)\na\n"),
        (Log(container="main", text="a\n"), "(this run was still going when its log was read)\na\n"),
    ],
)
def test_a_log_begins_with_what_is_missing(log: Log, content: str) -> None:
    assert logs_of({}, pod("p", log)) == {"p-main.log": content}


def test_a_log_that_could_not_be_read_is_a_sentence() -> None:
    silent = pod("p", Log(container="main", whole_run=True, note="The Pod was deleted before its log could be read."))
    empty = pod("q", Log(container="main", whole_run=True))

    assert texts(attached(JobPodEnricher(), job(pods=(silent, empty)))) == [
        "main in Pod q (run 0) wrote nothing.",
        "No log of main in Pod p (run 0): The Pod was deleted before its log could be read.",
    ]


def test_logs_are_left_out_if_nobody_wants_them() -> None:
    assert logs_of({"logs": False}, pod("p", Log(container="main", text="a"))) == {}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ["p-main.log", "p-main.run0.log", "p-proxy.log"]),
        ({"previous": True}, ["p-main.run0.log"]),
        ({"previous": False}, ["p-main.log", "p-proxy.log"]),
        ({"container_name": "main"}, ["p-main.log", "p-main.run0.log"]),
        ({"container_name": "proxy", "previous": True}, []),
    ],
)
def test_runs_and_containers_are_chosen(parameters: dict[str, Any], expected: list[str]) -> None:
    containers = (ContainerEvidence(name="main", run=1, ended=END), ContainerEvidence(name="proxy", state="running"))
    logs = (
        Log(container="main", run=0, text="a"),
        Log(container="main", run=1, text="b"),
        Log(container="proxy", text="c"),
    )

    assert list(logs_of(parameters, pod("p", *logs, containers=containers))) == expected


CARDS = [{"name": "Card", "regex": "[0-9]{4}-[0-9]{4}"}, {"regex": "e.ample"}]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"filter_regex": "paid|ERROR"}, "paid 1234-5678 example\nERROR\n"),
        ({"filter_regex": "^ERROR$"}, "ERROR\n"),
        ({"filter_regex": "nothing"}, "(no line matches filter_regex)\n"),
        ({"regex_replacer_patterns": CARDS}, "ok\npaid ********* *******\nERROR\n"),
        (
            {"regex_replacer_patterns": CARDS, "regex_replacement_style": "SAME_LENGTH_ASTERISKS"},
            "ok\npaid ********* *******\nERROR\n",
        ),
        (
            {"regex_replacer_patterns": CARDS, "regex_replacement_style": "NAMED"},
            "ok\npaid [CARD] [REDACTED]\nERROR\n",
        ),
    ],
)
def test_logs_are_filtered_and_censored_as_robusta_does(parameters: dict[str, Any], expected: str) -> None:
    log = Log(container="main", text="ok\npaid 1234-5678 example\nERROR\n", whole_run=True)

    assert logs_of(parameters, pod("p", log)) == {"p-main.log": expected}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"filter_regex": "("}, "'\\(' is not a regular expression"),
        ({"regex_replacer_patterns": [{"regex": "["}]}, "'\\[' is not a regular expression"),
        ({"regex_replacement_style": "STARS"}, "SAME_LENGTH_ASTERISKS"),
    ],
)
def test_parameters_of_logs_that_cannot_work_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JobPodEnricher.model_validate(parameters)


def test_a_playbook_of_robusta_loads_and_its_enrichers_can_be_told_apart() -> None:
    parameters = {"previous": True, "filter_regex": "x", "regex_replacer_patterns": CARDS, "max_events": 3}
    playbook = Playbook.model_validate(
        {"triggers": [{"on_job_failure": {}}], "actions": [{"job_pod_enricher": parameters}, {"job_pod_enricher": {}}]}
    )

    assert len(set(playbook.chosen_actions)) == 2


def test_the_logs_of_a_finding_have_a_bound_and_the_older_ones_make_room() -> None:
    big = "".join(f"{number:07}\n" for number in range(20_000))
    pods = [pod(name, Log(container="main", text=big, whole_run=True)) for name in ("a", "b", "c")]
    found = attached(JobPodEnricher(), job(pods=tuple(pods)))
    kept = files(found)

    assert kept["c-main.log"] == big
    assert kept["b-main.log"].startswith("(earlier lines were cut)\n00")
    assert kept["b-main.log"].endswith("0019999\n")
    assert list(kept) == ["c-main.log", "b-main.log"]
    assert 255 * 1024 < sum(map(len, kept.values())) <= 256 * 1024
    assert texts(found) == ["1 more log had no room here."]


def test_logs_that_were_not_kept_are_counted() -> None:
    logs = (Log(container="main", text="here", whole_run=True), Log(container="main", run=1, note=NOT_KEPT))

    assert texts(attached(JobPodEnricher(), job(pods=(pod("a", *logs),)))) == ["1 more log had no room here."]


@pytest.mark.parametrize(
    "parameters", [{}, {"previous": True}, {"previous": False}, {"filter_regex": "7"}, {"container_name": "side"}]
)
def test_trimmed_evidence_shows_the_same(parameters: dict[str, Any]) -> None:
    big = "".join(f"{number:07}\n" for number in range(5_000))
    containers = tuple(ContainerEvidence(name=name, run=1, ended=END, ended_before=END) for name in ("main", "side"))
    logs = [Log(container=name, run=run, text=big, whole_run=True) for name in ("main", "side") for run in (0, 1)]
    logs.append(Log(container="other", note="why"))
    pods = tuple(pod(f"p{number}", *logs, containers=containers) for number in range(10))
    enricher = JobPodEnricher(**parameters)

    kept = trimmed(pods, [enricher])

    assert attached(enricher, job(pods=kept)) == attached(enricher, job(pods=pods))
    size = sum(len(log.text) for each in kept for log in each.logs)
    assert 0 < size <= (300 * 1024 if "filter_regex" not in parameters else 12 * len(big))


def test_evidence_without_an_enricher_has_no_logs() -> None:
    one = pod("a", Log(container="main", text="here", whole_run=True))

    assert [[log.text for log in each.logs] for each in trimmed((one,), [JobPodEnricher(logs=False)])] == [[""]]


# Hostile input


@given(JSON_VALUES, JSON_VALUES)
def test_any_job_has_its_blocks(document: Any, cron_job: Any) -> None:
    known = job(document={"spec": document, "status": document, "metadata": document}, cron_job={"spec": cron_job})

    for enricher in (JobInfoEnricher(), JobEventsEnricher(), JobPodEnricher()):
        assert msgspec.json.encode(blocks(enricher, known, NOW))


@given(st.lists(JSON_VALUES | st.dictionaries(st.sampled_from(["at", "changes", "user"]), JSON_VALUES), max_size=3))
def test_any_events_and_entries_are_read(documents: Any) -> None:
    known = job(events=read_events(documents, REDACTOR), owner_changes=read_changes(documents))

    assert attached(JobInfoEnricher(), known)
    assert attached(JobEventsEnricher(), known)


def test_hostile_texts_are_short_and_harmless() -> None:
    evil = "\x1b[31mred\x1b[0m\u202e\x00 " + "x" * 1_000_000
    failed = job(
        document={"spec": {"template": {"spec": {"containers": [{"name": evil, "image": evil}]}}}},
        failure=Failure(reason=evil, message=evil, at=NOW),
        owner=f"CronJob {evil}",
        events=(EventLine(type="Warning", reason=evil, message=evil, at=NOW),),
        pods=(pod(evil, Log(container="main", note=evil), reason=evil, node=evil),),
        owner_changes=read_changes([entry("2026-03-04T05:00:00Z", evil, evil, evil, user=evil)]),
        notes=tuple(Note(topic, evil) for topic in ("job", "events", "pods")),
    )
    every = [block for each in (JobInfoEnricher(), JobPodEnricher()) for block in blocks(each, failed, NOW)]
    cells = [cell for each in every if isinstance(each, TableBlock) for row in each.rows for cell in row]

    for text in [*cells, *texts(every)]:
        assert text.isprintable()
        assert len(text) <= 1000


# Durations


@pytest.mark.parametrize(
    ("seconds", "told", "exact"),
    [
        (0, "0 seconds", "0s"),
        (1, "1 second", "1s"),
        (119, "119 seconds", "1m59s"),
        (120, "2 minutes", "2m0s"),
        (7199, "119 minutes", "1h59m59s"),
        (86_400, "24 hours", "1d0h0m0s"),
        (200_000, "2 days", "2d7h33m20s"),
    ],
)
def test_a_span_is_told_in_one_unit_or_exactly(seconds: int, told: str, exact: str) -> None:
    assert (elapsed(timedelta(seconds=seconds)), precise(timedelta(seconds=seconds))) == (told, exact)


def test_a_moment_is_before_after_or_at_another() -> None:
    told = [relative(NOW + timedelta(seconds=seconds), NOW) for seconds in (-150, -0.5, 0.5, 150)]

    assert told == ["2 minutes before", "at that time", "at that time", "2 minutes after"]
    assert precise(timedelta(seconds=-5)) == "0s"
