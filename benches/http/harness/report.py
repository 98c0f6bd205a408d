"""The figures of all rounds as Markdown tables."""

import statistics

from .process import IDLE_CONNECTIONS
from .requests import EDGES, scenarios

DISTURBED = 0.10  # of a core taken by other programs
UNSTEADY = 0.10  # (greatest - least) / median over the rounds

SCENARIOS = {name: request.what for name, request in scenarios().items()}
TOKENS = {name: what for name, what in SCENARIOS.items() if name not in EDGES}
SHAPES = {name: what for name, what in SCENARIOS.items() if name in EDGES}


def summarize(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def number(value):
    """At least three digits, and no fraction that means nothing."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def markdown(results):
    servers = results["servers"]
    sections = [
        "# HTTP benchmark: results",
        f"`{results['command']}`, {results['date']}, {results['minutes']} minutes, on "
        f"**{results['machine']}**.\n{results['method']}. With {', '.join(results['versions'])}.",
        "![CPU per request of each server, as a multiple of bare hyper](results.svg)",
        "A ratio is a property of a processor: compare figures of one page only. Everywhere: the median, "
        "with the least and the greatest in brackets. Each load has 32 connections and no pipelining, "
        "unless its name says otherwise.",
        "## CPU per request, as a multiple of bare hyper",
        "User plus system time per request, over what `bare-hyper` took for the public route in the seconds "
        "before and after.",
        table(servers, {f"{name}_relative": what for name, what in TOKENS.items()}),
        "The same, over what `bare-hyper` took for the same load:",
        table(servers, {f"{name}_relative": what for name, what in SHAPES.items()}),
        "## This server against raw hyper with jsonwebtoken, and against itself",
        "CPU per request, each ratio within one round.",
        table(
            {name: figures for name, figures in servers.items() if "auth_of_good" in figures},
            {
                "public_of_neighbour": "public, of hyper-jsonwebtoken",
                "good_of_neighbour": "good token",
                "bad_of_neighbour": "bad token",
                "auth_of_good": "`/auth`, of `/resource/secret`",
                "kept_two_of_one": "public: two workers, of one",
                "close_two_of_one": "close: two workers, of one",
                "close_1_p99_us": "close: p99 µs, one worker",
                "close_2_p99_us": "close: p99 µs, two workers",
            },
        ),
        "## Memory, size and start-up",
        "MiB resident: idle after the first response; at the peak of the loads with tokens; with "
        f"{IDLE_CONNECTIONS:,} idle connections. Start-up is from the spawn to the end of the first response.",
        table(
            servers,
            {
                "start_ms": "start-up ms",
                "idle_mib": "MiB idle",
                "loaded_mib": "loaded",
                "connections_mib": f"{IDLE_CONNECTIONS:,} connections",
                "size_mib": "MiB on disk",
            },
        ),
        *growth_sections(results["growth"]),
    ]
    titles = {
        "cpu_us": "CPU µs per request",
        "requests_per_second": "Requests per second",
        "p50_us": "Latency in µs with every connection always busy: p50",
        "p99_us": "Latency in µs with every connection always busy: p99",
    }
    for key, title in titles.items():
        sections.append(f"## {title}")
        for names in (TOKENS, SHAPES):
            sections.append(table(servers, {f"{name}_{key}": what for name, what in names.items()}))
    if remarks := notes(servers):
        sections += ["## Notes", "\n".join(f"- {remark}" for remark in remarks)]
    if results["rejected"]:
        lines = [f"- {name}: {reason}" for name, reason in results["rejected"].items()]
        sections += ["## Rejected", "No figures, for a wrong response or none:", "\n".join(lines)]
    return "\n\n".join(filter(None, sections)) + "\n"


def growth_sections(growth):
    for name, rows in growth.items():
        yield f"## Cost of growth: {name}"
        yield (
            "What to plan with: one worker, medians. Everything else stays as it is: 32 connections, a short "
            "head, the public route; the token rows ask for `/resource/secret`. A core serves a million "
            "divided by *CPU µs* requests per second. MiB is the peak of resident memory; the kernel's socket "
            "buffers are not in it."
        )
        titles = {
            "cpu_us": "CPU µs per request",
            "requests_per_second": "requests per second",
            "p50_us": "p50 µs",
            "p99_us": "p99 µs",
            "peak_mib": "peak MiB",
        }
        lines = [["what grows", "to", *titles.values()]]
        for row in rows:
            lines.append([row["what"], f"{row['number']:,}", *(number(row[key]) for key in titles)])
        yield align(lines)


def table(servers, titles):
    """One row for each server that has any of these figures, one column for each that any server has."""
    titles = {key: t for key, t in titles.items() if any(key in f for f in servers.values())}
    lines = [["server", *titles.values()]]
    for name, figures in servers.items():
        if any(key in figures for key in titles):
            lines.append([name, *(cell(figures.get(key)) for key in titles)])
    return align(lines) if titles else ""


def cell(figure):
    if figure is None:
        return "–"
    median, least, greatest = (number(figure[key]) for key in ("median", "min", "max"))
    return median if least == greatest else f"{median} ({least}–{greatest})"


def align(rows):
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
        "wrk used its whole core, so requests per second is a lower bound": [],
        "other programs took over 10 % of a core in most rounds; measure again": [],
        "the multiple of bare hyper differs by over 10 % between rounds": [],
    }
    lower_bound, disturbed, unsteady = found.values()
    for name, figures in servers.items():
        for scenario, what in SCENARIOS.items():
            if f"{scenario}_relative" not in figures:
                continue
            relative = figures[f"{scenario}_relative"]
            if figures[f"{scenario}_wrk_share"]["median"] > 0.97:
                lower_bound.append(f"{name} {what}")
            if figures[f"{scenario}_others_share"]["median"] > DISTURBED:
                disturbed.append(f"{name} {what}")
            if (relative["max"] - relative["min"]) / relative["median"] > UNSTEADY:
                unsteady.append(f"{name} {what}")
    return [f"{remark}: {'; '.join(where)}." for remark, where in found.items() if where]
