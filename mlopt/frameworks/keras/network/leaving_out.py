"""A model without some of its nodes: a shorter one."""

from collections.abc import Sequence
from dataclasses import replace

from mlopt.errors import BadRequest
from mlopt.frameworks.keras.network.plan import Plan, with_output_names
from mlopt.network import Network


def without(plan: Plan, network: Network, nodes: Sequence[str], output_names: Sequence[str]) -> Plan:
    """Each of `nodes`, and what only they need, replaced by an input of the same shape.

    Of several such inputs it is the one that the others are made from (the shortcut of a residual block), else the
    first. Raises `BadRequest` where a node that is still needed has no such input.
    """
    by_name = {node.name: node for node in network.nodes}
    unknown = sorted(set(nodes) - by_name.keys())
    if unknown:
        raise BadRequest(f"the model has no node {', '.join(unknown)}; it has {', '.join(by_name)}")
    dropped, ancestors, stands_for = set(nodes), _ancestors(network), dict[str, str | None]()
    for node in network.nodes:
        if node.name not in dropped:
            stands_for[node.name] = node.name
            continue
        found = [stands_for[name] for name in node.inputs]
        fitting = [name for name in found if name is not None and by_name[name].shape == node.shape]
        stands_for[node.name] = next(
            (name for name in fitting if all(name == one or name in ancestors[one] for one in fitting)),
            fitting[0] if fitting else None,
        )
    gone = [call for call in plan.calls if dropped & set(call.nodes)]
    rewired = replace(plan, calls=tuple(call for call in plan.calls if call not in gone)).rewired(
        {name: target for name, target in stands_for.items() if target is not None and target != name}
    )
    shorter = rewired.pruned()
    missing = {name for call in shorter.calls for name in call.inputs} | set(shorter.outputs)
    for name in sorted(missing & dropped):
        node = by_name[name]
        raise BadRequest(
            f"{name} cannot be left out: what reads it takes {list(node.shape)}, and none of its inputs has that shape"
            f" ({', '.join(f'{one} {list(by_name[one].shape)}' for one in node.inputs) or 'it has none'})"
        )
    return with_output_names(shorter, output_names)


def _ancestors(network: Network) -> dict[str, set[str]]:
    """By node: every node that it is made from."""
    found: dict[str, set[str]] = {}
    for node in network.nodes:
        found[node.name] = set(node.inputs).union(*(found[name] for name in node.inputs))
    return found
