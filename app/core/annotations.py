"""Annotations that a finding carries, for the templates and groups of those who are told of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

import msgspec

from app.core.redact import Redactor
from app.core.text import shorten

MOST: Final = 64
LONGEST: Final = 1024
"""How many annotations a finding carries, and of how many characters: Kubernetes allows 256 KB of them (apimachinery,
`TotalAnnotationSizeLimitB`), and people choose channels and group by short ones."""

_BULK: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration", "objectset.rio.cattle.io/applied"})
"""What only repeats the object, or an older state of it."""


Annotations = dict[str, str] | msgspec.UnsetType
"""Those of a finding; unset where its object has none."""


def carried(annotations: Mapping[str, str] | None, redactor: Redactor) -> Annotations:
    """Return the object's annotations as a finding may carry them: redacted, few and short; unset if there are none.

    None stands for annotations that nobody knows.
    """
    if not annotations:
        return msgspec.UNSET
    chosen = itertools.islice(((key, text) for key, text in annotations.items() if key not in _BULK), MOST)
    # Redacted first: half a secret is not recognised.
    shown = {shorten(key, LONGEST): shorten(text, LONGEST) for key, text in redactor.strings(dict(chosen)).items()}
    return shown or msgspec.UNSET
