"""The documentation names everything that there is, and nothing that there is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml

from app import __version__
from app.cli.demo_cluster import webhook_configuration
from app.config.file import read
from app.config.model import Config
from app.core.actions import ACTIONS
from app.core.change import Entry
from app.core.kinds import BY_NAME
from app.core.scope import ScopeItem
from app.core.triggers import TRIGGERS
from app.settings import PREFIX, Settings
from app.sinks._http import HttpSinkConfig
from app.sinks.registry import SINKS
from tests import reference
from tests.pages import FENCE, PAGES, blocks, command_of, configurations, console_commands, kubewitness_commands
from tests.receivers import RECEIVERS
from tests.reference import DOCUMENTS, ROOT, all_metrics

README: Final = (ROOT / "README.md").read_text("utf-8")
TEXTS: Final = {path.name: path.read_text("utf-8") for path in DOCUMENTS}
EVERYTHING: Final = "\n".join([README, *TEXTS.values()])

_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_VARIABLE: Final = re.compile(r"\{\{ env\.(\w+) \}\}")
_SERIES: Final = re.compile(r"\bkubewitness_[a-z_]+\b")
_SELLING: Final = re.compile(r"\b(?:powerful|seamless(?:ly)?|robust|simply|just)\b", re.IGNORECASE)


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    outside = FENCE.sub("", text)
    headings = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", TEXTS)
def test_tables_are_as_the_code_has_them(name: str) -> None:
    assert TEXTS[name] == reference.refreshed(TEXTS[name]), "out of date; run: .venv/bin/python -m tests.reference"


def test_every_table_has_its_place() -> None:
    assert sorted(name for text in TEXTS.values() for name in reference.sections_of(text)) == sorted(reference.SECTIONS)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_named_with_its_option(name: str) -> None:
    assert f"`{PREFIX}{name.upper()}`" in TEXTS["configuration.md"]
    assert f"`--{name.replace('_', '-')}`" in TEXTS["configuration.md"]


def test_every_metric_is_named() -> None:
    named = set(_SERIES.findall(TEXTS["metrics.md"]))

    assert {family.name for family in all_metrics().collect()} <= {name.removesuffix("_total") for name in named}


def test_every_metric_that_is_named_exists() -> None:
    exposed = {name for names in all_metrics()._collector_to_names.values() for name in names}

    assert set(_SERIES.findall(EVERYTHING)) <= exposed


@pytest.mark.parametrize("path", kubewitness_commands())
def test_every_command_is_described(path: str) -> None:
    assert section(TEXTS["commands.md"], f"## {path}").strip()


@pytest.mark.parametrize("option", kubewitness_commands()["kubewitness serve"])
def test_every_option_of_serve_is_described(option: str) -> None:
    assert f"| `{option}` |" in TEXTS["configuration.md"]


@pytest.mark.parametrize("key", SINKS)
def test_every_sink_is_described_with_its_options(key: str) -> None:
    everywhere, own = section(TEXTS["configuration.md"], "## Sinks"), section(TEXTS["sinks.md"], f"## {key}")
    if issubclass(SINKS[key].Config, HttpSinkConfig):
        assert "[HTTP](#http)" in own
        everywhere += section(TEXTS["sinks.md"], "## HTTP")

    for option in SINKS[key].Config.model_fields:
        assert f"| `{option}` |" in own + everywhere


@pytest.mark.parametrize("key", SINKS)
def test_every_sink_has_an_example_and_says_what_its_receiver_takes(key: str) -> None:
    name = key.removesuffix("_sink")

    assert f"(../config/sinks/{name}.yaml)" in section(TEXTS["sinks.md"], f"## {key}")
    assert RECEIVERS[key].limits
    assert RECEIVERS[key].repeats


def test_receivers_are_those_of_sinks_that_there_are() -> None:
    assert sorted(RECEIVERS) == sorted(SINKS)


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_is_described_with_its_parameters(name: str) -> None:
    text = section(TEXTS["configuration.md"], f"### {name}")

    assert all(f"| `{parameter}` |" in text for parameter in ACTIONS[name].model_fields)


def test_every_trigger_is_named() -> None:
    text = section(TEXTS["configuration.md"], "### Triggers")
    pattern = re.compile(rf"on_({'|'.join(BY_NAME)})_(create|update|delete|all_changes)")

    for name in TRIGGERS:
        kind = pattern.fullmatch(name)
        assert f"`on_<kind>_{kind[2]}`" in text and f"`{kind[1]}`" in text if kind else f"`{name}`" in text, name


@pytest.mark.parametrize("attribute", list(ScopeItem.model_fields))
def test_every_attribute_of_scopes_is_described(attribute: str) -> None:
    assert f"| `{attribute}` |" in section(TEXTS["configuration.md"], "### Scopes")


@pytest.mark.parametrize("key", [field.alias or name for name, field in Config.model_fields.items()])
def test_every_key_of_the_file_is_described(key: str) -> None:
    assert f"| `{key}` |" in section(TEXTS["configuration.md"], "## The file")


_CREDENTIALS: Final = {"SLACK_TOKEN": "xoxb-1-1-a", "PAGERDUTY_KEY": "0" * 32}


def value_of(variable: str) -> str:
    """Return a value for a variable of the environment that a sink does not refuse at sight."""
    return _CREDENTIALS.get(variable, "https://example.com/hook/1" if variable.endswith("URL") else "x")


@pytest.mark.parametrize("text", configurations())
def test_every_configuration_in_the_documentation_is_valid(text: str) -> None:
    environ = {name: value_of(name) for name in _VARIABLE.findall(text)}
    with_sink = text if "\nsinksConfig:" in f"\n{text}" else f"{text}\nsinksConfig: []\n"

    read(with_sink.encode(), "documentation", environ).compile()


def test_there_are_configurations_in_the_readme_and_in_the_reference() -> None:
    assert len([text for text in configurations() if text in README]) >= 1
    assert len([text for text in configurations() if text in TEXTS["configuration.md"]]) >= 4
    assert len([text for text in configurations() if text in TEXTS["telling.md"]]) >= 5


@pytest.mark.parametrize("words", list(console_commands()), ids=" ".join)
def test_every_command_in_a_console_block_exists(words: list[str]) -> None:
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
        assert {word for word in words[1:] if "=" not in word} <= targets
        return
    known = kubewitness_commands()
    path = command_of(words)
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert path, f"there is no command {' '.join(words)!r}"
    assert given <= known[path]


def test_the_readme_shows_commands() -> None:
    assert len(blocks(README, "console")) >= 5


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")

    assert re.findall(r"^## \[([^\]]+)\]", changelog, re.MULTILINE)[0] == __version__
    assert f"Version {__version__}" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(linked.read_text("utf-8")), f"{target} has no such heading"


def webhook_in_the_guide() -> dict[str, Any]:
    [text] = [text for text in blocks(TEXTS["by-hand.md"], "yaml") if "ValidatingWebhookConfiguration" in text]
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def test_the_webhook_in_the_guide_is_that_of_the_demo(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_bytes(b"")
    shown, used = webhook_in_the_guide(), webhook_configuration("changes.kubewitness.svc", 10250, authority)

    for key in ("rules", "failurePolicy", "matchPolicy", "sideEffects", "timeoutSeconds"):
        assert shown["webhooks"][0][key] == used["webhooks"][0][key]


def test_the_webhook_in_the_guide_leaves_out_its_own_namespace() -> None:
    [requirement] = webhook_in_the_guide()["webhooks"][0]["namespaceSelector"]["matchExpressions"]

    assert requirement == {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kubewitness"]}


def test_the_entry_in_the_readme_has_the_shape_of_entries() -> None:
    [text] = blocks(section(README, "## API"), "json")

    entry = msgspec.json.decode(text, type=Entry)
    assert msgspec.json.decode(msgspec.json.encode(entry)) == msgspec.json.decode(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_word_sells(page: Path) -> None:
    assert _SELLING.findall(page.read_text("utf-8")) == []
