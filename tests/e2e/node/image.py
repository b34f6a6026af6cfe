"""What is in an image: this machine's programs, and in those of the product this checkout, with its interpreter."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PRODUCT: Final = "kubewitness"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PRODUCT_USER: Final = 65532
"""As the Dockerfile says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a container gets where its Pod says nothing else; `paths` are folders beside those of the system."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    user: int = 0
    paths: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": PATH})


def image(name: str) -> Image:
    """Return the image of a name; one that is not the product's does nothing until it is told otherwise."""
    repository = name.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return _product() if repository == PRODUCT else Image(command=("sleep", "infinity"))


def _product() -> Image:
    # Its own paths, so that whatever knows where it is stays right; only what is below them can be seen.
    program = Path(sys.executable).with_name(PRODUCT)
    paths = {Path(sys.base_prefix), Path(sys.prefix), ROOT / "app"}
    return Image(
        entrypoint=(sys.executable, str(program)),
        user=PRODUCT_USER,
        paths=sorted(path for path in paths if not path.is_relative_to("/usr")),
        environment={"PATH": f"{program.parent}:{PATH}", "PYTHONDONTWRITEBYTECODE": "1"},
    )
