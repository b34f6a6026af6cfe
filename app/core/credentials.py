"""What credentials look like: by the name of the field that holds them, and inside free text.

The judgement leans towards hiding: a harmless value shown as a fingerprint costs a look at the cluster, a shown secret
costs an incident.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
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


_PLAIN: Final = frozenset(("", "true", "false", "null"))
"""Values that are never secret: switches, and nothing at all."""


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
    if any(first + second in _WORDS for first, second in itertools.pairwise(words)):
        return True
    return any(word in _WORDS or any(part in word for part in _ANYWHERE) for word in words)


@functools.lru_cache(maxsize=8192)
def names_credential_map(name: str) -> bool:
    """Say whether everything inside a map or list of this name is to be taken for secret."""
    return "".join(_words(name)) in _MAPS


_NAME_NEEDLES: Final = tuple(
    "pass pwd secret token credential key kubeconfig connection dsn docker cookie bearer salt otp jwt auth".split()
)
_ASSIGNMENT: Final = re.compile(
    r"(?:(?<![\w./-])|(?<=/)(?=[\w.-]{1,128}=))"  # a colon behind a slash is a tag: `registry/external-secrets:v1`
    r"(?P<name>[\w.-]{1,128})\\?[\"']?[ \t]{0,32}(?:=>|:=|[=:])[ \t]{0,32}"
)
_BLOCK: Final = r"[|>][0-9+-]{0,2}[ \t]{0,32}\r?\n(?:[ \t]+[^\n]*(?:\n|$)|[ \t]*\n)+"  # a block of YAML
_ITEMS: Final = r"\r?\n(?:[ \t]*-[ \t]+(?![\w.-]{1,128}:[ \t])[^\n]*(?:\n|$))+"  # a list of YAML, of plain values
_QUOTED: Final = (
    r"\"[^\"\\]*(?:\\.[^\"\\]*)*\"|'[^']*(?:''[^']*)*'"
    r"|\\\"[^\"\\]*(?:(?:\\\\\\\"|\\[^\"])[^\"\\]*)*\\\""  # quoted inside a quoted text
)
_STRUCTURED: Final = rf"{_BLOCK}|{_ITEMS}|\[(?!\s{{0,64}}\{{)[^\]]{{0,4096}}\]?"
_VALUE: Final = re.compile(rf"{_STRUCTURED}|{_QUOTED}|[^\s,;&\"'\[{{\\][^\s,;&\"']*")
_VALUE_OF_A_LINE: Final = re.compile(
    rf"{_STRUCTURED}|(?:{_QUOTED})(?=[ \t]*,?[ \t]*\r?(?:\n|$))|[^\s\[{{|>][^\n\r]*", re.DOTALL
)
_VALUE_OF_A_MAP: Final = re.compile(r"\[?\s{0,64}\{[^{}]{0,4096}\}?")
_LINE_BEGINNINGS: Final = frozenset(("", "-", "export"))
_WIDEST_BEGINNING: Final = 64
_TEXT: Final[tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]] = (
    (
        ("private key-----",),
        re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----(?P<value>.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
    ),
    (
        ("://",),
        re.compile(
            r"://[^\s:/@\"']{0,256}+:"
            r"(?P<value>[^\s@\"'/]{1,512}+(?:@[^\s@\"'/]{1,512}+){0,8}(?=@)|[^\s@\"']{1,512}+(?=@))"
        ),
    ),
    (
        ("authorization",),
        re.compile(
            r"(?i)authorization\\?[\"']?[ \t]{0,32}(?:=>|:=|[=:])[ \t]{0,32}\\?[\"']?(?P<value>[^\s\"'\\][^\n\"'\\]*)"
        ),
    ),
    (("bearer", "basic"), re.compile(r"(?i)\b(?:bearer|basic)\s+(?P<value>[A-Za-z0-9._~+/=-]{6,})")),
    (("</",), re.compile(r"<(?P<name>[\w.-]{1,128})>(?P<value>[^<]{1,4096})</")),
    (("pass", "auth"), re.compile(r"(?im)^[ \t]*(?:requirepass|masterauth|password)[ \t]+(?P<value>\S+)[ \t]*$")),
    (("password",), re.compile(r"(?i)\blogin[ \t]+\S{1,256}\s+password[ \t]+(?P<value>\S+)")),
    (
        ("passw", "passphrase", "secret", "token", "key", "credential"),
        re.compile(
            r"(?i)--?(?P<name>(?:[\w]{1,32}-){0,4}(?:password|passwd|passphrase|secret|token|api-?key|credential)[\w-]{0,64})"
            r"[ \t]+(?P<value>\"[^\"]*\"|'[^']*'|[^\s\"']+)"
        ),
    ),
    (("-u", "--user"), re.compile(r"(?:^|\s)(?:-u|--user)[ =\t]+[^\s:]{1,128}:(?P<value>\S+)")),
    (
        ("eyj",),
        re.compile(r"(?<![A-Za-z0-9_-])(?P<value>eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?)"),
    ),
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

_NEEDLES: Final = tuple(dict.fromkeys([*_NAME_NEEDLES, *(needle for needles, _ in _TEXT for needle in needles)]))


def _may_hold(lowered: str, needles: Iterable[str]) -> bool:
    for needle in needles:  # noqa: SIM110  a generator would cost more than the search
        if needle in lowered:
            return True
    return False


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
    if _may_hold(lowered, _NEEDLES):
        for needles, pattern in _TEXT:
            if _may_hold(lowered, needles):
                text = pattern.sub(replaced, text)
        if _may_hold(lowered, _NAME_NEEDLES):
            text = "".join(_without_assigned(text, replacement))
    for pattern in more:
        text = pattern.sub(replaced, text)
    return text


def _without_assigned(text: str, replacement: Callable[[str], str]) -> Iterator[str]:
    """Yield the text in pieces, with the values replaced that are assigned to names of credentials."""
    copied = position = 0
    while assignment := _ASSIGNMENT.search(text, position):
        position = assignment.end()
        if not names_credential(assignment["name"]):
            continue
        value = _assigned(text, assignment)
        if value is None or value[0].strip("\"', \t\r").lower() in _PLAIN:
            continue
        yield text[copied:position]
        yield replacement(value[0])
        copied = position = value.end()
    yield text[copied:]


def _assigned(text: str, assignment: re.Match[str]) -> re.Match[str] | None:
    """Return the value behind a name: on a line of its own all that follows, else up to where the next one begins."""
    name, start = assignment["name"], assignment.start()
    if names_credential_map(name) and (value := _VALUE_OF_A_MAP.match(text, assignment.end())):
        return value
    line = text.rfind("\n", max(0, start - _WIDEST_BEGINNING), start) + 1
    alone = (line > 0 or start <= _WIDEST_BEGINNING) and text[line:start].strip(" \t\"'") in _LINE_BEGINNINGS
    pattern = _VALUE_OF_A_LINE if alone and not name.startswith("-") else _VALUE
    return pattern.match(text, assignment.end())
