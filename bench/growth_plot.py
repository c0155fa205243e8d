"""Growth as a picture: how many times what it was, over the number of instances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 640, 360, 50, 20, 40, 190
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
LOGARITHMIC = "logarithmic growth"


def plot(sizes: Sequence[int], lines: Mapping[str, Sequence[float]]) -> str:
    """An SVG: each line begins at 1; a dashed one shows what logarithmic growth would be."""
    allowed = [math.log(size) / math.log(sizes[0]) for size in sizes]
    highest = max(2.0, 1.1 * max(value for line in lines.values() for value in line))
    wide, high = WIDTH - LEFT - LEGEND, HEIGHT - TOP - BOTTOM

    def place(size: int, value: float) -> tuple[float, float]:
        share = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
        return LEFT + share * wide, TOP + high * (1 - value / highest)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in range(int(highest) + 1):
        y = place(sizes[0], value)[1]
        drawn.append(f'<path d="M{LEFT} {y:.1f}h{wide}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value}x</text>')
    for size in sizes:
        x = place(size, 0)[0]
        label = f"{size:,} instances" if size == sizes[-1] else f"{size:,}"
        drawn.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{label}</text>'
        )
    every = [(LOGARITHMIC, allowed, "#888"), *_coloured(lines)]
    for number, (name, values, colour) in enumerate(every):
        pairs = [place(*pair) for pair in zip(sizes, values, strict=True)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)
        dashed = ' stroke-dasharray="5 4"' if name == LOGARITHMIC else ""
        style = f'fill="none" stroke="{colour}" stroke-width="2"{dashed}'
        drawn.append(f'<polyline points="{points}" {style}/>')
        x, y = WIDTH - LEGEND + 30, TOP + 20 * number + 10
        drawn.append(f'<path d="M{x} {y}h24" {style}/>')
        drawn.append(f'<text x="{x + 30}" y="{y + 4}">{name}</text>')
    return "\n".join([*drawn, "</svg>", ""])


def _coloured(lines: Mapping[str, Sequence[float]]) -> list[tuple[str, Sequence[float], str]]:
    pairs = zip(lines.items(), COLOURS, strict=False)
    return [(name, values, colour) for (name, values), colour in pairs]
