"""The status and the actors: what is wrong is said first, and who does how much can be seen at a glance."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from app.core.change import User
from app.core.moments import milliseconds
from app.store.database import FILE_NAME, connect_writer
from app.telemetry.metrics import Metrics
from app.web.console import console
from app.web.health import Check
from app.web.ui.installation import Installation, PlaybookFacts, SinkFacts
from tests.builders import make_record
from tests.web.ledgers import checks, client_of, console_of, write
from tests.web.pages import Document, document

NOW = milliseconds(datetime.now(UTC))
FACTS = Installation(
    config_file="/etc/kubewitness/config.yaml",
    refused="config.yaml:3:1: there is no key playbook",
    playbooks=(PlaybookFacts(name="images", triggers=("on_deployment_update",), actions=("resource_babysitter",)),),
    sinks=(SinkFacts(name="slack", type="slack_sink", state="missing", reason="there is no file /token"),),
)
UP = Installation(sinks=(SinkFacts(name="slack", type="slack_sink"),))


async def status(data_dir: Path, installation: Installation, metrics: Metrics | None = None) -> Document:
    app = console(data_dir / FILE_NAME, checks(), metrics or Metrics(), lambda: installation)
    async with client_of(app) as client:
        return Document((await client.get("/status")).text)


async def test_what_needs_attention_is_the_headline(tmp_path: Path) -> None:
    await write(tmp_path)
    health = checks(journal=Check("ok"), sinks=Check("degraded", "slack cannot be made"))
    async with client_of(console_of(tmp_path, health)) as client:
        page = Document((await client.get("/status")).text)

    assert "Something needs attention" in page.text
    assert "degraded sinks" in page.text
    assert "slack cannot be made" in page.text


async def test_playbooks_are_shown_with_how_often_they_found_something_lately(tmp_path: Path) -> None:
    old, new = make_record("slack"), make_record("slack", at_milliseconds=NOW - 60_000)
    await write(tmp_path, old, new)

    page = await status(tmp_path, FACTS)

    assert "images on_deployment_update resource_babysitter nobody: the ledger keeps it 1" in " ".join(
        page.text.split()
    )


async def test_a_sink_is_shown_with_its_trouble_and_its_queue(tmp_path: Path) -> None:
    await write(tmp_path)
    metrics = Metrics()
    metrics.queue_dead.labels("slack").set(7)
    metrics.sink_up.labels("mail").set(1)

    page = await status(tmp_path, FACTS, metrics)

    assert "there is no file /token" in page.text
    assert "./deliveries?state=dead&sink=slack" in page.addresses()
    assert "mail" in page.text


async def told(data_dir: Path, **states: str) -> None:
    """Have deliveries to `slack` end so, in their order, a minute apart."""
    await write(data_dir, *(make_record("slack", at_milliseconds=NOW) for _ in states))
    with closing(connect_writer(data_dir / FILE_NAME, "NORMAL")) as connection:
        for number, (state, error) in enumerate(states.items(), 1):
            values = (state, error, NOW + number * 60_000, number)
            connection.execute(
                "UPDATE deliveries SET state = ?, attempts = 1, last_error = ?, updated_at = ? WHERE id = ?", values
            )


async def test_a_sink_that_refused_what_it_was_told_last_is_failing_and_says_why(tmp_path: Path) -> None:
    await told(tmp_path, delivered="", dead="channel_not_found <b>")
    metrics = Metrics()
    metrics.queue_dead.labels("slack").set(1)

    page = await status(tmp_path, UP, metrics)

    assert "it said last: channel_not_found <b> failing" in page.text
    assert "Something needs attention 1 delivery was given up" in page.text


async def test_a_sink_that_has_taken_something_since_is_up_again(tmp_path: Path) -> None:
    await told(tmp_path, dead="channel_not_found", delivered="")
    metrics = Metrics()
    metrics.queue_dead.labels("slack").set(1)

    page = await status(tmp_path, UP, metrics)

    assert "it said last: channel_not_found up" in page.text


async def test_the_configuration_in_effect_can_be_read(tmp_path: Path) -> None:
    await write(tmp_path)

    page = await status(tmp_path, Installation(configuration="customPlaybooks:\n- name: <b>\n"))

    assert "customPlaybooks: - name: <b>" in page.text


async def test_a_playbook_that_is_gone_from_the_configuration_is_still_shown_for_what_it_found(tmp_path: Path) -> None:
    await write(tmp_path, make_record("slack", at_milliseconds=NOW - 60_000))

    page = await status(tmp_path, Installation(config_file="config.yaml"))

    assert "images not in the configuration any more" in page.text


async def test_a_sink_that_is_gone_from_the_configuration_is_still_shown_for_its_deliveries(tmp_path: Path) -> None:
    await write(tmp_path, make_record("pager"))

    assert "not in the configuration any more" in (await status(tmp_path, Installation())).text


async def test_a_file_that_was_refused_is_said(tmp_path: Path) -> None:
    await write(tmp_path)

    page = await status(tmp_path, FACTS)

    assert "/etc/kubewitness/config.yaml" in page.text
    assert "A changed file was refused: config.yaml:3:1: there is no key playbook" in page.text


async def test_actors_are_people_and_controllers_the_busiest_first(tmp_path: Path) -> None:
    users = ["bob", "alice", "alice", "system:serviceaccount:ci:bot"]
    await write(tmp_path, *(make_record(user=User(username=user), at_milliseconds=NOW - 60_000) for user in users))

    page = await document(tmp_path, "/actors?since=24h")

    people, controllers = page.text.split("Controllers")
    assert people.index("alice") < people.index("bob")
    assert "ci:bot" in controllers
    assert "./?user=system%3Aserviceaccount%3Aci%3Abot&since=24h" in page.addresses()


async def test_actors_of_another_time_are_not_shown(tmp_path: Path) -> None:
    await write(tmp_path, make_record(user=User(username="bob")))

    assert "Nobody changed anything by hand in this time." in (await document(tmp_path, "/actors")).text
