"""A separable convolution as the depthwise and the pointwise layer that it is made of: the same function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlopt.frameworks.keras.quiet import tf_keras

DEPTHWISE = {
    tf_keras.layers.SeparableConv1D: tf_keras.layers.DepthwiseConv1D,
    tf_keras.layers.SeparableConv2D: tf_keras.layers.DepthwiseConv2D,
}
POINTWISE = {
    tf_keras.layers.SeparableConv1D: tf_keras.layers.Conv1D,
    tf_keras.layers.SeparableConv2D: tf_keras.layers.Conv2D,
}
SHARED = ("trainable", "dtype", "data_format")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A layer to build, and the values of its weights in Keras's order."""

    cls: type
    config: Mapping[str, Any]
    values: list[np.ndarray]

    @property
    def name(self) -> str:
        return str(self.config["name"])


def split(cls: type, config: Mapping[str, Any], values: Sequence[np.ndarray]) -> tuple[Part, ...]:
    """The layers that compute what this one does, each on the one before; the last has its name.

    That is the layer itself unless it is separable: then "name/depthwise", behind "name/pad" where it pads the past,
    and a pointwise convolution.
    """
    if cls not in DEPTHWISE or config["data_format"] != "channels_last":
        return (Part(cls=cls, config=config, values=list(values)),)
    causal = config["padding"] == "causal"
    depthwise = {
        "name": f"{config['name']}/depthwise",
        "kernel_size": config["kernel_size"],
        "strides": config["strides"],
        "padding": "valid" if causal else config["padding"],
        "dilation_rate": config["dilation_rate"],
        "depth_multiplier": config["depth_multiplier"],
        "depthwise_regularizer": config["depthwise_regularizer"],
        "depthwise_constraint": config["depthwise_constraint"],
        "use_bias": False,
    }
    pointwise = {
        "name": config["name"],
        "filters": config["filters"],
        "kernel_size": 1,
        "kernel_regularizer": config["pointwise_regularizer"],
        "kernel_constraint": config["pointwise_constraint"],
        **{key: config[key] for key in ("activation", "use_bias", "bias_regularizer", "bias_constraint")},
        "activity_regularizer": config["activity_regularizer"],
    }
    shared = {key: config[key] for key in SHARED}
    parts = [
        Part(cls=DEPTHWISE[cls], config={**depthwise, **shared}, values=[values[0]]),
        Part(cls=POINTWISE[cls], config={**pointwise, **shared}, values=list(values[1:])),
    ]
    if causal:
        past = (config["kernel_size"][0] - 1) * config["dilation_rate"][0]
        pad = {"name": f"{config['name']}/pad", "padding": (past, 0)}
        parts.insert(0, Part(cls=tf_keras.layers.ZeroPadding1D, config=pad, values=[]))
    return tuple(parts)
