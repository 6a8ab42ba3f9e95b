"""What the gradient of first-order terms is taken of."""

import numpy as np

from mlopt.data.samples import Samples
from mlopt.frameworks.fitting import LabelKind, LabelLoss
from mlopt.frameworks.protocol import TrainableModel


def label_losses(model: TrainableModel, samples: Samples) -> tuple[LabelLoss, ...]:
    """The loss on the samples' labels where they fit the model's only output; none where they do not or are missing."""
    labels, outputs = samples.labels, model.signature.outputs
    if labels is None or len(outputs) != 1:
        return ()
    shape, activation = outputs[0].shape[1:], model.network.node(model.network.outputs[0]).activation
    whole, single = labels.dtype.kind in "iub", int(np.prod([size or 1 for size in shape])) == 1
    if whole and not single and labels.ndim == len(shape):
        return (LabelLoss(output=outputs[0].name, kind=LabelKind.CATEGORIES),)
    if labels.shape[1:] != tuple(shape) and not (single and labels.ndim == 1):
        return ()
    kind = LabelKind.BINARY if activation == "sigmoid" else LabelKind.VALUES
    return (LabelLoss(output=outputs[0].name, kind=kind),)
