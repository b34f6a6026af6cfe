"""What a process tells of itself on the status page of the tests."""

from __future__ import annotations

from typing import Final

from app.web.ui.installation import Installation, PlaybookFacts, SinkFacts

FACTS: Final = Installation(
    cluster="production",
    config_file="/etc/kubewitness/config.yaml",
    loaded_at="2026-01-02T03:04:05Z",
    records="every change but the cluster's own upkeep (leases, events, endpoints, ...)",
    playbooks=(
        PlaybookFacts(
            name="images of deployments",
            triggers=("on_deployment_update", "on_statefulset_update"),
            actions=("resource_babysitter",),
            sinks=("slack",),
        ),
        PlaybookFacts(name="broken jobs", triggers=("on_job_failure",), actions=("create_finding", "job_pod_enricher")),
    ),
    sinks=(
        SinkFacts(name="slack", type="slack_sink"),
        SinkFacts(name="pager", type="webhook_sink", state="missing", reason="there is no file /tokens/pager"),
    ),
)
