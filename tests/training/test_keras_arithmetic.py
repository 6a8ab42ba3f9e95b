"""Which numbers a training computes in, and that narrower ones change nothing that matters."""

from dataclasses import replace

import numpy as np
import pytest
from needs import needs_hardware

from mlopt.frameworks.fitting import FitTask, LabelLoss, Strategy
from mlopt.frameworks.keras.fitting import arithmetic
from mlopt.frameworks.keras.fitting.arithmetic import Arithmetic, chosen, rewritten, worthwhile
from mlopt.frameworks.keras.grid.layers import Rounding
from mlopt.frameworks.keras.quiet import tf
from mlopt.network import Network
from mlopt.outputs import Head, LabelKind
from mlopt.testing.networks import Builder

CLASSES, VALUES = {"y": Head.SOFTMAX}, {"y": Head.SOFTMAX, "z": Head.PLAIN}


class Trainee:
    def __init__(self, network, *layers):
        self.network, self.keras_model = network, tf.Module()
        self.keras_model.layers = list(layers)


def task(tmp_path, strategy=Strategy.AUTO, losses=()):
    return FitTask(samples=tmp_path, validation=None, losses=losses, epochs=1, checkpoints=tmp_path, strategy=strategy)


def large() -> Network:
    b = Builder()
    return b.model(b.convolution(b.convolution(b.input(64, 64, 16), 64), 8)).network     # 6.3 million MACs


def small() -> Network:
    b = Builder()
    return b.model(b.convolution(b.input(4, 4, 3), 8)).network


@pytest.fixture
def with_instructions(monkeypatch):
    monkeypatch.setattr(arithmetic, "_has_instructions", lambda: True)


def test_a_large_convolutional_network_trains_in_bfloat16_where_the_processor_has_it(tmp_path, with_instructions):
    assert chosen(Trainee(large()), task(tmp_path), CLASSES) is Arithmetic.BFLOAT16


def test_a_processor_without_the_instructions_computes_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(arithmetic, "_has_instructions", lambda: False)
    assert chosen(Trainee(large()), task(tmp_path), CLASSES) is Arithmetic.FLOAT32


def test_what_is_small_or_on_a_grid_or_held_to_values_or_spread_computes_in_float32(tmp_path, with_instructions):
    on_grid = Trainee(large(), Rounding(low=0.0, high=1.0))
    assert chosen(Trainee(small()), task(tmp_path), CLASSES) is Arithmetic.FLOAT32
    assert chosen(on_grid, task(tmp_path), CLASSES) is Arithmetic.FLOAT32
    assert chosen(Trainee(large()), task(tmp_path), VALUES) is Arithmetic.FLOAT32
    labels = (LabelLoss(output="y", kind=LabelKind.VALUES),)
    assert chosen(Trainee(large()), task(tmp_path, losses=labels), {}) is Arithmetic.FLOAT32
    for strategy in (Strategy.MIRRORED, Strategy.MULTI_WORKER, Strategy.PARAMETER_SERVER):
        assert chosen(Trainee(large()), task(tmp_path, strategy), CLASSES) is Arithmetic.FLOAT32


def test_depthwise_networks_lose_by_it():
    b = Builder()
    network = b.model(b.convolution(b.depthwise(b.input(64, 64, 64)), 64)).network
    assert network.macs > arithmetic.WORTH_MACS and not worthwhile(network)
    nodes = tuple(replace(node, kind="pass") if node.kind == "depthwise" else node for node in network.nodes)
    assert worthwhile(replace(network, nodes=nodes))


def test_networks_with_few_channels_lose_by_it():
    b = Builder()
    network = b.model(b.convolution(b.convolution(b.input(64, 64, 16), 8), 32)).network
    assert worthwhile(network)
    b = Builder()
    narrow = b.convolution(b.convolution(b.convolution(b.input(64, 64, 16), 8), 8), 32)
    assert not worthwhile(b.model(narrow).network)


def test_dense_layers_alone_are_not_worth_it():
    b = Builder()
    network = b.model(b.convolution(b.convolution(b.input(2048), 1024), 8)).network
    assert network.macs > arithmetic.WORTH_MACS and not worthwhile(network)


def test_a_rewritten_graph_multiplies_in_bfloat16_and_the_option_is_as_before_afterwards():
    needs_hardware(arithmetic._has_instructions(), "instructions for bfloat16")
    random = np.random.default_rng(0)
    image, kernel = (random.normal(size=shape).astype(np.float32) for shape in ((8, 32, 32, 16), (3, 3, 16, 32)))

    def convolved():
        def body(a, b):
            return tf.nn.relu(tf.nn.conv2d(a, b, 1, "SAME"))

        return tf.function(body, autograph=False)(image, kernel).numpy()

    option = "auto_mixed_precision_onednn_bfloat16"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    exact = convolved()
    with rewritten(Arithmetic.BFLOAT16):
        narrow = convolved()
    assert tf.config.optimizer.get_experimental_options().get(option, False) == before
    away = np.abs(narrow - exact).max() / np.abs(exact).max()
    assert 1e-5 < away < 2**-6          # eight bits of mantissa: not float32's numbers, and no others than theirs
    np.testing.assert_array_equal(convolved(), exact)
