"""Nothing secret leaves: values that are, or look like, credentials become keyed fingerprints.

A fingerprint is `redacted:` and the first 64 bits of HMAC-SHA-256 over the value's canonical JSON. Equal secrets have
equal fingerprints, so a changed secret shows as changed; without the key nobody can test a guess.

What is a secret:
* `data` and `stringData` of a Secret, and texts in its metadata that may repeat them; also of one inside another object
  or a text;
* annotations in which tools keep what was applied, such as `last-applied-configuration`; `binaryData`;
* what stands under a name that looks like a credential: a field, an environment variable, a header, a flag, and what is
  in a map of such a name but does not refer to a secret elsewhere;
* parts of any text that look like one: passwords in URLs, `password=...`, bearer tokens, private keys, JWTs;
* whatever configured field patterns and value patterns say.

Keys that are longer than names are, or hold a URL, are texts as well. Time is linear in the size of a document.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from app.core.change import FieldChange, User
from app.core.credentials import COVERS, GRADES, HOLDS, REFERS, WHOLE, programs, without_password
from app.core.diff import NAMED, OF_A_SECRET, REFERENCE, Context, Delta, beside, flag
from app.core.free_text import hide, hide_further
from app.core.indented import SECRET, SECRET_FIELDS
from app.core.known_secrets import pattern_of
from app.core.paths import Item, Path, Pattern, render

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
PREFIX: Final = "redacted:"

_FINGERPRINT: Final = re.compile(r"redacted:[0-9a-f]{16}")
_IMAGES: Final = frozenset({"image", "imageID"})
"""Fields of container images: `external-secrets:v1` is no secret of that name."""
_COPIES: Final = 16
"""Beside the grades of names: texts here may repeat a Secret, since they are in its metadata."""
_INHERITED: Final = COVERS | _COPIES
_LONGEST_NOTE: Final = 256
"""Characters of an annotation of a Secret that is too short to repeat the Secret."""
_LONGEST_NAME: Final = 64
"""Characters of a key that is a name. (The name of a label has at most 63.)"""
_JSON_SIGNS: Final = frozenset('{["')
_JSON_BEGINNINGS: Final = frozenset("{[ \t\r\n")
_JSON: Final = re.compile(r"\s{0,64}[\[{]")


class Redactor:
    """Replaces secrets by fingerprints. Total: any JSON value is accepted. Immutable and safe to share.

    `field_patterns` name further fields whose whole value is secret; of `value_patterns` the first group, or the whole
    match, is.
    """

    def __init__(
        self,
        key: bytes,
        *,
        field_patterns: Iterable[Pattern] = (),
        value_patterns: Iterable[re.Pattern[str]] = (),
    ) -> None:
        self._key = key
        self._field_patterns = tuple(field_patterns)
        self._widest = max((len(each) for one in self._field_patterns for each in one.alternatives), default=0)
        self._value_patterns = tuple(value_patterns)
        self._encode = msgspec.json.Encoder(order="deterministic").encode
        self._objects: list[tuple[dict[str, Any], dict[str, Any]]] | None = None

    def for_one_review(self) -> Redactor:
        """Return a redactor that works on an object once, for the entry and its findings; to be dropped afterwards."""
        twin = copy.copy(self)
        twin._objects = []  # noqa: SLF001  its own class
        return twin

    def knowing(self, kind: str, document: dict[str, Any]) -> Redactor:
        """Return a redactor that hides in texts, beside all else, the values that are secret in this object."""
        known = pattern_of(document, self.object(kind, document))
        if known is None:
            return self
        twin = copy.copy(self)
        twin._value_patterns = (*self._value_patterns, known)  # noqa: SLF001  its own class
        return twin

    def fingerprint(self, value: Any) -> str:
        """Return the same text for the same value and key, and nothing from which the value can be learnt."""
        if type(value) is str and _FINGERPRINT.fullmatch(value):
            return value
        return PREFIX + hmac.new(self._key, self._encode(value), hashlib.sha256).hexdigest()[:16]

    def change(self, kind: str, delta: Delta) -> FieldChange:
        """Return the difference as it may be stored and shown."""
        path, context = delta.path, delta.context
        grade = self._place(kind, path, context)
        last = path[-1] if path else ""
        name = last if type(last) is str else ""
        return FieldChange(
            self._rendered(path),
            delta.op,
            self._value(delta.old, name, grade, context, path),
            self._value(delta.new, name, grade, context, path),
        )

    def patch(self, deltas: Iterable[Delta], changes: Iterable[FieldChange]) -> Iterator[dict[str, Any]]:
        """Write RFC 6902 operations for deltas and the redacted changes made from them, in the same order."""
        for delta, change in zip(deltas, changes, strict=True):
            shown = self._path(delta.path)
            told = delta if shown is delta.path else msgspec.structs.replace(delta, path=shown)
            yield from told.operations(change.new)

    def object(self, kind: str, document: dict[str, Any]) -> dict[str, Any]:
        """Return the whole object as it may be stored and shown."""
        for known, shown in self._objects or ():
            if known is document:
                return shown
        shown = self._object(kind, document)
        if self._objects is not None:
            self._objects.append((document, shown))
        return shown

    def _object(self, kind: str, document: dict[str, Any]) -> dict[str, Any]:
        if kind != SECRET or document.get("kind") == SECRET:
            return self._fields(document, 0, ())
        shown = self._fields({**document, "kind": SECRET}, 0, ())
        return {key: inner for key, inner in shown.items() if key in document or key != "kind"}

    def user(self, user: User) -> User:
        """Return the user with what their `extra` may carry of credentials replaced."""
        if not user.extra:
            return user
        extra = {
            self._shown(key): tuple([self._string(value, key, GRADES[key], ()) for value in values])
            for key, values in user.extra.items()
        }
        return User(username=user.username, uid=user.uid, groups=user.groups, extra=extra)

    def strings(self, strings: dict[str, str]) -> dict[str, str]:
        """Return labels or annotations, which may be those of a Secret, as they may be stored and shown."""
        return {self._shown(key): self._string(value, key, GRADES[key] | _COPIES, ()) for key, value in strings.items()}

    def text(self, text: str) -> str:
        """Replace the parts of a text that look like credentials."""
        if text[:1] in _JSON_BEGINNINGS and _JSON.match(text) and (shown := self._document(text)) is not None:
            return hide_further(shown, self.fingerprint, self._value_patterns)
        return hide(text, self.fingerprint, self._value_patterns)

    def _document(self, text: str) -> str | None:
        """Return a text that is a JSON document as it may be shown, or None where that hides nothing."""
        try:
            document = msgspec.json.decode(text)
            shown = self._value(document, "", 0, (), ())
        except (msgspec.DecodeError, UnicodeError):
            return None
        except RecursionError:
            return self.fingerprint(text)
        if shown == document:
            return None
        encoded = msgspec.json.encode(shown)
        return (msgspec.json.format(encoded, indent=2) if "\n" in text else encoded).decode()

    def _place(self, kind: str, path: Path, context: Context) -> int:
        """Grade the place at the end of a path."""
        grade = 0
        for segment in path:
            if type(segment) is str and (grade or GRADES[segment]):  # most names say nothing
                grade = _inside(grade, segment)
                if grade & WHOLE:
                    return grade
        if kind == SECRET and path:
            if path[0] in SECRET_FIELDS:
                return WHOLE | HOLDS
            grade |= (path[0] == "metadata") * _COPIES
        if context:
            grade = _said(grade, context, path[-1] == "key" if path else False)
        if self._field_patterns and any(pattern.matches(path) for pattern in self._field_patterns):
            return WHOLE | HOLDS
        return grade

    def _value(self, value: Any, name: str, grade: int, context: Context, path: Path) -> Any:
        """Return what stands at a place of this grade; of the path, only as much is needed as a pattern can match."""
        kind = type(value)
        if kind is str:
            return self._string(value, name, grade, context)
        if value is msgspec.UNSET or value is None or kind is bool:
            return value
        if grade & WHOLE:
            return self._fingerprints(value)
        if kind is dict:
            return self._fields(value, grade, path)
        if kind is list:
            return self._items(value, grade, context, path)
        return self.fingerprint(value) if grade & HOLDS else value

    def _string(self, value: str, name: str, grade: int, context: Context) -> str:
        if grade & (HOLDS | WHOLE):
            return self.fingerprint(value)
        if name in _IMAGES:
            return value
        if grade & _COPIES and (len(value) > _LONGEST_NOTE or value.lstrip()[:1] in _JSON_SIGNS):
            return self.fingerprint(value)
        if context and (argument := without_password(value, context, self.fingerprint)) is not None:
            return argument
        return self.text(value)

    def _fields(self, fields: dict[str, Any], outer: int, path: Path) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, value in fields.items():
            grade = _inside(outer, key)
            context: Context = ()
            if key in NAMED and (context := beside(key, fields)):
                grade = _said(grade, context, key == "key")
            here = path
            if self._field_patterns:
                here = (*path, key)[-self._widest :]
                grade = self._patterned(grade, here)
            shown[self._shown(key)] = self._value(value, key, grade, context, here)
        return shown

    def _items(self, items: list[Any], grade: int, context: Context, path: Path) -> list[Any]:
        context = (*(word for word in context if not word.startswith("-")), *programs(items))
        shown: list[Any] = []
        for index, value in enumerate(items):
            before = flag(items, index)
            here, inner = path, _said(grade, before) if before else grade
            if self._field_patterns:
                here = (*path, _item(index, value))[-self._widest :]
                inner = self._patterned(inner, here)
            shown.append(self._value(value, "", inner, before + context, here))
        return shown

    def _patterned(self, grade: int, path: Path) -> int:
        return WHOLE | HOLDS if any(pattern.matches(path) for pattern in self._field_patterns) else grade

    def _fingerprints(self, value: Any) -> Any:
        """Keep the shape and the keys of a secret structure, so that it still shows which part changed."""
        if type(value) is dict:
            return {self._shown(key): self._fingerprints(inner) for key, inner in value.items()}
        if type(value) is list:
            return [self._fingerprints(inner) for inner in value]
        return value if value is None or type(value) is bool else self.fingerprint(value)

    def _shown(self, key: str) -> str:
        return self.text(key) if len(key) > _LONGEST_NAME or "://" in key else key

    def _rendered(self, path: Path) -> str:
        text = render(path)
        return text if len(text) <= _LONGEST_NAME and "://" not in text else render(self._path(path))

    def _path(self, path: Path) -> Path:
        """Return the path as it may be shown: the same one where no key is a text."""
        shown = tuple([self._segment(segment) for segment in path])
        return path if shown == path else shown

    def _segment(self, segment: str | Item) -> str | Item:
        if isinstance(segment, str):
            return self._shown(segment)
        return segment if segment.key is None else Item(segment.index, self._shown(segment.key))


def _inside(outer: int, name: str) -> int:
    """Grade a field inside a place of a grade."""
    grade = GRADES[name]
    if outer & COVERS:
        grade |= COVERS if grade & REFERS else COVERS | HOLDS
    return grade | (outer & _COPIES)


def _said(grade: int, context: Context, is_key: bool = False) -> int:
    """Grade a place of which the context says something."""
    for word in context:
        if word == OF_A_SECRET:
            grade |= _COPIES
        elif word == REFERENCE:
            grade &= ~HOLDS if is_key else ~0
        elif "=" not in word and GRADES[word] & HOLDS:
            return grade | WHOLE | HOLDS
    return grade


def _item(index: int, value: Any) -> Item:
    name = value.get("name") if type(value) is dict else None
    return Item(index, name if type(name) is str else None)
