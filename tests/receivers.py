"""What the documentation says of each sink's receiver, with the numbers that the sinks themselves keep to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from app.sinks import (
    _adaptive_card,
    _mail_message,
    _search,
    _slack_blocks,
    datadog,
    discord,
    git,
    google_chat,
    grafana,
    jira,
    kafka,
    kubernetes_event,
    loki,
    mattermost,
    opsgenie,
    pagerduty,
    pushover,
    rocketchat,
    servicenow,
    splunk_hec,
    telegram,
    victorops,
    webex,
    zulip,
)
from app.sinks.webhook import WebhookConfig

_MEBIBYTE: Final = 1024 * 1024


class Receiver(NamedTuple):
    """Limits of one message, what becomes of a notification that is sent twice, and what the pace is counted by."""

    limits: str
    repeats: str
    lane: str = ""


def _characters(count: int) -> str:
    return f"{count:,} characters"


def _titled(title: int, text: int) -> str:
    return f"title {_characters(title)}, text {text:,}"


TWICE: Final = "shows twice"
DOCUMENT: Final = f"{_search.DOCUMENT_LIMIT:,} bytes"

RECEIVERS: Final[Mapping[str, Receiver]] = MappingProxyType(
    {
        "apprise_sink": Receiver(
            "what each service takes, as the library knows it", "services that took it are not asked again"
        ),
        "datadog_sink": Receiver(_titled(datadog.TITLE_LIMIT, datadog.TEXT_LIMIT), "a second event"),
        "discord_sink": Receiver(
            f"{_titled(discord.TITLE_LIMIT, discord.DESCRIPTION_LIMIT)}; a text file for the rest", TWICE
        ),
        "elasticsearch_sink": Receiver(
            DOCUMENT, "recognised by the document's id; in a data stream until it rolls over"
        ),
        "file_sink": Receiver("everything", "a second line with the same `delivery_id`"),
        "git_sink": Receiver(
            f"message {_characters(git.BODY_LIMIT)}; the manifest whole", "recognised by the commit's line `Delivery:`"
        ),
        "google_chat_sink": Receiver(
            f"{google_chat.MESSAGE_BYTES:,} bytes, {google_chat.WIDGETS} widgets", "recognised by `requestId`"
        ),
        "grafana_sink": Receiver(_characters(grafana.TEXT_LIMIT), "a second annotation"),
        "jira_sink": Receiver(
            f"summary {_characters(jira.SUMMARY_LIMIT)}, text {jira.BODY_LIMIT:,} bytes", "a comment on the open issue"
        ),
        "kafka_sink": Receiver(
            f"{kafka.MESSAGE_BYTES:,} bytes (`max_message_bytes`)",
            "a second record with the same header `kubewitness-delivery-id`",
        ),
        "kubernetes_event_sink": Receiver(
            f"{kubernetes_event.MESSAGE_LIMIT:,} bytes", "recognised by the Event's name"
        ),
        "loki_sink": Receiver(f"{loki.LINE_LIMIT:,} bytes", "recognised: the same line at the same time"),
        "mail_sink": Receiver(
            f"{_mail_message.BODY_BYTES:,} bytes of text, {_mail_message.ATTACHED_BYTES // _MEBIBYTE} MiB attached",
            "the same `Message-ID`; recipients whose mail was taken are left out",
        ),
        "mattermost_sink": Receiver(
            f"{_characters(mattermost.TEXT_LIMIT)}; a bot attaches a text file for the rest",
            "recognised by `pending_post_id`, for seconds",
        ),
        "ms_teams_sink": Receiver(
            f"{_adaptive_card.MESSAGE_BYTES // 1024} KiB, of which the card takes at most"
            f" {_adaptive_card.CARD_BYTES // 1024}",
            TWICE,
            "webhook",
        ),
        "opsgenie_sink": Receiver(
            _titled(opsgenie.MESSAGE_LIMIT, opsgenie.DESCRIPTION_LIMIT), "recognised by the alert's `alias`"
        ),
        "opensearch_sink": Receiver(DOCUMENT, "recognised by the document's id"),
        "pagerduty_sink": Receiver(
            f"summary {_characters(pagerduty.SUMMARY_LIMIT)}, details {pagerduty.DETAILS_LIMIT:,}",
            "an alert is recognised by `dedup_key`; a change event shows twice",
        ),
        "pushover_sink": Receiver(_titled(pushover.TITLE_LIMIT, pushover.MESSAGE_LIMIT), TWICE),
        "rocketchat_sink": Receiver(f"{_characters(rocketchat.TEXT_LIMIT)} (`message_limit`)", TWICE),
        "servicenow_sink": Receiver(
            _titled(servicenow.SUMMARY_LIMIT, servicenow.DESCRIPTION_LIMIT), "recognised by `correlation_id`"
        ),
        "slack_sink": Receiver(
            f"{_characters(_slack_blocks.TEXT_LIMIT)} of a text, {_slack_blocks.BLOCKS_LIMIT} blocks,"
            f" {_slack_blocks.MESSAGE_LIMIT:,} bytes in all; a bot uploads files for the rest",
            TWICE,
            "channel",
        ),
        "splunk_hec_sink": Receiver(f"{splunk_hec.EVENT_LIMIT:,} bytes", "a second event with the same `entry_id`"),
        "stdout_sink": Receiver("as JSON everything", "a second line with the same `delivery_id`"),
        "telegram_sink": Receiver(
            f"{_characters(telegram.MESSAGE_LIMIT)}; for more a text file, with {telegram.CAPTION_LIMIT:,} as caption",
            TWICE,
        ),
        "victorops_sink": Receiver(
            _titled(victorops.TITLE_LIMIT, victorops.TEXT_LIMIT), "recognised by `entity_id`, one for each object"
        ),
        "webex_sink": Receiver(f"{webex.MESSAGE_BYTES:,} bytes; a text file for the rest", TWICE),
        "webhook_sink": Receiver(
            f"everything; in the format `text` {WebhookConfig.model_fields['size_limit'].default:,} bytes"
            " (`size_limit`)",
            "told by the header `webhook-id`",
        ),
        "zulip_sink": Receiver(f"{_characters(zulip.CONTENT_LIMIT)}; a text file for the rest", TWICE),
    }
)
