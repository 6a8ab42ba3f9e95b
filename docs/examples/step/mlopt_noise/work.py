"""The work behind the door; it runs in a worker of the model's framework."""

import numpy as np

from mlopt.errors import BadRequest
from mlopt.frameworks.fitting import Hold
from mlopt.network import Network
from mlopt.steps.protocol import Context, Done, Train
from mlopt.training.holding import held
from mlopt_noise import Noise


def check(settings: Noise, context: Context) -> None:
    """Raise `BadRequest` where there is nothing to shake."""
    if not _kernels(context.model.network):
        raise BadRequest("`noise` finds no kernel that is trained")


def shake(settings: Noise, context: Context, train: Train) -> Done:
    """What earlier steps made zero or equal stays so: they hold it, in the noise as in training."""
    check(settings, context)
    random, weights, changed = np.random.default_rng(context.seed), context.model.weights(), {}
    for name in _kernels(context.model.network):
        size = settings.share * float(np.sqrt(np.mean(np.square(weights[name]))))
        noisy = weights[name] + random.normal(0.0, size, weights[name].shape).astype(np.float32)
        changed[name] = held(noisy, context.holds.get(name, Hold()))
    context.model.set_weights(changed)
    fit = train(context.model, settings.epochs, "noise")
    return Done(model=context.model, holds=context.holds, fits=(fit,), facts={"kernels": sorted(changed)})


def _kernels(network: Network) -> list[str]:
    return [name for name, weight in network.weights().items() if weight.role == "kernel" and weight.trainable]
