"""The example, held to the contract that mlopt ships."""

import numpy as np
from mlopt_linear import LinearFramework

from mlopt.location import ModelLocation
from mlopt.testing.frameworks import Example, FrameworkContract

WEIGHTS = np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]], np.float32)
BIAS = np.array([0.25, -1.0], np.float32)


class TestLinear(FrameworkContract):
    door = LinearFramework()

    @classmethod
    def example(cls, folder):
        np.savez(folder / "model.npz", weights=WEIGHTS, bias=BIAS)
        (folder / "other.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
        x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
        return Example(
            location=ModelLocation(folder / "model.npz"), inputs={"x": x}, parameters=8,
            outputs={"y": np.stack([x[:, 0] + x[:, 1] / 2 + 0.25, 3 * x[:, 2] - 2 * x[:, 0] - 1], axis=1)},
            foreign=(folder / "other.h5",),
        )
