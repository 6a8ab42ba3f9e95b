"""Run alone, where no TensorFlow is: dependency groups as torch-pruning finds them, as JSON on standard output.

Each network is described by the same calls that `mlopt.testing.networks.Builder` takes; printed is, by convolution and
output channel, which indices of which weights go with it.
"""

import json
import sys
from collections import defaultdict

import torch
import torch_pruning
from torch import nn


class Recorded(nn.Module):
    """Runs calls (method, inputs, settings) as torch modules, channels first."""

    def __init__(self, calls):
        super().__init__()
        self.calls, self.made, channels = calls, nn.ModuleDict(), []
        sizes = []
        for number, (method, inputs, settings) in enumerate(calls):
            before = [channels[i] for i in inputs]
            name, size = f"n{number}", sizes[inputs[0]] if inputs else 4
            width = before[0] if before else 3
            if method == "convolution":
                flat = size == 0
                width = settings["channels"]
                self.made[name] = nn.Linear(before[0], width) if flat else nn.Conv2d(before[0], width, 1)
            elif method == "depthwise":
                self.made[name] = nn.Conv2d(before[0], before[0], 3, padding=1, groups=before[0])
            elif method == "normalization":
                self.made[name] = nn.BatchNorm2d(before[0])
            elif method == "concat":
                width = sum(before)
            elif method == "flatten":
                width, size = before[0] * size * size, 0
            elif method == "pooling":
                size = 1
            elif method in ("add", "multiply"):
                size = max(sizes[i] for i in inputs)
            channels.append(width)
            sizes.append(size)

    def forward(self, x):
        values = []
        for number, (method, inputs, settings) in enumerate(self.calls):
            before = [values[i] for i in inputs]
            name = f"n{number}"
            if method == "input":
                values.append(x)
            elif name in self.made:
                made = self.made[name](before[0])
                values.append(torch.sigmoid(made) if settings.get("activation") == "sigmoid" else made)
            elif method == "passing":
                values.append(torch.relu(before[0]))
            elif method == "pooling":
                values.append(before[0].mean(dim=(2, 3), keepdim=True))
            elif method == "add":
                values.append(before[0] + before[1])
            elif method == "multiply":
                values.append(before[0] * before[1])
            elif method == "concat":
                values.append(torch.cat(before, dim=1))
            elif method == "flatten":
                values.append(before[0].flatten(1))
        return values[-1]


def groups(calls):
    torch.manual_seed(0)
    model = Recorded(calls)
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=torch.randn(1, 3, 4, 4))
    names = {module: name.removeprefix("made.") for name, module in model.named_modules()}
    found = {}
    last = f"n{len(calls) - 1}"
    for name, module in model.made.items():
        if calls[int(name[1:])][0] != "convolution" or name == last:
            continue
        cut = torch_pruning.prune_linear_out_channels if isinstance(module, nn.Linear) else (
            torch_pruning.prune_conv_out_channels)
        for channel in range(module.weight.shape[0]):
            slots = defaultdict(set)
            for dependency, indices in graph.get_pruning_group(module, cut, idxs=[channel]):
                target, handler = dependency.target.module, dependency.handler.__name__
                if target in names:
                    slots[f"{names[target]}:{'in' if 'in_channels' in handler else 'out'}"] |= set(indices)
            found[f"{name}/{channel}"] = {slot: sorted(indices) for slot, indices in sorted(slots.items())}
    return found


print(json.dumps({name: groups(calls) for name, calls in json.load(sys.stdin).items()}))
