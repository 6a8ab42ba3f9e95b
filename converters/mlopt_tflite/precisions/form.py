"""How a precision is made, as a table says it, and the one function behind all of these tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlopt.artifact import Made
from mlopt.data.samples import Samples
from mlopt.grid import Grid
from mlopt.model import Signature
from mlopt_tflite import flatfile
from mlopt_tflite.observe import Observe, Observed, observe
from mlopt_tflite.tables import Model
from mlopt_tflite.trained import Trained
from mlopt_tflite.written import Written, write


@dataclass(frozen=True, kw_only=True)
class Form:
    """One of `of_float` and `of_samples`; `on_grid` where a trained grid may decide the numbers."""

    stored: frozenset[str]             # types of which the file's weights must have one
    of_float: Callable[[Model], Written] | None = None
    of_samples: Callable[[Observed], Written] | None = None
    on_grid: Callable[[Trained, Observe], Written] | None = None
    tries: int = 4                     # inputs that prove that slimming is exact


@dataclass(frozen=True)
class Forms:
    """A `mlopt.convert.protocol.Make` for the precisions of one table."""

    by_name: Mapping[str, Form]

    def __call__(
        self, float_file: Path, precision: str, dest: Path, *, signature: Signature, samples: Samples | None,
        seed: int, grid: Grid | None = None,
    ) -> Made:
        """Write `precision` of `float_file` to `dest`. Raises `ValueError` for what the door does not offer."""
        if precision not in self.by_name:
            raise ValueError(f"{precision} is not made here; these are: {', '.join(self.by_name)}")
        form, notes = self.by_name[precision], tuple[str, ...]()

        def observed() -> Observed:
            if samples is None:
                raise ValueError(f"{precision} is made with samples; none were given")
            return observe(float_file, samples, seed)

        if grid is not None:
            if form.on_grid is None:
                raise ValueError(f"{precision} is not decided by a trained grid")
            written = form.on_grid(Trained.of(float_file, grid), observed)
        elif form.of_samples is not None:
            seen = observed()
            written, notes = form.of_samples(seen), seen.notes
        else:
            assert form.of_float is not None, precision
            written = form.of_float(flatfile.read(float_file))
        return write(written, dest, precision, stored=form.stored, seed=seed, tries=form.tries, notes=notes)
