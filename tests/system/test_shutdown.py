"""A rollout: the program is told to leave, goes on serving while that spreads, and loses nothing when it goes."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

from tests.system.conftest import Serve
from tests.system.disks import stalled_disk
from tests.system.receiver import Receiver
from tests.system.reviews import acknowledge, entry_id, post, set_image
from tests.system.server import Server, eventually

LONGER_THAN_ANY_TEST: Final = "--drain-seconds=600"

CONFIG: Final = """
sinksConfig:
- webhook_sink: {{name: hook, url: "{url}"}}
customPlaybooks:
- triggers: [{{on_deployment_update: {{}}}}]
  actions: [{{resource_babysitter: {{fields_to_monitor: [images]}}}}]
"""
HANGING: Final = "hook, timeout_seconds: 20,"


def begin_to_drain(server: Server) -> None:
    server.signal(signal.SIGTERM)
    eventually(lambda: server.readyz()[0] == 503, "/readyz says 503")


def test_readiness_goes_first_while_reviews_are_answered_and_recorded(serve: Serve) -> None:
    server = serve("", LONGER_THAN_ANY_TEST)
    with server.client() as client:
        before = post(client, set_image("web:before"))
        begin_to_drain(server)
        after = post(client, set_image("web:draining"))
    with server.client() as newcomer:
        late = post(newcomer, set_image("web:late"))

    assert server.readyz()[1]["status"] == "unavailable"
    assert server.readyz()[1]["checks"]["shutdown"]["message"] == "draining: new connections should go elsewhere"
    assert server.get("/livez").text == "ok"
    assert [answer.headers.get("connection") for answer in (before, after, late)] == [None, "close", "close"]
    assert [entry["id"] for entry in server.stored()] == [entry_id(answer) for answer in (before, after, late)]


def test_the_drain_time_ends_by_itself(serve: Serve) -> None:
    server = serve("", "--drain-seconds=0.5")
    with server.client() as client:
        acknowledged = list(acknowledge(client, "web:1", "web:2"))

    begin_to_drain(server)

    assert server.exit_code() == 0
    assert [event["entries_lost"] for event in server.events("stopped")] == [0]
    assert [entry["id"] for entry in server.stored()] == acknowledged


def test_a_second_signal_ends_the_drain_early(serve: Serve) -> None:
    server = serve("", LONGER_THAN_ANY_TEST)
    begin_to_drain(server)

    assert server.stop() == 0


def test_a_client_that_is_silent_does_not_hold_up_the_end(serve: Serve) -> None:
    server = serve("", "--drain-seconds=0")
    with server.client() as silent:
        post(silent, set_image("web:1"))
        server.signal(signal.SIGTERM)

        assert server.exit_code() == 0
    assert "timeout graceful shutdown exceeded" not in server.logs()


def test_an_interrupt_ends_it_as_well(serve: Serve) -> None:
    server = serve()

    server.signal(signal.SIGINT)

    assert server.exit_code() == 0


def test_a_review_that_is_being_recorded_gets_its_answer_first(serve: Serve) -> None:
    server = serve("", "--commit-budget-seconds=30")

    with server.client() as client, ThreadPoolExecutor(1) as thread:
        with stalled_disk(server):
            answer = thread.submit(post, client, set_image("web:last"))
            eventually(lambda: server.metric("kubewitness_journal_pending_entries") == 1, "a review in progress")
            begin_to_drain(server)
        last = answer.result()

    assert server.exit_code() == 0
    assert last.headers["connection"] == "close"
    assert [entry["id"] for entry in server.stored()] == [entry_id(last)]


def test_what_waits_for_the_disk_is_written_while_a_last_send_is_waited_for(serve: Serve) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as never_answers:
        hangs = CONFIG.format(url=f"http://127.0.0.1:{never_answers.getsockname()[1]}").replace("hook,", HANGING)
        server = serve(hangs, "--commit-budget-seconds=0.1", "--flush-seconds=60")
        with server.client() as client:
            posted = list(acknowledge(client, "web:told"))
            eventually(lambda: server.deliveries()[0]["attempts"] == 1, "a send that hangs")
            with stalled_disk(server):
                posted += acknowledge(client, "web:waits")
                server.signal(signal.SIGTERM)
                eventually(lambda: server.events("draining"), "the end begins")
        eventually(lambda: len(server.stored()) == len(posted), "both entries in the journal")
        server.readyz()
        server.kill()

    assert server.events("stopped") == []
    assert [entry["id"] for entry in server.stored()] == posted


def test_what_was_not_delivered_is_kept_for_the_next_start(serve: Serve, receiver: Receiver) -> None:
    receiver.down = True
    server = serve(CONFIG.format(url=receiver.url))
    with server.client() as client:
        acknowledged = list(acknowledge(client, "web:1", "web:2", "web:3"))
    eventually(lambda: receiver.refused > 0, "an attempt")

    exit_code = server.stop()
    receiver.down = False
    server.let_waits_end()
    server.start()

    assert exit_code == 0
    eventually(lambda: len(receiver.told()) == len(acknowledged), "every finding reaches the sink")
    assert sorted(receiver.told()) == sorted(acknowledged)
    eventually(lambda: {each["state"] for each in server.deliveries()} == {"delivered"}, "the ledger says delivered")
