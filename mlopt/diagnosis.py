"""What is installed here, what each missing extra would give, and what this machine can measure."""

import json
import os
import platform
import shutil
from dataclasses import dataclass

from mlopt import __version__, cache, extras, files, plain, sandbox
from mlopt.errors import OutputUnwritable, install_command
from mlopt.profiling import latency


@dataclass(frozen=True, kw_only=True)
class ExtraState:
    name: str
    gives: str
    versions: dict[str, str]        # of what is installed
    missing: tuple[str, ...]

    @property
    def remedy(self) -> str:
        return install_command(self.name) if self.missing else ""


@dataclass(frozen=True, kw_only=True)
class Ability:
    """Something that can be measured, or held, here, or not, and why."""

    name: str
    possible: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    mlopt: str
    python: str
    system: str
    processor: str
    features: tuple[str, ...]
    cores: int
    cache: str
    cache_bytes: int
    extras: tuple[ExtraState, ...]
    abilities: tuple[Ability, ...]
    protections: tuple[Ability, ...]        # what a worker that opens a model is held to here
    schema: int = 1


def doctor() -> Diagnosis:
    host = latency.host()
    root = cache.default_root()
    return Diagnosis(
        mlopt=__version__, python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=host["processor"], features=tuple(host["features"]), cores=os.cpu_count() or 1,
        cache=str(root), cache_bytes=files.size(root) if root.is_dir() else 0,
        extras=tuple(_extra(name, extra) for name, extra in extras.known().items()),
        abilities=tuple(_abilities(host["features"])),
        protections=tuple(_protections()),
    )


def _extra(name: str, extra: extras.Extra) -> ExtraState:
    missing = extras.missing(name)
    versions = {package.module: package.version for package in extra.packages if package.module not in missing}
    return ExtraState(name=name, gives=extra.gives, versions=versions, missing=missing)


def _abilities(features: list[str]) -> list[Ability]:
    dot = any(f in features for f in ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"))
    return [
        Ability(name="latency of TFLite and ONNX files", possible=True, detail="on this host, never a phone's"),
        Ability(
            name="int8 speed-up", possible=dot,
            detail="this processor has 8-bit dot products" if dot else
                   "this processor has no 8-bit dot products: int8 files are often slower than float here",
        ),
        Ability(
            name="latency of Core ML files", possible=False,
            detail="Core ML runs on Apple systems only; numbers are proven by the reference evaluator",
        ),
        _cache_ability(),
    ]


def _cache_ability() -> Ability:
    root = cache.default_root()
    try:
        files.check_writable(root)
    except OutputUnwritable as err:
        return Ability(name="resuming", possible=False, detail=str(err))
    return Ability(name="resuming", possible=True, detail=f"{shutil.disk_usage(root).free // 10**9} GB free in {root}")


def _protections() -> list[Ability]:
    names = {"network": "reaching the network", "writing": "writing outside its folder",
             "reading": "reading what it was not given"}
    if not sandbox.wanted(os.environ):
        why = f"{sandbox.SWITCH}=0 turns this protection off"
        return [Ability(name=name, possible=False, detail=why) for name in names.values()]
    lacks = "this system's kernel has nothing for it that this user may use: open only models that you trust"
    try:
        held = sandbox.tried()
    except sandbox.SandboxBroken as err:
        held, lacks = sandbox.Held(), f"it could not be tried: {err}"
    return [
        Ability(name=words, possible=bool(getattr(held, field)), detail=getattr(held, field) or lacks)
        for field, words in names.items()
    ]


def to_json(found: Diagnosis) -> str:
    fields = plain.to_plain(found)
    for state, record in zip(found.extras, fields["extras"], strict=True):
        record["remedy"] = state.remedy
    return json.dumps(fields, indent=1)


def to_text(found: Diagnosis) -> str:
    lines = [
        f"mlopt {found.mlopt} on Python {found.python}, {found.system}",
        f"processor  {found.processor}, {found.cores} cores ({', '.join(found.features) or 'no known features'})",
        f"cache      {found.cache} ({found.cache_bytes / 1e6:.0f} MB)",
        "",
        "extras",
    ]
    for extra in found.extras:
        mark = "missing" if extra.missing else "ready"
        lines.append(f"  {extra.name:<8} {mark:<8} {extra.gives}")
        if extra.versions:
            lines.append("           " + ", ".join(f"{p} {v}" for p, v in extra.versions.items()))
        if extra.missing:
            lines.append(f"           lacks {', '.join(extra.missing)}: {extra.remedy}")
    lines += ["", "this machine can measure"]
    lines += [f"  {'yes' if a.possible else 'no ':<4} {a.name}: {a.detail}" for a in found.abilities]
    lines += ["", "a worker that opens a model is kept from"]
    lines += [f"  {'yes' if p.possible else 'no ':<4} {p.name}: {p.detail}" for p in found.protections]
    return "\n".join(lines)
