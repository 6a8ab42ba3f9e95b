"""Training of the network as it stands."""

from mlopt.steps.finetune import Finetune
from mlopt.steps.protocol import Context, Done, Train


def finetune(settings: Finetune, context: Context, train: Train) -> Done:
    """What earlier steps made sparse or shared stays so."""
    fit = train(context.model, settings.epochs, "finetune")
    return Done(model=context.model, holds=context.holds, fits=(fit,))
