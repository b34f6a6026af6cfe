from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from app.config.file import load, read, read_usable
from app.config.model import Config
from app.config.problems import ConfigError, Problem
from app.core.noise import NoiseOptions

PLAYBOOK = """
customPlaybooks:
- triggers:
  - {trigger}
  actions:
  - {action}
"""
NOTHING: Mapping[str, str] = {}


def problems(text: str, environ: Mapping[str, str] = NOTHING) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        read(text.encode(), "c.yaml", environ)
    return caught.value.problems


def problem(text: str, environ: Mapping[str, str] = NOTHING) -> Problem:
    (only,) = problems(text, environ)
    return only


def playbook(trigger: str = "on_pod_update: {}", action: str = "resource_babysitter: {}") -> str:
    return PLAYBOOK.format(trigger=trigger, action=action)


@pytest.mark.parametrize("text", ["", "# nothing", "---", "customPlaybooks:\nsinksConfig:\nrecord:\nglobalConfig:\n"])
def test_an_empty_file_has_the_defaults(text: str) -> None:
    assert read(text.encode(), "c.yaml", {}) == Config()


def test_a_file_is_loaded_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("globalConfig: {cluster_name: blue, console_url: 'https://witness.example.com'}")

    config = load(path, {})

    assert config.global_config.cluster_name == "blue"


def test_a_file_that_is_not_there_is_a_problem_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file or directory"):
        load(tmp_path / "absent.yaml", {})


def test_every_problem_is_told_at_once_from_top_to_bottom() -> None:
    found = problems("recrod: {}\n" + playbook("on_pdo_update: {}", "resource_babysiter: {}") + "  sinks: [nobody]\n")

    assert [(each.line, each.column, each.suggestion) for each in found] == [
        (1, 1, "record"),
        (5, 5, "on_pod_update"),
        (7, 5, "resource_babysitter"),
        (8, 11, ""),
    ]


def test_a_problem_reads_like_that_of_a_compiler() -> None:
    text = playbook("on_deploymet_update: {}")

    assert str(problem(text)) == (
        "c.yaml:4:5: customPlaybooks[0].triggers[0].on_deploymet_update: unknown trigger 'on_deploymet_update' "
        "(did you mean on_deployment_update?)"
    )


@pytest.mark.parametrize(
    ("text", "message", "suggestion"),
    [
        (playbook("on_pod_updated: {}"), "unknown trigger", "on_pod_update"),
        (playbook("on_kubernetes_any_resource_updat: {}"), "unknown trigger", "on_kubernetes_any_resource_update"),
        (playbook("on_pod_update: {name_prefx: a}"), "unknown key 'name_prefx'", "name_prefix"),
        (playbook("on_pod_update: {change_filters: {inclde: []}}"), "unknown key 'inclde'", "include"),
        (playbook("on_pod_update: {scope: {include: [{nam: x}]}}"), "unknown key 'nam'", "name"),
        (playbook(action="resource_babysiter: {}"), "unknown action", "resource_babysitter"),
        (playbook(action="resource_babysitter: {omited_fields: []}"), "unknown key", "omitted_fields"),
        (playbook() + "  stopp: true", "unknown key 'stopp'", "stop"),
        ("sinksConfig: [{stdot_sink: {name: a}}]", "unknown sink type 'stdot_sink'", "stdout_sink"),
        ("sinksConfig: [{stdout_sink: {name: a, formt: text}}]", "unknown key 'formt'", "format"),
        ("globalConfig: {cluster: a}", "unknown key 'cluster'", "cluster_name"),
        ("record: {exclud: []}", "unknown key 'exclud'", "exclude"),
        (
            playbook("on_kubernetes_resource_operation: {resources: [deploymnet]}"),
            "unknown resource 'deploymnet'",
            "deployment",
        ),
        (playbook("on_kubernetes_resource_operation: {operations: [updat]}"), "should be 'create'", "update"),
        (playbook(action="create_finding: {title: $nmae, aggregation_key: k}"), "unknown variable", "$name"),
        (
            playbook(action="create_finding: {title: t, aggregation_key: k, severity: HIHG}"),
            "should be 'DEBUG', 'INFO'",
            "HIGH",
        ),
        ("clusterName: blue", "is not read here", "globalConfig.cluster_name"),
        ("builtinPlaybooks: []", "is not read here", "customPlaybooks"),
    ],
)
def test_a_wrong_word_names_the_nearest_right_one(text: str, message: str, suggestion: str) -> None:
    only = problem(text)

    assert message in only.message
    assert only.suggestion == suggestion


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            playbook("on_certificate_update: {}"),
            "for a custom resource write on_resource_update: {group: ..., kind: ...}",
        ),
        (playbook("on_prometheus_alert: {}"), "unknown trigger 'on_prometheus_alert'"),
        (playbook("on_pod_update"), "needs a colon: write on_pod_update: {}"),
        (playbook("on_pod_update: {}\n    name_prefix: a"), "exactly one trigger, found 2"),
        (playbook("on_pod_update: 3"), "should be a mapping of options"),
        (playbook(action="create_finding: {title: t}"), "lacks the key 'aggregation_key'"),
        (playbook(action="resource_babysitter: {fields_to_monitor: image}"), "should be a list"),
        (playbook(action="resource_babysitter: {fields_to_monitor: ['a..b']}"), "'a..b' is not a field pattern"),
        (playbook("on_pod_update: {scope: {include: [{name: '('}]}}"), "'(' is not a regular expression"),
        (playbook("on_pod_update: {scope: , include: [{namespace: a}]}"), "'include' belongs into scope: indent it"),
        ("customPlaybooks: [{triggers: [{on_pod_update: {}}]}]", "lacks the key 'actions'"),
        ("kubewatch: {}", "is a Helm value of Robusta that has no counterpart here"),
        ("sinksConfig: [{slack_of_another_kind: {}}]", "unknown sink type"),
        ("record: {status: maybe}", "should be a boolean"),
        ("record: {exclude: [{}]}", "names no attribute"),
        ("globalConfig: {console_url: nowhere}", "should be a URL"),
        ("globalConfig: {redact: {field_patterns: ['a[b']}}", "is not a field pattern"),
        ("globalConfig: {redact: {value_patterns: ['(']}}", "is not a regular expression"),
        ("globalConfig: {cluster_name: a, cluster_name: b}", "is written twice, first in line 1"),
        ("- 1", "must be a mapping"),
        (
            playbook(action="json_change_tracker: {url: 'http://localhost', headers: {'a b': c}}"),
            "'a b' is not a header name",
        ),
    ],
)
def test_what_is_wrong_is_said_in_words(text: str, message: str) -> None:
    assert message in problem(text).message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (playbook("on_pod_update: {labels_selector: nothing}"), (4, 38)),
        (playbook(action="create_finding: {title: t}"), (6, 5)),
        (playbook() + "  stop: [1]\n", (7, 9)),
        ("# comment\n\nglobalConfig:\n  cluster_name:\n    deep: 1\n", (5, 5)),
    ],
)
def test_a_problem_names_its_line_and_column(text: str, place: tuple[int, int]) -> None:
    only = problem(text)

    assert (only.line, only.column) == place


def test_a_variable_that_is_not_set_is_one_problem() -> None:
    only = problem('sinksConfig: [{webhook_sink: {name: a, url: "{{ env.HOOK_URl }}"}}]', {"HOOK_URL": "x"})

    assert only.message == "the environment variable HOOK_URl is not set"
    assert only.suggestion == "{{ env.HOOK_URL }}"


def test_a_playbook_that_names_an_undeclared_sink_is_an_error() -> None:
    text = playbook() + "  sinks: [lgos, logs]\nsinksConfig: [{stdout_sink: {name: logs}}]\n"

    only = problem(text)

    assert only.message == "no sink is named 'lgos': there are logs"
    assert (only.line, only.column, only.suggestion) == (7, 11, "logs")


def test_an_undeclared_sink_that_noise_is_to_spare_is_an_error() -> None:
    text = "globalConfig:\n  noise:\n    except_sinks: [logs, lgos]\nsinksConfig: [{stdout_sink: {name: logs}}]\n"

    only = problem(text)

    assert only.message == "no sink is named 'lgos': there are logs"
    assert (only.line, only.column, only.suggestion) == (3, 26, "logs")


@pytest.mark.parametrize(
    ("flapping", "line"),
    [("{after: 0}", 3), ("{hold_seconds: 1}", 3), ("often", 3), ("{afterwards: 3}", 3)],
)
def test_noise_that_cannot_be_kept_down_so_is_an_error(flapping: str, line: int) -> None:
    assert problem(f"globalConfig:\n  noise:\n    flapping: {flapping}\n").line == line


@pytest.mark.parametrize("text", ["globalConfig: {noise: }", "globalConfig: {noise: {flapping: true}}", "{}"])
def test_noise_is_kept_down_unless_told_otherwise(text: str) -> None:
    assert read(text.encode(), "c.yaml", {}).global_config.noise == NoiseOptions()


def test_two_sinks_with_one_name_are_an_error() -> None:
    only = problem("sinksConfig:\n- stdout_sink: {name: logs}\n- file_sink: {name: logs}\n")

    assert (only.line, only.message) == (3, "another sink is already named 'logs'")


def test_names_of_implicit_sinks_cannot_be_taken() -> None:
    assert "are kept for" in problem("sinksConfig: [{stdout_sink: {name: 'json_change_tracker:1'}}]").message


def test_implicit_sinks_come_after_the_declared_ones() -> None:
    text = playbook(action="json_change_tracker: {url: 'http://localhost/a', headers: {X-Key: k}}")

    config = read((text + "sinksConfig: [{stdout_sink: {name: logs}}]").encode(), "c.yaml", {})

    assert [sink.name for sink in config.sinks] == ["logs", "json_change_tracker:fc05d60b"]
    assert config.sinks[1].default is False
    assert config.sinks[1].model_dump()["format"] == "object"


def tracker_names(*actions: str) -> list[str]:
    items = ", ".join(f"{{json_change_tracker: {action}}}" for action in actions)
    text = f"customPlaybooks: [{{triggers: [{{on_pod_update: {{}}}}], actions: [{items}]}}]"
    return [sink.name for sink in read(text.encode(), "c.yaml", {}).sinks]


def test_an_implicit_sink_keeps_its_name_when_the_file_is_edited_around_it() -> None:
    plain, keyed = "{url: 'http://localhost/a'}", "{url: 'http://localhost/a', headers: {X-Key: k, X-B: b}}"
    first, second = tracker_names(plain, keyed)

    assert first != second
    assert tracker_names(keyed, plain) == [second, first]
    assert tracker_names(keyed) == [second]
    assert tracker_names("{url: 'http://localhost/a', headers: {x-b: other, x-key: new}}") == [second]
    assert tracker_names("{url: 'http://localhost/b'}") != [first]


def test_equal_actions_share_a_sink_and_those_with_other_values_do_not() -> None:
    one, other = ("{url: 'http://localhost', headers: {X-Key: %s}}" % value for value in "ab")  # noqa: UP031  braces
    (name,) = tracker_names(one)

    assert tracker_names(one, one) == [name]
    assert tracker_names(one, other, one) == [name, f"{name}-2"]


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "sinksConfig: [{webhook_sink: {name: a, url: {{ env.SECRET }}}}]",
        "sinksConfig: [{webhook_sink: {name: a, url: '{{ env.SECRET }}'}}]",
        f"sinksConfig: [{{webhook_sink: {{name: a, url: {SECRET}}}}}]",
        f"sinksConfig: [{{webhook_sink: {{name: a, url: 'http://localhost', secret: {SECRET}!}}}}]",
        f"sinksConfig: [{{webhook_sink: {{name: a, url: 'http://localhost', headers: {SECRET}}}}}]",
        f"sinksConfig: [{{webhook_sink: *{SECRET}}}]",
        f"sinksConfig: [{{webhook_sink: !{SECRET} x}}]",
        f'sinksConfig: ["{SECRET}',
        f"sinksConfig: {{ [ {SECRET}",
        f"a: b: {SECRET}",
        f"sinksConfig: {SECRET}",
        f"sinksConfig: [{SECRET}]",
        f"record: {SECRET}",
        f"record: {{status: {SECRET}}}",
        f"globalConfig: {{redact: {{value_patterns: ['{SECRET}(']}}}}",
        playbook(action=f"json_change_tracker: {{url: {SECRET}}}"),
        playbook(action=f"create_finding: {SECRET}"),
        playbook(SECRET),
    ],
)
def test_no_value_is_repeated_in_a_problem(text: str) -> None:
    found = problems(text, {"SECRET": SECRET})

    assert SECRET not in "\n".join(map(str, found))


SCOPED = "sinksConfig: [{{stdout_sink: {{name: a, scope: {{include: [{{{}: '{}'}}]}}}}}}]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sinksConfig: [{stdout_sink: {name: '{{ env.S }}'}}, {file_sink: {name: '{{ env.S }}', file_name: a}}]",
            "another sink is already named '{{ env.S }}'",
        ),
        (
            playbook(action="create_finding: {title: '${{ env.S }}', aggregation_key: k}"),
            "unknown variable $...; there are",
        ),
        (
            playbook(action="create_finding: {title: '${{ env.S }}', aggregation_key: k}"),
            "($$ is a dollar sign), in '${{ env.S }}'",
        ),
        (SCOPED.format("name", "{{ env.S }}("), "'{{ env.S }}(' is not a regular expression"),
        (SCOPED.format("labels", "a=b,{{ env.S }}"), "'a=b,{{ env.S }}' is not a requirement"),
        (playbook("on_pod_update: {labels_selector: 'a=b,{{ env.S }}'}"), "'a=b,{{ env.S }}' is not a label"),
        (playbook("on_kubernetes_resource_operation: {resources: ['{{ env.S }}']}"), "unknown resource '{{ env.S }}'"),
        (playbook(action="resource_babysitter: {fields_to_monitor: ['{{ env.S }}..a']}"), "'{{ env.S }}..a' is not a"),
        (playbook() + "  sinks: ['{{ env.S }}']", "no sink is named '{{ env.S }}': sinksConfig has none"),
        (
            playbook() + "  sinks: [a]\nsinksConfig: [{stdout_sink: {name: '{{ env.S }}'}}]",
            "no sink is named 'a': there are {{ env.S }}",
        ),
        (
            playbook() + f"  sinks: [{SECRET}s]\nsinksConfig: [{{stdout_sink: {{name: '{{{{ env.S }}}}'}}}}]",
            "there are {{ env.S }}",
        ),
    ],
)
def test_a_problem_quotes_the_file_and_not_the_environment(text: str, message: str) -> None:
    only = problem(text, {"S": SECRET})

    assert message in only.message
    assert SECRET not in str(only).replace(f"{SECRET}s", "")


@pytest.mark.parametrize("secret", ["zq-wk\n'zv'", 'zq\'w "kzvj" (', "zqw (?P<kz vj>", "\\zqwk", "zqwk" * 200 + "("])
def test_no_part_of_a_variable_is_told(secret: str) -> None:
    text = SCOPED.format("name", "{{ env.S }}(") + "\n" + playbook("on_pod_update: {labels_selector: '{{ env.S }}'}")

    told = "\n".join(each.message for each in problems(text, {"S": secret}))

    assert "'{{ env.S }}(' is not a regular expression" in told
    assert [run for run in (secret[start : start + 4] for start in range(len(secret) - 3)) if run in told] == []


def test_a_word_of_the_file_is_quoted_beside_a_variable() -> None:
    only = problem(playbook("on_pod_update: {labels_selector: 'tier,app={{ env.S }}'}"), {"S": "web"})

    assert only.message.startswith("'tier' is not a label")


HOOK = '{webhook_sink: {name: %s, url: "https://example.com/%s"}}'


def sinks_file(*items: str, more: str = "") -> str:
    return "sinksConfig:\n" + "".join(f"- {item}\n" for item in items) + more


@pytest.mark.parametrize(
    ("item", "name", "key", "message"),
    [
        ("{webhook_sink: {name: bad, url: ftp://x}}", "bad", "webhook_sink", "URL scheme should be 'http' or 'https'"),
        ("{webhook_sink: {name: bad}}", "bad", "webhook_sink", "lacks the key 'url'"),
        (HOOK % ("bad", "{{ env.TOKEN }}"), "bad", "webhook_sink", "the environment variable TOKEN is not set"),
        ("{webhok_sink: {name: bad}}", "bad", "webhok_sink", "unknown sink type 'webhok_sink'"),
        ("{webhook_sink: {nam: bad}}", "sinksConfig[1]", "", "lacks the key 'name'"),
        (HOOK % ("good", "again"), "good", "webhook_sink", "another sink is already named 'good'"),
        ("{webhook_sink: {name: bad, name: bad, url: https://x}}", "bad", "webhook_sink", "is written twice"),
        ("just words", "sinksConfig[1]", "", "mapping"),
    ],
)
def test_a_sink_with_a_problem_is_left_out_and_the_others_stay(item: str, name: str, key: str, message: str) -> None:
    text = sinks_file(HOOK % ("good", "a"), item, HOOK % ("last", "b"), more=playbook())

    reading = read_usable(text.encode(), "c.yaml", {})

    assert [sink.name for sink in reading.config.sinks] == ["good", "last"]
    (left_out,) = reading.left_out
    assert (left_out.name, left_out.key) == (name, key)
    assert {problem.line for problem in left_out.problems} == {3}
    assert message in str(left_out)
    assert {str(problem) for problem in left_out.problems} == set(map(str, problems(text)))


def test_playbooks_may_name_a_sink_that_is_left_out() -> None:
    text = sinks_file("{webhook_sink: {name: bad}}", more=playbook() + "  sinks: [bad]\n")

    config = read_usable(text.encode(), "c.yaml", {}).config

    assert config.custom_playbooks[0].sinks == ["bad"]
    assert config.compile() is not None


@pytest.mark.parametrize(
    "elsewhere",
    [
        playbook(trigger="on_pot_update: {}"),
        playbook(action="json_change_tracker: {url: https://x.example, headers: {'a b': c}}"),
        "globalConfig: {cluster_name: [a]}\n",
        playbook() + "  sinks: [bda]\n",
        "unknown: 1\n",
    ],
)
def test_a_problem_elsewhere_refuses_the_file_with_those_of_the_sinks(elsewhere: str) -> None:
    text = sinks_file("{webhook_sink: {name: bad}}", more=elsewhere)

    with pytest.raises(ConfigError) as caught:
        read_usable(text.encode(), "c.yaml", {})

    assert len(caught.value.problems) == 2
    assert "lacks the key 'url'" in str(caught.value.problems[0])


@pytest.mark.parametrize(
    "section", ["sinksConfig: 7\n", "sinksConfig: {webhook_sink: {name: a}}\n", "[]", "{", "a: b: c"]
)
def test_what_is_no_single_sinks_problem_refuses_the_file(section: str) -> None:
    with pytest.raises(ConfigError):
        read_usable(section.encode(), "c.yaml", {})


def test_values_of_the_environment_are_not_quoted_for_a_sink_that_is_left_out() -> None:
    text = sinks_file('{webhook_sink: {name: bad, url: "{{ env.HOOK }}"}}')

    (left_out,) = read_usable(text.encode(), "c.yaml", {"HOOK": "gopher://secret-host/secret-path"}).left_out

    assert "secret" not in f"{left_out} {left_out!r}"


def test_it_is_known_where_each_sink_stands() -> None:
    text = sinks_file(HOOK % ("first", "a"), HOOK % ("second", "b"))

    assert read_usable(text.encode(), "c.yaml", {}).places == {"first": (2, 3), "second": (3, 3)}
