"""The page: the files beside each other, what changed, then each file from its key figures to its conditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from mlopt.profiling.instructions import Instructions
from mlopt.profiling.session import FileProfile, Profile, Settings
from mlopt.render.html.environment import page
from mlopt.render.profile_page import facts, operators, overview, times
from mlopt.render.profile_page.operators import Charts
from mlopt.render.profile_page.times import Phases, Times
from mlopt.words import grouped


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file, as the template shows it."""

    name: str
    throttled: bool
    figures: list[tuple[str, str, str]]
    times: Times | None
    phases: Phases | None
    operators: Charts | None
    memory: list[tuple[str, str, str, str]]
    instructions: tuple[Instructions, ...]
    energy: list[tuple[str, str]]
    energy_reason: str                           # why there is none
    notes: tuple[str, ...]
    device: list[tuple[str, str]]


def to_html(found: Profile, *, compared: bool = False) -> str:
    """One page with everything inline; `compared` adds what changed from the first file to the last.

    Its content policy forbids every request and every script but its own.
    """
    profiles, names = found.profiles, short_names([p.file for p in found.profiles])
    changes = None
    if compared and len(profiles) > 1:
        changes = overview.changes(profiles[0], profiles[-1], (names[0], names[-1]))
    return page(
        "profile.html.j2", styles=("profile.css",), subtitle=_subtitle(found),
        title=names[0] if len(names) == 1 else f"{len(names)} files",
        side_by_side=overview.side_by_side(profiles, names), changes=changes,
        files=[_file(one, name, found.settings) for one, name in zip(profiles, names, strict=True)],
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """File names, with as much of their folders as tells them apart.

    >>> short_names(["a/x.tflite", "a/y.tflite"]), short_names(["a/x.tflite", "b/x.tflite"])
    (['x.tflite', 'y.tflite'], ['a/x.tflite', 'b/x.tflite'])
    """
    parts = [PurePath(path).parts for path in paths]
    for kept in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(p[-kept:]) for p in parts]
        if len(set(names)) == len(set(paths)):
            return names
    return list(paths)


def _subtitle(found: Profile) -> str:
    devices = dict.fromkeys(p.facts.name for p in found.profiles)
    runtimes = dict.fromkeys(p.facts.runtime for p in found.profiles if p.facts.runtime)
    threads = found.settings.threads
    parts = [*devices, *runtimes, f"{threads} thread{'s' if threads != 1 else ''}"]
    parts.append(f"{grouped(found.settings.runs)} runs wanted, each file in fresh processes")
    return " · ".join(parts)


def _file(one: FileProfile, name: str, settings: Settings) -> _File:
    return _File(
        name=name, throttled=one.facts.throttled, figures=facts.figures(one), times=times.figures(one),
        phases=times.phases(one), operators=operators.charts(one), memory=facts.memory(one),
        instructions=one.instructions, energy=facts.energy(one), energy_reason=one.energy.reason,
        notes=(*one.distribution.notes, *one.notes),
        device=facts.device(one, settings),
    )
