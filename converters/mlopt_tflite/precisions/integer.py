"""int8 and int16x8: weights, activations, inputs and outputs in integers."""

from mlopt_tflite.full_integer import make_integer
from mlopt_tflite.precisions.form import Form, Forms
from mlopt_tflite.trained_integer import integer_file

_INT8 = frozenset({"int8"})

make = Forms({
    "int8": Form(
        stored=_INT8, of_samples=lambda seen: make_integer(seen, "int8"),
        on_grid=lambda on, observe: integer_file(on, observe, four=frozenset()),
    ),
    # int16 activations run in slow reference kernels: one input proves as much there
    "int16x8": Form(stored=_INT8, of_samples=lambda seen: make_integer(seen, "int16"), tries=1),
})
