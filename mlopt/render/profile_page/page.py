"""The page: the files beside each other, what changed, then each file from its key figures to its conditions."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import PurePath

from mlopt.profiling.session import FileProfile, Profile, Settings
from mlopt.render.html.markup import esc, section
from mlopt.render.html.style import CSS, SORT
from mlopt.render.profile_page import facts, operators, overview, times
from mlopt.render.profile_page.style import CSS as MORE_CSS
from mlopt.words import grouped

_ICON = "data:,"      # an empty icon: without one a browser asks the server for favicon.ico


def to_html(found: Profile, *, compared: bool = False) -> str:
    """One page with everything inline; `compared` adds what changed from the first file to the last.

    Its content policy forbids every request and every script but its own.
    """
    script = base64.b64encode(hashlib.sha256(SORT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{script}'"
    names = short_names([p.file for p in found.profiles])
    title = names[0] if len(names) == 1 else f"{len(names)} files"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="{_ICON}"><title>{esc(title)}: profile</title>'
        f"<style>{CSS}{MORE_CSS}</style></head><body><main><header><h1>{esc(title)}, profiled</h1>"
        f"{_subtitle(found)}</header>{_several(found.profiles, names, compared=compared)}"
        + "".join(
            _file(one, name, number, found.settings, alone=len(names) == 1)
            for number, (one, name) in enumerate(zip(found.profiles, names, strict=True), start=1)
        )
        + f"</main><script>{SORT}</script></body></html>\n"
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
    return f'<p class="sub">{esc(" · ".join(parts))}</p>'


def _several(profiles: Sequence[FileProfile], names: Sequence[str], *, compared: bool) -> str:
    parts = section(
        "files", "Side by side", overview.side_by_side(profiles, names),
        "Each file had a process of its own, and processes differ by more than these intervals show: "
        "whether one file is faster than another is for <code>mlopt gate</code>, which times both in turns. "
        "The line on the right: fastest run to p90; thick p50, thin p99, at the end of the scale where it is beyond.",
    )
    if compared and len(profiles) > 1:
        parts += section(
            "changes", "What changed", overview.changes(profiles[0], profiles[-1], (names[0], names[-1])),
            "Operations of the same kind in the same place, the largest difference first.",
        )
    return parts


def _file(one: FileProfile, name: str, number: int, settings: Settings, *, alone: bool) -> str:
    key = f"file{number}"
    throttled = (
        '<p class="alert">The processor slowed down while this was measured: let the device cool and measure again.</p>'
        if one.facts.throttled else ""
    )
    parts = [
        throttled, facts.figures(one),
        _part(key, "latency", "Latency", times.figures(one)),
        _part(key, "start", "From start to steady state", times.phases(one)),
        _part(key, "operators", "Operators", operators.charts(one)),
        _part(key, "memory", "Memory", facts.memory(one)),
        _part(key, "instructions", "Instructions", facts.instructions(one)),
        _part(key, "energy", "Energy", facts.energy(one)),
        _part(key, "notes", "Notes", facts.notes(one)),
        _part(key, "conditions", "Measured on", facts.device(one, settings)),
    ]
    body = "".join(parts)
    if alone:
        return f'<div id="{key}">{body}</div>'
    return f'<article id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{esc(name)}</h2>{body}</article>'


def _part(file: str, key: str, title: str, body: str) -> str:
    if not body:
        return ""
    return (
        f'<section id="{file}-{key}" aria-labelledby="{file}-{key}-title"><h3 id="{file}-{key}-title">{esc(title)}</h3>'
        f"{body}</section>"
    )
