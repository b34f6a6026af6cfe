from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog
from pydantic import ValidationError

from app.core.change import FieldChange, Resource
from app.core.finding import DiffBlock, FileBlock, JsonBlock, Notification, TextBlock
from app.sinks._slack_files import diff
from app.sinks.base import PermanentError, SinkSetupError, Summary, TemporaryError
from app.sinks.slack import FILES_AGAIN, SlackConfig, SlackSink
from tests.sinks import samples
from tests.sinks.receiver import listening, self_signed
from tests.sinks.slack_server import TOKEN, WEBHOOK_PATH, RefusedError, Slack, slack_server
from tests.sinks.stands import Behaviour, Stand

SECRETS = ("tokenSecret", TOKEN)
WEBHOOK_SECRET = "webhookSecret"
RATE_LIMITED: dict[str, Any] = {
    "status_code": 429,
    "headers": {"retry-after": "30"},
    "json": {"ok": False, "error": "ratelimited"},
}
LONG = "".join(f"row {n} imported\n" for n in range(40)) + "FATAL: cannot connect\n"


def options(folder: Path) -> dict[str, Any]:
    return {"slack_channel": "alerts", "api_key": TOKEN, "channel_override": "labels.team"}


class SlackStand:
    def __init__(self, slack: Slack, sink: SlackSink) -> None:
        self.slack, self.sink = slack, sink

    @property
    def arrived(self) -> list[str]:
        return [str(each) for each in self.slack.messages.values()]

    def behave(self, how: Behaviour) -> None:
        refused = httpx.Response(200, json={"ok": False, "error": "restricted_action"})
        answers = {"busy": httpx.Response(**RATE_LIMITED), "refuse": refused, "hang": None}
        self.slack.instead = {} if how == "take" else {"*": answers[how]}


@contextlib.asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[Stand]:
    with slack_server() as server:
        async with contextlib.aclosing(sink_of(server, **options(folder))) as sink:
            yield SlackStand(server, sink)  # type: ignore[misc]


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_server() as server:
        yield server


def config(**more: Any) -> SlackConfig:
    return SlackConfig.model_validate({"name": "s", "slack_channel": "alerts", "api_key": TOKEN, **more})


def sink_of(slack: Slack, **more: Any) -> SlackSink:
    return SlackSink(config(**{"api_url": slack.api_url, "timeout_seconds": 5, **more}))


def webhook_of(slack: Slack, **more: Any) -> SlackSink:
    given = {"name": "s", "webhook_url": slack.url + WEBHOOK_PATH, "timeout_seconds": 5, **more}
    return SlackSink(SlackConfig.model_validate(given))


async def sent(sink: SlackSink, *notifications: Notification) -> None:
    async with contextlib.aclosing(sink):
        for notification in notifications:
            await sink.send(notification)


async def refusal(sink: SlackSink, notification: Notification | None = None) -> str:
    with pytest.raises(PermanentError) as caught:
        await sent(sink, notification or samples.image())
    return str(caught.value)


async def excuse(sink: SlackSink) -> TemporaryError:
    with pytest.raises(TemporaryError) as caught:
        await sent(sink, samples.image())
    return caught.value


def problem(**options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        SlackConfig.model_validate({"name": "s", **options})
    return str(caught.value)


def texts(message: dict[str, Any]) -> list[str]:
    blocks = [*message["blocks"], *(block for each in message["attachments"] for block in each["blocks"])]
    return [text["text"] for block in blocks for text in block.get("elements") or [block["text"]]]


def read(message: dict[str, Any]) -> str:
    return "\n".join(texts(message))


def annotated(notification: Notification, **annotations: str) -> Notification:
    finding = msgspec.structs.replace(notification.finding, annotations=annotations)
    return msgspec.structs.replace(notification, finding=finding)


def summary(rows: int = 2, **fields: Any) -> Summary:
    defaults: dict[str, Any] = {
        "last": samples.failed_job(),
        "group": (("cluster", "prod"), ("namespace", "shop")),
        "headers": ("identifier", "severity"),
        "rows": tuple(((f"key_{n}", "HIGH"), n + 1) for n in range(rows)),
        "since": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "interval": timedelta(minutes=15),
    }
    return Summary(**{**defaults, **fields})


# What is said


async def test_a_change_is_told_with_old_and_new_value_and_a_link(slack: Slack) -> None:
    await sent(sink_of(slack), samples.image())

    message = slack.message
    assert message["channel"] == "C00000ALERTS"
    assert message["text"].startswith("🔵 Deployment/shop/web updated\nUpdated by alice with kubectl-set.")
    assert message["attachments"][0]["color"] == "#2f80ed"
    assert texts(message) == [
        "🔵 Deployment/shop/web updated",
        "UPDATE Deployment/shop/web in prod",
        "<!date^1767323045^{date_short_pretty} {time_secs}|2026-01-02T03:04:05.000000Z>",
        "Updated by alice with kubectl-set.",
        "• `spec.template.spec.containers[nginx].image`: `nginx:1.27` → `nginx:1.28`",
        f"<{samples.LINK}|Open the entry>",
    ]


async def test_nothing_unfurls_and_nothing_is_parsed(slack: Slack) -> None:
    await sent(sink_of(slack), samples.image())

    options = {name: slack.message[name] for name in ("unfurl_links", "unfurl_media", "parse", "link_names")}
    assert options == {"unfurl_links": False, "unfurl_media": False, "parse": "none", "link_names": False}


async def test_what_is_rendered_is_what_is_sent(slack: Slack) -> None:
    sink = sink_of(slack)

    rendering: Any = sink.render(samples.image())
    await sent(sink, samples.image())

    assert {**rendering, "channel": "C00000ALERTS"}.items() <= slack.message.items()


async def test_the_link_may_be_left_out(slack: Slack) -> None:
    await sent(sink_of(slack, investigate_link=False), samples.image())

    assert samples.LINK not in json.dumps(slack.message)


def marked(message: dict[str, Any]) -> list[str]:
    """Return what Slack reads as markup, without what stands in code."""
    blocks = [*message["blocks"], *(block for each in message["attachments"] for block in each["blocks"])]
    objects = [text for block in blocks for text in block.get("elements") or [block["text"]]]
    assert all(text.get("verbatim") for text in objects if text["type"] == "mrkdwn")
    assert not any(text.get("emoji") for text in objects)
    found = [text["text"] for text in objects if text["type"] == "mrkdwn"]
    outside = ["".join(text.split("```")[::2]) for text in found]
    return ["".join(text.split("`")[::2]) for text in outside]


async def test_hostile_names_are_neither_mentions_nor_links_nor_markup(slack: Slack) -> None:
    await sent(sink_of(slack), samples.hostile_names())

    markup = "\n".join(marked(slack.message))
    assert "<!channel>" not in json.dumps(slack.message)
    assert "<@U1>" not in json.dumps(slack.message)
    assert "evil" not in markup
    assert [part.split(">")[0] for part in markup.split("<")[1:]] == [
        "!date^1767323045^{date_short_pretty} {time_secs}|2026-01-02T03:04:05.000000Z",
        f"{samples.LINK}|Open the entry",
    ]


async def test_a_backtick_does_not_end_the_code_that_it_stands_in(slack: Slack) -> None:
    changed = FieldChange("a`evil", "replace", "`evil", "evil`")

    await sent(sink_of(slack), samples.notification(DiffBlock((changed,))))

    assert "evil" not in "\n".join(marked(slack.message))
    assert "• `a\u02cbevil`: `\u02cbevil` → `evil\u02cb`" in texts(slack.message)


@pytest.mark.parametrize("character", ["<", "&", "`", "*", "🔵", "é", "@"])
async def test_any_text_stays_within_the_limits_of_each_block(slack: Slack, character: str) -> None:
    evil = character * 3000
    changed = FieldChange(evil, "replace", evil, evil)
    blocks = DiffBlock((changed,) * 30), TextBlock(evil), FileBlock(name=evil, content=f"{evil}\n" * 40)
    told = samples.notification(*blocks, title=evil, description=evil, resource=Resource(kind="X", name=evil))

    await sent(sink_of(slack), told)
    await sent(webhook_of(slack), told)

    assert slack.calls.count("chat.postMessage") == 1
    assert len(slack.hooked) == 1


async def test_a_title_that_the_header_has_no_room_for_is_told_whole(slack: Slack) -> None:
    title = "Deployment/" + "x" * 200

    await sent(sink_of(slack), samples.notification(title=title))

    assert texts(slack.message)[0].endswith("…")
    assert len(texts(slack.message)[0]) == 149, "the mark counts as two"
    assert f"🔵 {title}" in texts(slack.message)


async def test_what_a_webhook_has_no_room_for_is_cut_between_fields_and_counted(slack: Slack) -> None:
    await sent(webhook_of(slack), samples.many_fields(400))

    lines = read(slack.hooked[0]).splitlines()
    shown = [line for line in lines if line.startswith("• ")]
    assert all(line.endswith("`") for line in shown)
    assert len(shown) > 100
    assert f"… {400 - len(shown)} more fields  ·  <{samples.LINK}|Open the entry>" in lines


async def test_a_diff_of_a_megabyte_through_a_webhook_is_within_the_limits(slack: Slack) -> None:
    await sent(webhook_of(slack), samples.hostile(), samples.many_fields(20_000))

    assert len(slack.hooked) == 2
    assert " more fields" in read(slack.hooked[1])


async def test_many_blocks_are_within_the_limit_of_blocks(slack: Slack) -> None:
    blocks = [block for n in range(60) for block in (TextBlock(f"text {n}"), DiffBlock((samples.SCALED,)))]

    await sent(webhook_of(slack), samples.notification(*blocks))

    assert " more lines" in read(slack.hooked[0])


# Files


async def test_a_long_log_is_attached_in_the_thread(slack: Slack) -> None:
    await sent(sink_of(slack), samples.failed_job())

    (file,) = slack.uploads.values()
    assert file["filename"] == "nightly-28391-x7k2p-importer.log"
    assert file["content"].startswith("2026-01-02T03:03:00 row 0 imported\n")
    assert file["content"].endswith("FATAL: cannot connect")
    assert (file["channel"], file["thread"]) == ("C00000ALERTS", next(iter(slack.messages)))
    assert "In the thread: `nightly-28391-x7k2p-importer.log`" in read(slack.message)


async def test_a_long_diff_is_attached_and_the_message_shows_its_beginning(slack: Slack) -> None:
    await sent(sink_of(slack), samples.many_fields(400))

    (file,) = slack.uploads.values()
    assert file["filename"] == "changes.diff"
    assert file["content"].count("\n+on-") == 400
    assert read(slack.message).count("• ") == 20
    assert "… 380 more fields" in read(slack.message)


async def test_a_value_that_is_cut_is_attached_as_a_diff_of_its_lines(slack: Slack) -> None:
    old = "\n".join(f"line {n}" for n in range(100))
    changed = FieldChange("data[app.conf]", "replace", old, old.replace("line 50\n", "line fifty\n"))

    await sent(sink_of(slack), samples.notification(DiffBlock((changed,))))

    (file,) = slack.uploads.values()
    assert file["content"].splitlines() == [
        "@@ data[app.conf] @@",
        *(" line 47", " line 48", " line 49"),
        *("-line 50", "+line fifty"),
        *(" line 51", " line 52", " line 53"),
    ]


async def test_a_large_object_is_attached_as_json(slack: Slack) -> None:
    document = {"spec": {f"key-{n}": n for n in range(100)}}

    await sent(sink_of(slack), samples.notification(JsonBlock(document)))

    (file,) = slack.uploads.values()
    assert file["filename"] == "Deployment-shop-web.json"
    assert json.loads(file["content"]) == document
    assert "… 74 more lines" in read(slack.message)


async def test_short_findings_have_no_files(slack: Slack) -> None:
    await sent(sink_of(slack), samples.image(), samples.created(), samples.folded())

    assert slack.calls == ["chat.postMessage"] * 3


async def test_of_a_log_beyond_the_limit_the_end_is_attached(slack: Slack) -> None:
    told = samples.notification(FileBlock(name="app.log", content="x" * 99 + "\n" + LONG * 100))

    await sent(sink_of(slack, max_log_file_limit_kb=1), told)

    (file,) = slack.uploads.values()
    assert 900 < len(file["content"]) <= 1000
    assert file["content"].endswith("FATAL: cannot connect")
    assert file["content"].startswith("row ")


@pytest.mark.parametrize("limit", [100, 1000, 10_000])
def test_a_diff_is_within_its_limit_and_says_what_is_missing(limit: int) -> None:
    big = FieldChange("data.x", "replace", "old\n" * 5000, "new\n" * 5000)
    changes = [FieldChange(f"f{n}", "add", new=n) for n in range(2000)]

    for made, missing in ((diff([big, *changes], limit), "2000 more fields"), (diff(changes, limit), "more fields")):
        assert len(made.encode()) <= limit
        assert missing in made


async def test_without_the_scope_for_files_the_message_says_so_and_later_ones_do_not_try(slack: Slack) -> None:
    slack.scopes.remove("files:write")

    await sent(sink_of(slack), samples.many_fields(), samples.failed_job())

    first, second = slack.messages.values()
    assert read(first).count("• ") > 100, "what would have been in the file is in the message"
    assert "No files: the app lacks the scope `files:write`" in read(first)
    assert slack.calls == ["chat.postMessage", "files.getUploadURLExternal", "chat.update", "chat.postMessage"]
    assert "FATAL: cannot connect" in read(second)


async def test_with_the_scope_files_are_attached_again_after_a_while(slack: Slack) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    sink = SlackSink(config(api_url=slack.api_url, timeout_seconds=5), clock=lambda: now)
    slack.scopes.remove("files:write")
    await sink.send(samples.failed_job())
    slack.scopes.add("files:write")
    now += FILES_AGAIN

    await sent(sink, samples.failed_job())

    assert slack.calls[-1] == "files.completeUploadExternal"
    assert "No files" not in read(slack.message)


@pytest.mark.parametrize("call", ["files.getUploadURLExternal", "F00000000", "files.completeUploadExternal"])
@pytest.mark.parametrize("answer", [{"status_code": 500, "text": "oops"}, RATE_LIMITED])
async def test_a_file_that_is_not_taken_neither_repeats_nor_loses_the_message(
    slack: Slack, call: str, answer: dict[str, Any]
) -> None:
    slack.instead[call] = httpx.Response(**answer)

    await sent(sink_of(slack), samples.failed_job())

    assert slack.calls.count("chat.postMessage") == 1
    assert "Files could not be attached" in read(slack.message)


@pytest.mark.parametrize("call", ["files.getUploadURLExternal", "F00000000", "files.completeUploadExternal"])
async def test_a_file_that_takes_too_long_is_told_within_the_time_of_the_attempt(slack: Slack, call: str) -> None:
    slack.instead[call] = None
    slack.instead["chat.update"] = httpx.Response(200, json={"ok": True})

    with structlog.testing.capture_logs() as logged:
        await sent(sink_of(slack, timeout_seconds=0.5), samples.failed_job())

    assert [each["reason"] for each in logged] == ["they took longer than timeout_seconds leaves after the message"]
    assert slack.calls.count("chat.postMessage") == 1
    assert slack.calls[-1] == "chat.update"


async def test_an_amendment_that_is_never_answered_holds_nobody_up(
    slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.sinks.slack._AMEND_SECONDS", 0.1)
    slack.scopes.remove("files:write")
    slack.instead["chat.update"] = None

    async with asyncio.timeout(6):
        await sent(sink_of(slack, timeout_seconds=20), samples.failed_job())

    assert slack.calls.count("chat.postMessage") == 1


async def test_a_message_that_cannot_be_amended_has_arrived_all_the_same(slack: Slack) -> None:
    slack.scopes.remove("files:write")
    slack.instead["chat.update"] = httpx.Response(500)

    await sent(sink_of(slack), samples.failed_job())

    assert len(slack.messages) == 1


# Channels


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("labels.team", "checkout"),
        ("$labels.team", "checkout"),
        ("${labels.team}", "checkout"),
        ("labels.nobody", "alerts"),
        ("$labels.team-$labels.nobody", "alerts"),
        ("cluster_name", "prod"),
        ("$cluster_name", "prod"),
        ("${cluster_name}-x", "prod-x"),
        ("$cluster_name-alerts-$labels.team", "prod-alerts-checkout"),
        ("annotations.slack", "from-annotation"),
        ("${annotations.kubernetes.io/service-name}", "web-service"),
        ("annotations.kubernetes.io/service-name", "web-service"),
        ("$annotations.kubernetes_io_service_name", "web-service"),
        ("$cluster_name-$labels.team-${annotations.kubernetes.io/service-name}", "prod-checkout-web-service"),
        ("$namespace", "shop"),
        ("team-$namespace-$operation", "alerts"),
        ("$kind", "alerts"),
        ("$user", "alice"),
        ("$node", "alerts"),
    ],
)
def test_the_channel_may_depend_on_what_happened(override: str, expected: str) -> None:
    told = annotated(samples.image(), slack="from-annotation", **{"kubernetes.io/service-name": "web-service"})

    sink = SlackSink(config(channel_override=override))

    assert sink.lane(told) == expected


@pytest.mark.parametrize(
    "evil",
    ["U0123456789", "D0123456789", "@alice", "a b", "a,b", "#general|x", "<!channel>", "x" * 81, "Ops", "a\nb", ""],
)
def test_a_stranger_can_name_channels_only(evil: str) -> None:
    sink = SlackSink(config(channel_override="labels.team"))

    assert sink.lane(samples.notification(labels={"team": evil})) == "alerts"


async def test_who_names_a_channel_that_is_not_there_does_not_hide_the_change(slack: Slack) -> None:
    sink = sink_of(slack, channel_override="labels.team")

    await sent(sink, samples.notification(labels={"team": "nowhere"}))

    assert slack.message["channel"] == "C00000ALERTS"


async def test_slack_channel_may_be_a_template_too(slack: Slack) -> None:
    slack.channels["alerts-shop"] = "C000000SHOP"

    await sent(sink_of(slack, slack_channel="alerts-$namespace"), samples.image())

    assert slack.message["channel"] == "C000000SHOP"


async def test_a_template_without_its_value_and_nothing_to_fall_back_to_is_an_error(slack: Slack) -> None:
    told = samples.notification(resource=Resource(kind="Node", name="n1"))

    problem = await refusal(sink_of(slack, slack_channel="alerts-$namespace"), told)

    assert problem.startswith("slack_channel alerts-$namespace: the object has no such value")


async def test_messages_are_paced_by_channel(slack: Slack) -> None:
    sink = sink_of(slack, channel_override="labels.team")

    assert SlackSink.pace == (1, 1.0)
    assert (sink.lane(samples.image()), sink.lane(samples.notification())) == ("checkout", "alerts")
    assert webhook_of(slack).lane(samples.image()) == ""


# Threads


async def test_a_summary_is_one_message_that_is_brought_up_to_date(slack: Slack) -> None:
    async with contextlib.aclosing(sink_of(slack)) as sink:
        reference = await sink.summarise(summary(1), "")
        again = await sink.summarise(summary(2), reference)

    assert sink.threads
    assert reference == again == "C00000ALERTS:1700000000.000001"
    assert texts(slack.message) == [
        "🔴 3 findings, cluster: prod",
        "namespace: shop",
        "Since 2026-01-02 03:04 UTC, for 15 minutes",
        "The last one: Job Failed",
        "```\ncount  identifier  severity\n1      key_0       HIGH\n2      key_1       HIGH\n```",
        f"<{samples.LINK}|Open the entry>",
    ]


@pytest.mark.parametrize("code", ["message_not_found", "cant_update_message", "edit_window_closed"])
async def test_a_summary_that_cannot_be_changed_any_more_is_sent_anew(slack: Slack, code: str) -> None:
    slack.instead["chat.update"] = httpx.Response(200, json={"ok": False, "error": code})

    async with contextlib.aclosing(sink_of(slack)) as sink:
        assert await sink.summarise(summary(), "C00000ALERTS:1.2") == "C00000ALERTS:1700000000.000001"


async def test_a_summary_that_is_refused_for_another_reason_is_an_error(slack: Slack) -> None:
    slack.instead["chat.update"] = httpx.Response(200, json={"ok": False, "error": "invalid_auth"})

    async with contextlib.aclosing(sink_of(slack)) as sink:
        with pytest.raises(PermanentError, match="invalid_auth"):
            await sink.summarise(summary(), "C00000ALERTS:1.2")


async def test_a_summary_of_many_hostile_rows_is_within_the_limits(slack: Slack) -> None:
    rows = tuple(((f"{n}<&`\n@channel " * 50, "<!here>"), 1) for n in range(500))

    async with contextlib.aclosing(sink_of(slack)) as sink:
        await sink.summarise(summary(rows=1, group=(("a", "<!channel>" * 99),) * 20), "")
        await sink.summarise(msgspec.structs.replace(summary(), rows=rows), "")

    assert "<!channel>" not in json.dumps(list(slack.messages.values()))
    assert " more rows" in read(slack.message)


async def test_a_reply_goes_into_the_thread_with_its_files(slack: Slack) -> None:
    async with contextlib.aclosing(sink_of(slack, channel_override="labels.team")) as sink:
        reference = await sink.summarise(summary(), "")
        await sink.reply(samples.failed_job(), reference)

    timestamp = reference.partition(":")[2]
    assert slack.message["thread_ts"] == timestamp
    assert [file["thread"] for file in slack.uploads.values()] == [timestamp]


@pytest.mark.parametrize("reference", ["", "nonsense", "C00000ALERTS:1600000000.000001"])
async def test_a_reply_to_what_is_not_there_goes_to_the_channel(slack: Slack, reference: str) -> None:
    async with contextlib.aclosing(sink_of(slack)) as sink:
        await sink.reply(samples.image(), reference)

    assert "thread_ts" not in slack.message


async def test_a_webhook_has_no_threads_but_loses_nothing(slack: Slack) -> None:
    async with contextlib.aclosing(webhook_of(slack)) as sink:
        assert not sink.threads
        assert await sink.summarise(summary(), "") == ""
        await sink.reply(samples.image(), "C1:2")

    assert [read(each).splitlines()[0] for each in slack.hooked] == [
        "🔴 3 findings, cluster: prod",
        "🔵 Deployment/shop/web updated",
    ]


# Failures


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("invalid_auth", "copy the Bot User OAuth Token"),
        ("token_revoked", "copy the Bot User OAuth Token"),
        ("account_inactive", "install it again"),
        ("channel_not_found", "invite the app to it if it is private"),
        ("not_in_channel", "invite the app to the channel"),
        ("is_archived", "unarchive the channel"),
        ("restricted_action", "an administrator of the workspace"),
        ("something_new", ""),
    ],
)
async def test_a_refusal_says_what_to_do(slack: Slack, code: str, advice: str) -> None:
    slack.instead["*"] = httpx.Response(200, json={"ok": False, "error": code})

    problem = await refusal(sink_of(slack))

    assert problem.startswith(f"127.0.0.1 answered {code}")
    assert advice in problem


async def test_a_missing_scope_is_named(slack: Slack) -> None:
    answer = {"ok": False, "error": "missing_scope", "needed": "chat:write", "provided": "files:write"}
    slack.instead["*"] = httpx.Response(200, json=answer)

    assert "missing_scope; needed is chat:write; add the scope" in await refusal(sink_of(slack))


@pytest.mark.parametrize(
    ("status", "body", "code", "advice"),
    [
        (403, "invalid_token", "invalid_token", "make a new one"),
        (403, "action_prohibited", "action_prohibited", "an administrator"),
        (404, "no_service", "no_service", "make a new one"),
        (404, "no_active_hooks", "no_active_hooks", "make a new one"),
        (404, "channel_not_found", "channel_not_found", "invite the app"),
        (410, "channel_is_archived", "channel_is_archived", "unarchive the channel"),
        (400, "no_text", "no_text", ""),
        (400, "<html>proxy</html>", "400 Bad Request", ""),
    ],
)
async def test_a_refusal_of_a_webhook_says_what_to_do(
    slack: Slack, status: int, body: str, code: str, advice: str
) -> None:
    slack.instead["*"] = httpx.Response(status, text=body)

    problem = await refusal(webhook_of(slack))

    assert problem.startswith(f"127.0.0.1 answered {code}")
    assert advice in problem
    assert "html" not in problem


@pytest.mark.parametrize("make", [sink_of, webhook_of])
async def test_too_many_messages_wait_as_long_as_slack_asks(slack: Slack, make: Any) -> None:
    slack.instead["*"] = httpx.Response(429, headers={"retry-after": "30"}, text="rate_limited")

    assert (await excuse(make(slack))).retry_after == timedelta(seconds=30)


@pytest.mark.parametrize("code", ["ratelimited", "internal_error", "fatal_error", "service_unavailable"])
async def test_slacks_own_troubles_are_temporary(slack: Slack, code: str) -> None:
    slack.instead["*"] = httpx.Response(200, json={"ok": False, "error": code})

    assert str(await excuse(sink_of(slack))) == f"127.0.0.1 answered {code}"


@pytest.mark.parametrize("make", [sink_of, webhook_of])
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_overload_and_outage_are_temporary(slack: Slack, status: int, make: Any) -> None:
    slack.instead["*"] = httpx.Response(status, html="<h1>nginx</h1>")

    assert f"answered {status} " in str(await excuse(make(slack)))


@pytest.mark.parametrize("body", ['"text"', "nonsense", "[]", "", "null"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/html"])
async def test_an_answer_that_is_not_slacks_is_temporary_or_refused_but_never_taken(
    slack: Slack, body: str, kind: str
) -> None:
    slack.instead["*"] = httpx.Response(200, headers={"content-type": kind}, content=body.encode())

    with pytest.raises((TemporaryError, PermanentError), match=r"127\.0\.0\.1 answered"):
        await sent(sink_of(slack), samples.image())


@pytest.mark.parametrize("make", [sink_of, webhook_of])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(slack: Slack, status: int, make: Any) -> None:
    slack.instead["*"] = httpx.Response(status, headers={"location": f"{slack.url}elsewhere"})

    assert "a redirect, which is not followed" in await refusal(make(slack))
    assert len(slack.calls) == 1


@pytest.mark.parametrize("make", [sink_of, webhook_of])
async def test_no_answer_in_time_is_temporary(slack: Slack, make: Any) -> None:
    slack.instead["*"] = None

    assert str(await excuse(make(slack, timeout_seconds=0.05))) == "127.0.0.1 did not answer within 0.05 s"


async def test_a_receiver_that_is_gone_is_temporary() -> None:
    with slack_server() as slack:
        gone = sink_of(slack), webhook_of(slack)

    for sink in gone:
        assert str(await excuse(sink)).startswith("cannot reach 127.0.0.1: ")


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long"])
async def test_where_the_blocks_are_refused_the_text_arrives(slack: Slack, code: str) -> None:
    taken = slack.post

    def refuse_blocks(arguments: dict[str, Any]) -> dict[str, Any]:
        slack.post = taken  # type: ignore[method-assign]
        raise RefusedError(code)

    slack.post = refuse_blocks  # type: ignore[method-assign]
    await sent(sink_of(slack), samples.image())

    assert "blocks" not in slack.message
    assert "• spec.template.spec.containers[nginx].image: nginx:1.27 → nginx:1.28" in slack.message["text"]
    assert samples.LINK in slack.message["text"]


@pytest.mark.parametrize(("make", "secret"), [(sink_of, TOKEN), (webhook_of, WEBHOOK_PATH)])
@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/html"])
async def test_secrets_stay_out_of_errors_and_logs_even_if_they_are_echoed(
    slack: Slack, make: Any, secret: str, status: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = json.dumps({"ok": False, "error": secret, "errors": [secret], "needed": secret})
    slack.instead["*"] = httpx.Response(status, text=answer, headers={"content-type": kind})

    with pytest.raises((TemporaryError, PermanentError)) as caught:
        await sent(make(slack), samples.failed_job())

    assert "Secret" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


async def test_nothing_is_logged_of_what_succeeds(slack: Slack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    await sent(sink_of(slack), samples.failed_job())
    await sent(webhook_of(slack), samples.failed_job())

    assert [record.getMessage() for record in caplog.records if record.name != "asyncio"] == []


async def test_the_proxy_of_the_environment_is_not_used_unasked(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9/")

    await sent(sink_of(slack), samples.image())
    await sent(webhook_of(slack), samples.image())

    assert "cannot reach" in str(await excuse(sink_of(slack, trust_environment=True)))


async def test_the_certificate_is_checked_against_the_ca_file(tmp_path: Path) -> None:
    context, authority = self_signed(tmp_path)
    async with listening(context) as receiver:
        receiver.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        given = {"name": "s", "webhook_url": f"{receiver.url}services/x"}
        await sent(SlackSink(SlackConfig.model_validate({**given, "ca_file": authority})), samples.image())
        await sent(SlackSink(SlackConfig.model_validate({**given, "verify_tls": False})), samples.image())
        assert "certificate" in str(await excuse(SlackSink(SlackConfig.model_validate(given))))


def test_a_ca_file_that_is_not_there_is_a_problem_of_the_setup(tmp_path: Path) -> None:
    with pytest.raises(SinkSetupError, match="ca_file"):
        SlackSink(config(ca_file=tmp_path / "none.pem"))


# Options


def test_robustas_options_are_taken() -> None:
    taken = config(
        channel_override="labels.slack",
        max_log_file_limit_kb=500,
        investigate_link=False,
        disable_holmes_note=True,
        prefer_redirect_to_platform=False,
    )

    assert taken.max_log_file_limit_kb == 500


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({}, "needs api_key and slack_channel (or webhook_url"),
        ({"api_key": TOKEN}, "needs slack_channel (or webhook_url"),
        ({"slack_channel": "a"}, "needs api_key (or webhook_url"),
        (
            {"webhook_url": "https://hooks.slack.com/services/x", "api_key": TOKEN, "slack_channel": "a"},
            "webhook_url posts to its own channel as itself; leave out api_key and slack_channel",
        ),
        ({"webhook_url": "https://hooks.slack.com/services/x", "channel_override": "labels.x"}, "channel_override"),
        ({"webhook_url": "https://hooks.slack.com"}, "is no incoming webhook"),
        ({"api_key": "xapp-1-A", "slack_channel": "a"}, "is an app-level token"),
        ({"api_key": "https://hooks.slack.com/services/x", "slack_channel": "a"}, "belongs into webhook_url"),
        ({"api_key": "MY SLACK KEY", "slack_channel": "a"}, "is no token of Slack"),
        ({"api_key": TOKEN, "slack_channel": "My Channel"}, "'My Channel' is no channel of Slack"),
        ({"api_key": TOKEN, "slack_channel": "@alice"}, "'@alice' is no channel of Slack"),
        ({"api_key": TOKEN, "slack_channel": "x-$nmespace"}, "unknown variable $nmespace"),
        ({"api_key": TOKEN, "slack_channel": "a", "channel_override": "general"}, "names no value; write cluster_name"),
        ({"api_key": TOKEN, "slack_channel": "a", "channel_override": "$label.x"}, "unknown variable $label"),
        ({"api_key": TOKEN, "slack_channel": "a", "max_log_file_limit_kb": 0}, "greater than or equal to 1"),
        ({"api_key": TOKEN, "slack_channel": "a", "api_url": "slack.com"}, "Input should be a valid URL"),
    ],
)
def test_options_that_cannot_work_are_refused(given: dict[str, Any], part: str) -> None:
    said = problem(**given)

    assert part in said
    assert "Secret" not in said


@pytest.mark.parametrize("name", ["alerts", "#alerts", "C0123456789", "G0123456789", "U0123456789", "ünïcode", "名前"])
def test_channels_are_names_or_ids(name: str) -> None:
    assert SlackSink(config(slack_channel=name)).lane(samples.image()) == name


@pytest.mark.parametrize("token", [TOKEN, f"{TOKEN}\n", "xoxp-1-2", "xoxe.xoxb-1-Mi0yLTEyMw"])
def test_tokens_of_bots_and_users_are_taken(token: str) -> None:
    key = config(api_key=token).api_key

    assert key
    assert key.get_secret_value() == token.strip()


def test_the_webhook_is_not_shown_with_the_options() -> None:
    given = SlackConfig.model_validate({"name": "s", "webhook_url": f"https://hooks.slack.com/{WEBHOOK_PATH}"})

    assert WEBHOOK_SECRET not in f"{given!r} {given} {given.model_dump()} {given.model_dump_json()}"
