"""The door of Keras, held to what is asked of anyone's."""

import numpy as np
import pytest

from mlopt import plugins
from mlopt.frameworks.fitting import LabelLoss
from mlopt.location import ModelLocation
from mlopt.outputs import LabelKind
from mlopt.testing import tiny
from mlopt.testing.frameworks import Example, FrameworkContract


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
class TestKeras(FrameworkContract):
    door = plugins.load_framework("keras")

    @classmethod
    def example(cls, folder):
        model = tiny.TinyModel(tiny.build("small_convnet"))
        model.model.save(folder / "model.h5")
        np.savez(folder / "other.npz", kernel=np.eye(3))
        inputs = tiny.inputs_for(model, 24)
        outputs = model.predict(inputs)
        return Example(
            location=ModelLocation(folder / "model.h5"), inputs=inputs, outputs=outputs,
            # by hand: two 3x3 convolutions, the second with bias, two batch norms, and 8 * 2 * 2 features to 4 classes
            parameters=27 * 8 + 4 * 8 + (72 + 1) * 8 + 4 * 8 + (32 + 1) * 4,
            foreign=(folder / "other.npz",),
            loss=LabelLoss(output="label", kind=LabelKind.CATEGORIES),
            labels=(outputs["label"].argmax(-1) + 1) % 4,
        )
