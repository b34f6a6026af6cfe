"""What a process tells of itself on its status page: its configuration as it is in effect at this moment."""

from __future__ import annotations

from collections.abc import Iterator

from app.bootstrap.backbone import Backbone
from app.config.model import Config
from app.config.shown import shown
from app.core.moments import milliseconds, written
from app.core.playbook import Playbook
from app.core.single import Parameters
from app.web.ui.installation import Installation, PlaybookFacts, SinkFacts


def installation(backbone: Backbone) -> Installation:
    """Return the facts, none of which is secret."""
    watched = backbone.config
    config = watched.current
    return Installation(
        cluster=backbone.cluster_name(config),
        config_file=str(backbone.settings.config or ""),
        loaded_at=written(milliseconds(watched.loaded_at)),
        refused=watched.last_error or "",
        records=config.record.describe(),
        configuration=shown(config),
        playbooks=tuple(_playbook(each, config) for each in config.custom_playbooks),
        sinks=tuple(_sinks(backbone)),
        office=backbone.settings.office,
    )


def _playbook(playbook: Playbook, config: Config) -> PlaybookFacts:
    usual = [sink.name for sink in config.sinks if sink.default]
    return PlaybookFacts(
        name=playbook.label,
        triggers=_names(playbook.chosen_triggers),
        actions=_names(playbook.chosen_actions),
        sinks=tuple(usual if playbook.sinks is None else playbook.sinks),
    )


def _names(chosen: list[tuple[str, Parameters]]) -> tuple[str, ...]:
    return tuple(name for name, _ in chosen)


def _sinks(backbone: Backbone) -> Iterator[SinkFacts]:
    """Yield the declared sinks in their order, then those of actions, then those that the file does not let be."""
    config, failures = backbone.config.current, backbone.employed.failures
    types = {item.config.name: item.key for item in config.sinks_config}
    for sink in config.sinks:
        reason = failures.get(sink.name, "")
        kind = types.get(sink.name, "json_change_tracker")
        yield SinkFacts(name=sink.name, type=kind, state="missing" if reason else "up", reason=reason)
    for each in backbone.config.left_out:
        yield SinkFacts(name=each.name, type=each.key, state="left out", reason=str(each))
