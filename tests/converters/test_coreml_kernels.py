"""The MIL kernels against TensorFlow, numpy and scipy, on batches of more than one sample."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from mlopt_coreml.converting import TARGET, converted
from mlopt_coreml.mil.evaluator import Evaluator
from mlopt_coreml.mil.program import read_program
from mlopt_coreml.quiet import ct

from mlopt.errors import UnsupportedOps

mb = ct.converters.mil.Builder
RANDOM = np.random.default_rng(0)


def evaluator_of(build: Callable[..., Any], *shapes: tuple[int, ...], half: bool = False) -> Evaluator:
    """A program over inputs x0, x1, ... of these declared shapes; `build` returns its outputs."""
    specs = [mb.TensorSpec(shape=shape) for shape in shapes]
    program = mb.program(input_specs=specs, opset_version=TARGET)(_WITH_NAMES[len(shapes)](build))
    package = converted(program, source="milinternal", half=half)
    return Evaluator(read_program(package.model, package.weights))


# the decorator reads argument names, which a bare *args has not
_WITH_NAMES: dict[int, Callable[..., Any]] = {
    1: lambda build: lambda x0: build(x0),            # noqa: PLW0108
    2: lambda build: lambda x0, x1: build(x0, x1),    # noqa: PLW0108
    3: lambda build: lambda x0, x1, x2: build(x0, x1, x2),   # noqa: PLW0108
}


def run(build: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
    """Each array is [N, *declared shape]; so is each result."""
    ready = evaluator_of(build, *(a.shape[1:] for a in arrays))
    values = ready.run({f"x{i}": a for i, a in enumerate(arrays)})
    return [values[name] for name in ready.program.outputs]


def numbers(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def close(found: np.ndarray, wanted: Any, tolerance: float = 2e-5) -> None:
    wanted = np.asarray(wanted)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=tolerance)


def channels_last(x: np.ndarray) -> np.ndarray:
    """[N, 1, C, H, W] to TensorFlow's [N, H, W, C]."""
    return np.moveaxis(x[:, 0], 1, -1)


def channels_first(y: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(y), -1, 1)[:, None]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 1)])
def test_convolution_equals_tensorflow(padding: str, stride: int, dilation: int) -> None:
    x, weight, bias = numbers(3, 1, 4, 9, 8), numbers(5, 4, 3, 2), numbers(5)
    [y] = run(
        lambda a: mb.conv(
            x=a, weight=weight, bias=bias, strides=[stride] * 2, dilations=[dilation] * 2, pad_type=padding.lower()
        ),
        x,
    )
    wanted = tf.nn.conv2d(channels_last(x), weight.transpose(2, 3, 1, 0), stride, padding, dilations=dilation) + bias
    close(y, channels_first(wanted))


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolution_with_a_multiplier_equals_tensorflow(stride: int) -> None:
    x, weight = numbers(2, 1, 3, 7, 6), numbers(6, 1, 3, 3)
    [y] = run(lambda a: mb.conv(x=a, weight=weight, groups=3, strides=[stride] * 2, pad_type="same"), x)
    kernel = weight.reshape(3, 2, 3, 3).transpose(2, 3, 0, 1)
    wanted = tf.nn.depthwise_conv2d(channels_last(x), kernel, [1, stride, stride, 1], "SAME")
    close(y, channels_first(wanted))


def test_grouped_convolution_is_convolutions_side_by_side() -> None:
    x, weight = numbers(2, 1, 6, 5, 5), numbers(4, 3, 3, 3)
    [y] = run(lambda a: mb.conv(x=a, weight=weight, groups=2, pad_type="valid"), x)
    halves = [
        tf.nn.conv2d(channels_last(part), own.transpose(2, 3, 1, 0), 1, "VALID")
        for part, own in ((x[:, :, :3], weight[:2]), (x[:, :, 3:], weight[2:]))
    ]
    close(y, channels_first(np.concatenate(halves, axis=-1)))


def test_one_and_three_dimensional_convolutions_equal_tensorflow() -> None:
    line, cube = numbers(2, 1, 3, 10), numbers(2, 1, 2, 4, 5, 6)
    kernel1, kernel3 = numbers(4, 3, 3), numbers(3, 2, 2, 3, 2)
    y1, y3 = run(
        lambda a, b: (
            mb.conv(x=a, weight=kernel1, strides=[2], pad_type="same"), mb.conv(x=b, weight=kernel3, pad_type="valid")
        ),
        line, cube,
    )
    close(y1, channels_first(tf.nn.conv1d(channels_last(line), kernel1.transpose(2, 1, 0), 2, "SAME")))
    close(y3, channels_first(tf.nn.conv3d(channels_last(cube), kernel3.transpose(2, 3, 4, 1, 0), [1] * 5, "VALID")))


def test_custom_and_lower_padding_put_zeros_where_they_say() -> None:
    x, weight = numbers(2, 1, 1, 1, 5), np.ones((1, 1, 1, 2), np.float32)
    custom, lower = run(
        lambda a: (
            mb.conv(x=a, weight=weight, pad_type="custom", pad=[0, 0, 2, 0]),
            mb.conv(x=a, weight=weight, pad_type="same_lower"),
        ),
        x,
    )
    row = x[:, 0, 0, 0]
    zero = np.zeros((2, 1), np.float32)
    pairs = np.concatenate([zero, zero, row], axis=1)
    close(custom[:, 0, 0, 0], pairs[:, :-1] + pairs[:, 1:])
    pairs = np.concatenate([zero, row], axis=1)
    close(lower[:, 0, 0, 0], pairs[:, :-1] + pairs[:, 1:])


@pytest.mark.parametrize(
    ("padding", "size", "output"), [("SAME", 3, 10), ("SAME", 2, 9), ("VALID", 3, 11), ("SAME", 1, 10)]
)
def test_transposed_convolution_equals_tensorflow(padding: str, size: int, output: int) -> None:
    x, weight = numbers(2, 1, 3, 5, 5), numbers(3, 4, size, size)
    shape = [1, 4, output, output]
    [y] = run(
        lambda a: mb.conv_transpose(x=a, weight=weight, strides=[2, 2], pad_type=padding.lower(), output_shape=shape), x
    )
    wanted = tf.nn.conv2d_transpose(
        channels_last(x), weight.transpose(2, 3, 1, 0), [2, output, output, 4], 2, padding
    )
    close(y, channels_first(wanted))


def test_transposed_convolution_in_groups_with_custom_padding_is_cut_from_the_full_one() -> None:
    x, weight = numbers(2, 1, 4, 5), numbers(4, 2, 3)
    full, cut = run(
        lambda a: (
            mb.conv_transpose(x=a, weight=weight, groups=2, strides=[2], pad_type="valid"),
            mb.conv_transpose(x=a, weight=weight, groups=2, strides=[2], pad_type="custom", pad=[1, 2]),
        ),
        x,
    )
    close(cut, full[..., 1:-2])
    by_hand = np.zeros((2, 11), np.float32)
    for place in range(5):
        for tap in range(3):
            by_hand[:, 2 * place + tap] += (x[:, 0, 2:4, place] * weight[2:4, 1, tap]).sum(axis=1)
    close(full[:, 0, 3], by_hand)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_pooling_equals_tensorflow(padding: str) -> None:
    x = numbers(3, 1, 4, 7, 6)
    settings = {"kernel_sizes": [3, 2], "strides": [2, 2], "pad_type": padding.lower()}
    largest, mean = run(
        lambda a: (mb.max_pool(x=a, **settings), mb.avg_pool(x=a, exclude_padding_from_average=True, **settings)), x
    )
    arguments = (channels_last(x), [3, 2], [2, 2], padding)
    close(largest, channels_first(tf.nn.max_pool2d(*arguments)))
    close(mean, channels_first(tf.nn.avg_pool2d(*arguments)))


def test_pooling_counts_padding_and_hanging_windows_as_pytorch_documents() -> None:
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 1, 5)
    counted, ceiled, squares = run(
        lambda a: (
            mb.avg_pool(x=a, kernel_sizes=[3], strides=[2], pad_type="custom", pad=[1, 1]),
            mb.avg_pool(x=a, kernel_sizes=[2], strides=[2], pad_type="valid", ceil_mode=True),
            mb.l2_pool(x=a, kernel_sizes=[2], strides=[2], pad_type="valid"),
        ),
        x,
    )
    close(counted.ravel(), [(0 + 1 + 2) / 3, (2 + 3 + 4) / 3, (4 + 5 + 0) / 3])
    close(ceiled.ravel(), [1.5, 3.5, 5.0])                     # the last window holds one number
    close(squares.ravel(), np.sqrt([1 + 4, 9 + 16]))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5])
def test_activations_follow_their_formulas(scale: float) -> None:
    x = numbers(3, 2, 4) * scale
    results = run(
        lambda a: (
            mb.relu(x=a), mb.relu6(x=a), mb.leaky_relu(x=a, alpha=0.1), mb.elu(x=a, alpha=0.7), mb.sigmoid(x=a),
            mb.sigmoid_hard(x=a, alpha=0.3, beta=0.4), mb.silu(x=a), mb.softplus(x=a), mb.softsign(x=a), mb.tanh(x=a),
            mb.scaled_tanh(x=a, alpha=2.0, beta=0.5), mb.linear_activation(x=a, alpha=2.0, beta=0.5),
            mb.clamped_relu(x=a, alpha=0.2, beta=1.0), mb.thresholded_relu(x=a, alpha=0.5),
            mb.gelu(x=a, mode="EXACT"), mb.gelu(x=a, mode="TANH_APPROXIMATION"),
            mb.gelu(x=a, mode="SIGMOID_APPROXIMATION"),
            mb.softmax(x=a, axis=1), mb.softmax(x=a, axis=-1),
        ),
        x,
    )
    wanted = [
        tf.nn.relu(x), tf.nn.relu6(x), tf.nn.leaky_relu(x, 0.1), np.where(x > 0, x, 0.7 * (np.exp(x) - 1)),
        tf.sigmoid(x), np.clip(0.3 * x + 0.4, 0, 1), tf.nn.silu(x), tf.nn.softplus(x), tf.nn.softsign(x), tf.tanh(x),
        2 * np.tanh(0.5 * x), 2 * x + 0.5, np.minimum(np.where(x >= 0, x, 0.2 * x), 1.0), np.where(x >= 0.5, x, 0),
        tf.nn.gelu(x), tf.nn.gelu(x, approximate=True), x * scipy.special.expit(1.702 * x),
        tf.nn.softmax(x, axis=2), tf.nn.softmax(x, axis=-1),
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected)


def test_prelu_has_a_slope_for_each_channel() -> None:
    x, alpha = numbers(2, 1, 3, 2, 2), np.array([0.1, 0.5, 2.0], np.float32)
    [y] = run(lambda a: mb.prelu(x=a, alpha=alpha), x)
    close(y, np.where(x > 0, x, x * alpha.reshape(3, 1, 1)))


def test_unary_operations_follow_their_formulas() -> None:
    x = numbers(3, 2, 5, low=0.1, high=0.9)
    kinds = {
        "abs": np.abs, "exp": np.exp, "exp2": np.exp2, "sqrt": np.sqrt, "square": np.square, "sign": np.sign,
        "floor": np.floor, "ceil": np.ceil, "round": np.round, "erf": scipy.special.erf, "sin": np.sin, "cos": np.cos,
        "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
        "atanh": np.arctanh, "identity": lambda v: v,
    }
    results = run(lambda a: tuple(getattr(mb, kind)(x=a) for kind in kinds), x)
    for found, formula in zip(results, kinds.values(), strict=True):
        close(found, formula(x))
    logs = run(
        lambda a: (
            mb.log(x=a, epsilon=0.1), mb.rsqrt(x=a, epsilon=0.1), mb.inverse(x=a, epsilon=0.1),
            mb.clip(x=a, alpha=0.2, beta=0.5), mb.threshold(x=a, alpha=0.3),
        ),
        x,
    )
    wanted = [np.log(x + 0.1), 1 / np.sqrt(x + 0.1), 1 / (x + 0.1), np.clip(x, 0.2, 0.5), np.maximum(x, 0.3)]
    for found, expected in zip(logs, wanted, strict=True):
        close(found, expected)


def test_binary_operations_broadcast_declared_shapes_and_never_samples() -> None:
    x, y = numbers(4, 3, 1, 2), numbers(4, 5, 2)      # declared [3, 1, 2] and [5, 2]
    kinds = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "real_div": np.true_divide, "floor_div": np.floor_divide,
        "maximum": np.maximum, "minimum": np.minimum, "mod": np.mod,
    }
    results = run(lambda a, b: tuple(getattr(mb, kind)(x=a, y=b) for kind in kinds), x, y)
    for found, formula in zip(results, kinds.values(), strict=True):
        close(found, np.stack([formula(x[i], y[i]) for i in range(4)]))
    [power] = run(lambda a: mb.pow(x=a, y=np.float32(1.5)), np.abs(x))
    close(power, np.abs(x) ** 1.5)


def test_comparisons_logic_and_choice() -> None:
    x, y = numbers(3, 2, 4), numbers(3, 2, 4)
    y[:, 0] = x[:, 0]

    def build(a: Any, b: Any) -> Any:
        kinds = ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")
        tests = [getattr(mb, kind)(x=a, y=b) for kind in kinds]
        both = mb.logical_and(x=tests[3], y=tests[5])
        either = mb.logical_or(x=tests[2], y=mb.logical_not(x=tests[1]))
        one = mb.logical_xor(x=both, y=either)
        picked = mb.select(cond=tests[2], a=a, b=b)
        return (*(mb.cast(x=t, dtype="fp32") for t in (*tests, both, either, one)), picked)

    results = run(build, x, y)
    both, either = x == y, (x > y) | (x == y)
    wanted = [x == y, x != y, x > y, x >= y, x < y, x <= y, both, either, both ^ either, np.maximum(x, y)]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected.astype(np.float32))


def test_casts_drop_the_fraction() -> None:
    x = np.array([[-1.7, 1.7, 2.5, -0.2]], np.float32)
    [y] = run(lambda a: mb.cast(x=mb.cast(x=a, dtype="int32"), dtype="fp32"), x)
    assert y.tolist() == [[-1.0, 1.0, 2.0, 0.0]]


@pytest.mark.parametrize("keep", [True, False])
def test_reductions_equal_numpy(keep: bool) -> None:
    x = numbers(3, 2, 4, 5, low=0.5)
    kinds = ["sum", "mean", "max", "min", "prod", "l1_norm", "l2_norm", "sum_square", "log_sum", "log_sum_exp"]
    results = run(lambda a: tuple(getattr(mb, f"reduce_{k}")(x=a, axes=[0, -1], keep_dims=keep) for k in kinds), x)
    over = {"axis": (1, 3), "keepdims": keep}
    wanted = [
        x.sum(**over), x.mean(**over), x.max(**over), x.min(**over), x.prod(**over), np.abs(x).sum(**over),
        np.sqrt((x * x).sum(**over)), (x * x).sum(**over), np.log(x.sum(**over)), np.log(np.exp(x).sum(**over)),
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected, 1e-4)
    [whole] = run(lambda a: mb.reduce_sum(x=a, keep_dims=keep), x)
    close(whole, x.sum(axis=(1, 2, 3), keepdims=keep), 1e-4)


def test_positions_orders_and_running_sums() -> None:
    x = numbers(3, 2, 6)
    results = run(
        lambda a: (
            mb.cast(x=mb.reduce_argmax(x=a, axis=-1), dtype="fp32"),
            mb.cast(x=mb.reduce_argmin(x=a, axis=0, keep_dims=True), dtype="fp32"),
            *(mb.topk(x=a, k=2, axis=-1)[i] if i == 0 else mb.cast(x=mb.topk(x=a, k=2, axis=-1)[1], dtype="fp32")
              for i in range(2)),
            mb.cast(x=mb.argsort(x=a, axis=-1, ascending=True), dtype="fp32"),
            mb.cumsum(x=a, axis=-1), mb.cumsum(x=a, axis=1, exclusive=True, reverse=True),
        ),
        x,
    )
    top = tf.math.top_k(x, 2)
    wanted = [
        x.argmax(-1), x.argmin(1)[:, None], top.values, top.indices, np.argsort(x, -1), tf.cumsum(x, -1),
        tf.cumsum(x, 2, exclusive=True, reverse=True),
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, np.asarray(expected, np.float32))


def test_matrix_products() -> None:
    x, y, weight, bias = numbers(3, 2, 4, 5), numbers(3, 2, 6, 5), numbers(7, 5), numbers(7)
    fixed = numbers(5, 3)
    products = run(
        lambda a, b: (
            mb.matmul(x=a, y=b, transpose_y=True), mb.matmul(x=a, y=fixed), mb.linear(x=a, weight=weight, bias=bias),
            mb.matmul(x=a, y=a, transpose_x=True),
        ),
        x, y,
    )
    wanted = [x @ np.swapaxes(y, -1, -2), x @ fixed, x @ weight.T + bias, np.swapaxes(x, -1, -2) @ x]
    for found, expected in zip(products, wanted, strict=True):
        close(found, expected)


def test_einsum_multiplies_per_sample_and_broadcasts_ones() -> None:
    x, y = numbers(3, 2, 4, 3, 5), numbers(3, 1, 5, 3, 6)
    [z] = run(lambda a, b: mb.einsum(values=(a, b), equation="nchw,nwhu->nchu"), x, y)
    wide = np.broadcast_to(y, (3, 2, 5, 3, 6))
    close(z, np.einsum("snchw,snwhu->snchu", x, wide))


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_softmax_of_scaled_products(masked: bool) -> None:
    q, k, v = numbers(3, 1, 2, 4, 5), numbers(3, 1, 2, 6, 5), numbers(3, 1, 2, 6, 7)
    mask = numbers(4, 6)
    extra = {"attn_mask": mask} if masked else {}
    [y] = run(lambda a, b, c: mb.scaled_dot_product_attention(query=a, key=b, value=c, **extra), q, k, v)
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(5) + (mask if masked else 0)
    close(y, np.asarray(tf.nn.softmax(scores)) @ v)


def test_normalisations() -> None:
    x = numbers(3, 1, 4, 5, 6)
    mean, variance, gamma, beta = numbers(4), numbers(4, low=0.5), numbers(4), numbers(4)
    wide = numbers(5, 6)
    results = run(
        lambda a: (
            mb.batch_norm(x=a, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=1e-3),
            mb.instance_norm(x=a, gamma=gamma, beta=beta, epsilon=1e-3),
            mb.layer_norm(x=a, axes=[2, -1], gamma=wide, beta=wide, epsilon=1e-3),
            mb.l2_norm(x=a, epsilon=1e-3),
            mb.local_response_norm(x=a, size=3, alpha=0.3, beta=0.6, k=1.5),
        ),
        x,
    )
    per = (4, 1, 1)
    spread = {"axis": (3, 4), "keepdims": True}
    centred = (x - x.mean(**spread)) / np.sqrt(x.var(**spread) + 1e-3)
    wanted = [
        (x - mean.reshape(per)) / np.sqrt(variance.reshape(per) + 1e-3) * gamma.reshape(per) + beta.reshape(per),
        centred * gamma.reshape(per) + beta.reshape(per),
        centred * wide + wide,
        x / np.sqrt((x * x).sum(axis=(2, 3, 4), keepdims=True) + 1e-3),
        channels_first(tf.nn.local_response_normalization(channels_last(x), 1, 1.5, 0.1, 0.6)),
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected)


def test_shapes_that_bake_in_a_batch_of_one_stay_right_for_many_samples() -> None:
    x = numbers(4, 1, 2, 6)
    results = run(
        lambda a: (
            mb.reshape(x=a, shape=[3, 4]), mb.reshape(x=a, shape=[-1, 2]), mb.transpose(x=a, perm=[2, 0, 1]),
            mb.squeeze(x=a, axes=[0]), mb.expand_dims(x=a, axes=[0, -1]), mb.flatten2d(x=a, axis=2),
            mb.concat(values=(a, a), axis=0), mb.concat(values=(a, a), axis=2, interleave=True),
            mb.stack(values=(a, a), axis=1), mb.tile(x=a, reps=[2, 1, 3]), mb.reverse(x=a, axes=[-1]),
        ),
        x,
    )
    wanted = [
        x.reshape(4, 3, 4), x.reshape(4, 6, 2), x.transpose(0, 3, 1, 2), x[:, 0], x[:, None, ..., None],
        x.reshape(4, 2, 6), np.concatenate([x, x], axis=1), np.repeat(x, 2, axis=3), np.stack([x, x], axis=2),
        np.tile(x, (1, 2, 1, 3)), x[..., ::-1],
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected)


def test_slices_splits_and_padding() -> None:
    x = numbers(3, 1, 4, 6)

    def build(a: Any) -> Any:
        first, second = mb.split(x=a, split_sizes=[1, 3], axis=1)
        return (
            first, second,
            mb.slice_by_index(x=a, begin=[0, 1, -1], end=[1, 3, 0], stride=[1, 1, -2], end_mask=[False, False, True]),
            mb.slice_by_index(x=a, begin=[0, -1, 1], end=[0, 0, 4], squeeze_mask=[True, True, False]),
            mb.slice_by_size(x=a, begin=[0, 1, 2], size=[1, -1, 3]),
            mb.pad(x=a, pad=[1, 0, 0, 2], mode="constant", constant_val=1.5),
            mb.pad(x=a, pad=[1, 2], mode="reflect"), mb.pad(x=a, pad=[1, 2], mode="replicate"),
            mb.sliding_windows(x=a, axis=2, size=3, stride=2), mb.band_part(x=a, lower=1, upper=0),
        )

    results = run(build, x)
    windows = np.stack([x[..., i : i + 3] for i in (0, 2)], axis=3)
    edge = [(0, 0)] * 3 + [(1, 2)]
    wanted = [
        x[:, :, :1], x[:, :, 1:], x[:, :, 1:3, ::-2], x[:, 0, -1, 1:4], x[:, :, 1:, 2:5],
        np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=1.5), np.pad(x, edge, mode="reflect"),
        np.pad(x, edge, mode="edge"), windows, tf.linalg.band_part(x, 1, 0),
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected)


def test_space_depth_and_batch_equal_tensorflow() -> None:
    x = numbers(3, 1, 8, 4, 6)
    results = run(
        lambda a: (
            mb.depth_to_space(x=a, block_size=2), mb.space_to_depth(x=a, block_size=2),
            mb.pixel_unshuffle(x=mb.pixel_shuffle(x=a, upscale_factor=2), downscale_factor=np.uint32(2)),
            mb.batch_to_space(
                x=mb.space_to_batch(x=a, block_shape=[2, 3], paddings=[[0, 0], [1, 2]]), block_shape=[2, 3],
                crops=[[0, 0], [1, 2]],
            ),
            mb.crop(x=a, crop_height=[1, 0], crop_width=[2, 1]),
        ),
        x,
    )
    wanted = [
        channels_first(tf.nn.depth_to_space(channels_last(x), 2)),
        channels_first(tf.nn.space_to_depth(channels_last(x), 2)), x, x, x[..., 1:, 2:5],
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected)
    [blocks] = run(lambda a: mb.space_to_batch(x=a, block_shape=[2, 3], paddings=[[0, 0], [0, 0]]), x)
    for i in range(3):
        wanted_blocks = tf.space_to_batch(channels_last(x[i : i + 1]), [2, 3], [[0, 0]] * 2)
        close(blocks[i], np.moveaxis(np.asarray(wanted_blocks), -1, 1))


def test_gathers_read_tables_samples_and_both() -> None:
    table, x = numbers(7, 3), numbers(4, 5, 6)
    indices = RANDOM.integers(0, 5, (4, 2)).astype(np.float32)
    fixed = np.array([3, 0], np.int32)

    def build(a: Any, b: Any) -> Any:
        whole = mb.cast(x=b, dtype="int32")
        return (
            mb.gather(x=table, indices=whole, axis=0), mb.gather(x=a, indices=fixed, axis=1),
            mb.gather(x=a, indices=whole, axis=0), mb.gather_nd(x=a, indices=mb.expand_dims(x=whole, axes=[1])),
            mb.one_hot(indices=whole, one_hot_vector_size=5, on_value=np.float32(2), off_value=np.float32(-1)),
        )

    results = run(build, x, indices)
    whole = indices.astype(np.int64)
    wanted = [
        table[whole], x[:, :, fixed], np.stack([x[i][whole[i]] for i in range(4)]),
        np.stack([x[i][whole[i]] for i in range(4)]), np.where(whole[..., None] == np.arange(5), 2.0, -1.0),
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected)


@pytest.mark.parametrize("size", [(7, 9), (3, 2), (8, 10)])
def test_resizing_equals_tensorflow(size: tuple[int, int]) -> None:
    x = numbers(2, 1, 3, 4, 5)
    to = {"target_size_height": size[0], "target_size_width": size[1]}
    results = run(
        lambda a: (
            mb.resize_bilinear(x=a, sampling_mode="DEFAULT", **to),
            mb.resize_bilinear(x=a, sampling_mode="STRICT_ALIGN_CORNERS", **to),
            mb.resize_bilinear(x=a, sampling_mode="UNALIGN_CORNERS", **to), mb.resize_nearest_neighbor(x=a, **to),
            mb.resize(x=a, shape=list(size), resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS"),
        ),
        x,
    )

    def bilinear(**how: bool) -> np.ndarray:
        return channels_first(tf.raw_ops.ResizeBilinear(images=channels_last(x), size=size, **how))

    wanted = [
        bilinear(), bilinear(align_corners=True), bilinear(half_pixel_centers=True),
        channels_first(tf.raw_ops.ResizeNearestNeighbor(images=channels_last(x), size=size)),
        bilinear(half_pixel_centers=True),
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected)


def test_upsampling_equals_tensorflow() -> None:
    x = numbers(2, 1, 3, 4, 5)
    by = {"scale_factor_height": 2, "scale_factor_width": 3}
    results = run(
        lambda a: (
            mb.upsample_nearest_neighbor(x=a, **by), mb.upsample_bilinear(x=a, align_corners=True, **by),
            mb.upsample_bilinear(x=a, align_corners=False, **by),
        ),
        x,
    )
    image, size = channels_last(x), (8, 15)
    wanted = [
        np.repeat(np.repeat(x, 2, axis=3), 3, axis=4),
        channels_first(tf.raw_ops.ResizeBilinear(images=image, size=size, align_corners=True)),
        channels_first(tf.raw_ops.ResizeBilinear(images=image, size=size, half_pixel_centers=True)),
    ]
    for found, expected in zip(results, wanted, strict=True):
        close(found, expected)


def test_quantize_rounds_clips_and_dequantize_opens() -> None:
    x = np.array([[-1.0, 0.049, 0.051, 0.25, 50.0]], np.float32)
    [y] = run(
        lambda a: mb.dequantize(
            input=mb.quantize(input=a, scale=np.float32(0.1), zero_point=np.int8(3), output_dtype="int8"),
            scale=np.float32(0.1), zero_point=np.int8(3),
        ),
        x,
    )
    close(y, [[-1.0, 0.0, 0.1, 0.2, 12.4]])


def test_float16_programs_round_every_output_and_overflow_to_infinity() -> None:
    ready = evaluator_of(lambda a: mb.mul(x=mb.add(x=a, y=np.float32(2048.0)), y=np.float32(40.0)), (3,), half=True)
    values = ready.run({"x0": np.array([[0.4, 1.6, -2000.0]], np.float32)})
    # near 2048 float16 has steps of 2; 2050 * 40 overflows 65504
    assert values[ready.program.outputs[0]].tolist() == [[np.inf, np.inf, 1920.0]]


def test_operations_without_a_kernel_are_named_all_at_once() -> None:
    with pytest.raises(UnsupportedOps) as caught:
        evaluator_of(lambda a: (mb.random_uniform(shape=[2], name="dice"), mb.relu(x=a)), (2,))
    assert caught.value.layers_by_op == {"random_uniform": ["dice"]}


def test_settings_without_reference_semantics_are_refused_with_the_layer() -> None:
    ready = evaluator_of(lambda a: mb.local_response_norm(x=a, size=2, name="lrn"), (1, 4, 3, 3))
    with pytest.raises(UnsupportedOps, match=r"even size.* in lrn"):
        ready.run({"x0": numbers(1, 1, 4, 3, 3)})
