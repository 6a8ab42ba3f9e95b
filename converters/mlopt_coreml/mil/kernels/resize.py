"""Resizing the last two axes. Sampling grids are those of the MIL operation reference."""

import numpy as np

from mlopt_coreml.mil.kernels.registry import Call, NotSupported, Tensor, kernel


def grid(size: int, outputs: int, mode: str) -> np.ndarray:
    """Where on an axis of `size` the `outputs` samples are taken, in [0, size - 1].

    >>> grid(2, 5, "UNALIGN_CORNERS").round(2).tolist()
    [0.0, 0.1, 0.5, 0.9, 1.0]
    >>> grid(2, 5, "DEFAULT").round(2).tolist()
    [0.0, 0.4, 0.8, 1.0, 1.0]
    """
    i = np.arange(outputs, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        middle = (size - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0
        points = i * (size - 1) / (outputs - 1) if outputs > 1 else np.array([middle])
    elif mode == "DEFAULT":
        points = i * size / outputs
    elif mode == "OFFSET_CORNERS":
        points = (i + 0.5) * max(1, size - 1) / outputs
    elif mode == "UNALIGN_CORNERS":
        points = (i + 0.5) * size / outputs - 0.5
    else:
        raise NotSupported(f"sampling mode {mode}")
    return np.clip(points, 0, size - 1)


def bilinear(x: Tensor, outputs: tuple[int, int], mode: str) -> Tensor:
    """Linear along the second last axis, then along the last."""
    for axis, wanted in ((-2, outputs[0]), (-1, outputs[1])):
        size = x.shape[axis]
        points = grid(size, wanted, mode)
        low = np.floor(points).astype(np.int64)
        high = np.minimum(low + 1, size - 1)
        part = (points - low).astype(np.float32)
        part = part[:, None] if axis == -2 else part
        below, above = np.take(x, low, axis=axis), np.take(x, high, axis=axis)
        x = below + (above - below) * part
    return x


def nearest(x: Tensor, outputs: tuple[int, int]) -> Tensor:
    """The element at floor(i * size / outputs) on both axes; exact in integers."""
    for axis, wanted in ((-2, outputs[0]), (-1, outputs[1])):
        size = x.shape[axis]
        x = np.take(x, np.arange(wanted) * size // wanted, axis=axis)
    return x


def _wanted(call: Call) -> tuple[int, int]:
    height, width = call.output.shape[-2:]
    return height, width


@kernel("resize_bilinear")
def resize_bilinear(call: Call) -> Tensor:
    return bilinear(call["x"], _wanted(call), call.text("sampling_mode", "DEFAULT"))


@kernel("upsample_bilinear")
def upsample_bilinear(call: Call) -> Tensor:
    corners = call.flag("align_corners", True)
    halves = call.flag("half_pixel_centers", not corners)
    modes = {(True, False): "STRICT_ALIGN_CORNERS", (False, True): "UNALIGN_CORNERS", (False, False): "DEFAULT"}
    if (corners, halves) not in modes:
        raise NotSupported("align_corners together with half_pixel_centers")
    return bilinear(call["x"], _wanted(call), modes[corners, halves])


@kernel("resize_nearest_neighbor", "upsample_nearest_neighbor")
def resize_nearest(call: Call) -> Tensor:
    return nearest(call["x"], _wanted(call))


@kernel("resize")
def resize(call: Call) -> Tensor:
    if call.integer("resized_dims") != 2:
        raise NotSupported(f"resized_dims {call.integer('resized_dims')}")
    mode = call.text("sampling_mode", "DEFAULT")
    if call.text("interpolation_mode", "LINEAR") == "LINEAR":
        return bilinear(call["x"], _wanted(call), mode)
    if mode != "DEFAULT":
        raise NotSupported(f"nearest neighbour with sampling mode {mode}")
    return nearest(call["x"], _wanted(call))
