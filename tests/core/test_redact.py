"""No secret leaves, wherever it stands; what is no secret stays readable."""

from __future__ import annotations

import base64
import json
import re
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.change import User
from app.core.diff import diff
from app.core.paths import compile_pattern
from app.core.redact import LAST_APPLIED, Redactor
from tests.builders import KEY, about, entry_of, make_review, make_rules, record

REDACTOR = Redactor(KEY)
SENTINEL = "Zk7qSENTINELw3x"
MARK = re.compile(r"redacted:[0-9a-f]{16}")


def encoded(**request: Any) -> str:
    """Return everything that a review leaves, as it is stored."""
    return msgspec.json.encode(entry_of(make_review(**request))).decode()


def changed(old: Any, new: Any, **request: Any) -> str:
    return encoded(oldObject=old, object=new, **request)


def workload(**container: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1", **container}]}}}}


def config_map(text: str) -> dict[str, Any]:
    return {"data": {"file": text}}


def annotated(text: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {LAST_APPLIED: text}}}


CONFIG_MAP = about("ConfigMap", "configmaps")
SECRET = about("Secret", "secrets")
B64 = base64.b64encode(SENTINEL.encode()).decode()
PEM = f"-----BEGIN EC PRIVATE KEY-----\n{SENTINEL}\n-----END EC PRIVATE KEY-----"

INNER = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"a": SENTINEL}}
NOTE = json.dumps({"data": {"a": SENTINEL}})
YAML = f"apiVersion: v1\ndata:\n  a: {SENTINEL}\n  b: |\n    {SENTINEL}\nkind: Secret\n"
LONG = "x" * 300 + SENTINEL


def noted(name: str, text: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {name: text}}}


PLACES: list[Any] = [
    pytest.param(SECRET, noted("example.com/copy", NOTE), id="JSON in an annotation of a Secret"),
    pytest.param(SECRET, noted("example.com/copy", LONG), id="a long annotation of a Secret"),
    pytest.param(
        {}, {"spec": [{"kind": "Secret", **noted("example.com/copy", LONG)}]}, id="an annotation of a Secret inside"
    ),
    pytest.param({}, noted("kapp.k14s.io/original", SENTINEL), id="original"),
    pytest.param({}, noted("banzaicloud.com/last-applied", SENTINEL), id="another last-applied"),
    pytest.param({}, noted("objectset.rio.cattle.io/applied", f"H4sI{SENTINEL}"), id="applied"),
    pytest.param({}, {"spec": {"workload": {"manifests": [INNER]}}}, id="a ManifestWork"),
    pytest.param({}, {"spec": {"forProvider": {"manifest": INNER}}}, id="an Object of Crossplane"),
    pytest.param({}, {"objects": [INNER], "items": [{"a": [[INNER]]}]}, id="a Template, a List"),
    pytest.param(CONFIG_MAP, config_map(YAML), id="a Secret as YAML"),
    pytest.param(CONFIG_MAP, config_map(f"a: b\n---\n{YAML}---\nc: d\n"), id="a Secret among YAML documents"),
    pytest.param(CONFIG_MAP, config_map(json.dumps(INNER)), id="a Secret as JSON"),
    pytest.param(CONFIG_MAP, config_map(json.dumps({"items": [INNER]}, indent=2)), id="a Secret in pretty JSON"),
    pytest.param(CONFIG_MAP, config_map(f"x {json.dumps(INNER)}"), id="a Secret as JSON in a text"),
    pytest.param({}, noted("example.com/manifest", json.dumps(json.dumps([INNER]))), id="a Secret in quoted JSON"),
    *[
        pytest.param({}, {"spec": {name: {"value": SENTINEL}}}, id=f"a map of the name {name}")
        for name in ("secret", "token", "apiKey", "clientSecret", "credential", "secrets", "secretData", "basicAuth")
    ],
    pytest.param({}, {"spec": {"values": {"secrets": {"db": SENTINEL, "name": "x"}}}}, id="secrets of a chart"),
    pytest.param({}, {"spec": {"token": {"a": [{"b": SENTINEL}]}}}, id="deep in a map of such a name"),
    pytest.param({}, {"spec": {"token": {"key": SENTINEL}}}, id="a key of nothing"),
    *[
        pytest.param({}, {"spec": [{title: "DB_PASSWORD", content: SENTINEL}]}, id=f"{content} beside {title}")
        for title, content in [
            ("name", "default"),
            ("name", "content"),
            ("Name", "Value"),
            ("key", "value"),
            ("name", "data"),
        ]
    ],
    pytest.param(
        CONFIG_MAP, config_map(f"- name: DB_PASSWORD\n  value: {SENTINEL}\n"), id="a value beside a name, YAML"
    ),
    pytest.param(
        CONFIG_MAP,
        config_map(json.dumps([{"value": SENTINEL, "name": "DB_PASSWORD"}])),
        id="a value beside a name, JSON",
    ),
    pytest.param(CONFIG_MAP, config_map(json.dumps({"secret": {"value": SENTINEL}})), id="a map in JSON"),
    pytest.param(CONFIG_MAP, config_map(f"secret:\n  value: {SENTINEL}\n"), id="a map in YAML"),
    pytest.param(CONFIG_MAP, {"binaryData": {"x": SENTINEL}}, id="binaryData"),
    pytest.param({}, workload(command=["curl", "-u", f"admin:{SENTINEL}"]), id="curl"),
    pytest.param({}, workload(command=["/usr/bin/mysql", "-uroot", f"-p{SENTINEL}"]), id="mysql"),
    pytest.param({}, workload(command=["mysqldump"], args=["-h", f"-p{SENTINEL}"]), id="arguments of a command"),
    pytest.param({}, workload(image="library/redis-cli:1", args=["-a", SENTINEL]), id="arguments of an image"),
    pytest.param({}, workload(command=["redis-cli", "-a", SENTINEL]), id="redis"),
    pytest.param({}, workload(command=["sshpass", "-p", SENTINEL, "ssh", "x"]), id="sshpass"),
    pytest.param({}, workload(command=["sh", "-c", f"mysql -uroot -p{SENTINEL}"]), id="mysql in a shell"),
    pytest.param({}, {"spec": {"basicAuth": {"users": [f"me:{SENTINEL}"]}}}, id="users of Traefik"),
    pytest.param({}, {"spec": {"url": f"https://{SENTINEL}{SENTINEL}@host/x"}}, id="a token in a URL"),
    pytest.param({}, {"spec": {"url": f"https://hooks.slack.com/services/T/B/{SENTINEL}"}}, id="a hook of Slack"),
    pytest.param({}, {"spec": {"url": f"https://x/y?sp=r&sig={SENTINEL}&se=1"}}, id="a signature"),
    pytest.param(CONFIG_MAP, config_map(f"db:5432:*:me:{SENTINEL}\n"), id=".pgpass"),
    pytest.param({}, {"spec": {f"https://me:{SENTINEL}@host": {"a": "b"}}}, id="a key that is a URL"),
    pytest.param({}, {"spec": {f"{'x' * 60} password={SENTINEL}": ["b"]}}, id="a long key"),
    pytest.param({}, {"spec": [{"name": f"https://me:{SENTINEL}@host", "a": "b"}]}, id="a name that is a URL"),
    pytest.param({}, {"metadata": {"labels": {f"{'x' * 60} token={SENTINEL}": "b"}}}, id="a long label"),
    pytest.param(SECRET, {"data": {"p": SENTINEL}}, id="data of a Secret"),
    pytest.param(SECRET, {"stringData": {"p": SENTINEL}}, id="stringData of a Secret"),
    pytest.param(SECRET, {"data": {"p": [{"q": SENTINEL}]}}, id="deep inside a Secret"),
    pytest.param({}, {"spec": [{"kind": "Secret", "data": {"p": SENTINEL}}]}, id="a Secret inside another object"),
    pytest.param({}, {"spec": {"a": {"kind": "Secret", "stringData": {"p": [SENTINEL]}}}}, id="stringData inside"),
    pytest.param({}, {"metadata": {"annotations": {LAST_APPLIED: SENTINEL}}}, id="last-applied"),
    pytest.param({}, {"spec": {"template": annotated(SENTINEL)}}, id="last-applied in a template"),
    pytest.param({}, {"metadata": {"labels": {"token": SENTINEL}}}, id="a label"),
    pytest.param({}, {"metadata": {"annotations": {"x.io/api-key": SENTINEL}}}, id="an annotation"),
    pytest.param({}, workload(env=[{"name": "DB_PASSWORD", "value": SENTINEL}]), id="env"),
    pytest.param(
        {}, workload(env=[{"name": "A", "value": ""}, {"name": "A", "value": f"token={SENTINEL}"}]), id="twice"
    ),
    pytest.param({}, {"spec": {"headers": [{"name": "Authorization", "value": f"X {SENTINEL}"}]}}, id="a header"),
    pytest.param({}, {"spec": {"variables": [{"key": "apiToken", "values": [SENTINEL]}]}}, id="values by key"),
    pytest.param({}, workload(args=[f"--password={SENTINEL}"]), id="a flag"),
    pytest.param({}, workload(args=["--password", SENTINEL]), id="the argument behind a flag"),
    pytest.param({}, workload(command=["sh", "-c", f"PGPASSWORD={SENTINEL} psql"]), id="a shell command"),
    pytest.param({}, workload(env=[{"name": "URL", "value": f"postgres://me:{SENTINEL}@db/x"}]), id="a URL"),
    pytest.param({}, {"spec": {"password": SENTINEL}}, id="a field"),
    pytest.param({}, {"spec": {"passwords": {"a": {"name": SENTINEL}}}}, id="a name inside passwords"),
    pytest.param({}, {"spec": {"tokens": [SENTINEL, [SENTINEL]]}}, id="a list"),
    pytest.param({}, {"spec": {"credentials": {"user": SENTINEL}}}, id="everything inside credentials"),
    pytest.param(CONFIG_MAP, config_map(f'{{"db":{{"password":"{SENTINEL}"}}}}'), id="JSON"),
    pytest.param(CONFIG_MAP, config_map(f"db:\n  password: x{SENTINEL}, y{SENTINEL}\n"), id="YAML"),
    pytest.param(CONFIG_MAP, config_map(f"db.user=me\ndb.password={SENTINEL}&{SENTINEL}\n"), id="properties"),
    pytest.param(CONFIG_MAP, config_map(PEM), id="a private key"),
    pytest.param(CONFIG_MAP, config_map(f"eyJhbGci.eyJzdWIi.{SENTINEL}"), id="a JWT"),
    pytest.param(CONFIG_MAP, config_map(f"Authorization: Bearer {SENTINEL}"), id="bearer"),
    pytest.param(CONFIG_MAP, {"data": {"password": f"a\n{SENTINEL}"}}, id="a key of a ConfigMap"),
]


@pytest.mark.parametrize(("about", "document"), PLACES)
def test_a_secret_that_is_created_is_not_kept(about: dict[str, Any], document: dict[str, Any]) -> None:
    stored = encoded(operation="CREATE", oldObject=None, object=document, **about)

    assert SENTINEL not in stored
    assert B64 not in stored


@pytest.mark.parametrize(("about", "document"), PLACES)
@pytest.mark.parametrize("before", ["nothing", "another value"])
def test_a_secret_that_comes_changes_or_goes_is_not_kept(
    about: dict[str, Any], document: dict[str, Any], before: str
) -> None:
    other = {"spec": {}} if before == "nothing" else json.loads(json.dumps(document).replace(SENTINEL, "previous"))
    additions = ({**other, "type": "a"}, {**document, "type": "b"})

    assert SENTINEL not in changed(*additions, **about)
    assert SENTINEL not in changed(*reversed(additions), **about)


def test_a_changed_secret_shows_as_changed_and_not_as_what() -> None:
    entry = entry_of(make_review(**SECRET, oldObject={"data": {"p": "MQ=="}}, object={"data": {"p": "Mg=="}}))

    (change,) = entry.changes
    assert change.path == "data.p"
    assert MARK.fullmatch(change.old)
    assert MARK.fullmatch(change.new)
    assert change.old != change.new
    assert entry.patch == ({"op": "replace", "path": "/data/p", "value": change.new},)


def test_equal_secrets_have_equal_fingerprints_under_one_key_only() -> None:
    assert REDACTOR.fingerprint("hunter2") == Redactor(KEY).fingerprint("hunter2")
    assert REDACTOR.fingerprint("hunter2") != REDACTOR.fingerprint("hunter3")
    assert REDACTOR.fingerprint("hunter2") != Redactor(b"o" * 32).fingerprint("hunter2")


def test_the_order_of_keys_does_not_change_a_fingerprint() -> None:
    assert REDACTOR.fingerprint({"a": 1, "b": 2}) == REDACTOR.fingerprint({"b": 2, "a": 1})


def test_a_secret_that_moved_to_another_place_is_recognised() -> None:
    secret = REDACTOR.object("Secret", {"data": {"a": SENTINEL}})
    env = REDACTOR.object("Pod", {"env": [{"name": "TOKEN", "value": SENTINEL}]})

    assert secret["data"]["a"] == env["env"][0]["value"]


def test_the_shape_of_a_secret_map_stays_so_that_its_parts_can_be_told() -> None:
    shown = REDACTOR.object("X", {"credentials": {"a": [1, None], "b": True}})["credentials"]

    assert MARK.fullmatch(shown["a"][0])
    assert (shown["a"][1], shown["b"]) == (None, True)


READABLE: list[dict[str, Any]] = [
    {"volumes": [{"name": "v", "secret": {"secretName": "db", "defaultMode": 420, "optional": False}}]},
    {"env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]},
    {"envFrom": [{"secretRef": {"name": "db"}}]},
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600, "audience": "vault"}},
    {"tokenExpirationSeconds": 3600},
    {"automountServiceAccountToken": False},
    {"image": "ghcr.io/external-secrets/external-secrets:v0.9.11"},
    {"image": "external-secrets:v0.9.11"},
    {"imageID": "docker-pullable://token-service@sha256:0123"},
    {"imagePullSecrets": [{"name": "regcred"}]},
    {"secrets": [{"name": "default-token-x", "kind": "Secret"}]},
    {"tls": [{"hosts": ["example.com"], "secretName": "web-tls"}]},
    {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["db"]}]},
    {"args": ["--token-ttl=1h", "--secret-name", "db", "--verbose", "x"]},
    {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
    {"ports": [{"name": "http", "containerPort": 8080}]},
    {"externalTrafficPolicy": "Local", "sessionAffinity": "None", "clusterIP": "10.0.0.1"},
    {"annotations": {"nginx.ingress.kubernetes.io/auth-secret-name": "basic", "checksum/config": "1f2e"}},
    {"password": None, "token": True},
    {"sources": [{"secret": {"name": "db", "items": [{"key": "tls.key", "path": "key", "mode": 256}]}}]},
    {"secret": {"secretName": "db", "items": [{"key": "a", "path": "b"}]}},
    {"secrets": [{"name": "default-token-x", "namespace": "a", "apiVersion": "v1", "uid": "1"}]},
    {"token": {"name": "db", "key": "token"}, "privateKey": {"algorithm": "RSA", "size": 2048}},
    {"configMapKeyRef": {"name": "a", "key": "b"}, "PUBLIC_KEY": "x", "KEY": "x", "TOKEN_URL": "https://x/y"},
    {"keySelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kubernetes.io/hostname", "matchLabelKeys": ["a"]},
    {"labels": {"app.kubernetes.io/name": "a", "app.kubernetes.io/managed-by": "Helm"}},
    {"externalSecrets": {"image": "external-secrets:v1", "replicaCount": 1}},
    {"items": [{"kind": "Secret", "metadata": {"name": "db", "annotations": {"a": "b"}}, "type": "Opaque"}]},
    {"items": [{"kind": "ConfigMap", "data": {"a": "b"}}]},
    {"command": ["mysql", "-uroot", "--port=1", "-P1"], "args": ["-x", "-p", "a"], "user": ["-u", "1000:1000"]},
    {"text": '{"a": {"b": [1, 2.50]}}', "yaml": "a:\n  secretName: b\n  c: d"},
]


@pytest.mark.parametrize("document", READABLE, ids=lambda document: next(iter(document)))
def test_what_speaks_about_secrets_stays_readable(document: dict[str, Any]) -> None:
    assert REDACTOR.object("Pod", document) == document


def test_a_scalar_that_is_no_text_is_hidden_where_the_name_says_so() -> None:
    assert MARK.fullmatch(REDACTOR.object("X", {"pin": 1, "password": 1234})["password"])


def test_a_reference_may_change_in_the_open() -> None:
    old, new = (workload(env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": n, "key": "k"}}}]) for n in "ab")

    (change,) = entry_of(make_review(oldObject=old, object=new)).changes

    assert (change.old, change.new) == ("a", "b")


def test_configured_fields_are_secret() -> None:
    redactor = Redactor(KEY, field_patterns=[compile_pattern("spec.license"), compile_pattern("rules[*].code")])
    old = {"spec": {"license": SENTINEL, "rules": [{"name": "a", "code": SENTINEL}], "open": "x"}}

    entry = entry_of(make_review(oldObject={"spec": {"open": "y"}}, object=old), make_rules(redactor=redactor))
    created = redactor.object("X", old)

    assert SENTINEL not in str(entry)
    assert SENTINEL not in str(created)
    assert created["spec"]["open"] == "x"


def test_configured_values_are_secret_wherever_they_stand() -> None:
    redactor = Redactor(KEY, value_patterns=[re.compile(r"corp-(\w+)")])
    review = make_review(object={"metadata": {"labels": {"a": f"corp-{SENTINEL}"}}, "spec": [f"x corp-{SENTINEL}."]})

    entry = entry_of(review, make_rules(redactor=redactor))

    assert SENTINEL not in msgspec.json.encode(entry).decode()
    assert entry.labels["a"].startswith("corp-redacted:")


def test_credentials_in_what_an_authenticator_says_about_a_user_are_hidden() -> None:
    extra = {"example.com/access-token": (SENTINEL,), "scopes": ("read", f"token={SENTINEL}"), "pod": ("web-0",)}

    user = REDACTOR.user(User(username="alice", extra=extra))

    assert SENTINEL not in str(user)
    assert user.extra["pod"] == ("web-0",)
    assert user.extra["scopes"][0] == "read"


def test_the_order_of_a_list_is_restored_without_its_values() -> None:
    env = [{"name": name, "value": SENTINEL} for name in ("A_TOKEN", "B_TOKEN")]

    entry = entry_of(make_review(oldObject=workload(env=env), object=workload(env=env[::-1])))

    assert SENTINEL not in msgspec.json.encode(entry).decode()
    assert [each["op"] for each in entry.patch] == ["move"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab=:/ -", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
secret_places = st.sampled_from(
    [
        lambda secret: {"password": secret},
        lambda secret: {"clientSecret": [secret]},
        lambda secret: {"env": [{"name": "API_TOKEN", "value": secret}]},
        lambda secret: {"env": [{"name": "X", "value": "x"}, {"name": "X", "value": f"password: {secret}"}]},
        lambda secret: {"args": ["--token", secret]},
        lambda secret: {"args": ["-x", f"--db-password={secret}"]},
        lambda secret: {"url": f"amqp://me:{secret}@mq:5672/"},
        lambda secret: {"credentials": {"a": {"b": [secret]}}},
        lambda secret: {"data": {"app.yaml": f"a: b\ntoken: {secret}\nc: d"}},
        lambda secret: {"data": {"app.json": json.dumps({"a": {"secret": secret, "b": 1}})}},
        lambda secret: {"annotations": {LAST_APPLIED: json.dumps({"data": secret})}},
        lambda secret: {"header": f"Authorization: Bearer {secret}"},
    ]
)


def planted(place: Any, path: list[str | int], value: Any) -> Any:
    """Put a value into a document of random maps and lists."""
    for step in reversed(path):
        place = {step: place, "beside": value} if isinstance(step, str) else [value, place]
    return {"spec": place}


@given(
    place=secret_places,
    secret=st.text("abcXYZ0189_", min_size=4, max_size=12).map(lambda text: SENTINEL + text),
    path=st.lists(st.sampled_from(["a", "containers", "template", 0]), max_size=4),
    values=st.tuples(json_values, json_values),
    operation=st.sampled_from(["CREATE", "UPDATE", "DELETE"]),
)
def test_a_secret_at_any_secret_place_of_any_object_never_leaves(
    place: Any, secret: str, path: list[str | int], values: tuple[Any, Any], operation: str
) -> None:
    with_secret, without = planted(place(secret), path, values[0]), {"spec": planted(values[1], path, values[0])}
    pairs = {"CREATE": [(None, with_secret)], "DELETE": [(with_secret, None)]}
    changes = [(without, with_secret), (with_secret, without), (planted(place("other"), path, values[1]), with_secret)]

    for old, new in pairs.get(operation, changes):
        entry = record(make_review(operation=operation, oldObject=old, object=new))

        assert entry is not None
        assert SENTINEL not in msgspec.json.encode(entry).decode()


@given(json_values)
def test_any_json_can_be_redacted_and_keeps_its_shape(value: Any) -> None:
    shown = REDACTOR.object("ConfigMap", {"data": value})["data"]

    assert type(shown) is type(value)


def test_a_text_of_a_megabyte_stays_cheap() -> None:
    text = "x" * 500_000 + "password" + "y" * 500_000

    assert REDACTOR.object("ConfigMap", {"data": {"a": text}}) == {"data": {"a": text}}


@pytest.mark.parametrize(
    "text", ['{"a": 1, "password": "S3", "password": null}', '{"password": "S3"', '["S3 token=S3"]']
)
def test_json_that_is_odd_is_searched_as_text(text: str) -> None:
    assert "S3" not in REDACTOR.text(text).replace("S3 token", "")


def test_json_in_a_text_keeps_its_shape() -> None:
    shown = json.loads(REDACTOR.text('{"kind":"Secret","data":{"a":"S3"},"metadata":{"name":"db"}}'))

    assert shown == {"kind": "Secret", "data": {"a": REDACTOR.fingerprint("S3")}, "metadata": {"name": "db"}}


def test_json_that_is_nested_too_deep_is_hidden_as_a_whole() -> None:
    assert MARK.fullmatch(REDACTOR.text("[" * 100_000))


def test_configured_fields_are_secret_deep_inside_a_kept_object_too() -> None:
    redactor = Redactor(KEY, field_patterns=[compile_pattern("rules[*].code"), compile_pattern("containers[web].tty")])
    rules = [{"name": "a", "code": {"x": [SENTINEL]}}]
    document = {"a": {"b": {"rules": rules, "containers": [{"name": "web", "tty": SENTINEL, "open": "x"}]}}}

    shown = redactor.object("X", document)

    assert SENTINEL not in str(shown)
    assert shown["a"]["b"]["containers"][0]["open"] == "x"


def test_the_paths_of_a_patch_are_redacted_as_those_of_the_changes() -> None:
    key = f"https://me:{SENTINEL}@host"
    entry = entry_of(make_review(oldObject={"spec": {key: "a"}}, object={"spec": {key: "b"}}))

    (change,) = entry.changes
    (operation,) = entry.patch
    assert SENTINEL not in change.path
    assert SENTINEL not in operation["path"]
    assert operation["path"].startswith("/spec/https:~1~1me:redacted:")


def leaves_of(depth: int, leaves: int) -> dict[str, Any]:
    document: dict[str, Any] = {f"f{index}": "value" for index in range(leaves)}
    for _ in range(depth):
        document = {"in": document}
    return document


def calls_of(redactor: Redactor, document: dict[str, Any]) -> int:
    """Count the calls of Python functions, a measure of time that does not depend on the machine."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        redactor.object("X", document)
    finally:
        sys.setprofile(before)
    return calls


def test_a_list_that_names_programs_often_stays_cheap() -> None:
    old, new = ([f"{word}{index}", "mysql"] * 1000 for word, index in (("a", 1), ("b", 2)))
    deltas = diff({"command": old}, {"command": new})

    assert max(len(delta.context) for delta in deltas) == 2


@pytest.mark.parametrize("patterns", [(), ("a.b.c",)])
def test_the_cost_of_an_object_follows_its_size_and_not_its_depth(patterns: tuple[str, ...]) -> None:
    redactor = Redactor(KEY, field_patterns=map(compile_pattern, patterns))
    redactor.object("X", leaves_of(200, 1000))

    flat, deep = (calls_of(redactor, leaves_of(depth, 1000)) for depth in (1, 200))

    assert deep < flat * 1.5
