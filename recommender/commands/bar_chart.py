"""Bar charts with intervals, as SVG pictures. Every browser shows them, and no drawing library is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from recommender.evaluation import Figure

COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
HEIGHT, TOP, BOTTOM = 520, 80, 450  # pixels; the bars stand on BOTTOM
LEFT, GAP = 60, 70  # pixels before the first panel and between two


@dataclass(frozen=True)
class Panel:
    """One chart: a group of bars for each label, with one bar of each series."""

    title: str
    width: int  # pixels
    labels: Sequence[str]  # a line break starts a second line
    series: Sequence[Sequence[Figure]]  # (n_series, n_labels); a mean of None: no bar


def as_svg(title: str, names: Sequence[str], panels: Sequence[Panel]) -> str:
    """Draw the panels side by side, and a legend below with the color of each of ``names`` (n_series,)."""
    body, left = [_text(20, 28, title, size=16)], LEFT
    for panel in panels:
        body += _panel(panel, left)
        left += panel.width + GAP
    x = LEFT
    for at, name in enumerate(names):
        body.append(f'<rect x="{x}" y="{HEIGHT - 22}" width="24" height="12" fill="{_color(at)}"/>')
        body.append(_text(x + 30, HEIGHT - 11, name))
        x += 60 + 8 * len(name)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left} {HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>", ""])


def _panel(panel: Panel, left: float) -> Iterator[str]:
    ends = [max(figure.mean, figure.high or 0.0) for line in panel.series for figure in line if figure.mean is not None]
    step = _step(max(ends, default=0.0))
    ticks = max(math.ceil(max(ends, default=0.0) / step), 1)
    height = (BOTTOM - TOP) / (ticks * step)  # pixels of 1
    yield _text(left, TOP - 16, panel.title, size=15)
    for tick in range(ticks + 1):
        y = BOTTOM - tick * step * height
        yield _line(left - 5, y, left, y)
        yield _text(left - 8, y + 4, f"{tick * step:.4g}", anchor="end")
    yield _line(left, TOP, left, BOTTOM) + _line(left, BOTTOM, left + panel.width, BOTTOM)
    group = panel.width / len(panel.labels)
    bar = group * 0.8 / len(panel.series)
    for at, label in enumerate(panel.labels):
        for number, text in enumerate(label.split("\n")):
            yield _text(left + group * (at + 0.5), BOTTOM + 20 + 16 * number, text, anchor="middle")
        for place, line in enumerate(panel.series):
            x = left + group * (at + 0.1) + bar * place
            yield from _bar(line[at], x, bar, height, _color(place))


def _bar(figure: Figure, x: float, width: float, height: float, color: str) -> Iterator[str]:
    if figure.mean is None:
        return
    tall, middle = figure.mean * height, x + width * 0.46
    yield f'<rect x="{x:.2f}" y="{BOTTOM - tall:.2f}" width="{width * 0.92:.2f}" height="{tall:.2f}" fill="{color}"/>'
    if figure.low is not None and figure.high is not None:
        low, high = BOTTOM - figure.low * height, BOTTOM - figure.high * height
        yield _line(middle, low, middle, high) + _line(middle - 3, low, middle + 3, low)
        yield _line(middle - 3, high, middle + 3, high)


def _step(highest: float) -> float:
    """Return a round distance of ticks, 1, 2 or 5 times a power of ten. At most six reach the highest value."""
    if highest <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest / 5))
    return next(power * times for times in (1, 2, 5, 10) if power * times * 5 >= highest * (1 - 1e-9))


def _color(at: int) -> str:
    return COLORS[at % len(COLORS)]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" stroke="black"/>'


def _text(x: float, y: float, text: str, *, size: int = 13, anchor: str = "start") -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
