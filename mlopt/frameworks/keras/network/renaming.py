"""Other names for a model's inputs and outputs: those of the layers that begin and end it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlopt.errors import BadRequest
from mlopt.frameworks.keras.network.plan import Plan, Ref, filled


def renamed(plan: Plan, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[Plan, dict[str, str]]:
    """The same plan with these names, in its order, and the new name by old of every layer that has one.

    A layer that has such a name already gets another. Raises `BadRequest` where one layer makes several outputs, or is
    used several times.
    """
    names = {spec.name: name for spec, name in zip(plan.inputs, inputs, strict=True)}
    for node, name in zip(plan.outputs, outputs, strict=True):
        call = plan.call_of(node)
        if call is None or len(call.nodes) > 1 or len(plan.calls_of(call.layer)) > 1 or call.layer in names:
            raise BadRequest(
                f"the output {node} cannot be called {name}: its layer makes other values too. Rename the model's "
                "inputs and outputs where it is made."
            )
        names[call.layer] = name
    for layer in plan.layers:
        if layer not in names and layer in names.values():
            names[layer] = _free(layer, {*plan.layers, *names.values()})
    return _applied(plan, {old: new for old, new in names.items() if old != new}), names


def _applied(plan: Plan, names: Mapping[str, str]) -> Plan:
    """Layers and the nodes that are called after them."""
    nodes = {
        node: names[call.layer] + node.removeprefix(call.layer)
        for call in plan.calls if call.layer in names for node in call.nodes
    } | {spec.name: names[spec.name] for spec in plan.inputs if spec.name in names}
    refs = {old: Ref(new) for old, new in nodes.items()}
    return replace(
        plan,
        inputs=tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in plan.inputs),
        input_structure=filled(plan.input_structure, refs), output_structure=filled(plan.output_structure, refs),
        layers={
            names.get(name, name): spec.changed(name=names[name]) if name in names else spec
            for name, spec in plan.layers.items()
        },
        calls=tuple(
            replace(
                call.rewired(nodes), layer=names.get(call.layer, call.layer),
                nodes=tuple(nodes.get(node, node) for node in call.nodes),
            )
            for call in plan.calls
        ),
    )


def _free(name: str, taken: set[str]) -> str:
    """The name with the smallest number that makes it new.

    >>> _free("a", {"a", "a_1"})
    'a_2'
    """
    return next(found for count in range(1, len(taken) + 2) if (found := f"{name}_{count}") not in taken)
