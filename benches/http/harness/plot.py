"""The picture: CPU per request of each server as a multiple of bare hyper, in SVG. The close servers
have a linear axis, the others a logarithmic one: no single axis shows both."""

import math
from dataclasses import dataclass
from html import escape
from typing import Callable

from .report import number

WIDTH = 800
NAMES_END, AXIS_START, AXIS_END, CPU_END, P99_END = 172, 186, 628, 698, 784
BAR, ROW_GAP, TITLE = 16, 12, 96
OWN = "resource-server"
LIMIT = 2  # a server with a median above belongs to the second chart

SCENARIOS = {"public": "public route", "good": "good token", "bad": "bad token"}

# A card with a ground of its own is readable on any page, also where the page's theme is not the
# system's.
STYLE = """
svg { --ground: #ffffff; --ink: #1f2328; --grey: #59636e; --line: #d1d9e0; --own: #eef4fc;
  --public: #2f7de1; --good: #c7620a; --bad: #8250df; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #0d1117; --ink: #e6edf3; --grey: #9198a1; --line: #3d444d; --own: #17263c;
    --public: #6cb0ff; --good: #ffab5c; --bad: #c4a7ff; } }
text { font: 13px Helvetica, Arial, sans-serif; fill: var(--ink); }
.title { font-size: 16px; font-weight: bold; } .own { font-weight: bold; }
.grey { fill: var(--grey); } .end { text-anchor: end; } .middle { text-anchor: middle; }
.card { fill: var(--ground); stroke: var(--line); } .highlight { fill: var(--own); }
.grid { stroke: var(--line); } .one { stroke: var(--ink); stroke-width: 1.5; }
.whisker { stroke: var(--ink); stroke-width: 1.4; fill: none; }
.edge { stroke: var(--ground); stroke-width: 3.5; fill: none; }
.public { fill: var(--public); } .good { fill: var(--good); } .bad { fill: var(--bad); }
"""


@dataclass
class Chart:
    title: str
    servers: dict
    ticks: list
    scale: Callable  # makes equal distances of what the axis shows as equal

    def x(self, value):
        least, greatest = self.scale(self.ticks[0]), self.scale(self.ticks[-1])
        share = (self.scale(max(value, 1e-9)) - least) / (greatest - least)
        return AXIS_START + (AXIS_END - AXIS_START) * min(max(share, 0), 1)


def svg(results):
    parts, y = [], 0
    for chart in charts(pictured(results)):
        drawn, y = draw(chart, y)
        parts += drawn
    for line, text_class in about(results):
        parts.append(text(16, y + 24, line, text_class))
        y += 17
    height = y + 24
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>CPU per request of each server, as a multiple of bare hyper</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        *parts,
        "</svg>",
    ]) + "\n"


def pictured(results):
    """All but the servers of notes, whose one request is another: the tables have it."""
    servers = results["servers"].items()
    return {name: figures for name, figures in servers if "public_relative" in figures}


def charts(servers):
    values = {
        name: [figures[key]["median"] for key in keys_of(figures)]
        for name, figures in servers.items()
    }
    near = {name: figures for name, figures in servers.items() if max(values[name]) <= LIMIT}
    far = {name: figures for name, figures in servers.items() if name not in near}
    if near:
        least = min(7, *(math.floor(10 * min(values[name])) for name in near))
        ticks = [tenths / 10 for tenths in range(least, 10 * LIMIT + 1)]
        yield Chart("CPU per request, as a multiple of bare hyper (1)", near, ticks, float)
    if far:
        greatest = max(max(values[name]) for name in far)
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if t < greatest * 2.5]
        yield Chart("The others, on a logarithmic axis", far, ticks, math.log)


def keys_of(figures):
    return [f"{name}_relative" for name in SCENARIOS if f"{name}_relative" in figures]


def draw(chart, top):
    """Returns the parts of a chart, and where it ends."""
    parts = [text(16, top + 34, chart.title, "title")]
    x = 16
    for name, label in SCENARIOS.items():
        parts += [rect(name, x, top + 48, 11, 11), text(x + 17, top + 58, label)]
        x += 112
    parts += whisker(x, x + 24, top + 53.5)
    parts += [text(x + 32, top + 58, "least to greatest of the rounds")]
    parts += [text(CPU_END, top + 84, "CPU", "end grey"), text(P99_END, top + 84, "p99 µs", "end grey")]
    y, rows = top + TITLE, []
    for name, figures in chart.servers.items():
        height = max(len(keys_of(figures)), 1) * BAR + ROW_GAP
        if name == OWN:
            parts.append(rect("highlight", 6, y, WIDTH - 12, height))
        rows.append(text(NAMES_END, y + height / 2 + 4, name, "end own" if name == OWN else "end"))
        rows += row(chart, y + ROW_GAP / 2, figures)
        y += height
    for tick in chart.ticks:
        kind = "one" if tick == 1 else "grid"
        parts.append(f'<path class="{kind}" d="M{chart.x(tick):.1f} {top + TITLE - 6}V{y}"/>')
        if chart.scale is math.log or round(10 * tick) % 2 == 0:
            parts.append(text(chart.x(tick), top + 84, f"{tick:g}", "middle grey"))
    return parts + rows, y


def row(chart, y, figures):
    """The bars of one server, each from 1 to its median."""
    parts = []
    for name in SCENARIOS:
        if f"{name}_relative" not in figures:
            continue
        figure = figures[f"{name}_relative"]
        one, median = chart.x(1), chart.x(figure["median"])
        least, greatest = chart.x(figure["min"]), chart.x(figure["max"])
        parts.append(rect(name, min(one, median), y + 3, abs(median - one), BAR - 6))
        parts.append(f'<circle class="{name}" cx="{median:.1f}" cy="{y + BAR / 2}" r="4.5"/>')
        parts += whisker(least, greatest, y + BAR / 2)
        parts.append(text(CPU_END, y + 12, number(figure["median"]), "end"))
        parts.append(text(P99_END, y + 12, number(figures[f"{name}_p99_us"]["median"]), "end"))
        y += BAR
    return parts


def whisker(least, greatest, y):
    """A line that is readable on every bar: its edge has the colour of the ground."""
    line = f"M{least:.1f} {y}H{greatest:.1f}M{least:.1f} {y - 4}v8M{greatest:.1f} {y - 4}v8"
    return [f'<path class="{name}" d="{line}"/>' for name in ("edge", "whisker")]


def about(results):
    """What the picture does not show, and where it comes from."""
    servers = pictured(results)
    fixed = [name for name, figures in servers.items() if "good_relative" not in figures]
    notes = [name for name in results["servers"] if name not in servers]
    yield "Further to the left is better. p99 is with all 32 connections always busy.", ""
    if fixed:
        yield f"One bar: {', '.join(fixed)} have a fixed response and check no token.", ""
    if notes:
        yield f"No bars: {', '.join(notes)} serve another request; see the tables.", ""
    if rejected := [name for name in results["rejected"] if name not in results["servers"]]:
        yield f"No bars, because of a wrong response or none: {', '.join(rejected)}.", ""
    yield f"{results['date']} · {results['machine']}", "grey"
    yield results["method"], "grey"


def rect(name, x, y, width, height):
    return f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}"/>'


def text(x, y, content, text_class=""):
    return f'<text class="{text_class}" x="{x:.1f}" y="{y:.1f}">{escape(content)}</text>'
