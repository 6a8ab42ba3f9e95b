"""float16, int8-weights and int8-dynamic: weights alone are stored in fewer bits, and no samples are looked at."""

from mlopt_tflite import trained, weight_files
from mlopt_tflite.precisions.form import Form, Forms
from mlopt_tflite.settle import settle
from mlopt_tflite.tables import Model
from mlopt_tflite.weights import in_8_bits
from mlopt_tflite.written import Written


def _float16(model: Model) -> Written:
    halved, notes = weight_files.half(model)
    return halved, {"weights": "rounded to 16-bit floats"}, notes


def _int8_weights(model: Model) -> Written:
    chosen, tables = in_8_bits(model), weight_files.tables(model)
    kinds = {"weights": "8 bits, a scale for each output channel", "activations": "float"}
    return weight_files.with_tables(weight_files.unpacked(model, chosen, {}), tables), kinds, ()


def _int8_dynamic(model: Model) -> Written:
    chosen, tables = in_8_bits(model), weight_files.tables(model)
    model, notes = settle(
        model, lambda in_float: weight_files.with_tables(weight_files.dynamic(model, chosen, in_float), tables)
    )
    kinds = {"weights": "8 bits, a scale for each output channel", "activations": "rounded to 8 bits at run time"}
    return model, kinds, notes


_INT8 = frozenset({"int8"})

make = Forms({
    # weights too few to pay for their unpacking stay float32
    "float16": Form(stored=frozenset({"float16", "float32"}), of_float=_float16),
    "int8-dynamic": Form(
        stored=_INT8, of_float=_int8_dynamic, on_grid=lambda on, _: trained.dynamic_file(on, four=frozenset())
    ),
    "int8-weights": Form(stored=_INT8, of_float=_int8_weights, on_grid=lambda on, _: trained.weights_file(on)),
})
