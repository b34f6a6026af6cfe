"""Nothing secret leaves: values that are, or look like, credentials become keyed fingerprints.

A fingerprint is `redacted:` and the first 64 bits of HMAC-SHA-256 over the value's canonical JSON. Equal secrets have
equal fingerprints, so a changed secret shows as changed; without the key nobody can test a guess.

What is a secret:
* `data` and `stringData` of a Secret, also of one inside another object;
* the `last-applied-configuration` annotation, which repeats them in clear;
* what stands under a name that looks like a credential: a field, an environment variable, a header, a flag;
* parts of any text that look like one: passwords in URLs, `password=...`, bearer tokens, private keys, JWTs;
* whatever configured field patterns and value patterns say.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from app.core.change import FieldChange, User
from app.core.credentials import hide, names_credential, names_credential_map
from app.core.diff import NAMED, Delta, beside
from app.core.paths import Item, Path, Pattern, render

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
PREFIX: Final = "redacted:"

_FINGERPRINT: Final = re.compile(r"redacted:[0-9a-f]{16}")
_IMAGES: Final = frozenset({"image", "imageID"})
"""Fields of container images: `external-secrets:v1` is no secret of that name."""


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
        self._value_patterns = tuple(value_patterns)
        self._encode = msgspec.json.Encoder(order="deterministic").encode

    def fingerprint(self, value: Any) -> str:
        """Return the same text for the same value and key, and nothing from which the value can be learnt."""
        if type(value) is str and _FINGERPRINT.fullmatch(value):
            return value
        return PREFIX + hmac.new(self._key, self._encode(value), hashlib.sha256).hexdigest()[:16]

    def change(self, kind: str, delta: Delta) -> FieldChange:
        """Return the difference as it may be stored and shown."""
        path, old, new = delta.path, delta.old, delta.new
        if type(old) is str and type(new) is str:
            # The usual case, judged once for both.
            if self._is_secret(kind, path, new, delta.context):
                return FieldChange(render(path), delta.op, self.fingerprint(old), self.fingerprint(new))
            return FieldChange(render(path), delta.op, self._plain(path, old), self._plain(path, new))
        return FieldChange(
            render(path),
            delta.op,
            self._value(kind, path, old, delta.context),
            self._value(kind, path, new, delta.context),
        )

    def patch(self, deltas: Iterable[Delta], changes: Iterable[FieldChange]) -> Iterator[dict[str, Any]]:
        """Write RFC 6902 operations for deltas and the redacted changes made from them, in the same order."""
        for delta, change in zip(deltas, changes, strict=True):
            yield from delta.operations(change.new)

    def object(self, kind: str, document: dict[str, Any]) -> dict[str, Any]:
        """Return the whole object as it may be stored and shown."""
        return {key: self._value(kind, (key,), value, ()) for key, value in document.items()}

    def user(self, user: User) -> User:
        """Return the user with what their `extra` may carry of credentials replaced."""
        if not user.extra:
            return user
        extra = {key: tuple(self._named(key, value) for value in values) for key, values in user.extra.items()}
        return User(username=user.username, uid=user.uid, groups=user.groups, extra=extra)

    def strings(self, strings: dict[str, str]) -> dict[str, str]:
        """Return labels or annotations as they may be stored and shown."""
        return {key: self._named(key, value) for key, value in strings.items()}

    def _named(self, key: str, value: str) -> str:
        secret = key == LAST_APPLIED or names_credential(_last(key))
        return self.fingerprint(value) if secret else self.text(value)

    def text(self, text: str) -> str:
        """Replace the parts of a text that look like credentials."""
        return hide(text, self.fingerprint, self._value_patterns)

    def _value(self, kind: str, path: Path, value: Any, context: tuple[str, ...]) -> Any:
        if value is msgspec.UNSET or value is None or type(value) is bool:
            return value
        if self._is_secret(kind, path, value, context):
            return self._fingerprints(value)
        if type(value) is str:
            return self._plain(path, value)
        if type(value) is dict:
            return {
                key: self._value(kind, (*path, key), inner, beside(key, value) if key in NAMED else ())
                for key, inner in value.items()
            }
        if type(value) is list:
            return [
                self._value(kind, (*path, Item(index)), inner, _flag_before(value, index))
                for index, inner in enumerate(value)
            ]
        return value

    def _plain(self, path: Path, value: str) -> str:
        return value if path and path[-1] in _IMAGES else self.text(value)

    def _is_secret(self, kind: str, path: Path, value: Any, context: tuple[str, ...]) -> bool:
        first, last = path[0] if path else "", path[-1] if path else ""
        if (kind == "Secret" and first in ("data", "stringData")) or last == LAST_APPLIED:
            return True
        if self._field_patterns and any(pattern.matches(path) for pattern in self._field_patterns):
            return True
        if context and any(names_credential(word) for word in context if "=" not in word):
            return True
        names = [segment for segment in path if type(segment) is str]
        if not names:
            return False
        # `secret: {secretName: x}` and `imagePullSecrets: [{name: x}]` hold references: what is inside is judged by its
        # own names.
        named = names_credential_map if _holds_maps(value) else names_credential
        return named(_last(names[-1])) or any(map(names_credential_map, names[:-1]))

    def _fingerprints(self, value: Any) -> Any:
        """Keep the shape and the keys of a secret structure, so that it still shows which part changed."""
        if type(value) is dict:
            return {key: self._fingerprints(inner) for key, inner in value.items()}
        if type(value) is list:
            return [self._fingerprints(inner) for inner in value]
        return value if value is None or type(value) is bool else self.fingerprint(value)


def _holds_maps(value: Any) -> bool:
    return type(value) is dict or (type(value) is list and all(type(inner) is dict for inner in value))


def _last(name: str) -> str:
    """Return the part of a label or annotation key that says what it is."""
    return name.rsplit("/", 1)[-1]


def _flag_before(items: list[Any], index: int) -> tuple[str, ...]:
    before = items[index - 1] if index else None
    return (before,) if type(before) is str and before.startswith("-") else ()
