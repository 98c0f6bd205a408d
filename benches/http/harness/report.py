"""The figures of all rounds as one table a subject, in Markdown."""

import statistics

from .process import IDLE_CONNECTIONS

SCENARIOS = {"public": "public route", "good": "good token", "bad": "bad token", "note": "a note"}
DISTURBED = 0.10  # of a core taken by other programs
UNSTEADY = 0.10  # (greatest - least) / median over the rounds


def summarize(rounds):
    """Median, least and greatest of each figure over the rounds of one server."""
    summary = {}
    for key in rounds[0]:
        values = [figures[key] for figures in rounds]
        summary[key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return summary


def number(value):
    """Three digits at least, and no fraction that means nothing."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def markdown(results):
    servers = results["servers"]
    sections = [
        "# HTTP benchmark: results",
        f"`{results['command']}`, {results['date']}, {results['machine']}.\n"
        f"{results['method']}. With {', '.join(results['versions'])}.",
        "![CPU a request and memory of each server](results.svg)",
        "Medians. CPU is user plus system time a request, as a multiple of what `bare-hyper` took "
        "at that moment; loaded memory is the peak.",
        summary_table(servers),
        "## CPU microseconds a request\n\nMedian (least–greatest) of the rounds, here and below.",
        spread_table(servers, "cpu_us"),
        "## CPU a request, as a multiple of bare-hyper's",
        spread_table(servers, "relative"),
        "## Requests a second, in thousands",
        spread_table(servers, "requests_a_second", scale=1e-3),
        "## Latency in microseconds with every connection always busy, p50",
        spread_table(servers, "p50_us"),
        "## Latency in microseconds with every connection always busy, p99",
        spread_table(servers, "p99_us"),
    ]
    if remarks := notes(servers):
        sections += ["## Notes", "\n".join(f"- {remark}" for remark in remarks)]
    if results["refused"]:
        lines = [f"- {name}: {reason}" for name, reason in results["refused"].items()]
        sections += ["## Refused", "No figures, for a wrong answer or none:", "\n".join(lines)]
    return "\n\n".join(sections) + "\n"


def summary_table(servers):
    columns = {
        "CPU: public route": "public_relative",
        "good token": "good_relative",
        "bad token": "bad_relative",
        "a note": "note_relative",
        "MiB idle": "idle_mib",
        "loaded": "loaded_mib",
        f"{IDLE_CONNECTIONS:,} connections": "connections_mib",
        "MiB on disk": "size_mib",
        "start-up ms": "start_ms",
    }
    rows = [["server", *columns]]
    for name, figures in servers.items():
        rows.append([name] + [cell(figures, key, spread=False) for key in columns.values()])
    return table(rows)


def spread_table(servers, key, scale=1):
    rows = [["server", *SCENARIOS.values()]]
    for name, figures in servers.items():
        rows.append([name] + [cell(figures, f"{s}_{key}", scale) for s in SCENARIOS])
    return table(rows)


def cell(figures, key, scale=1, spread=True):
    if key not in figures:
        return "–"
    median, least, greatest = (number(figures[key][k] * scale) for k in ("median", "min", "max"))
    return f"{median} ({least}–{greatest})" if spread else median


def table(rows):
    """Names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    lines = []
    for name, *figures in [rows[0], rule, *rows[1:]]:
        cells = [name.ljust(widths[0])] + [c.rjust(w) for c, w in zip(figures, widths[1:])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def notes(servers):
    """What to know before the figures are believed."""
    found = {
        "wrk had its whole core, so requests a second is a lower bound": [],
        "other programs took over 10 % of a core in most runs; measure again": [],
        "the multiple of bare-hyper differs by over 10 % between rounds": [],
    }
    lower_bound, disturbed, unsteady = found.values()
    for name, figures in servers.items():
        for scenario in SCENARIOS:
            if f"{scenario}_relative" not in figures:
                continue
            relative = figures[f"{scenario}_relative"]
            if figures[f"{scenario}_wrk_share"]["median"] > 0.97:
                lower_bound.append(f"{name} {scenario}")
            if figures[f"{scenario}_others_share"]["median"] > DISTURBED:
                disturbed.append(f"{name} {scenario}")
            if (relative["max"] - relative["min"]) / relative["median"] > UNSTEADY:
                unsteady.append(f"{name} {scenario}")
    return [f"{remark}: {', '.join(where)}." for remark, where in found.items() if where]
