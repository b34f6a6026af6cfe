from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import override

from app.core.finding import Notification
from app.sinks.base import Rendering, Sink, SinkConfig
from app.sinks.registry import OTHER_KEYS, SINKS, SinkItem, build, build_all, key_of, sink_in
from app.sinks.webhook import WebhookConfig, WebhookSink


class File(BaseModel):
    sinksConfig: list[SinkItem]  # noqa: N815


def problems(item: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        File.model_validate({"sinksConfig": [item]})
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


def module_with(*sinks: type[Sink[Any]]) -> ModuleType:
    module = ModuleType("made_up")
    for sink in sinks:
        sink.__module__ = module.__name__
        setattr(module, sink.__name__, sink)
    return module


def made_up_sink(name: str) -> type[Sink[Any]]:
    class MadeUp(Sink[SinkConfig]):
        Config = SinkConfig

        @override
        async def send(self, notification: Notification) -> None:
            """Take it."""

        @override
        def render(self, notification: Notification) -> Rendering:
            return ""

    MadeUp.__name__ = name
    return MadeUp


def test_every_public_module_is_found_under_its_key() -> None:
    assert {"file_sink", "stdout_sink", "webhook_sink"} <= SINKS.keys()
    assert list(SINKS) == sorted(SINKS)
    assert SINKS["webhook_sink"] is WebhookSink
    assert "base_sink" not in SINKS


def test_a_module_has_exactly_one_sink() -> None:
    one, two = made_up_sink("One"), made_up_sink("Two")

    assert sink_in(module_with(one)) is one
    with pytest.raises(TypeError, match="made_up must define exactly one subclass of Sink, found: none"):
        sink_in(module_with())
    with pytest.raises(TypeError, match="found: One, Two"):
        sink_in(module_with(one, two))


def test_a_sink_that_is_only_imported_does_not_count() -> None:
    module = ModuleType("made_up")
    module.__dict__["WebhookSink"] = WebhookSink

    with pytest.raises(TypeError, match="found: none"):
        sink_in(module)


def test_an_item_tells_what_was_chosen() -> None:
    item = File.model_validate({"sinksConfig": [{"webhook_sink": {"name": "w", "url": "https://x.example"}}]})

    key, config = item.sinksConfig[0].chosen

    assert key == "webhook_sink"
    assert isinstance(config, WebhookConfig)
    assert isinstance(build(config), WebhookSink)


def test_errors_are_located_at_the_option() -> None:
    assert problems({"webhook_sink": {"name": "w", "url": "ftp://x"}}) == [
        ("sinksConfig.0.webhook_sink.url", "URL scheme should be 'http' or 'https'")
    ]
    assert problems({"webhok_sink": {}})[0] == ("sinksConfig.0.webhok_sink", "Extra inputs are not permitted")
    assert problems({"webhook_sink": None})[0][0] == "sinksConfig.0.webhook_sink"


def test_an_item_names_exactly_one_sink() -> None:
    both = {"stdout_sink": {"name": "a"}, "file_sink": {"name": "b"}}

    assert "names exactly one sink (" in problems({})[0][1]
    assert problems({})[0][1].endswith("found: none")
    assert problems(both)[0][1].endswith("found: file_sink and stdout_sink")


def test_the_schema_lists_every_sink() -> None:
    schema = TypeAdapter(SinkItem).json_schema()

    assert schema["properties"].keys() == SINKS.keys() | OTHER_KEYS.keys()
    assert (schema["minProperties"], schema["maxProperties"]) == (1, 1)
    assert schema["additionalProperties"] is False


def test_options_of_no_sink_are_not_built() -> None:
    with pytest.raises(TypeError, match="SinkConfig is not the Config of any sink"):
        build(SinkConfig(name="x"))


def test_a_sink_is_loaded_only_when_it_is_named() -> None:
    script = """
import sys
from app.config.model import Config
Config.model_validate({"sinksConfig": [{"stdout_sink": {"name": "x"}}]})
print([name for name in sys.modules if name.startswith("app.sinks.") and "._" not in name])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "app.sinks.stdout" in done.stdout
    assert "app.sinks.file" not in done.stdout


def test_sinks_with_equal_options_are_taken_again() -> None:
    def config(name: str, url: str) -> WebhookConfig:
        return WebhookConfig.model_validate({"name": name, "url": url, "headers": {"X-Key": "secret"}})

    known = build_all([config("a", "http://localhost/a"), config("b", "http://localhost/b")]).sinks

    again = build_all([config("b", "http://localhost/b"), config("a", "http://localhost/new")], known).sinks

    assert list(again) == ["b", "a"]
    assert again["b"] is known["b"]
    assert again["a"] is not known["a"]
    assert again["a"].config == config("a", "http://localhost/new")


def test_a_sink_that_cannot_be_made_keeps_no_other_from_being_made(tmp_path: Path) -> None:
    broken = WebhookConfig.model_validate({"name": "broken", "url": "http://localhost", "ca_file": tmp_path / "ca.pem"})
    works = WebhookConfig.model_validate({"name": "works", "url": "http://localhost"})

    built = build_all([broken, works])

    assert list(built.sinks) == ["works"]
    assert built.failures == {"broken": f"sink 'broken': ca_file {tmp_path}/ca.pem: No such file or directory"}


def test_a_bug_in_a_constructor_is_named_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: WebhookSink, config: WebhookConfig) -> None:
        raise RuntimeError(f"cannot use {config.url.get_secret_value()}")

    monkeypatch.setattr(WebhookSink, "__init__", fail)
    config = WebhookConfig.model_validate({"name": "hook", "url": "http://localhost/secret-path"})

    (failure,) = build_all([config]).failures.values()

    assert failure.startswith("sink 'hook': internal error (RuntimeError at test_registry.py:")
    assert "secret" not in failure


def test_other_spellings_of_a_key_mean_the_same_sink() -> None:
    options = {"name": "now", "instance": "dev1", "username": "bot", "password": "x"}

    ours, theirs = (
        File.model_validate({"sinksConfig": [{key: options}]}).sinksConfig[0]
        for key in ("servicenow_sink", "service_now_sink")
    )

    assert theirs.chosen == ours.chosen
    assert theirs.key == "servicenow_sink"
    assert key_of(theirs.config) == "servicenow_sink"


def test_a_problem_is_told_under_the_spelling_of_the_file() -> None:
    item = {"service_now_sink": {"name": "now", "instance": "dev1", "username": "bot"}}

    assert problems(item) == [("sinksConfig.0.service_now_sink.password", "Field required")]


def test_other_spellings_are_those_of_sinks_and_no_sinks_of_their_own() -> None:
    assert OTHER_KEYS.keys().isdisjoint(SINKS)
    assert set(OTHER_KEYS.values()) <= SINKS.keys()
