"""Names that hold credentials are told from names that speak about them; text is searched for their values."""

from __future__ import annotations

import re

import pytest

from app.core.credentials import GRADES, names_credential, names_credential_map
from app.core.free_text import hide

HIDING = "password passwd DB_PASS PGPASSWORD api_key apiKey x-api-key secretKey SECRET_KEY_BASE client-secret token "
HIDING += (
    "accessToken AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID_SECRET clientSecret authorization Authorization auth cookie "
)
HIDING += "dsn DATABASE_DSN connectionString ssh-privatekey tls.privateKey .dockerconfigjson kubeconfig --password jwt "
HIDING += "sessionKey encryption-key requirepassword salt OTP Set-Cookie bearerToken bindPassword passphrase"
HIDING += " REDIS_AUTH BASIC_AUTH HTTP_AUTH PROXY_AUTH NPM_AUTH AUTH_HEADER TS_AUTHKEY X-Auth-Key X-Auth JWT_KEY "
HIDING += "TOKEN_KEY COOKIE_KEY SECRETS_KEY passwordKey HMAC_KEY AES_KEY FERNET_KEY APP_KEY STRIPE_KEY SSH_KEY "
HIDING += "MY_API_KEYS ENCRYPTION_KEYS VAULT_SECRET_ID CLIENT_SECRET_ID DB_PW DB_CREDS MNEMONIC SEED_PHRASE "
HIDING += "API_KEY_PROD API_KEY_2 DB_PASSWORD_1 .pgpass traefik.http.middlewares.a.basicauth.users"
SHOWING = (
    "secretName secretKeyRef secretRef tokenExpirationSeconds imagePullPolicy passwordPolicy tokenReview key name "
)
SHOWING += (
    "keys publicUrl author authority monkey tokenUrl secretNamespace password-file PASSWORD_FILE tokenTTL compass "
)
SHOWING += "secretProviderClass replicas image bypass keyAlgorithm --token-ttl serviceAccountName 123 "
SHOWING += "credentialsPath secretsStore basicAuthSecretName PUBLIC_KEY KEY app.kubernetes.io/name TOKEN_URL "
SHOWING += "keySelector matchLabels matchLabelKeys topologyKey primaryKey enable-global-auth imagePullSecrets valuesKey"


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
    ('{"secret":{"password":"S3"}}', '{"secret":*}'),
    ('{\n  "password": "S3",\n  "user": "me"\n}', '{\n  "password": *,\n  "user": "me"\n}'),
    ("user: me\npassword: S3\nhost: db", "user: me\npassword: *\nhost: db"),
    ("user: me\r\npassword: S3\r\nhost: db", "user: me\r\npassword: *\r\nhost: db"),
    ("password: S3, S3; S3 & 'S3'\nhost: db", "password: *\nhost: db"),
    ("passphrase: S3 S3 S3", "passphrase: *"),
    ("- token: S3\n  a: b", "- token: *\n  a: b"),
    ("token: |\n  S3\n\n  S3\nhost: db", "token: *\nhost: db"),
    ("token: >-\n  S3\n  S3\nhost: db", "token: *\nhost: db"),
    ("passwords:\n  - S3\n  - S3\nhost: db", "passwords:*\nhost: db"),
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
    ("- name: DB_PASSWORD\n  value: S3\n  x: y", "- name: DB_PASSWORD\n  value: *\n  x: y"),
    ("- value: S3\n  name: DB_PASSWORD\n- value: y", "- value: *\n  name: DB_PASSWORD\n- value: y"),
    ("- name: DB_PASSWORD\n  value: |\n    S3\n    S3\n- name: x", "- name: DB_PASSWORD\n  value: *\n- name: x"),
    ("secret:\n  value: S3\nhost: db", "secret:*\nhost: db"),
    ("passwords:\n  db: S3\n  # S3\n  web: S3\nhost: db", "passwords:*\nhost: db"),
    ("password:\n  S3\nhost: db", "password:*\nhost: db"),
    ("apiVersion: v1\ndata:\n  a: S3\n  b: |\n    S3\nkind: Secret\n---\ndata: y", None),
    ("- kind: Secret\n  stringData: {a: S3, b: 'S3'}\n- kind: ConfigMap\n  data: {a: b}", None),
    ('x {"kind": "Secret", "data": {"a": "S3"}} y', 'x {"kind": "Secret", "data": *} y'),
    ('{\\"kind\\":\\"Secret\\",\\"data\\":{\\"a\\":\\"S3\\"}}', None),
    ("- {name: DB_PASSWORD, value: S3}", "- {name: DB_PASSWORD, value: *}"),
    ("- {value: 'S3', name: DB_PASSWORD}", "- {value: *, name: DB_PASSWORD}"),
    ('x [{"name": "DB_PASSWORD", "value": "S3"}]', 'x [{"name": "DB_PASSWORD", "value": *}]'),
    ("secret: {value: S3}", "secret: *"),
    ('<property name="db.password" value="S3"/>', '<property name="db.password" value="*"/>'),
    ('<add value="S3" key="ApiKey"/>', '<add value="*" key="ApiKey"/>'),
    ('password = """\nS3\nS3"""\nuser = "me"', 'password = *\nuser = "me"'),
    ("password = '''\nS3'''\nuser = 1", "password = *\nuser = 1"),
    ("CREATE USER a IDENTIFIED BY 'S3';", "CREATE USER a IDENTIFIED BY *;"),
    ("IDENTIFIED WITH caching_sha2 BY 'S3'", None),
    ("ALTER ROLE a WITH PASSWORD 'S3' LOGIN", "ALTER ROLE a WITH PASSWORD * LOGIN"),
    ("mysql -uroot -pS3 db", "mysql -uroot -p* db"),
    ("mysqldump -h db -p'S3' x", "mysqldump -h db -p* x"),
    ("redis-cli -h db -a S3 ping", "redis-cli -h db -a * ping"),
    ("sshpass -p S3 ssh x", "sshpass -p * ssh x"),
    ("docker login -u me -p S3 x", "docker login -u me -p * x"),
    ("https://S3S3S3S3S3S3S3S3S3S3@host/x", "https://*@host/x"),
    ("https://hooks.slack.com/services/S3/S3/S3", "https://hooks.slack.com/services/*"),
    ("https://a.blob.example/x?sv=1&sig=S3%3D&se=2", "https://a.blob.example/x?sv=1&sig=*&se=2"),
    ("# x\ndb:5432:*:me:S3\n", "# x\ndb:5432:*:me:*\n"),
    ("H4sIAAAAAAAA/S3S3S3S3S3==", "*"),
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
    "volumes:\n- name: v\n  secret:\n    secretName: db\n    items:\n    - key: a\n      path: b",
    "secret: {secretName: db}",
    "valueFrom:\n  secretKeyRef:\n    name: db\n    key: password",
    "- name: MODE\n  value: x\n- name: DB_PASSWORD\n  valueFrom: y",
    "kind: SecretStore\ndata:\n  a: b",
    "mysql --port=1 -h db",
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
    "a: &", "token: &", "- &", "a: # ", "mysql\t", "name: 'token' ", "- name: token\n  value: &",
    "mysql ", "mysql -", "redis-cli a ", "login a ", "name: token, ", "name: token\n", 'name="token" ', "value: x, ",
    'value="', "kind: Secret\ndata: {", "data: ", "a:\n", "token:\n ", "- ", "- token: a\n", "identified by '",
    "password=\'\'\'", 'password="""', "&sig=", "://aaaaaaaaaaaaaaaaaaaaaaaa", "a:5432:",
    "a", "A", "-", "--", "=", ":", " ", "\n", "\\", '"', "'", "{", "[", "a=", "a:", "a.", "a-", "a b", "token",
    "token=", "token:", "token=[", "token={", "credentials={", 'token="', "token='", 'token=\\"', "token: |\n ",
    "token:\n- ", "token:\n-", "://", "://a:", "://a:b@", "://a:@", "eyJ", "-eyJabcde", "eyJabcde.", "bearer ",
    "basic\t", "--a-", "--token ", "-u ", "-u a:", "<a>", "<token>", "</", "login a ", "login a password ",
    "requirepass ", "-----BEGIN ", "sk-", "xoxa-", "ghp_", "-----BEGIN PRIVATE KEY-----", "authorization:",
    "authorization: ", "password\t", "export ", "\t\n", "/token:", "/token=",
]  # fmt: skip


@pytest.mark.parametrize("beginning", BEGINNINGS, ids=repr)
def test_much_of_the_same_stays_cheap(beginning: str) -> None:
    needles = "password: token -- :// bearer </ -u eyj private key----- requirepass authorization login value "
    needles += "identified mysql redis-cli sig= :*: kind: Secret hooks."

    assert hidden(needles + " " + beginning * (300_000 // len(beginning)))


@pytest.mark.parametrize(
    "text",
    [
        "token: " + "&" * 1000 + " {x",
        "a: # " + "x" * 500_000 + "\n- b" * 100_000,
        "\n".join(" " * depth + "a:" for depth in range(1400)),
        "\n".join(" " * depth + "secret:" for depth in range(1400)),
        "mysql " * 1000 + " " * 900_000,
    ],
    ids=["anchors", "a long comment above a list", "deep", "deep secrets", "spaces"],
)
def test_a_text_made_to_be_slow_is_not(text: str) -> None:
    assert hidden(f"password: x\n{text}").startswith("password: *")


def test_few_names_are_kept_and_no_long_ones() -> None:
    for index in range(20_000):
        names_credential(f"name-{index}")
    names_credential("password" * 100)

    assert len(GRADES) <= 8192
    assert max(map(len, GRADES)) <= 128
