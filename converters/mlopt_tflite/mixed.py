"""Which layers can live with 4-bit weights: measured one by one at the output, then chosen together.

The loss of each layer is the noise at the model's output when it alone has 4 bits; noises of several layers are taken
to add up, which only orders the choices: each one that is considered is built and measured before it is taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlopt_tflite.judge import Distance

GRAIN = 16   # bytes; the alignment of weights in a file, below which nothing is won
AGREEMENT = 0.975   # of the held-out samples must keep the float file's answer
SLACK = 0.01        # further from the answers of 8 bits everywhere, where those are outside of the bound themselves
NOISE = 0.02        # the largest output error power, as a part of the output's signal power (17 dB)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One layer: what 4 bits save, and what they cost at the output when this layer alone has them."""

    op: int
    saved_bytes: int
    noise: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A set of layers at 4 bits."""

    ops: frozenset[int]
    saved_bytes: int
    noise: float      # predicted: the sum over its layers


def frontier(choices: Sequence[Choice]) -> list[Plan]:
    """All plans that no other beats in both bytes and noise, from nothing at 4 bits to the largest saving. Exact.

    >>> plans = frontier([Choice(op=0, saved_bytes=160, noise=1.0), Choice(op=1, saved_bytes=32, noise=2.0)])
    >>> [(sorted(p.ops), p.saved_bytes, p.noise) for p in plans]
    [([], 0, 0.0), ([0], 160, 1.0), ([0, 1], 192, 3.0)]
    """
    plans = [Plan(ops=frozenset(), saved_bytes=0, noise=0.0)]
    for choice in choices:
        saved = choice.saved_bytes // GRAIN * GRAIN
        if saved <= 0:
            continue
        more = [
            Plan(ops=p.ops | {choice.op}, saved_bytes=p.saved_bytes + saved, noise=p.noise + max(choice.noise, 0.0))
            for p in plans
        ]
        merged = sorted([*plans, *more], key=lambda p: (-p.saved_bytes, p.noise, sorted(p.ops)))
        plans, least = [], float("inf")
        for plan in merged:      # from the largest saving down, each must be quieter than all before it
            if plan.noise < least:
                plans.append(plan)
                least = plan.noise
        plans.reverse()
    return plans


def acceptable(distance: Distance, at_8_bits: Distance) -> bool:
    """Within the bound; where 8 bits everywhere are outside of it already, about as good as those are.

    >>> good, poor = Distance(noise=0.001, agreement=0.99), Distance(noise=0.001, agreement=0.95)
    >>> acceptable(poor, good), acceptable(poor, poor)
    (False, True)
    """
    agreement = min(AGREEMENT, at_8_bits.agreement - SLACK)
    return distance.agreement >= agreement and distance.noise <= max(NOISE, 2 * at_8_bits.noise)


def choose(plans: Sequence[Plan], measure: Callable[[Plan], Distance]) -> tuple[Plan, Distance, int]:
    """The plan with the largest saving whose measured distance is acceptable, that distance, and how many were tried.

    Plans are in order of saving; halving assumes that more noise predicted is more noise measured, and the last step
    rests on measurements alone. Without an acceptable plan the first one, nothing at 4 bits, comes back.
    """
    low, high, measured = 0, len(plans) - 1, 0
    best, found = plans[0], measure(plans[0])
    at_8_bits = found
    measured += 1
    while low < high:
        middle = (low + high + 1) // 2 if measured > 1 else high   # the whole network at 4 bits is tried first
        distance = measure(plans[middle])
        measured += 1
        if acceptable(distance, at_8_bits):
            low, best, found = middle, plans[middle], distance
        else:
            high = middle - 1
    return best, found, measured
