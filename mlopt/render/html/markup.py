"""Elements as text. Whatever comes from a model, a data set or a path goes through `esc` on its way in."""

import html

from mlopt.words import clean

FORMAT_SLOTS = 6       # colours and marker shapes that the style sheet knows


def esc(text: object) -> str:
    """Text for an element or a quoted attribute; control characters replaced.

    >>> esc('<b "x">')
    '&lt;b &quot;x&quot;&gt;'
    """
    return html.escape(clean(str(text)), quote=True)


def section(key: str, title: str, body: str, note: str = "") -> str:
    """One titled part of the page; nothing where there is no body. `body` and `note` are markup."""
    if not body:
        return ""
    lead = f'<p class="note">{note}</p>' if note else ""
    head = f'<h2 id="{key}-title">{esc(title)}</h2>'
    return f'<section id="{key}" aria-labelledby="{key}-title">{head}{lead}{body}</section>'


def slots(formats: list[str]) -> dict[str, int]:
    """A colour and shape for each format, by order of appearance.

    >>> slots(["tflite", "onnx", "tflite"])
    {'tflite': 0, 'onnx': 1}
    """
    return {name: i % FORMAT_SLOTS for i, name in enumerate(dict.fromkeys(formats))}


def marker(slot: int, x: float, y: float, radius: float = 5.0, *, hollow: bool = False) -> str:
    """The shape of a format: circle, square, diamond, triangle, pentagon, lower triangle."""
    r = radius
    shapes = (
        None,
        [(-r * 0.9, -r * 0.9), (r * 0.9, -r * 0.9), (r * 0.9, r * 0.9), (-r * 0.9, r * 0.9)],
        [(0, -r * 1.25), (r * 1.25, 0), (0, r * 1.25), (-r * 1.25, 0)],
        [(0, -r * 1.2), (r * 1.15, r * 0.85), (-r * 1.15, r * 0.85)],
        [(0, -r * 1.15), (r * 1.1, -r * 0.35), (r * 0.7, r), (-r * 0.7, r), (-r * 1.1, -r * 0.35)],
        [(0, r * 1.2), (r * 1.15, -r * 0.85), (-r * 1.15, -r * 0.85)],
    )
    kind = f"mark f{slot}" + (" hollow" if hollow else "")
    shape = shapes[slot]
    if shape is None:
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>'
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in shape)
    return f'<polygon class="{kind}" points="{corners}"/>'


def swatch(slot: int) -> str:
    """The marker alone, for legends and tables."""
    return f'<svg class="swatch" viewBox="0 0 14 14" aria-hidden="true">{marker(slot, 7, 7, 4.6)}</svg>'
