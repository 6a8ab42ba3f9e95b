"""Compressed weights: optimal tables, rounding that cancels, forms that coremltools itself can open."""

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlopt_coreml.compress import Compressed, Weight, int8, palette, sparse_int8
from mlopt_coreml.mil.blob import BITS, WeightFile, pack_bits, unpack_bits
from mlopt_coreml.mil.half import rounded_to_half
from mlopt_coreml.mil.kernels import KERNELS, Call
from mlopt_coreml.mil.program import read_program
from mlopt_coreml.palettes import best_table, nearest
from mlopt_coreml.quiet import ct
from mlopt_coreml.rounding import balanced


def weight(*shape: int, seed: int = 0, axis: int = 0) -> Weight:
    values = np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float16).astype(np.float64)
    return Weight("w", "layer", values, axis)


def opened(compressed: Compressed) -> np.ndarray:
    """What our kernels make of it."""
    values: dict[str, np.ndarray] = {}
    for op in read_program(_model(compressed.operations), WeightFile(b"")).operations:
        held = {k: [values[a] if isinstance(a, str) else a.array[None] for a in v] for k, v in op.arguments.items()}
        result = KERNELS[op.kind](Call(op, held, {}))
        results = result if isinstance(result, (tuple, list)) else [result]
        values.update((port.name, value) for port, value in zip(op.outputs, results, strict=True))
    return values["w"][0]


def opened_by_coremltools(compressed: Compressed) -> np.ndarray:
    """What coremltools makes of the same operations, its type checks included."""
    from coremltools.converters.mil.frontend.milproto.load import load

    model = _model(compressed.operations)
    block = model.mlProgram.functions["main"].block_specializations["CoreML8"]
    block.outputs.append("w")
    last = load(model, 9, "").functions["main"].operations[-1]
    value: np.ndarray = last.materialized_val_inference()
    return value


def _model(operations: Any) -> Any:
    model = ct.proto.Model_pb2.Model(specificationVersion=9)
    function = model.mlProgram.functions["main"]
    function.opset = "CoreML8"
    model.mlProgram.version = 1
    function.block_specializations["CoreML8"].operations.extend(operations)
    return model


def best_by_trying_all(values: np.ndarray, entries: int) -> float:
    """The least squared distance of any partition of the line into `entries` intervals."""
    ordered, count = np.sort(values), len(values)
    return min(
        sum(float(np.square(part - part.mean()).sum()) for part in np.split(ordered, cuts))
        for cuts in itertools.combinations(range(1, count), entries - 1)
    )


@given(st.lists(st.integers(-20, 20), min_size=3, max_size=9), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_tables_are_optimal_on_every_small_case(numbers: list[int], entries: int) -> None:
    values = np.array(numbers, np.float64)
    entries = min(entries, len(values))
    table = best_table(values, entries)
    found = float(np.square(values - table[nearest(values, table)]).sum())
    assert found == pytest.approx(best_by_trying_all(values, entries), abs=1e-9)


def test_a_table_of_many_values_is_near_the_exact_one_and_repeatable() -> None:
    values = np.random.default_rng(1).standard_t(4, 20_000)
    table = best_table(values, 16)
    # Lloyd's condition: every entry is the mean of what is nearest to it
    index = nearest(values, table)
    means = np.array([values[index == i].mean() for i in range(16)])
    np.testing.assert_allclose(table, means, atol=1e-9)
    assert np.array_equal(table, best_table(values[::-1], 16))


def test_fewer_values_than_entries_are_kept_exactly() -> None:
    assert best_table(np.array([0.5, -1.0, 0.5]), 4).tolist() == [-1.0, 0.5, 0.5, 0.5]


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_balancing_never_raises_the_sum_that_it_lowers(channels: int, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    first = random.uniform(-0.5, 0.5, (channels, size))
    second = first - np.copysign(1.0, first)
    swapped = balanced(first, second)
    chosen = np.where(swapped, second, first)

    def cost(errors: np.ndarray) -> np.ndarray:
        return np.square(errors).sum(axis=1) + np.square(errors.sum(axis=1))

    assert (cost(chosen) <= cost(first) + 1e-12).all()


def test_balanced_kernels_sum_to_nearly_what_they_summed_to() -> None:
    one = weight(16, 32, 3, 3)
    errors = opened(palette(one, bits=4)) - one.values
    plain = best_table(one.values, 16)
    unbalanced = plain[nearest(one.values, plain)] - one.values
    assert np.abs(errors.sum(axis=(1, 2, 3))).max() < 0.2 * np.abs(unbalanced.sum(axis=(1, 2, 3))).max()
    assert np.square(errors).sum() < 2 * np.square(unbalanced).sum()


@pytest.mark.parametrize(
    "store", [int8, sparse_int8, *(partial(palette, bits=bits) for bits in (4, 6, 8))],
    ids=["int8", "sparse", "palette4", "palette6", "palette8"],
)
@pytest.mark.parametrize(("shape", "axis"), [((8, 6, 3, 3), 0), ((12, 10), 0), ((6, 8, 2, 2), 1), ((24, 1, 3, 3), 0)])
def test_coremltools_opens_every_form_to_what_our_kernels_open(store: Any, shape: tuple[int, ...], axis: int) -> None:
    one = weight(*shape, axis=axis)
    one.values[np.abs(one.values) < 0.08] = 0
    compressed = store(one)
    ours, theirs = opened(compressed), opened_by_coremltools(compressed)
    assert theirs.shape == shape
    np.testing.assert_allclose(ours, theirs.astype(np.float32), atol=2e-4)     # theirs multiplies in float16
    step = np.abs(one.values).max() / {"int8": 100}.get(getattr(store, "__name__", ""), 3)
    assert np.abs(ours - one.values).max() < step


def test_int8_stays_within_one_step_of_every_weight_and_half_a_step_of_most() -> None:
    one = weight(8, 64)
    one.values[3] *= 1000                                    # a loud channel takes nothing from the quiet ones
    stored = opened(int8(one))
    steps = np.abs(one.values).max(axis=1, keepdims=True) / 127 * 1.002
    errors = np.abs(stored - one.values)
    assert (errors <= steps).all() and (errors <= steps / 2).mean() > 0.8


def test_sparse_weights_keep_their_zeros_and_cost_a_bit_each() -> None:
    one = weight(32, 64)
    one.values[np.random.default_rng(2).random(one.values.shape) < 0.75] = 0
    compressed = sparse_int8(one)
    stored = opened(compressed)
    assert (stored[one.values == 0] == 0).all()
    assert compressed.bytes <= 32 * 64 // 8 + np.count_nonzero(one.values) + 2 * 32


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_clustered_weights_are_kept_exactly_where_the_table_has_room_for_them(bits: int) -> None:
    random = np.random.default_rng(3)
    centres = np.logspace(-3, 1, 2**bits).astype(np.float16).astype(np.float64).reshape(4, -1)
    values = np.stack([random.choice(row, (3, 3, 40)) for row in centres])      # channels of very different size
    found = palette(Weight("w", "layer", values, 0), bits)
    assert found.noise == 0.0 and found.how == "one table"
    assert np.array_equal(opened(found), values)


def test_channels_of_very_different_size_get_scales_beside_the_table() -> None:
    one = weight(64, 1, 3, 3)
    one.values[:] *= np.logspace(-2, 1, 64).reshape(64, 1, 1, 1)
    compressed = palette(one, bits=4)
    assert "scale" in compressed.how
    assert compressed.noise < 0.1


@given(st.sampled_from([1, 2, 3, 4, 6]), st.lists(st.integers(0, 255), min_size=1, max_size=40))
def test_packing_is_undone_by_unpacking(bits: int, numbers: list[int]) -> None:
    values = np.array(numbers, np.uint8) % (1 << bits)
    assert unpack_bits(pack_bits(values, bits), bits, len(values)).tolist() == values.tolist()


def test_signed_four_bit_numbers_keep_their_sign() -> None:
    assert unpack_bits(bytes([0x8F, 0x07]), BITS["int4"], 3, signed=True).tolist() == [-1, -8, 7]


@given(st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=50))
@settings(max_examples=300, deadline=None)
def test_fast_rounding_to_float16_equals_numpy(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = values.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(rounded_to_half(values), wanted)


def test_fast_rounding_takes_every_tie_to_even() -> None:
    steps = np.arange(0x7BFF, dtype=np.uint16)
    low, high = (v.view(np.float16).astype(np.float32) for v in (steps, steps + np.uint16(1)))
    ties = np.concatenate([(low + high) / 2, -(low + high) / 2])
    np.testing.assert_array_equal(rounded_to_half(ties), ties.astype(np.float16).astype(np.float32))
