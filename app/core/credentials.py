"""What credentials look like: by the name of the field that holds them, and inside free text.

The judgement leans towards hiding: a harmless value shown as a fingerprint costs a look at the cluster, a shown secret
costs an incident.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Final

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ANYWHERE: Final = ("password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "kubeconfig")
_WORDS: Final = frozenset(
    "pass pwd passcode accesskey privatekey encryptionkey signingkey masterkey sharedkey connectionstring dsn "
    "dockerconfigjson dockercfg htpasswd cookie bearer salt otp jwt".split()
)
_KEY_OWNERS: Final = frozenset("api access private encryption signing master shared account service session".split())
_WHOLE_NAMES: Final = frozenset(
    "auth authorization proxyauthorization setcookie apikeys accesskeys privatekeys".split()
)
_ABOUT: Final = frozenset(
    "name names ref refs path paths file files dir directory seconds minutes ttl class type kind provider policy mode "
    "count enabled disabled version url uri endpoint endpoints namespace mount selector length expiry expiration "
    "expires rotation id ids issuer audience audiences algorithm key keys review request store reloader template "
    "format engine manager controller interval".split()
)
"""Last words of names that speak about a secret instead of holding one: `secretName`, `tokenExpirationSeconds`."""
_MAPS: Final = frozenset(
    "password passwords passwd passphrase credentials tokens apikeys accesskeys privatekeys".split()
)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


@functools.lru_cache(maxsize=8192)
def names_credential(name: str) -> bool:
    """Say whether a field, variable, header or flag of this name would hold a secret value."""
    words = _words(name)
    if not words:
        return False
    if "".join(words) in _WHOLE_NAMES or (words[-1] == "key" and not _KEY_OWNERS.isdisjoint(words)):
        return True
    if words[-1] == "key" and "secret" in words:
        return True
    if words[-1] in _ABOUT:
        return False
    return any(word in _WORDS or any(part in word for part in _ANYWHERE) for word in words)


@functools.lru_cache(maxsize=8192)
def names_credential_map(name: str) -> bool:
    """Say whether everything inside a map or list of this name is to be taken for secret."""
    return "".join(_words(name)) in _MAPS


_SECRET_NAME: Final = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key"
    r"|connection[_-]?string|auth(?:orization)?(?=[\"'\s:=\\]))[\w.-]{0,64}"
)
_VALUE: Final = (
    r"(?P<value>[|>][+-]?[ \t]*\r?\n(?:[ \t]+[^\n]*(?:\n|$))+"  # a block of YAML
    r"|\\?\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)"
)
_NAME_NEEDLES: Final = ("passw", "passphrase", "pwd", "secret", "token", "credential", "key", "connection", "auth")
_TEXT: Final[tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]] = (
    (
        ("private key-----",),
        re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----(?P<value>.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
    ),
    (("://",), re.compile(r"://[^\s:/@\"']{0,256}:(?P<value>[^\s@\"']{1,1024})@")),
    (("bearer", "basic"), re.compile(r"(?i)\b(?:bearer|basic)\s+(?P<value>[A-Za-z0-9._~+/=-]{6,})")),
    (_NAME_NEEDLES, re.compile(r"(?i)(?P<name>" + _SECRET_NAME + r")\\?[\"']?\s*(?:=>|:=|[=:])\s*" + _VALUE)),
    (
        ("--",),
        re.compile(
            r"(?i)--?(?P<name>(?:[\w]{1,32}-){0,4}(?:password|passwd|passphrase|secret|token|api-?key|credential)[\w-]{0,64})"
            r"[ \t]+(?P<value>\"[^\"]*\"|'[^']*'|[^\s\"']+)"
        ),
    ),
    (("-u", "--user"), re.compile(r"(?:^|\s)(?:-u|--user)[ =\t]+[^\s:]{1,128}:(?P<value>\S+)")),
    (("eyj",), re.compile(r"\b(?P<value>eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?)")),
    (
        ("gh", "xox", "glpat-", "sk-", "sk_", "akia", "asia"),
        re.compile(
            r"\b(?P<value>gh[pousr]_[A-Za-z0-9]{16,}|xox[a-z]-[A-Za-z0-9-]{8,}|glpat-[A-Za-z0-9_-]{16,}"
            r"|sk[-_][A-Za-z0-9_-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16})"
        ),
    ),
)
"""(what must occur, in lower case, for the pattern to be worth trying; the pattern with its secret as `value`).

No pattern may begin with an unbounded repetition: texts of megabytes without a separator must stay cheap."""


def hide(text: str, replacement: Callable[[str], str], more: Iterable[re.Pattern[str]] = ()) -> str:
    """Replace the parts of a text that look like credentials, and what `more` finds (its first group, or all of it)."""

    def replaced(match: re.Match[str]) -> str:
        groups = match.groupdict()
        if groups.get("name") is not None and not names_credential(groups["name"]):
            return match[0]
        group: str | int = "value" if "value" in groups else min(1, match.re.groups)
        start, end = match.start(group) - match.start(), match.end(group) - match.start()
        if start < 0 or start == end:
            return match[0]
        return match[0][:start] + replacement(match[group]) + match[0][end:]

    lowered = text.lower()
    for needles, pattern in _TEXT:
        if any(needle in lowered for needle in needles):
            text = pattern.sub(replaced, text)
    for pattern in more:
        text = pattern.sub(replaced, text)
    return text
