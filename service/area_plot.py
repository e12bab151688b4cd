"""Areas over time as an SVG: a few lines, drawn without a library for charts."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 900, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 45
"""Around the plot, in pixels."""
MOST_POINTS = 2000
"""Of a line: more are finer than the screen."""


@dataclass(frozen=True, slots=True)
class Series:
    """A line of the plot."""

    label: str
    colour: tuple[int, int, int]
    fractions: Sequence[float]
    """Of the image, for each time."""


def area_plot(title: str, at_s: Sequence[float], lines: Sequence[Series]) -> str:
    """The SVG of some lines over the same times, in seconds."""
    start_s, end_s = (at_s[0], at_s[-1]) if at_s else (0.0, 1.0)
    duration_s = max(end_s - start_s, 1e-9)
    highest = max([0.01, *(value for line in lines for value in line.fractions)])
    step = -(-len(at_s) // MOST_POINTS) or 1

    def place(time_s: float, fraction: float) -> str:
        x = LEFT + (time_s - start_s) / duration_s * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - fraction / highest * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24">{escape(title)}: area of each class, % of the image</text>',
    ]
    for fraction in np.linspace(0, highest, 5):
        x, y = place(start_s, fraction).split(",")
        parts += [
            f'<line x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#ddd"/>',
            f'<text x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end">{100 * fraction:.1f}</text>',
        ]
    for time_s in np.linspace(start_s, end_s, 7):
        x, y = place(time_s, 0).split(",")
        parts.append(f'<text x="{x}" y="{y}" dy="20" text-anchor="middle">{time_s:.1f} s</text>')
    for index, line in enumerate(lines):
        colour = f"rgb{line.colour}"
        points = " ".join(map(place, at_s[::step], line.fractions[::step]))
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{WIDTH - RIGHT - 120 * (index + 1)}" y="24" fill="{colour}">{escape(line.label)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])
