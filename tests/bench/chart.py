"""Bars on a logarithmic scale, as an SVG that needs nothing else."""
import math
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 900, 270, 90, 30, 58
COLOURS = {"by hand": "#9aa3ad", "Mayfly": "#2b6cb0"}


def bars(title, rows, path):
    """`rows`: [(label, kind, p50, p90, p99)] in ms; kind is a key of COLOURS. The bar ends at p50, the whisker at p99."""
    low = 10 ** math.floor(math.log10(min(row[2] for row in rows)))
    high = 10 ** math.ceil(math.log10(max(row[4] for row in rows)))

    def x(value):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(max(value, low) / low) / math.log10(high / low)

    height = TOP + ROW * len(rows) + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="12" y="24" font-size="16">{escape(title)}</text>']
    tick = low
    while tick <= high:
        out.append(f'<line x1="{x(tick):.1f}" y1="{TOP - 8}" x2="{x(tick):.1f}" y2="{height - 22}" stroke="#ddd"/>'
                   f'<text x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle" fill="#555">{tick:g} ms</text>')
        tick *= 10
    for i, (label, kind, p50, p90, p99) in enumerate(rows):
        y = TOP + ROW * i
        out.append(f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(label)}</text>'
                   f'<rect x="{LEFT}" y="{y + 2}" width="{max(x(p50) - LEFT, 1):.1f}" height="18" fill="{COLOURS[kind]}"/>'
                   f'<line x1="{x(p50):.1f}" y1="{y + 11}" x2="{x(p99):.1f}" y2="{y + 11}" stroke="#333"/>'
                   f'<line x1="{x(p90):.1f}" y1="{y + 7}" x2="{x(p90):.1f}" y2="{y + 15}" stroke="#333"/>'
                   f'<text x="{x(p99) + 6:.1f}" y="{y + 15}" fill="#333">{p50:.0f}</text>')
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
