"""int8-mixed-4-8: the mixture of 4 and 8 bits with activations, inputs and outputs in 8-bit integers."""

from mlopt_tflite import full_integer, low_bits
from mlopt_tflite.observe import Observed
from mlopt_tflite.precisions.form import Form, Forms
from mlopt_tflite.trained_integer import integer_file
from mlopt_tflite.written import Written

_FOUR_BITS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})   # 4-bit kernels on int8 activations


def _mixed(observed: Observed) -> Written:
    """The mixture that is searched on float activations; the ranges of its activations are searched after it."""
    found = low_bits.mixture(observed)
    model, choices, notes = full_integer.make_integer(found.observed, "int8", weights=found.weights())
    described = {"weights": found.layers_by_bits(), "rounding": low_bits.ROUNDED, "bias": "as trained"}
    return model, choices | described | found.choices, (*found.notes, *notes, *found.missed)


make = Forms({
    "int8-mixed-4-8": Form(
        stored=frozenset({"int4", "int8"}), of_samples=_mixed,
        on_grid=lambda on, observe: integer_file(on, observe, four=_FOUR_BITS),
    ),
})
