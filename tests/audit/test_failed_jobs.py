"""A failed Job becomes an entry and findings that say what it is, and no secret of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import yaml

from app.audit.failed_jobs import FailureRules, findings_of, job_facts, record_of
from app.config.model import Config
from app.core.finding import Severity
from app.core.identity import EntryIds, sequence_of
from app.core.job_report import FailedJob
from app.core.jobs import Failure
from app.core.redact import Redactor
from app.store.encoding import read_entry, read_finding
from app.store.journal import Record
from tests.builders import KEY
from tests.core.recorded_jobs import failed_job

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
TUTORIAL = """
sinksConfig:
- stdout_sink: {name: out}
- stdout_sink: {name: other, default: false}
customPlaybooks:
- triggers:
  - on_job_failure: {namespace_prefix: shop}
  actions:
  - create_finding:
      title: "Job $name in $namespace of $cluster failed ($kind, $operation, $labels.app, $annotations.team)"
      aggregation_key: "Job Failure"
      severity: MEDIUM
  - job_info_enricher: {}
  - job_events_enricher: {}
  - job_pod_enricher: {}
"""


def rules(text: str = TUTORIAL, redactor: Redactor | None = None) -> FailureRules:
    config = Config.model_validate(yaml.safe_load(text))
    return FailureRules(playbooks=config.compile(), redactor=redactor or Redactor(KEY), cluster="test")


def recorded_as(failed: FailedJob, of: FailureRules | None = None, ids: EntryIds | None = None) -> Record:
    used = of or rules()
    return record_of(failed, findings_of(failed, used, (), NOW), used, ids or EntryIds(), lambda: 7, NOW)


def named(**metadata: Any) -> FailedJob:
    document = {"metadata": {"name": "import", "namespace": "shop", "uid": "uid-1"} | metadata}
    return FailedJob(document=document, failure=Failure(reason="DeadlineExceeded"))


def test_the_entry_says_which_job_failed_and_why() -> None:
    entry = read_entry(recorded_as(failed_job()).entry.body)

    assert (entry.at, entry.cluster, entry.operation) == ("2026-11-22T12:00:00.123456Z", "test", "FAILED")
    assert (entry.outcome, entry.dry_run, entry.user.username) == ("observed", False, "")
    assert (entry.field_manager, entry.actor.kind) == ("", "controller")
    resource = entry.resource
    assert (resource.group, resource.version, resource.kind, resource.resource) == ("batch", "v1", "Job", "jobs")
    assert (str(resource), resource.uid) == ("Job/shop/nightly-1795344480", failed_job().document["metadata"]["uid"])
    (change,) = entry.changes
    assert (change.path, change.op, change.old) == ("status.conditions[Failed]", "add", msgspec.UNSET)
    assert change.new.startswith("BackoffLimitExceeded: Job has reached")
    assert (entry.patch, entry.review_uid, entry.truncated) == ((), "", msgspec.UNSET)
    assert entry.object == failed_job().document


def test_the_row_has_what_can_be_looked_for() -> None:
    record = recorded_as(failed_job())

    row = record.entry
    assert (row.kind, row.namespace, row.name) == ("Job", "shop", "nightly-1795344480")
    assert (row.operation, row.username) == ("FAILED", "")
    assert row.seq == sequence_of(read_entry(row.body).id)


def test_ids_keep_their_order_at_the_same_moment() -> None:
    ids = EntryIds()

    first, second = (recorded_as(named(), ids=ids).entry.seq for _ in range(2))

    assert first < second


def test_a_finding_is_kept_with_its_sinks_and_summed_up_in_the_entry() -> None:
    record = recorded_as(named(labels={"app": "importer"}, annotations={"team": "data"}))

    (row,) = record.findings
    finding = read_finding(row.body)
    title = "Job import in shop of test failed (Job, failed, importer, data)"
    assert (row.ordinal, row.sinks) == (0, ("out",))
    assert (finding.title, finding.severity, finding.aggregation_key) == (title, Severity.MEDIUM, "Job Failure")
    (summary,) = read_entry(record.entry.body).findings
    assert (summary.title, summary.severity, summary.playbook) == (title, "MEDIUM", finding.playbook)


def test_a_finding_has_what_its_enrichers_attach() -> None:
    (finding,) = findings_of(failed_job(), rules(), (), NOW)

    told = str(finding.finding.blocks)
    assert "CronJob shop/nightly" in told
    assert "cannot reach the ledger" in told
    assert "BackoffLimitExceeded" in told


@pytest.mark.parametrize(
    "scope",
    [
        "{kind: job}",
        "{operation: FAILED}",
        "{operation: failed}",
        "{namespace: shop, name: imp.*}",
        "{labels: app=importer}",
        "{annotations: team=data}",
        "{attributes: spec.parallelism=2}",
        "{actor: controller}",
        "{api_group: batch, resource: jobs}",
        r"{path: 'status\.conditions\[Failed\]'}",
    ],
)
def test_a_scope_can_ask_what_it_asks_of_changes(scope: str) -> None:
    job = named(labels={"app": "importer"}, annotations={"team": "data"})
    job = msgspec.structs.replace(job, document=job.document | {"spec": {"parallelism": 2}})

    told = [
        bool(findings_of(job, rules(TUTORIAL.replace("{namespace_prefix: shop}", trigger)), (), NOW))
        for trigger in (f"{{scope: {{include: [{scope}]}}}}", f"{{scope: {{exclude: [{scope}]}}}}")
    ]

    assert told == [True, False]


def test_a_job_that_no_playbook_means_leaves_an_entry_alone() -> None:
    record = recorded_as(named(namespace="other"))

    assert record.findings == ()
    assert read_entry(record.entry.body).findings == ()


def test_a_playbook_whose_rate_limit_is_used_up_keeps_silent() -> None:
    used = rules()
    (told,) = findings_of(named(), used, (), NOW)

    assert findings_of(named(), used, {told.finding.playbook}, NOW) == []


def test_no_secret_of_the_job_is_in_entry_or_findings() -> None:
    redactor = Redactor(KEY)
    pod = {"spec": {"containers": [{"name": "main", "env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}]}}
    metadata = {
        "name": "import",
        "namespace": "shop",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"a": "hunter2"}', "token": "hunter2"},
        "labels": {"password": "hunter2"},
    }
    document = redactor.object("Job", {"metadata": metadata, "spec": {"template": pod}})

    record = recorded_as(FailedJob(document=document, failure=Failure(reason="DeadlineExceeded")))

    kept = msgspec.json.encode((read_entry(record.entry.body), [read_finding(each.body) for each in record.findings]))
    assert record.findings
    assert b"redacted:" in kept
    assert b"hunter2" not in kept


def test_labels_are_redacted_whoever_hands_them_over() -> None:
    job = named(labels={"password": "hunter2"})

    facts, entry = job_facts(job.document, Redactor(KEY)), read_entry(recorded_as(job).entry.body)

    assert facts["labels"] == entry.labels == {"password": Redactor(KEY).fingerprint("hunter2")}


ODD: list[dict[str, Any]] = [
    {},
    {"metadata": None},
    {"metadata": []},
    {"metadata": {"name": 7, "labels": [], "annotations": "a"}},
    {"metadata": {"labels": {"a": 7, "b": None}}},
    {"apiVersion": None, "metadata": {}},
    {"apiVersion": 7, "status": 7, "spec": "a"},
]


@pytest.mark.parametrize("document", ODD, ids=map(str, ODD))
def test_any_document_leaves_an_entry_and_a_finding(document: dict[str, Any]) -> None:
    everything = rules(TUTORIAL.replace("{namespace_prefix: shop}", "{}"))

    record = recorded_as(FailedJob(document=document, failure=Failure()), everything)

    entry = read_entry(record.entry.body)
    assert (entry.resource.kind, entry.changes[0].new, len(record.findings)) == ("Job", "Failed", 1)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (Failure(reason="DeadlineExceeded", message="too slow"), "DeadlineExceeded: too slow"),
        (Failure(reason="DeadlineExceeded"), "DeadlineExceeded"),
        (Failure(message="too slow"), "Failed: too slow"),
        (Failure(), "Failed"),
    ],
)
def test_the_condition_is_told_as_far_as_it_says_something(failure: Failure, said: str) -> None:
    job = msgspec.structs.replace(named(), failure=failure)

    assert read_entry(recorded_as(job).entry.body).changes[0].new == said
