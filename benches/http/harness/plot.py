"""The picture: CPU a request and memory of each server, as bars, in SVG."""

import math
from dataclasses import dataclass
from html import escape

from .process import IDLE_CONNECTIONS
from .report import number

WIDTH = 980
TOP, ROW, FOOT = 96, 48, 66
BAR, GAP = 10, 3
NAMES_END = 176  # right-aligned here
AXIS = 310

GREY = 'font-size="11" fill="#57606a"'
# A white edge keeps a figure readable where it meets a line of the axis.
FIGURE = 'font-size="11" stroke="#ffffff" stroke-width="3" paint-order="stroke"'

# Servers on hyper lie between 1 and 1.5, Express at 70. A logarithm would make the small
# differences invisible and hide how large the large ones are; a linear axis that ends keeps every
# bar up to there in proportion, and the longer ones are cut and say their figure.
CPU_AXIS_END = 5


@dataclass
class Panel:
    """One measure: its place, its axis, and the figure, label and colour of each bar."""

    x: int
    title: str
    unit: str
    axis_end: int
    step: int
    bars: dict


def svg(results, own="resource-server"):
    servers = pictured(results)
    bottom = TOP + ROW * len(servers)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + FOOT}" '
        f'viewBox="0 0 {WIDTH} {bottom + FOOT}" font-family="Helvetica, Arial, sans-serif" '
        'font-size="12" fill="#24292f" role="img">',
        "<title>CPU a request and memory of each server</title>",
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{bottom + FOOT - 1}" rx="8" '
        'fill="#ffffff" stroke="#d0d7de"/>',
    ]
    for row, name in enumerate(servers):
        y = TOP + ROW * row
        if name == own:
            parts.append(rect(8, y, WIDTH - 16, ROW, "#eef4fc"))
        weight = "bold" if name == own else "normal"
        style = f'text-anchor="end" font-weight="{weight}"'
        parts.append(text(NAMES_END, y + ROW / 2 + 4, name, style))
    for panel in panels(servers):
        parts += legend(panel) + axis(panel, bottom)
        for row, figures in enumerate(servers.values()):
            parts += bars(panel, TOP + ROW * row, figures)
    about = [
        f"Shorter is better. A bar with a cut goes on beyond {CPU_AXIS_END}×.",
        f"{results['date']} · {results['machine']} · {results['method']}",
        results["command"],
    ]
    parts += [text(16, bottom + 28 + 14 * i, line, GREY) for i, line in enumerate(about)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def pictured(results):
    """All but the servers of notes, whose one request is another: the tables have it."""
    servers = results["servers"].items()
    return {name: figures for name, figures in servers if "note_relative" not in figures}


def panels(servers):
    cpu = {
        "public_relative": ("public route", "#9ec5f4"),
        "good_relative": ("good token", "#2f7de1"),
        "bad_relative": ("bad token", "#123f7a"),
    }
    memory = {
        "idle_mib": ("idle", "#f5c98a"),
        "loaded_mib": ("loaded, peak", "#e08214"),
        "connections_mib": (f"{IDLE_CONNECTIONS:,} idle connections", "#8c4a05"),
    }
    most = max(figures[key]["median"] for figures in servers.values() for key in memory)
    step = 50 if most > 60 else 10
    return [
        Panel(190, "CPU a request, as a multiple of bare hyper", "×", CPU_AXIS_END, 1, cpu),
        Panel(600, "Resident memory", " MiB", step * math.ceil(most / step), step, memory),
    ]


def legend(panel):
    parts = [text(panel.x, 30, panel.title, 'font-size="15" font-weight="bold"')]
    x = panel.x
    for label, colour in panel.bars.values():
        parts += [rect(x, 45, 10, 10, colour), text(x + 15, 54, label)]
        x += 32 + 6.3 * len(label)
    return parts


def axis(panel, bottom):
    parts = []
    for tick in range(0, panel.axis_end + 1, panel.step):
        x = panel.x + AXIS * tick / panel.axis_end
        label = f"{tick}{panel.unit}" if tick else "0"
        parts.append(f'<path d="M{x:.1f} {TOP - 8}V{bottom}" stroke="#d0d7de"/>')
        parts.append(text(x, TOP - 14, label, f'text-anchor="middle" {GREY}'))
    return parts


def bars(panel, top, figures):
    """The bars of one server, in the middle of its row."""
    shown = {key: style for key, style in panel.bars.items() if key in figures}
    y = top + (ROW - len(shown) * (BAR + GAP) + GAP) / 2
    parts = []
    for key, (_, colour) in shown.items():
        value = figures[key]["median"]
        length = AXIS * min(value / panel.axis_end, 1)
        parts.append(rect(panel.x, y, length, BAR, colour))
        if value > panel.axis_end:
            parts += [cut(panel.x + length - 18, y), cut(panel.x + length - 13, y)]
        figure = number(value) + ("×" if panel.unit == "×" else "")
        parts.append(text(panel.x + length + 4, y + BAR - 1, figure, FIGURE))
        y += BAR + GAP
    return parts


def cut(x, y):
    line = f"M{x - 2:.1f} {y + BAR + 1:.1f}L{x + 2:.1f} {y - 1:.1f}"
    return f'<path d="{line}" stroke="#ffffff" stroke-width="2.5"/>'


def rect(x, y, width, height, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def text(x, y, content, style=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(content)}</text>'
