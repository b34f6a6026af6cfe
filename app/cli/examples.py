"""What people write: the end of the help of each command, and of its part of the documentation."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "entries list": (
        "--since 2h -n shop --kind Deployment",
        "--user alice --path images --since yesterday",
        "--operation DELETE --actor human -o json",
    ),
    "entries show": ("019ab2c3-d4e5-7f60", "019ab2c3-d4e5-7f60 -o yaml"),
    "entries tail": ("-n shop", "--actor human --path images", "--since 10m -o json"),
    "entries export": (
        "--since 7d --file week.csv",
        "--format jsonl --actor human -n shop --file shop.jsonl",
        "--rows entries --operation DELETE --file deletions.csv",
    ),
    "history": ("deployment/web -n shop", "svc/web --since monday", "certificates.example.org/web"),
    "blame": ("deployment/web -n shop", "sts/db --path images", "configmap/settings --live"),
    "diff": ("deployment/web --since yesterday", "deployment/web --since 'monday 9:00' --until 'monday 17:00'"),
    "undo": ("019ab2c3-d4e5-7f60", "019ab2c3-d4e5-7f60 --apply"),
    "report": (
        "--since monday --file report.html",
        "--since 2026-11-01 --until 2026-12-01 --zone Europe/Paris --hours 8-18 --days mon-fri --file november.html",
    ),
    "deliveries list": ("--state dead", "--sink slack --limit 10"),
}
"""The arguments of examples, by the words that call a command."""
