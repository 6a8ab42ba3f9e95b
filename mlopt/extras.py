"""Which optional packages are here, asked without importing them."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass

from mlopt import plugins
from mlopt.errors import MissingExtra


@dataclass(frozen=True)
class Package:
    """A package as Python imports it, and as it is installed."""

    module: str
    distribution: str = ""              # where it is another name

    @property
    def installed_as(self) -> str:
        """What pip calls it."""
        return self.distribution or self.module

    @property
    def version(self) -> str:
        """The installed version, or "" where the package is not there."""
        return version(self.installed_as)

    @property
    def is_here(self) -> bool:
        """Asked without importing it."""
        return importlib.util.find_spec(self.module) is not None


@dataclass(frozen=True)
class Extra:
    """What one extra installs, and what for."""

    gives: str
    packages: tuple[Package, ...]


_OF_NO_DOOR = {
    "torch": Extra("takes a torch DataLoader of yours as samples; no PyTorch models yet", (Package("torch"),)),
    "tracking": Extra("tells trainings to an MLflow server", (Package("mlflow", "mlflow-skinny"),)),
}


def known() -> dict[str, Extra]:
    """Every extra by its name: those of the doors that are plugged in, and those of no door."""
    frameworks = {name: plugins.load_framework(name) for name in plugins.framework_names()}
    found = {door.extra: Extra(door.gives, door.packages) for door in frameworks.values()}
    for door in map(plugins.load_converter, plugins.converter_names()):
        exporting = [
            package for name, exporter in door.exporters.items() if name in frameworks
            for package in (*frameworks[name].needs_to_export, *exporter.needs)
        ]
        found.setdefault(door.extra, Extra(door.gives, tuple(dict.fromkeys((*exporting, *door.reads)))))
    return found | _OF_NO_DOOR


def missing(extra: str) -> tuple[str, ...]:
    """The packages of `extra` that are not installed; of an extra that nobody knows nothing is known to be missing."""
    wanted = known().get(extra)
    return _absent(wanted.packages if wanted is not None else ())


def require(extra: str, purpose: str) -> None:
    """Raise `MissingExtra`, whose sentence ends in the command that installs it, when a package is not there."""
    absent = missing(extra)
    if absent:
        raise MissingExtra(extra, absent, purpose)


def require_reader(format: str, purpose: str) -> None:
    """Raise `MissingExtra` when what opens files of `format` is not installed.

    Less than the extra of that name, which brings what exports such files as well.
    """
    door = plugins.load_converter(format)
    if absent := _absent(door.reads):
        raise MissingExtra(door.extra, absent, purpose)


def version(distribution: str) -> str:
    """The installed version, or "" where the distribution is not there."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _absent(packages: tuple[Package, ...]) -> tuple[str, ...]:
    return tuple(package.module for package in packages if not package.is_here)
