"""What credentials look like inside free text: assignments, URLs, commands, known beginnings, manifests of Secrets."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from app.core.credentials import COVERS, GRADES, WHOLE, names_credential, names_credential_map, refers
from app.core.indented import hide_indented

_PLAIN: Final = frozenset(("", "true", "false", "null"))
"""Values that are never secret: switches, and nothing at all."""

_NAME_NEEDLES: Final = tuple(
    "pass pw secret token cred key kubeconfig connection dsn docker cookie bearer salt otp jwt auth netrc mnemonic "
    "seed binarydata".split()
)
_ASSIGNMENT: Final = re.compile(
    r"(?:(?<![\w./-])|(?<=/)(?=[\w.-]{1,128}=))"  # a colon behind a slash is a tag: `registry/external-secrets:v1`
    r"(?P<name>[\w.-]{1,128})\\?[\"']?[ \t]{0,32}(?:=>|:=|[=:])[ \t]{0,32}"
)
_BLOCK: Final = r"[|>][0-9+-]{0,2}[ \t]{0,32}\r?\n(?:[ \t]+[^\n]*(?:\n|$)|[ \t]*\n)+"  # a block of YAML
_ITEMS: Final = r"\r?\n(?:[ \t]*-[ \t]+(?![\w.-]{1,128}:[ \t])[^\n]*(?:\n|$))+"  # a list of YAML, of plain values
_QUOTED: Final = (
    r"\"{3}(?s:.*?)(?:\"{3}|\Z)|'{3}(?s:.*?)(?:'{3}|\Z)|"  # TOML
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
_ARGUMENT: Final = r"(?:'[^'\n]{0,512}'|\"[^\"\n]{0,512}\"|[^\s\"';|&]{1,512})"
_COLON: Final = r"\\?[\"']?\s{0,32}:\s{0,32}"
_FLOW: Final = r"\\?\"[^\"\\]*\\?\"|'[^']*'|[^\s,\"'{}\[\]]{1,512}"
_TITLE: Final = rf"(?:name|key){_COLON}\\?[\"']?(?P<name>[\w.-]{{1,128}})\\?[\"']?"
_CONTENT: Final = rf"(?:value|default|defaultValue|contents?|data){_COLON}"
_SECRET_KIND: Final = re.compile(r"\bkind\\*[\"']?\s{0,32}:\s{0,32}\\*[\"']?Secret\b")
_SECRET_DATA: Final = re.compile(r"\b(?:data|stringData)\\*[\"']?\s{0,32}:\s{0,32}(?P<value>\{[^}]*\}?)")
_FIELD: Final = re.compile(r"([\w./-]{1,128})\\*[\"']?\s{0,32}:")
_COMMON: Final = frozenset(("value", "default", "content", "data"))
"""Stand in texts without secrets, and matter only beside a name of a credential, which has a needle of its own."""
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
    (
        ("-u", "-user"),
        re.compile(r"(?:^|\s)(?:-u[ =\t]{0,8}|--(?:proxy-)?user[ =\t]{1,8})[^\s:]{1,128}:(?P<value>[^\s\"']+)"),
    ),
    (
        ("mysql", "mariadb"),
        re.compile(
            rf"\b(?:mysql|mariadb)[\w-]{{0,16}}(?:\s{{1,64}}{_ARGUMENT}){{0,32}}?\s{{1,64}}-p(?P<value>{_ARGUMENT})"
        ),
    ),
    (
        ("redis-cli", "sshpass", "mongo", "ldap", "login"),
        re.compile(
            rf"\b(?:redis-cli(?:\s{{1,64}}{_ARGUMENT}){{0,32}}?\s{{1,64}}-a|sshpass\s{{1,64}}-p"
            rf"|mongo\w{{0,16}}(?:\s{{1,64}}{_ARGUMENT}){{0,32}}?\s{{1,64}}-p"
            rf"|ldap\w{{1,16}}(?:\s{{1,64}}{_ARGUMENT}){{0,32}}?\s{{1,64}}-w|login(?:\s{{1,64}}{_ARGUMENT}){{0,32}}?\s{{1,64}}-p)"
            rf"[ \t]{{0,8}}(?P<value>{_ARGUMENT})"
        ),
    ),
    (
        ("identified", "password"),
        re.compile(
            r"(?i)\b(?:identified\s+(?:with\s+\S{1,64}\s+)?by|password)\s+(?:password\s+|=\s*)?"
            r"(?P<value>'[^'\n]{1,512}'|\"[^\"\n]{1,512}\")"
        ),
    ),
    (
        ("value",),
        re.compile(
            r"(?i)\b(?:name|key)=[\"'](?P<name>[\w.:-]{1,128})[\"'][^<>]{0,256}?\bvalue=[\"']"
            r"(?P<value>[^\"'<>]{1,4096})"
        ),
    ),
    (
        ("value",),
        re.compile(
            r"(?i)\bvalue=[\"'](?P<value>[^\"'<>]{1,4096})[\"']\s{1,32}(?:name|key)=[\"'](?P<name>[\w.:-]{1,128})"
        ),
    ),
    (
        ("value", "default", "content", "data"),
        re.compile(rf"(?i)\b{_TITLE}\s{{0,32}},[^{{}}]{{0,256}}?\b{_CONTENT}(?P<value>{_FLOW})"),
    ),
    (
        ("value", "default", "content", "data"),
        re.compile(rf"(?i)\b{_CONTENT}(?P<value>{_FLOW})\s{{0,32}},[^{{}}]{{0,256}}?\b{_TITLE}"),
    ),
    (("://",), re.compile(r"://(?P<value>[^\s:/@\"']{20,512})@")),
    (
        ("hooks.", "webhook"),
        re.compile(
            r"(?i)\b(?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks"
            r"|webhook\.office\.com/webhookb2)/(?P<value>[^\s\"'<>]{1,1024})"
        ),
    ),
    (("sig=", "signature="), re.compile(r"(?i)[?&](?:sig|x-amz-signature)=(?P<value>[^&\s\"']+)")),
    (
        (":5432:", ":5433:", ":6432:", ":*:"),
        re.compile(
            r"(?m)^[ \t]{0,32}[\w.*-]{1,255}:(?:\d{1,5}|\*):[^:\s]{1,128}:[^:\s]{1,128}:(?P<value>\S+)[ \t\r]*$"
        ),
    ),
    (("h4si",), re.compile(r"\b(?P<value>H4sI[A-Za-z0-9+/_-]{12,}={0,2})")),  # compressed: nobody can judge it
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

_ALL_NEEDLES: Final = {*_NAME_NEEDLES, *(needle for needles, _ in _TEXT for needle in needles)} - _COMMON
_NEEDLES: Final = tuple(
    sorted(each for each in _ALL_NEEDLES if not any(other in each for other in _ALL_NEEDLES - {each}))
)
"""What must occur, in lower case, for a text to be worth a look."""


def _may_hold(lowered: str, needles: Iterable[str]) -> bool:
    for needle in needles:  # noqa: SIM110  a generator would cost more than the search
        if needle in lowered:
            return True
    return False


def hide(text: str, replacement: Callable[[str], str], more: Iterable[re.Pattern[str]] = ()) -> str:
    """Replace the parts of a text that look like credentials, and what `more` finds (its first group, or all of it)."""
    lowered = text.lower()
    if _may_hold(lowered, _NEEDLES):
        text = _without_known(text, lowered, replacement)
    return hide_further(text, replacement, more) if more else text


def hide_further(text: str, replacement: Callable[[str], str], patterns: Iterable[re.Pattern[str]]) -> str:
    """Replace what the patterns find: the first group of each, or all of it."""
    for pattern in patterns:
        text = pattern.sub(functools.partial(_replaced, replacement), text)
    return text


def _replaced(replacement: Callable[[str], str], match: re.Match[str]) -> str:
    groups = match.groupdict()
    if groups.get("name") is not None and not names_credential(groups["name"]):
        return match[0]
    group: str | int = "value" if "value" in groups else min(1, match.re.groups)
    start, end = match.start(group) - match.start(), match.end(group) - match.start()
    if start < 0 or start == end:
        return match[0]
    return match[0][:start] + replacement(match[group]) + match[0][end:]


def _without_known(text: str, lowered: str, replacement: Callable[[str], str]) -> str:
    named = _may_hold(lowered, _NAME_NEEDLES)
    replaced = functools.partial(_replaced, replacement)
    if "secret" in lowered and _SECRET_KIND.search(text):
        text = _SECRET_DATA.sub(replaced, text)
    if named:
        text = hide_indented(text, replacement)
    for needles, pattern in _TEXT:
        if _may_hold(lowered, needles):
            text = pattern.sub(replaced, text)
    return "".join(_without_assigned(text, replacement)) if named else text


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
    if GRADES[name] & (WHOLE | COVERS) and (value := _VALUE_OF_A_MAP.match(text, assignment.end())):
        return None if not names_credential_map(name) and refers(_FIELD.findall(value[0])) else value
    line = text.rfind("\n", max(0, start - _WIDEST_BEGINNING), start) + 1
    alone = (line > 0 or start <= _WIDEST_BEGINNING) and text[line:start].strip(" \t\"'") in _LINE_BEGINNINGS
    pattern = _VALUE_OF_A_LINE if alone and not name.startswith("-") else _VALUE
    return pattern.match(text, assignment.end())
