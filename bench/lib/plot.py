"""Line plots as SVG, with nothing but the standard library."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 44, 52
COLOURS = ["#1f5fa8", "#c4521a", "#2b8a57", "#7d4a9e"]
FONT = "font-family='DejaVu Sans, Helvetica, sans-serif'"


def ticks(largest, count=5):
    """Round numbers from 0 to at least `largest`."""
    step = 10 ** math.floor(math.log10(largest / count))
    step *= next(m for m in (1, 2, 2.5, 5, 10) if m * step * count >= largest)
    return [i * step for i in range(math.ceil(largest / step - 1e-9) + 1)]


def text(x, y, s, anchor="middle", size=13, extra=""):
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' {FONT} {extra}>{escape(s)}</text>"


def line(x1, y1, x2, y2, colour, width=1):
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' stroke-width='{width}'/>"


def svg(title, x_label, y_label, series):
    """series: [(label, [(x, y), ...], dashed)], a dashed one in the colour of the one before; axes from 0."""
    x_ticks = ticks(max(x for _, points, _ in series for x, _ in points))
    y_ticks = ticks(max(y for _, points, _ in series for _, y in points))
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT

    def place(x, y):
        return (LEFT + (right - LEFT) * x / x_ticks[-1], bottom - (bottom - TOP) * y / y_ticks[-1])

    out = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'>",
           f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>",
           text(WIDTH / 2, 24, title, size=15)]
    for y in y_ticks:
        at = place(0, y)[1]
        out += [line(LEFT, at, right, at, "#dddddd"), text(LEFT - 8, at + 4, f"{y:g}", "end")]
    for x in x_ticks:
        at = place(x, 0)[0]
        out += [line(at, bottom, at, bottom + 5, "black"), text(at, bottom + 20, f"{x:g}")]
    out += [line(LEFT, bottom, right, bottom, "black"), line(LEFT, TOP, LEFT, bottom, "black"),
            text((LEFT + right) / 2, HEIGHT - 12, x_label),
            text(18, (TOP + bottom) / 2, y_label, extra=f"transform='rotate(-90 18 {(TOP + bottom) / 2:.1f})'")]
    used = 0
    for i, (label, points, dashed) in enumerate(series):
        used += not dashed
        colour = COLOURS[(used - 1) % len(COLOURS)]
        places = [place(x, y) for x, y in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = " stroke-dasharray='6 4'" if dashed else ""
        out.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'{dash}/>")
        if not dashed:
            out += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{colour}'/>" for x, y in places]
        y = TOP + 14 + 20 * i
        out += [f"<line x1='{LEFT + 14}' y1='{y}' x2='{LEFT + 42}' y2='{y}' stroke='{colour}' stroke-width='2'{dash}/>",
                text(LEFT + 50, y + 4, label, "start")]
    out.append("</svg>\n")
    return "\n".join(out)
