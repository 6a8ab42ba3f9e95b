"""Training of the network as it stands."""

from mlopt.recipe.steps import Finetune
from mlopt.techniques.step import Context, Done, Train


def finetune(settings: Finetune, context: Context, train: Train) -> Done:
    """What earlier steps made sparse or shared stays so."""
    fit = train(context.model, settings.epochs, "finetune")
    return Done(model=context.model, holds=context.holds, fits=(fit,))
