"""Plots as SVG text. A few lines of our own: a plotting library would be fifty times the size of what draws these."""

from collections.abc import Sequence
from html import escape

WIDTH, ROW, LABELS = 780, 24, 240
HEIGHT, MARGIN, LEGEND = 300, 48, 270
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#b8860b", "#6a4c93", "#00798c", "#8d5524", "#5c677d", "#c2185b", "#4f772d")
Series = tuple[str, Sequence[tuple[float, float]]]  # a name and its points (x, y)


def bars(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Horizontal bars of (name, value, low, high) with their intervals."""
    most = max([high for *_, high in rows] + [1e-9])
    scale = (WIDTH - LABELS - 80) / most
    parts = []
    for index, (name, value, low, high) in enumerate(rows):
        y = index * ROW + 4
        middle = y + ROW / 2 - 3
        parts.append(_text(LABELS - 8, middle + 4, name, "end"))
        parts.append(f'<rect x="{LABELS}" y="{y}" width="{value * scale:.1f}" height="{ROW - 8}" fill="{COLOURS[0]}"/>')
        parts.append(_line((LABELS + low * scale, middle), (LABELS + high * scale, middle), "#222", 2))
        parts.append(_text(LABELS + high * scale + 6, middle + 4, f"{value:.4f}"))
    return _svg(len(rows) * ROW + 8, parts)


def lines(series: Sequence[Series], x_title: str, y_title: str, ticks: Sequence[str] = ()) -> str:
    """Lines through points; `ticks` names the places 0, 1, 2, .. of an axis that has no numbers."""
    points = [point for _, some in series for point in some]
    right = max([x for x, _ in points] + [len(ticks) - 1.0, 1e-9])
    top = max([y for _, y in points] + [1e-9])

    def at(x: float, y: float) -> tuple[float, float]:
        wide, high = WIDTH - MARGIN - LEGEND, HEIGHT - 2 * MARGIN
        return MARGIN + x / right * wide, HEIGHT - MARGIN - y / top * high

    parts = [_line(at(0, 0), at(right, 0), "#888"), _line(at(0, 0), at(0, top), "#888")]
    for x, name in _marks(right, ticks):
        parts.append(_text(at(x, 0)[0], HEIGHT - MARGIN + 16, name, "middle" if x else "start"))
    for y, name in _marks(top, ()):
        parts.append(_text(MARGIN - 6, at(0, y)[1] + 4, name, "end"))
    parts += [_text(MARGIN, HEIGHT - 8, x_title), _text(4, 16, y_title)]
    for index, (name, some) in enumerate(series):
        colour, row = COLOURS[index % len(COLOURS)], MARGIN + index * 18
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in some))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_line((WIDTH - LEGEND + 16, row - 4), (WIDTH - LEGEND + 32, row - 4), colour, 2))
        parts.append(_text(WIDTH - LEGEND + 38, row, name))
    return _svg(max(HEIGHT, MARGIN + len(series) * 18), parts)


def _marks(most: float, ticks: Sequence[str]) -> list[tuple[float, str]]:
    if ticks:
        return [(float(place), name) for place, name in enumerate(ticks)]
    return [(most * step / 4, f"{most * step / 4:.3g}") for step in range(5)]


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, width: int = 1) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, parts: Sequence[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{"".join(parts)}</svg>'
