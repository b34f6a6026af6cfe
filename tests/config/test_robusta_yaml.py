"""`sinksConfig` as people bring it from Robusta: its sinks, their parameters, the forms of its documentation.

A block that loads here needs no change when its owner moves; what cannot be had says what to do instead.
"""

from __future__ import annotations

import asyncio
import textwrap
from typing import Any, Final

import pytest

from app.config.file import read, read_usable
from app.config.model import Config
from app.config.problems import ConfigError
from app.sinks.registry import build_all

BLOCKS: Final = {
    "datadog": """
        - datadog_sink:
            name: events
            api_key: "1234567890abcdef1234567890abcdef"
    """,
    "discord": """
        - discord_sink:
            name: chat
            url: https://discord.com/api/webhooks/998877/abc-def_ghi
    """,
    "file": """
        - file_sink:
            name: lines
            file_name: path/to/lines.json
    """,
    "file without a name": """
        - file_sink:
            name: lines
    """,
    "google chat": """
        - google_chat_sink:
            name: space
            webhook_url: https://chat.googleapis.com/v1/spaces/AAAA/messages?key=abc&token=def
    """,
    "jira": """
        - jira_sink:
            name: tickets
            url: https://company.atlassian.net
            username: bot@company.example
            api_key: key-of-the-bot
            dedups:
              - fingerprint
            assignee: "5b10ac8d82e05b22cc7d4ef5"
            epic: OPS-1
            issue_type: Bug
            project_name: Operations
            project_type_id_override: 10001
            issue_type_id_override: 10002
            priority_mapping:
              HIGH: "Highest"
              LOW: "Low"
              INFO: "Lowest"
            scope:
              include:
                - identifier: [CPUThrottlingHigh, KubePodCrashLooping]
    """,
    "kafka": """
        - kafka_sink:
            name: stream
            kafka_url: "broker:9092"
            topic: "changes"
    """,
    "kafka with a login": """
        - kafka_sink:
            name: stream
            kafka_url: "broker:9096"
            topic: "changes"
            auth:
                sasl_mechanism: SCRAM-SHA-512
                security_protocol: SASL_SSL
                sasl_plain_username: changes
                sasl_plain_password: word-to-pass
    """,
    "mail": """
        - mail_sink:
            name: post
            mailto: "mailtos://user:word@mail.example.com?from=a@company.example&to=b@company.example,c@company.example"
            with_header: false
    """,
    "mail as the documentation joins it": """
        - mail_sink:
            name: post
            mailto: "mailtos://user:word@mail.example.com&from=a@company.example&to=b@company.example,c@company.example"
    """,
    "mattermost": """
        - mattermost_sink:
            name: room
            url: https://company.cloud.mattermost.com
            token: token-of-the-bot
            token_id: id-of-the-token
            channel: cluster-changes
            team_id: abcdefghijklmnopqrstuvwxyz
    """,
    "mattermost with the name of the team": """
        - mattermost_sink:
            name: room
            url: https://company.cloud.mattermost.com
            token: token-of-the-bot
            token_id: id-of-the-token
            channel: Cluster Changes
            team: operations
    """,
    "teams": """
        - ms_teams_sink:
            name: teams
            webhook_url: https://prod-1.westeurope.logic.azure.com:443/workflows/abc/triggers/manual/paths/invoke?sig=def
            webhook_override: "annotations.team-webhook"
            send_files: false
    """,
    "teams with a composed address": """
        - ms_teams_sink:
            name: teams
            webhook_url: https://prod-1.westeurope.logic.azure.com/workflows/abc/triggers/manual/paths/invoke?sig=def
            webhook_override: ${annotations.kubernetes.io/service-name}
            prefer_redirect_to_platform: false
    """,
    "opsgenie": """
        - opsgenie_sink:
            name: duty
            api_key: 12345678-aaaa-bbbb-cccc-1234567890ab
            teams:
            - "noc"
            - "$labels.team"
            default_team: "oncall"
            tags:
            - "prod a"
            - "$labels.app"
            extra_details_labels: false
            host: https://api.eu.opsgenie.com
    """,
    "pagerduty": """
        - pagerduty_sink:
            name: duty
            api_key: f653634653463678fadas43534506abc
    """,
    "pushover": """
        - pushover_sink:
            name: phone
            token: azGDORePK8gMaC0QOYAMyEEuzJnyUi
            user: uQiRzpo4DXghDmr9QzzfQu27cmVRsG
            device: phone1
            send_files: true
            send_as_html: true
            pushover_url: https://api.pushover.net/1/messages.json
    """,
    "rocketchat": """
        - rocketchat_sink:
            name: room
            user_id: id-of-the-user
            channel: changes
            token: personal-token
            server_url: https://chat.company.example
    """,
    "servicenow": """
        - service_now_sink:
            name: incidents
            instance: dev12345
            username: bot
            password: word-to-pass
            caller_id: change_bot
    """,
    "slack": """
        - slack_sink:
            name: main
            api_key: xoxb-112-334-abc
            slack_channel: changes
            max_log_file_limit_kb: 500
            channel_override: "labels.slack"
            investigate_link: false
            disable_holmes_note: true
            prefer_redirect_to_platform: false
    """,
    "slack with a composed channel": """
        - slack_sink:
            name: main
            api_key: xoxb-112-334-abc
            slack_channel: fallback
            channel_override: "$cluster_name-alerts-$labels.env-${annotations.kubernetes.io/service-name}"
    """,
    "telegram": """
        - telegram_sink:
            name: phone
            bot_token: 1234567:AAAbbbCCCdddEEEfffGGGhhhIIIjjjKKKlll
            chat_id: -1001234567890
            thread_id: 7
            send_files: false
    """,
    "victorops": """
        - victorops_sink:
            name: duty
            url: https://alert.victorops.com/integrations/generic/20131114/alert/4a6a87eb-0000-1111-2222-c842277ea90a/changes
    """,
    "webex": """
        - webex_sink:
            name: room
            bot_access_token: token-of-the-bot
            room_id: Y2lzY29zcGFyazovL3VzL1JPT00vYWFh
            room_id_override: "$labels.team"
            namespace_room_id_override: "${labels.webex-room}"
            send_to_default_if_missing: true
            disable_platform_links: true
    """,
    "webhook": """
        - webhook_sink:
            name: hook
            url: "https://hooks.company.example/changes"
    """,
    "webhook with everything": """
        - webhook_sink:
            name: hook
            url: "https://hooks.company.example/changes"
            size_limit: 4096
            format: text
            slack_webhook: false
            authorization: "Bearer abc"
    """,
    "zulip": """
        - zulip_sink:
            name: room
            api_url: https://zulip.company.example
            bot_email: bot12345@zulip.company.example
            bot_api_key: key-of-the-bot
            stream_name: Monitoring
            topic_name: Changes
            topic_override: "labels.topic"
            log_preview_char_limit: 300
    """,
    "what every sink has": """
        - slack_sink:
            name: main
            api_key: xoxb-112-334-abc
            slack_channel: changes
            send_svg: false
            default: true
            stop: false
            match: {}
            scope: {}
            activity:
              timezone: CET
              intervals:
              - days: ['mon', 'tue']
                hours:
                - start: 10:00
                  end: 11:00
                - start: 16:00
                  end: "17:00"
              - days: ['thr']
            mute_intervals:
            - start_date: "2026-12-24 18:00"
              end_date: "2026-12-26 09:00"
              timezone: UTC
            grouping:
              group_by:
              - workload
              - labels:
                - app
              - annotations:
                - my_annotation_1
              interval: 1800
              notification_mode:
                summary:
                  threaded: true
                  by:
                  - identifier
                  - severity
    """,
    "routing": """
        - slack_sink:
            name: production
            slack_channel: production
            api_key: xoxb-112-334-abc
            scope:
              include:
              - namespace: [prod, "prod-.*"]
                labels: "app=shop, tier!=test"
              exclude:
              - severity: [INFO, DEBUG]
            stop: true
        - slack_sink:
            name: the-rest
            slack_channel: other
            api_key: xoxb-112-334-abc
            match:
              severity: [HIGH, LOW]
            default: false
    """,
}


def file(block: str) -> bytes:
    return b"sinksConfig:\n" + textwrap.dedent(block).strip("\n").encode() + b"\n"


async def built(config: Config) -> dict[str, str]:
    made = build_all(config.sinks)
    for sink in made.sinks.values():
        await sink.aclose()
    return made.failures


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_loads_as_it_is_and_the_sink_can_be_made(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    config = read(file(BLOCKS[name]), "generated_values.yaml", {})

    assert asyncio.run(built(config)) == {}


def test_all_blocks_together_are_one_configuration() -> None:
    found: dict[str, None] = {}
    for block in BLOCKS.values():
        config = read(file(block), "generated_values.yaml", {})
        found |= dict.fromkeys(item.key for item in config.sinks_config)

    # What Robusta has and there is here, by its wrappers of parameters.
    assert sorted(found) == sorted(
        "datadog_sink discord_sink file_sink google_chat_sink jira_sink kafka_sink mail_sink mattermost_sink"
        " ms_teams_sink opsgenie_sink pagerduty_sink pushover_sink rocketchat_sink servicenow_sink slack_sink"
        " telegram_sink victorops_sink webex_sink webhook_sink zulip_sink".split()
    )


ELSEWHERE: Final = {
    "robusta_sink": ("{name: ui, token: abc, persist_events: true}", "remove it"),
    "incidentio_sink": ("{name: ui, token: abc, source_config_id: def}", "use webhook_sink"),
    "yamessenger_sink": ("{name: ui, bot_token: abc, chat_id: def}", "use webhook_sink"),
    "plivo_sink": ("{name: ui, auth_id: abc}", "use apprise_sink"),
    "ms_teams_graph_sink": ("{name: ui}", "use ms_teams_sink"),
    "slack_sink_preview": ("{name: ui, slack_channel: a, api_key: b}", "use slack_sink"),
}


@pytest.mark.parametrize("key", ELSEWHERE)
def test_a_sink_that_there_is_not_says_what_to_do_and_keeps_nothing_from_the_others(key: str) -> None:
    options, advice = ELSEWHERE[key]
    text = file(BLOCKS["webhook"] + f"\n- {key}: {options}\n".replace("\n", "\n        "))

    with pytest.raises(ConfigError) as caught:
        read(text, "generated_values.yaml", {})
    reading = read_usable(text, "generated_values.yaml", {})

    (problem,) = caught.value.problems
    assert problem.line == 6
    assert f"{key!r} of Robusta does not exist here: {advice}" in problem.message
    assert [sink.name for sink in reading.config.sinks] == ["hook"]
    assert [sink.name for sink in reading.left_out] == ["ui"]


def test_what_does_nothing_here_is_noted_and_what_works_is_not() -> None:
    notes = [note for block in BLOCKS.values() for note in read(file(block), "generated_values.yaml", {}).notes]

    idle = {note.partition(" does nothing here")[0] for note in notes if "does nothing here" in note}
    assert idle == {
        "main: disable_holmes_note",
        "room: disable_platform_links",
        "room: namespace_room_id_override",
        "room: token_id",
    }


def test_a_webhook_for_slack_is_a_slack_sink() -> None:
    with pytest.raises(ConfigError, match="is what a slack_sink is for: give it this URL as webhook_url"):
        read(
            file(BLOCKS["webhook with everything"].replace("slack_webhook: false", "slack_webhook: true")), "v.yaml", {}
        )


@pytest.mark.parametrize("key", ["signing_key", "account_id", "prometheus_url"])
def test_keys_of_the_platform_are_to_be_removed(key: str) -> None:
    with pytest.raises(ConfigError, match=f"globalConfig.{key}: '{key}' of Robusta has no counterpart here: remove it"):
        read(f"globalConfig: {{{key}: abc}}".encode(), "v.yaml", {})
