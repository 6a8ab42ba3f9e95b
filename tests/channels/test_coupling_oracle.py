"""The same networks in torch: torch-pruning finds the same indices to cut. It runs alone, without TensorFlow."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from mlopt.channels.coupling import couple
from mlopt.network import Kind
from mlopt.testing.networks import Builder

SCRIPT = Path(__file__).parents[1] / "support" / "torch_pruning_groups.py"


def conv(x, channels, activation="linear"):
    return ("convolution", [x], {"channels": channels, "activation": activation})


INPUT = ("input", [], {})
# each call by its number is an input of later ones; the last one makes the output
NETWORKS = {
    "chain with norms": [
        INPUT, conv(0, 6), ("normalization", [1], {}), ("passing", [2], {}), conv(3, 4), ("normalization", [4], {}),
        ("flatten", [5], {}), conv(6, 5), conv(7, 2),
    ],
    "residual": [
        INPUT, conv(0, 6), ("normalization", [1], {}), conv(2, 4), ("passing", [3], {}), conv(4, 6),
        ("add", [5, 2], {}), ("normalization", [6], {}), conv(7, 6), ("add", [8, 7], {}), conv(9, 2),
    ],
    "dense block": [
        INPUT, conv(0, 3), conv(1, 4), ("concat", [1, 2], {}), ("normalization", [3], {}), conv(4, 5),
        ("concat", [4, 5], {}), ("passing", [6], {}), conv(7, 2),
    ],
    "residual of concatenations": [
        INPUT, conv(0, 3), conv(0, 4), ("concat", [1, 2], {}), conv(3, 7), ("add", [4, 3], {}), conv(5, 2),
    ],
    "depthwise": [
        INPUT, conv(0, 5), ("depthwise", [1], {}), ("normalization", [2], {}), conv(3, 6), ("depthwise", [4], {}),
        conv(5, 5), ("add", [6, 2], {}), conv(7, 2),
    ],
    "squeeze and excite": [
        INPUT, conv(0, 6), ("depthwise", [1], {}), ("pooling", [2], {}), conv(3, 3), ("passing", [4], {}),
        conv(5, 6, "sigmoid"), ("multiply", [2, 6], {}), conv(7, 4), ("flatten", [8], {}), conv(9, 2),
    ],
}


@pytest.fixture(scope="module")
def theirs():
    found = subprocess.run(
        [sys.executable, str(SCRIPT)], input=json.dumps(NETWORKS), capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def ours(calls):
    """By convolution and channel: node and side -> indices, in the numbers of the calls."""
    b, names = Builder(), []
    for method, inputs, settings in calls:
        before = [names[i] for i in inputs]
        names.append(b.input(4, 4, 3) if method == "input" else getattr(b, method)(*before, **settings))
    numbers = {name: f"n{i}" for i, name in enumerate(names)}
    model = b.model(names[-1])
    kinds = {node.name: node.kind for node in model.network.nodes}
    found = {}
    for group in couple(model.network).free:
        for unit in range(group.units):
            slots = defaultdict(set)
            for (weight, axis), indices in group.cuts.items():
                node = weight.partition("/")[0]
                side = "in" if kinds[node] is Kind.CONVOLUTION and axis == 0 and weight.endswith("kernel") else "out"
                slots[f"{numbers[node]}:{side}"] |= set(indices[unit].tolist())
            cut = {slot: sorted(indices) for slot, indices in sorted(slots.items())}
            for name in group.producers:
                (channel,) = group.places[name][unit].tolist()
                found[f"{numbers[name]}/{channel}"] = cut
    return found


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_torch_pruning_cuts_the_same_indices(theirs, name):
    mine, other = ours(NETWORKS[name]), theirs[name]
    assert mine.keys() == other.keys() and mine
    for unit, slots in other.items():
        wanted = {slot: _channels_last(NETWORKS[name], slot, indices) for slot, indices in slots.items()}
        assert mine[unit] == wanted, unit


def _channels_last(calls, slot, indices):
    """Torch flattens [C, 4, 4], so channel k is 16 k + place; here it is k + place * C."""
    number, _, side = slot.partition(":")
    _, inputs, _ = calls[int(number[1:])]
    if side == "in" and inputs and calls[inputs[0]][0] == "flatten":
        source = calls[calls[inputs[0]][1][0]]
        while "channels" not in source[2]:
            source = calls[source[1][0]]
        channels = source[2]["channels"]
        return sorted((np.array(indices) // 16 + np.array(indices) % 16 * channels).tolist())
    return indices
