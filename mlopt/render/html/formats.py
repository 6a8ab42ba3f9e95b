"""A colour and a shape for each format, and each is told by either alone."""

from collections.abc import Iterable

SLOTS = 6       # colours and marker shapes that the style sheet knows


def slots(formats: Iterable[str]) -> dict[str, int]:
    """A colour and shape for each format, by order of appearance.

    >>> slots(["tflite", "onnx", "tflite"])
    {'tflite': 0, 'onnx': 1}
    """
    return {name: i % SLOTS for i, name in enumerate(dict.fromkeys(formats))}


def corners(slot: int, x: float, y: float, radius: float) -> str:
    """Of a polygon: square, diamond, triangle, pentagon, lower triangle; empty for the circle.

    >>> corners(1, 7, 7, 5), corners(0, 7, 7, 5)
    ('2.5,2.5 11.5,2.5 11.5,11.5 2.5,11.5', '')
    """
    r = radius
    shapes: tuple[tuple[tuple[float, float], ...], ...] = (
        (),
        ((-r * 0.9, -r * 0.9), (r * 0.9, -r * 0.9), (r * 0.9, r * 0.9), (-r * 0.9, r * 0.9)),
        ((0, -r * 1.25), (r * 1.25, 0), (0, r * 1.25), (-r * 1.25, 0)),
        ((0, -r * 1.2), (r * 1.15, r * 0.85), (-r * 1.15, r * 0.85)),
        ((0, -r * 1.15), (r * 1.1, -r * 0.35), (r * 0.7, r), (-r * 0.7, r), (-r * 1.1, -r * 0.35)),
        ((0, r * 1.2), (r * 1.15, -r * 0.85), (-r * 1.15, -r * 0.85)),
    )
    return " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in shapes[slot])
