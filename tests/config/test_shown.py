"""What people may read of the configuration in effect: all of it but what is secret."""

from __future__ import annotations

from typing import Any

import yaml

from app.config.file import read
from app.config.shown import shown

FILE = """
customPlaybooks:
- name: images
  triggers:
  - on_deployment_update: {name_prefix: web}
  actions:
  - resource_babysitter: {fields_to_monitor: [images]}
  - json_change_tracker: {url: "http://tracker.example.com/s3cret", headers: {Authorization: "Bearer s3cret"}}
- triggers: [{on_job_failure: {}}]
  actions:
  - create_finding: {title: Job Failed, aggregation_key: job_failure}
  - job_pod_enricher: {filter_regex: s3cret, regex_replacer_patterns: [{regex: s3cret}]}
sinksConfig:
- webhook_sink:
    name: pager
    url: "http://user:s3cret@pager.example.com/"
    scope: {include: [{namespace: [shop]}]}
- slack_sink: {name: slack, api_key: xoxb-s3cret, slack_channel: alerts}
globalConfig:
  cluster_name: prod
  redact: {value_patterns: ["s3cret-(.*)"]}
"""


def written() -> Any:
    return yaml.safe_load(shown(read(FILE.encode(), "config.yaml", {})))


def test_what_is_configured_can_be_read() -> None:
    document = written()

    assert document["customPlaybooks"][0]["triggers"] == [{"on_deployment_update": {"name_prefix": "web"}}]
    assert document["globalConfig"]["cluster_name"] == "prod"
    assert document["sinksConfig"][0] == {
        "webhook_sink": {"name": "pager", "scope": {"include": [{"namespace": ["shop"]}]}}
    }


def test_nothing_secret_is_shown_nor_what_may_spell_it() -> None:
    assert "s3cret" not in shown(read(FILE.encode(), "config.yaml", {}))


def test_of_a_sink_only_that_is_shown_which_says_nothing_of_where_it_is() -> None:
    assert written()["sinksConfig"][1] == {"slack_sink": {"name": "slack"}}


def test_an_empty_file_shows_nothing() -> None:
    assert shown(read(b"", "config.yaml", {})) == ""
