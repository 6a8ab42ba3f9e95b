"""How samples are read for a model, as the user said it."""

from dataclasses import dataclass

from mlopt.errors import BadRequest

Normalisation = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What becomes of stored samples before a model takes them; the same for every role of a run.

    Raises `BadRequest` for a normalisation whose low end is not the smaller one.
    """

    normalise: Normalisation | None = None      # what 0 and 255 of a picture become; None: values stay
    resize: bool = False                        # pictures to the model's input
    slice_columns: tuple[str, ...] = ()         # columns that split the test samples; empty: text with few values

    def __post_init__(self) -> None:
        if self.normalise is not None and not self.normalise[0] < self.normalise[1]:
            raise BadRequest(f"--normalise is (low, high), what 0 and 255 become; got {self.normalise}")


AS_STORED = Preparation()
