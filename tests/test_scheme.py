"""What a file can hold of a scheme."""

from dataclasses import replace

import pytest

from mlopt import plugins
from mlopt.scheme import INT8, MIXED_4_8, SCHEMES, Granularity, GridStorage

FOUR = replace(MIXED_4_8, name="int4", weights=MIXED_4_8.weights[1:])
WIDE = replace(INT8, name="wide", weights=(replace(INT8.weights[0], bits=16),))
SHIFTED = replace(INT8, name="shifted", weights=(replace(INT8.weights[0], symmetric=False),))
LOOSE = replace(INT8, name="loose", activations=None)
FINE = replace(INT8, name="fine", activations=replace(MIXED_4_8.weights[0], bits=16))
EIGHT_IN_ALL, BOTH = GridStorage(weight_bits=(8,), activation_bits=8), GridStorage(weight_bits=(8, 4))


@pytest.mark.parametrize("storage, scheme, why", [
    (EIGHT_IN_ALL, INT8, ""),
    (EIGHT_IN_ALL, MIXED_4_8, ""),                  # four bits fit in eight
    (EIGHT_IN_ALL, FOUR, ""),
    (EIGHT_IN_ALL, LOOSE, ""),                      # the file finds ranges of its own
    (EIGHT_IN_ALL, WIDE, "wide has weights of 16 bits, and this stores 8 at most"),
    (EIGHT_IN_ALL, SHIFTED, "shifted has weights with a zero point, which this does not store"),
    (EIGHT_IN_ALL, FINE, "fine has activations of 16 bits, and this stores 8"),
    (GridStorage(weight_bits=(8,)), FINE, ""),      # activations of this file are floats
    (BOTH, MIXED_4_8, ""),
    (BOTH, INT8, "int8 has no weights of 4 bits, which this is for"),
    (GridStorage(weight_bits=(8,), granularities=(Granularity.TENSOR,)), INT8,
     "int8 has one step a channel, which this does not store"),
])
def test_a_file_says_why_it_cannot_hold_a_scheme(storage, scheme, why):
    assert storage.refusal(scheme) == why


def test_the_precisions_of_our_formats_take_these_schemes():
    taken = {
        f"{name} {precision.name}": [scheme.name for scheme in SCHEMES.values() if precision.takes(scheme)]
        for name in ("tflite", "onnx", "coreml") for precision in plugins.load_converter(name).precisions
    }
    both, four = ["int8", "mixed-4-8"], ["mixed-4-8"]
    assert {key: schemes for key, schemes in taken.items() if schemes} == {
        "tflite int8": both, "tflite int8-dynamic": both, "tflite int8-weights": both, "tflite mixed-4-8": four,
        "tflite int8-mixed-4-8": four, "onnx int8": both,
    }


def test_a_scheme_lists_kernels_formats_the_widest_first_and_finds_each_by_its_bits():
    assert {name: [f.bits for f in scheme.weights] for name, scheme in SCHEMES.items()} == {
        "int8": [8], "mixed-4-8": [8, 4],
    }
    assert (INT8.chooses, MIXED_4_8.chooses) == (False, True)
    assert MIXED_4_8.weight_format(4).learnt and not MIXED_4_8.weight_format(8).learnt
