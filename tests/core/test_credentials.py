"""Names that hold credentials are told from names that speak about them; text is searched for their values."""

from __future__ import annotations

import re

import pytest

from app.core.credentials import hide, names_credential, names_credential_map

HIDING = "password passwd DB_PASS PGPASSWORD api_key apiKey x-api-key secretKey SECRET_KEY_BASE client-secret token "
HIDING += (
    "accessToken AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID_SECRET clientSecret authorization Authorization auth cookie "
)
HIDING += "dsn DATABASE_DSN connectionString ssh-privatekey tls.privateKey .dockerconfigjson kubeconfig --password jwt "
HIDING += "sessionKey encryption-key requirepassword salt OTP Set-Cookie bearerToken bindPassword passphrase"
SHOWING = (
    "secretName secretKeyRef secretRef tokenExpirationSeconds imagePullPolicy passwordPolicy tokenReview key name "
)
SHOWING += (
    "keys publicUrl author authority monkey tokenUrl secretNamespace password-file PASSWORD_FILE tokenTTL compass "
)
SHOWING += "secretProviderClass replicas image bypass keyAlgorithm --token-ttl serviceAccountName 123 "
SHOWING += "credentialsPath secretsStore basicAuthSecretName"


@pytest.mark.parametrize("name", HIDING.split())
def test_a_name_that_holds_a_credential_is_known(name: str) -> None:
    assert names_credential(name)


@pytest.mark.parametrize("name", SHOWING.split())
def test_a_name_that_holds_none_is_known(name: str) -> None:
    assert not names_credential(name)


@pytest.mark.parametrize("name", ["credentials", "passwords", "apiKeys", "private-keys", "tokens"])
def test_everything_inside_some_maps_is_secret(name: str) -> None:
    assert names_credential_map(name)


@pytest.mark.parametrize("name", ["secret", "secrets", "secretKeyRef", "token", "auth"])
def test_other_maps_are_judged_by_what_is_inside(name: str) -> None:
    assert not names_credential_map(name)


def hidden(text: str) -> str:
    return hide(text, lambda _value: "*")


TEXTS = [
    ("--password=S3", "--password=*"),
    ("--password=S3 --verbose", "--password=* --verbose"),
    ("mysql --password S3 --host db", "mysql --password * --host db"),
    ("tool -db-password S3", "tool -db-password *"),
    ("tool --token 'S3 S3' x", "tool --token * x"),
    ("curl -u me:S3 http://x", "curl -u me:* http://x"),
    ("run --from-literal=password=S3", "run --from-literal=password=*"),
    ("export DB_PASS=S3;run", "export DB_PASS=*"),
    ("a=b DB_PASS=S3;run", "a=b DB_PASS=*;run"),
    ("postgres://me:S3@db/x", "postgres://me:*@db/x"),
    ("postgres://me:S@3@db/x", "postgres://me:*@db/x"),
    ("postgres://me:S/3@db/x", "postgres://me:*@db/x"),
    ("redis://:S3@db", "redis://:*@db"),
    ("https://x/hook?token=S3&a=b", "https://x/hook?token=*&a=b"),
    ("Authorization: Bearer S3S3S3S3", "Authorization: *"),
    ("Authorization: Token S3", "Authorization: *"),
    ('-H "Authorization: ApiKey S3" -v', '-H "Authorization: *" -v'),
    ("with bearer S3S3S3S3.", "with bearer *"),
    ("Proxy: Basic UzNTMw==", "Proxy: Basic *"),
    ('{"password":"S3","user":"me"}', '{"password":*,"user":"me"}'),
    ('{"password":"S\\"3","user":"me"}', '{"password":*,"user":"me"}'),
    ('{\\"password\\":\\"S3\\",\\"user\\":\\"me\\"}', '{\\"password\\":*,\\"user\\":\\"me\\"}'),
    ('{"a":{"pass": "S3"}}', '{"a":{"pass": *}}'),
    ('{"auths":{"r":{"auth":"S3"}}}', '{"auths":{"r":{"auth":*}}}'),
    ('{"tokens":["S3","S3"],"a":1}', '{"tokens":*,"a":1}'),
    ('{"credentials":{"key":"S3"},"a":1}', '{"credentials":*,"a":1}'),
    ('{"secret":{"password":"S3"}}', '{"secret":{"password":*}}'),
    ('{\n  "password": "S3",\n  "user": "me"\n}', '{\n  "password": *,\n  "user": "me"\n}'),
    ("user: me\npassword: S3\nhost: db", "user: me\npassword: *\nhost: db"),
    ("user: me\r\npassword: S3\r\nhost: db", "user: me\r\npassword: *\r\nhost: db"),
    ("password: S3, S3; S3 & 'S3'\nhost: db", "password: *\nhost: db"),
    ("passphrase: S3 S3 S3", "passphrase: *"),
    ("- token: S3\n  a: b", "- token: *\n  a: b"),
    ("token: |\n  S3\n\n  S3\nhost: db", "token: *host: db"),
    ("token: >-\n  S3\n  S3\nhost: db", "token: *host: db"),
    ("passwords:\n  - S3\n  - S3\nhost: db", "passwords:*host: db"),
    ("password='S3''S3'", "password=*"),
    ("db.password = S3\ndb.user = me", "db.password = *\ndb.user = me"),
    ("password => S3", "password => *"),
    ("password := S3", "password := *"),
    ("requirepass S3\nport 1", "requirepass *\nport 1"),
    ("machine x login me password S3", "machine x login me password *"),
    ("<user>me</user><password>S3</password>", "<user>me</user><password>*</password>"),
    ("eyJhbGciOi.eyJzdWIiOi.S3", "*"),
    ("ghp_S3S3S3S3S3S3S3S3S3", "*"),
    ("a glpat-S3S3S3S3S3S3S3S3 b", "a * b"),
    ("id AKIAS3S3S3S3S3S3S3S3", "id *"),
    ("xoxb-S3S3S3S3-S3", "*"),
    ("-----BEGIN RSA PRIVATE KEY-----\nS3\nS3\n-----END RSA PRIVATE KEY-----", None),
    ("key: |\n  -----BEGIN PRIVATE KEY-----\n  S3\n  cut off S3", None),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_the_secret_of_a_text_is_hidden_and_the_rest_stays(text: str, expected: str | None) -> None:
    assert "S3" not in hidden(text)
    if expected is not None:
        assert hidden(text) == expected


HARMLESS = [
    "nginx:1.25",
    "the secret of good tea",
    "secretName: db\nsecretKeyRef: x",
    "secret:\n  secretName: db",
    "imagePullSecrets:\n- name: regcred",
    '{"imagePullSecrets":[{"name":"regcred"}]}',
    "tokenExpirationSeconds: 3600",
    "automountServiceAccountToken: false",
    '{"token":null,"password":""}',
    "passwordFile=/run/secrets/x",
    "--token-ttl=1h",
    "--image=ghcr.io/external-secrets/external-secrets:v0.9",
    "https://example.com:8443/path?x=1",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "a: b\nc: d",
    "",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert hidden(text) == text


def test_what_was_hidden_once_is_not_hidden_again() -> None:
    assert hide("a token=redacted:0123456789abcdef", str.upper) == "a token=REDACTED:0123456789ABCDEF"


@pytest.mark.parametrize("pattern", [r"corp-\w+", r"(corp-\w+)", r"id (corp-\w+)"])
def test_further_patterns_hide_their_first_group_or_all(pattern: str) -> None:
    assert hide("id corp-123.", lambda _value: "*", [re.compile(pattern)]) == "id *."


def test_a_pattern_that_matches_nothing_hides_nothing() -> None:
    assert hide("id", lambda _value: "*", [re.compile(r"x*"), re.compile(r"(y)?id")]) == "id"


BEGINNINGS = [
    "a", "A", "-", "--", "=", ":", " ", "\n", "\\", '"', "'", "{", "[", "a=", "a:", "a.", "a-", "a b", "token",
    "token=", "token:", "token=[", "token={", "credentials={", 'token="', "token='", 'token=\\"', "token: |\n ",
    "token:\n- ", "token:\n-", "://", "://a:", "://a:b@", "://a:@", "eyJ", "-eyJabcde", "eyJabcde.", "bearer ",
    "basic\t", "--a-", "--token ", "-u ", "-u a:", "<a>", "<token>", "</", "login a ", "login a password ",
    "requirepass ", "-----BEGIN ", "sk-", "xoxa-", "ghp_", "-----BEGIN PRIVATE KEY-----", "authorization:",
    "authorization: ", "password\t", "export ", "\t\n", "/token:", "/token=",
]  # fmt: skip


@pytest.mark.parametrize("beginning", BEGINNINGS, ids=repr)
def test_a_megabyte_of_the_same_stays_cheap(beginning: str) -> None:
    needles = "password: token -- :// bearer </ -u eyj private key----- requirepass authorization login"

    assert hidden(needles + " " + beginning * (1_000_000 // len(beginning)))
