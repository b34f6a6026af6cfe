"""What names say: whether a field, variable, header, flag or argument of this name holds a credential.

The judgement leans towards hiding: a harmless value shown as a fingerprint costs a look at the cluster, a shown secret
costs an incident.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

HOLDS: Final = 1
"""A scalar of this name, or in a list of this name, is secret."""
COVERS: Final = 2
"""What is in a map of this name is secret, but for what refers to a secret elsewhere: `secret: {secretName: db}`."""
WHOLE: Final = 4
"""Everything inside is secret, whatever its name."""
REFERS: Final = 8
"""Inside something that covers, a field of this name says where a secret is, or how to use it."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ANYWHERE: Final = ("password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "kubeconfig")
_WORDS: Final = frozenset(
    "pass pwd pw passcode apikey accesskey privatekey encryptionkey signingkey masterkey sharedkey authkey secretkey "
    "sshkey connectionstring dsn dockerconfigjson dockercfg authconfig authheader basicauth htpasswd pgpass netrc "
    "cookie bearer salt otp jwt cred creds mnemonic seedphrase".split()
)
_WHOLE_NAMES: Final = frozenset("auth authorization proxyauthorization setcookie".split())
_REFERENCES: Final = frozenset("imagepullsecret imagepullsecrets pullsecrets".split())
_OPEN_KEYS: Final = frozenset(
    "public topology label labels annotation annotations match mismatch sort order partition shard primary foreign "
    "unique composite group object routing row cache event merge patch map index lookup search query selector node "
    "domain type name field column metric tag attribute resource idempotency translation message config values".split()
)
"""Words beside `key` that make it no credential: `publicKey`, `topologyKey`, `matchLabelKeys`."""
_SWITCHES: Final = frozenset("enable enabled disable disabled require required skip use global".split())
_ABOUT: Final = frozenset(
    "name names ref refs path paths file files dir directory seconds minutes ttl class type kind provider policy mode "
    "count enabled disabled version url uri endpoint endpoints namespace mount selector length expiry expiration "
    "expires rotation id ids issuer audience audiences algorithm review request store reloader template format engine "
    "manager controller interval".split()
)
"""Last words of names that speak about a secret instead of holding one: `secretName`, `tokenExpirationSeconds`."""
_MAPS: Final = frozenset(
    "password passwords passwd passphrase credentials tokens apikeys accesskeys privatekeys binarydata".split()
)
"""`binaryData` of a ConfigMap cannot be read by people, nor searched."""
_COVERING: Final = frozenset("key keys cred creds pass pwd pw accesskey privatekey authkey sshkey basicauth".split())
_COVERING_NAMES: Final = frozenset(("basicauth", "digestauth"))
_CONTENTS: Final = frozenset("data value values map".split())
_PRODUCTS: Final = frozenset(("external", "sealed"))
"""`external-secrets: {image: x}` are the values of a chart of that name."""
_REFERRING: Final = frozenset(
    "name names namespace ref refs path kind mode version type optional items audience audiences seconds uid algorithm "
    "size encoding policy group selector interval enabled description properties required driver".split()
)
_COPIES: Final = frozenset(("original", "applied"))
"""Last parts of annotations in which tools keep the object as it was applied: `kapp.k14s.io/original`."""

_LONGEST_KEPT: Final = 128
_MOST_KEPT: Final = 8192


def _words(name: str) -> list[str]:
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 1 and words[-1].isdigit():
        words.pop()
    return words


def _holds(words: list[str]) -> bool:
    joined, last = "".join(words), words[-1]
    if joined in _REFERENCES:
        return False
    if joined in _WHOLE_NAMES or words[-2:] == ["secret", "id"]:
        return True
    if last in ("key", "keys"):
        return len(words) > 1 and _OPEN_KEYS.isdisjoint(words)
    if last == "auth":
        return _SWITCHES.isdisjoint(words)
    if last in _ABOUT:
        return False
    if any(first + second in _WORDS for first, second in itertools.pairwise(words)):
        return True
    return any(word in _WORDS or any(part in word for part in _ANYWHERE) for word in words)


def _covers(words: list[str]) -> bool:
    if not _PRODUCTS.isdisjoint(words):
        return False
    core = words[:-1] if words[-1] in _CONTENTS and len(words) > 1 else words
    last = core[-1]
    return last in _COVERING or "".join(core) in _COVERING_NAMES or any(part in last for part in _ANYWHERE)


def _grade(name: str) -> int:
    last = name.rsplit("/", 1)[-1]
    words = _words(last)
    if "last-applied" in name or (last in _COPIES and last != name) or "".join(words) in _MAPS:
        return WHOLE | COVERS | HOLDS
    if not words:
        return 0
    holds = _holds(words)
    covers = holds and _covers(words)
    return holds * HOLDS | covers * COVERS | (words[-1] in _REFERRING and not holds) * REFERS


class _Grades(dict[str, int]):
    """Grades of names by name. Names come from strangers: few are kept, and no long ones."""

    def __missing__(self, name: str) -> int:
        grade = _grade(name)
        if len(name) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[name] = grade
        return grade


GRADES: Final = _Grades()
"""What a name says, as a sum of HOLDS, COVERS, WHOLE and REFERS. Of a label or annotation, the part behind the slash
counts."""


def names_credential(name: str) -> bool:
    """Say whether a field, variable, header or flag of this name would hold a secret value."""
    return bool(GRADES[name] & HOLDS)


def names_credential_map(name: str) -> bool:
    """Say whether everything inside a map or list of this name is to be taken for secret."""
    return bool(GRADES[name] & WHOLE)


def refers(names: Iterable[str]) -> bool:
    """Say whether a map of these fields only refers to a secret. A `key` does, beside what it is a key of."""
    fields = set(names)
    return bool(fields) and all(GRADES[field] & REFERS for field in fields - {"key"}) and fields != {"key"}


_ATTACHED: Final = dict.fromkeys(
    "mysql mysqldump mysqladmin mysqlcheck mysqlimport mariadb mariadb-dump mariadb-admin".split(), "-p"
)
_APART: Final = {
    "redis-cli": "-a",
    "sshpass": "-p",
    **dict.fromkeys("mongo mongosh mongodump mongorestore".split(), "-p"),
    **dict.fromkeys("ldapsearch ldapadd ldapmodify".split(), "-w"),
}
_PROGRAMS: Final = {**_ATTACHED, **_APART}
_USERS: Final = frozenset(("-u", "--user", "--proxy-user"))


def programs(words: Iterable[Any]) -> tuple[str, ...]:
    """Return the programs among the words of a command, or in an image, that take a password as an argument."""
    bases = (word.rsplit("/", 1)[-1].partition(":")[0] for word in words if type(word) is str)
    return tuple(sorted({base for base in bases if base in _PROGRAMS}))


def without_password(argument: str, context: Iterable[str], replacement: Callable[[str], str]) -> str | None:
    """Return the argument with its password replaced, or None if it has none.

    `context` holds the flag before it and the `programs` of its command.
    """
    before = frozenset(context)
    for program in sorted(before & _PROGRAMS.keys()):
        flag = _PROGRAMS[program]
        if program in _APART and flag in before:
            return replacement(argument)
        if argument.startswith(flag) and argument != flag:
            return flag + replacement(argument[len(flag) :])
    user, _, password = argument.partition(":")
    if before.isdisjoint(_USERS) or not password or (user.isdigit() and password.isdigit()):
        return None
    return f"{user}:{replacement(password)}"
