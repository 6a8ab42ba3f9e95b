"""From what workers made to a report: the choice, the findings, the facts of data and machine."""

import os
import platform

import mlopt
from mlopt import cache, choice, extras, plugins
from mlopt.errors import install_command
from mlopt.pipeline.bundle import placed
from mlopt.pipeline.request import CompressRequest, wanted
from mlopt.pipeline.run import Material
from mlopt.pipeline.workers.answering import BASELINE
from mlopt.profiling import latency
from mlopt.report import Baseline, DataFacts, Finding, Host, Report, Severity


def report(request: CompressRequest, material: Material) -> Report:
    baseline = cache.read_record(material.reference / BASELINE, Baseline)
    chosen = choice.choose(material.candidates, max_drop=request.max_drop)
    return Report(
        source=material.source,
        baseline=baseline,
        data=_data(request, material),
        host=_host(),
        limit=chosen.limit,
        candidates=placed(chosen.candidates),
        findings=(
            *material.findings, *chosen.findings, *_data_findings(request, material), *_not_installed(request),
        ),
        class_names=material.gathered["test"].class_names,
        seed=request.seed,
        trained=material.product.trained,
    )


def _data(request: CompressRequest, material: Material) -> tuple[DataFacts, ...]:
    """Sources as this run named them: the samples may have been kept under another path."""
    train = request.train or ""
    named = {
        "calibration": request.data or train, "test": request.test or request.data or train, "validation": train,
        "train": train,
    }
    return tuple(
        DataFacts(
            role=role, source=named[role] if facts.origin == "given" else facts.source, count=facts.count,
            fingerprint=facts.fingerprint.sha256, origin=facts.origin, note="; ".join(facts.notes),
        )
        for role, facts in material.gathered.items()
    )


def _data_findings(request: CompressRequest, material: Material) -> list[Finding]:
    found = [
        Finding(severity=Severity.NOTE, code="data", about=role, message=note)
        for role, facts in material.gathered.items() for note in facts.notes
    ]
    found += [
        Finding(severity=Severity.WARNING, code="data-doubtful", about=role, message=warning)
        for role, facts in material.gathered.items() for warning in facts.warnings
    ]
    calibrated = _calibrated(request, material)
    if request.data is None and request.train is None and calibrated:
        found.append(Finding(
            severity=Severity.WARNING, code="calibration-synthesised", about="data",
            message=f"no --data was given: {', '.join(calibrated)} files were calibrated on inputs synthesised from "
                    "the model. Their accuracy on real samples is unknown until they are compared on some.",
        ))
    if request.data is None and request.test is None and request.train is None:
        found.append(Finding(
            severity=Severity.WARNING, code="accuracy-unknown", about="data",
            message="no labelled samples were given: the task's metric and its drop could not be measured. Agreement "
                    "is with the source model on synthesised inputs; --test gives it real ones.",
        ))
    return found


def _calibrated(request: CompressRequest, material: Material) -> list[str]:
    """The precisions that were made and that calibrate, each once."""
    made = {(c.format, c.precision) for c in material.candidates}
    return list(dict.fromkeys(
        precision.name for one in wanted(request) for precision in one.precisions
        if precision.needs_samples and (one.converter.name, precision.name) in made
    ))


def _not_installed(request: CompressRequest) -> list[Finding]:
    """Formats that a run over all formats leaves out."""
    found = []
    for door in map(plugins.load_converter, plugins.converter_names() if not request.formats else ()):
        lacks = extras.missing(door.extra)
        if lacks:
            wanting = ", ".join(lacks)
            message = f"no {door.name} files were made, for want of {wanting}: {install_command(door.extra)}"
            found.append(Finding(severity=Severity.NOTE, code="not-installed", about=door.name, message=message))
    return found


def _host() -> Host:
    facts = latency.host()
    return Host(
        processor=facts["processor"], features=tuple(facts["features"]), cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        versions={"mlopt": mlopt.__version__} | _versions(),
    )


def _versions() -> dict[str, str]:
    """Of every package that opened, wrote or ran something, as far as it is installed."""
    packages = dict.fromkeys(package for extra in extras.known().values() for package in extra.packages)
    named = {package.installed_as: package.version for package in packages}
    return {name: found for name, found in (named | {"numpy": extras.version("numpy")}).items() if found}
