"""The apprise library, loaded where it is asked for: it costs memory, and it would log URLs with their credentials."""

from __future__ import annotations

import importlib
import logging
import warnings
from typing import Any, Final

LOGGER: Final = "apprise"


def load(module: str) -> Any:
    """Return a module of apprise, which has no types; its log goes to nobody but handlers of `LOGGER`."""
    logging.getLogger(LOGGER).propagate = False
    with warnings.catch_warnings():
        # It looks for a module of the standard library that newer Pythons do not have, which older ones warn about.
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(module)
