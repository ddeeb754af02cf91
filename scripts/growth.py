#!/usr/bin/env python3
"""How the cost of a search grows with the gallery: a table, and a plot as SVG.

    python3 scripts/growth.py --embeddings EXPORT [--sizes 10000,100000,1000000,10000000] [--svg docs/search.svg]

Runs `semblance bench search` for each size, with the statistics of a real export and with random vectors,
on one thread.
"""

import argparse
import json
import math
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SERIES = (  # name, whether real, which probes, colour
    ("real statistics, mated", True, "mated", "#2563eb"),
    ("real statistics, non-mated", True, "non_mated", "#7c3aed"),
    ("random vectors", False, "non_mated", "#d97706"),
)
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 680, 400, 64, 48, 20, 190


def measure(options, size, embeddings):
    probes = max(60, min(options.probes, 2_000_000_000 // size))
    command = [str(options.binary), "bench", "search", "--json", "--templates", str(size), "--probes", str(probes)]
    command += ["--waiting", "0"] + (["--embeddings", str(embeddings)] if embeddings else [])
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def svg(lines):
    """Log-log lines of (size, milliseconds)."""
    points = [point for line in lines.values() for point in line]
    x_range = [math.floor(math.log10(min(p[0] for p in points))), math.ceil(math.log10(max(p[0] for p in points)))]
    y_range = [math.floor(math.log10(min(p[1] for p in points))), math.ceil(math.log10(max(p[1] for p in points)))]
    across = lambda v: LEFT + (math.log10(v) - x_range[0]) / (x_range[1] - x_range[0]) * (WIDTH - LEFT - RIGHT)
    down = lambda v: HEIGHT - BOTTOM - (math.log10(v) - y_range[0]) / (y_range[1] - y_range[0]) * (HEIGHT - BOTTOM - TOP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for power in range(x_range[0], x_range[1] + 1):
        x = across(10**power)
        out.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e5e7eb"/>')
        out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#374151">{10**power:,}</text>')
    for power in range(y_range[0], y_range[1] + 1):
        y = down(10**power)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#374151">{10.0**power:g} ms</text>')
    for at, (name, _, _, colour) in enumerate(SERIES):
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in lines[name])
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3" fill="{colour}"/>' for x, y in lines[name]]
        y = TOP + 16 + 20 * at
        out.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 30}" y="{y}" fill="#111827">{name}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle" fill="#374151">templates; median time of a search, one thread</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embeddings", type=Path, required=True, help="what `semblance gallery export` wrote")
    parser.add_argument("--sizes", default="10000,100000,1000000,10000000")
    parser.add_argument("--probes", type=int, default=1000)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target" / "release" / "semblance")
    options = parser.parse_args()
    lines = {name: [] for name, *_ in SERIES}
    print("| templates | mated ms | non-mated ms | random ms | compared in f32 (mated, non-mated, random) | bytes a template |")
    print("|---|---|---|---|---|---|")
    for size in map(int, options.sizes.split(",")):
        reports = {real: measure(options, size, options.embeddings if real else None) for real in (True, False)}
        cells, shares = [], []
        for name, real, kind, _ in SERIES:
            one = reports[real][kind]
            lines[name].append((size, one["p50_ms"]))
            cells.append(f"{one['p50_ms']:.3f}")
            shares.append(f"{one['touched'][-1] * 100:.3f} %")
        row = [f"{size:,}", *cells, ", ".join(shares), f"{reports[True]['bytes_per_template']:.0f}"]
        print(f"| {' | '.join(row)} |", flush=True)
    if options.svg:
        options.svg.write_text(svg(lines))


if __name__ == "__main__":
    main()
