"""int4-weights and mixed-4-8: 4-bit weights, unpacked by kernels that round float activations as they run."""

from mlopt_tflite.low_bits import make_int4, make_mixed
from mlopt_tflite.precisions.form import Form, Forms
from mlopt_tflite.trained import dynamic_file
from mlopt_tflite.weights import FOUR_BITS

make = Forms({
    "int4-weights": Form(stored=frozenset({"int4"}), of_samples=make_int4),
    "mixed-4-8": Form(
        stored=frozenset({"int4", "int8"}), of_samples=make_mixed,
        on_grid=lambda on, _: dynamic_file(on, four=FOUR_BITS),
    ),
})
