"""Documents in which one value is another: wrong types, edges of ranges, huge nestings. The same ones in every run."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

_DEEP = "\x00deep"
_TWICE = "\x00twice"
WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1.5, -0.5, 1e308, -1e308, 2**53 + 1, 2**63, 2**64, -(2**70), float("nan"),
    float("inf"), -float("inf"), "", "text", "0.5", "nan", "\ud800", "\x1b[2J", "x" * 5000, [], {}, [[]],
    [None], [1, "a"], {"": 0}, {"schema": 1}, _DEEP, _TWICE,
)
WRONG_IN_TOML = (
    "nan", "inf", "-inf", "-1", "0", "1e308", "1e-308", "9" * 30, "9" * 5000, "true", '""', '"text"', '"1e999999999"',
    '"5%"', '"-5 KiB"', '"\\u0000"', '"**/**/**/**/**/**/x"', '"[z-a]"', "[]", "{}", "[[]]", '["a", 1]', "2027-01-01",
    "2027-02-31", "2027-01-01T00:00:00Z", "[" * 5000, '"' + "x" * 5000 + '"', "0x7fffffffffffffffffff", "'''\n'''", "",
)


def spoiled_json(document: Any, count: int, *, seed: int = 0) -> Iterator[bytes]:
    """`count` texts of `document`, in each of which one value, anywhere, is gone or one of `WRONG`."""
    places = list(_places(document, ()))
    for index in range(count):
        random = np.random.default_rng((seed, index))
        place = places[random.integers(len(places))]
        copy = json.loads(json.dumps(document))
        holder = copy
        for key in place[:-1]:
            holder = holder[key]
        if random.random() < 0.1:
            del holder[place[-1]]
        else:
            holder[place[-1]] = WRONG[random.integers(len(WRONG))]
        depth = int(10 ** random.uniform(1, 5))
        text = json.dumps(copy).replace(json.dumps(_DEEP), "[" * depth + "]" * depth)
        yield text.replace(json.dumps(_TWICE), '{"a": 1, "a": 2}').encode()


def spoiled_toml(text: str, count: int, *, seed: int = 0) -> Iterator[bytes]:
    """`count` copies of `text`, in each of which what stands behind one `=` is one of `WRONG_IN_TOML`."""
    lines = text.splitlines()
    settings = [n for n, line in enumerate(lines) if "=" in line]
    for index in range(count):
        random = np.random.default_rng((seed, index))
        number = settings[random.integers(len(settings))]
        wrong = WRONG_IN_TOML[random.integers(len(WRONG_IN_TOML))]
        signs = [at for at, sign in enumerate(lines[number]) if sign == "="]
        at = signs[random.integers(len(signs))]
        rest = lines[number][at + 1 :]
        end = min((rest.find(mark) for mark in ",}" if mark in rest), default=len(rest))
        changed = f"{lines[number][: at + 1]} {wrong}{rest[end:] if len(signs) > 1 and at != signs[0] else ''}"
        yield "\n".join([*lines[:number], changed, *lines[number + 1 :], ""]).encode()


def _places(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from _places(inner, (*place, key))
