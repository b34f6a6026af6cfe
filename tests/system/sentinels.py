"""Reviews with a sentinel in every place where a secret can hide, and the search for a sentinel."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tests.system.reviews import review

HARMLESS: Final = "plain-Wolkenbruch-value"
"""Stands in every review where anybody may read it: a search that does not find it finds nothing."""


class Sentinels:
    """Hands out values that occur nowhere else, one for each place."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def __call__(self, place: str) -> str:
        return self.values.setdefault(place, f"s3ntinel{len(self.values):03d}Kr1stall")


def spellings(value: str) -> Iterator[bytes]:
    """Yield the value as it is, and in base64 however it is aligned."""
    yield value.encode()
    for offset in range(3):
        # The ends depend on what is around the value; the middle is the same everywhere.
        yield base64.b64encode(b"\0" * offset + value.encode())[4:-4]


def _metadata(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "vault", "labels": {"note": HARMLESS}, **more}


def _coded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def secrets(sentinel: Sentinels) -> Iterator[bytes]:
    """Yield a Secret that is created, changed and deleted, in both spellings of its content."""

    def version(word: str) -> dict[str, Any]:
        content = {"password": _coded(sentinel(f"Secret data {word}")), "note": _coded(sentinel(f"Secret note {word}"))}
        plain = {"plain": sentinel(f"Secret stringData {word}")}
        notes = {
            "example.com/copy": json.dumps({"a": sentinel(f"JSON beside a Secret {word}")}),
            "example.com/blob": "x" * 300 + sentinel(f"long text beside a Secret {word}"),
            "example.com/mode": HARMLESS,
        }
        metadata = _metadata("secret", annotations=notes)
        return {"metadata": metadata, "data": content, "stringData": plain, "type": "Opaque"}

    first, second = version("old"), version("new")
    grown = {**second, "data": {**second["data"], "added": _coded(sentinel("Secret data added"))}}
    yield review("Secret", new=first)
    yield review("Secret", old=first, new=second)
    yield review("Secret", old=second, new=grown)
    yield review("Secret", old=grown, new=second)
    yield review("Secret", old=second)


def _manifest(value: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "data": {"innocent": value}})


def metadata(sentinel: Sentinels) -> Iterator[bytes]:
    """Yield what kubectl and people write into metadata."""
    applied = "kubectl.kubernetes.io/last-applied-configuration"

    def version(word: str) -> dict[str, Any]:
        last = json.dumps({"stringData": {"innocent": sentinel(f"last-applied {word}")}})
        keys = {
            applied: last,
            "kapp.k14s.io/original": sentinel(f"original {word}"),
            "banzaicloud.com/last-applied": sentinel(f"another last-applied {word}"),
            "objectset.rio.cattle.io/applied": sentinel(f"applied {word}"),
            "example.com/manifest": _manifest(sentinel(f"Secret as JSON in an annotation {word}")),
            f"https://me:{sentinel(f'key that is a URL {word}')}@example.com": "x",
            "example.com/api-token": sentinel(f"annotation {word}"),
            "example.com/notes": f"login with password={sentinel(f'text of an annotation {word}')} please",
        }
        labels = {"note": HARMLESS, "access-token": sentinel(f"label {word}")}
        return {"metadata": _metadata("annotated", annotations=keys, labels=labels), "data": {"a": word}}

    first, second = version("old"), version("new")
    bare = {"metadata": _metadata("annotated"), "data": {"a": "new"}}
    yield review("ConfigMap", new=first)
    yield review("ConfigMap", old=first, new=second)
    yield review("ConfigMap", old=second, new=bare)
    yield review("ConfigMap", old=bare, new=first)
    yield review("ConfigMap", old=first)


def _pod(containers: list[dict[str, Any]], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}, **metadata}, "spec": {"containers": containers}}


def workloads(sentinel: Sentinels) -> Iterator[bytes]:
    """Yield a Deployment whose containers get credentials in every way that there is."""

    def container(word: str) -> dict[str, Any]:
        return {
            "name": "web",
            "image": f"web:{word}",
            "env": [
                {"name": "MODE", "value": HARMLESS},
                {"name": "DB_PASSWORD", "value": sentinel(f"env {word}")},
                {"name": "DB_CREDS", "value": sentinel(f"short name in env {word}")},
                {"name": "HOOK", "value": f"https://hooks.slack.com/services/T/B/{sentinel(f'hook {word}')}"},
                {"name": "BLOB", "value": f"https://example.com/x?sv=1&sig={sentinel(f'signature {word}')}"},
                {"name": "REPOSITORY", "value": f"https://{sentinel(f'token in a URL {word}')}abcdef@example.com/x"},
                {"name": "DATABASE_URL", "value": f"postgres://app:{sentinel(f'URL in env {word}')}@db/shop"},
            ],
            "args": [f"--password={sentinel(f'argument {word}')}", "--token", sentinel(f"argument apart {word}")],
            "command": ["sh", "-c", f"login --password {sentinel(f'shell {word}')} && serve"],
            "lifecycle": {
                "postStart": {"exec": {"command": ["curl", "-u", f"me:{sentinel(f'curl in a list {word}')}", "x"]}},
                "preStop": {"exec": {"command": ["mysql", "-uroot", f"-p{sentinel(f'mysql in a list {word}')}"]}},
            },
            "startupProbe": {"exec": {"command": ["redis-cli", "-a", sentinel(f"redis in a list {word}"), "ping"]}},
            "readinessProbe": {"exec": {"command": ["sshpass", "-p", sentinel(f"sshpass in a list {word}")]}},
            "livenessProbe": {"httpGet": {"httpHeaders": _headers(word, sentinel)}},
        }

    def version(container: dict[str, Any], word: str) -> dict[str, Any]:
        template = _pod([container], annotations=_noted(word, sentinel))
        return {"metadata": _metadata("web"), "spec": {"template": template}}

    first, second = version(container("old"), "old"), version(container("new"), "new")
    without = version({"name": "web", "image": "web:without"}, "without")
    yield _deployment(new=first)
    yield _deployment(old=first, new=second)
    yield _deployment(old=second, new=without)
    yield _deployment(old=without, new=first)
    yield _deployment(old=first)


def _headers(word: str, sentinel: Sentinels) -> list[dict[str, str]]:
    return [
        {"name": "Authorization", "value": f"Bearer {sentinel(f'header {word}')}"},
        {"name": "X-Api-Key", "value": sentinel(f"header with a key {word}")},
    ]


def _noted(word: str, sentinel: Sentinels) -> dict[str, str]:
    inner = json.dumps({"auth": {"password": sentinel(f"JSON in an annotation {word}")}})
    return {
        "vault.example.com/token": sentinel(f"template annotation {word}"),
        "example.com/config": inner,
        "example.com/mode": HARMLESS,
    }


def _deployment(*, old: Any = None, new: Any = None) -> bytes:
    kind = {"group": "apps", "version": "v1", "kind": "Deployment"}
    resource = {"group": "apps", "version": "v1", "resource": "deployments"}
    return review("Deployment", old=old, new=new, kind=kind, resource=resource)


def _texts(word: str, sentinel: Sentinels) -> dict[str, str]:
    """Return files as people put them into ConfigMaps."""
    return {
        "mode": f"{HARMLESS}-{word}",
        "url": f"amqp://guest:{sentinel(f'URL {word}')}@queue:5672/",
        "app.properties": f"user=app\ndb.password={sentinel(f'properties {word}')}\nport=1\n",
        "app.yaml": f"user: app\ndatabase:\n  password: {sentinel(f'YAML {word}')}\n",
        "quoted.yaml": f'token: "{sentinel(f"quoted YAML {word}")}"\n',
        "block.yaml": f"password: |\n  {sentinel(f'block of YAML {word}')}\nport: 1\n",
        "app.json": json.dumps({"user": "app", "clientSecret": sentinel(f"JSON {word}")}),
        "pretty.json": json.dumps({"db": {"password": sentinel(f"pretty JSON {word}")}}, indent=2),
        "key.pem": f"-----BEGIN PRIVATE KEY-----\n{_coded(sentinel(f'PEM {word}'))}\n-----END PRIVATE KEY-----\n",
        "env": f"export AWS_SECRET_ACCESS_KEY={sentinel(f'shell file {word}')}\n",
        "apiKey": sentinel(f"key of a ConfigMap {word}"),
        "curl.sh": f"curl -H 'Authorization: Bearer {sentinel(f'curl {word}')}' https://api.example.com\n",
        "basic.sh": f"curl -u admin:{sentinel(f'curl user {word}')} https://api.example.com\n",
        "dsn.txt": f"Server=db;User Id=app;Password={sentinel(f'connection string {word}')};Pooling=true\n",
        "secret.yaml": f"apiVersion: v1\ndata:\n  innocent: {sentinel(f'Secret in YAML {word}')}\nkind: Secret\n",
        "secret.json": _manifest(sentinel(f"Secret in JSON {word}")),
        "values.yaml": f"secret:\n  value: {sentinel(f'map in YAML {word}')}\nmode: {HARMLESS}\n",
        "env.yaml": f"- name: DB_PASSWORD\n  value: {sentinel(f'beside a name in YAML {word}')}\n",
        "env.json": json.dumps([{"name": "DB_PASSWORD", "value": sentinel(f"beside a name in JSON {word}")}]),
        "passwords.yaml": f"passwords:\n  db: {sentinel(f'map of passwords {word}')}\n",
        "below.yaml": f"password:\n  {sentinel(f'below its name {word}')}\n",
        "site.xml": f'<property name="db.password" value="{sentinel(f"property {word}")}"/>',
        "app.toml": f'password = """\n{sentinel(f"TOML {word}")}"""\n',
        "users.sql": f"CREATE USER app IDENTIFIED BY '{sentinel(f'SQL {word}')}';\n",
        "roles.sql": f"ALTER ROLE app WITH PASSWORD '{sentinel(f'role {word}')}';\n",
        "dump.sh": f"mysqldump -uroot -p{sentinel(f'mysqldump {word}')} shop\n",
        "pgpass": f"db:5432:shop:app:{sentinel(f'pgpass {word}')}\n",
        "passwords.txt": f"db:5432:shop:app:{sentinel(f'lines of pgpass {word}')}\n",
        "kubeconfig": f"users:\n- name: x\n  user:\n    token: {sentinel(f'kubeconfig {word}')}\n",
    }


def config_maps(sentinel: Sentinels) -> Iterator[bytes]:
    """Yield a ConfigMap whose files hold credentials."""

    def version(word: str) -> dict[str, Any]:
        binary = {"blob": _coded(sentinel(f"binaryData {word}"))}
        return {"metadata": _metadata("settings"), "data": _texts(word, sentinel), "binaryData": binary}

    first, second = version("old"), version("new")
    bare: dict[str, Any] = {"metadata": _metadata("settings"), "data": {"mode": HARMLESS}}
    yield review("ConfigMap", new=first)
    yield review("ConfigMap", old=first, new=second)
    yield review("ConfigMap", old=second, new=bare)
    yield review("ConfigMap", old=bare, new=first)
    yield review("ConfigMap", old=first)


def custom_resources(sentinel: Sentinels) -> Iterator[bytes]:
    """Yield a custom resource with credentials in fields of its own."""

    def version(word: str) -> dict[str, Any]:
        names = ("password", "token", "apiKey", "clientSecret", "privateKey", "sessionToken", "dbPasswd")
        spec: dict[str, Any] = {name: sentinel(f"field {name} {word}") for name in names}
        spec |= {
            "mode": HARMLESS,
            "credentials": {"user": sentinel(f"in a map of credentials {word}")},
            "tokens": [sentinel(f"in a list of tokens {word}")],
            "secret": {"value": sentinel(f"value of a secret {word}")},
            "accessToken": {"value": sentinel(f"value of a token {word}")},
            "credential": {"innocent": sentinel(f"in a credential {word}")},
            "values": {"secrets": {"db": sentinel(f"in the secrets of a chart {word}")}},
            "secretData": {"innocent": sentinel(f"in secretData {word}")},
            "basicAuth": {"users": [f"me:{sentinel(f'in basicAuth {word}')}"]},
            "parameters": [
                {"name": "DB_PASSWORD", "default": sentinel(f"default {word}")},
                {"Name": "DB_PASSWORD", "Value": sentinel(f"capital {word}")},
            ],
            "manifests": [
                {"kind": "Secret", "metadata": {"name": "inner"}, "data": {"innocent": sentinel(f"inner {word}")}},
                {"kind": "Secret", "metadata": {"name": "plain"}, "stringData": {"x": sentinel(f"inner plain {word}")}},
            ],
            "urls": {f"https://me:{sentinel(f'URL as a key {word}')}@example.com": HARMLESS},
            "auth": {"basic": {"password": sentinel(f"deep {word}")}},
        }
        return {"metadata": _metadata("custom"), "spec": spec}

    kind = {"group": "example.com", "version": "v1", "kind": "Database"}
    resource = {"group": "example.com", "version": "v1", "resource": "databases"}
    first, second = version("old"), version("new")
    bare = {"metadata": _metadata("custom"), "spec": {"mode": HARMLESS}}
    for old, new in ((None, first), (first, second), (second, bare), (bare, first), (first, None)):
        yield review("Database", old=old, new=new, kind=kind, resource=resource)


def harmless() -> Iterator[bytes]:
    """Yield a change without any secret."""
    old, new = ({"metadata": _metadata("open"), "data": {"mode": mode}} for mode in ("off", HARMLESS))
    yield review("ConfigMap", old=old, new=new)


def people(sentinel: Sentinels) -> Iterator[bytes]:
    """Yield a user whose `extra` carries a token, and a session in a container that begins with a password."""
    user = {
        "username": "alice",
        "groups": ["system:authenticated"],
        "extra": {"example.com/id-token": [sentinel("userInfo.extra")], "example.com/team": [HARMLESS]},
    }
    yield review("ConfigMap", new={"metadata": _metadata("by-alice"), "data": {"mode": HARMLESS}}, userInfo=user)
    command = ["mysql", f"--password={sentinel('exec')}", "--token", sentinel("exec, apart"), HARMLESS]
    yield review(
        "PodExecOptions",
        new={"kind": "PodExecOptions", "apiVersion": "v1", "container": "web", "command": command},
        operation="CONNECT",
        name="web-1",
        namespace="vault",
        resource={"group": "", "version": "v1", "resource": "pods"},
        subResource="exec",
    )


def broken(sentinel: Sentinels) -> Iterator[bytes]:
    """Yield what is no review: it is refused, and its content is not quoted either."""
    password = sentinel("a body that is no JSON")
    yield f'{{"password": "{password}"'.encode()
    yield msgspec.json.encode({"request": {"object": {"password": sentinel("a review without uid")}}})
    yield msgspec.json.encode({"request": {"uid": [sentinel("a uid that is none")]}})


def plants(sentinel: Sentinels) -> Iterator[bytes]:
    """Yield all that can be recorded."""
    for plant in (secrets, metadata, workloads, config_maps, custom_resources, people):
        yield from plant(sentinel)
    yield from harmless()
