"""The plot of benchmarks/quality.py: losses over minutes of training."""

import math

from quality_page import TITLES, beside, digits, mean, repeated

# For each protocol: its color, the line style of what the runs are compared with, and the position of the numbers.
LOOKS = {
    "stream": ("tab:blue", "--", {"xytext": (-3, -9), "ha": "right"}),
    "cold": ("tab:red", ":", {"xytext": (3, 9), "ha": "left"}),
}
NUMBERS = {"textcoords": "offset points", "va": "center", "fontsize": 9, "bbox": {"fc": "white", "lw": 0, "pad": 0}}
DRAWN = [f"tinyshakespeare/{name}" for name in ("nanogpt", "nanogpt-gpu", "kneser-ney", "bzip2")]


def plot(results, path):
    """Both losses over minutes on a logarithmic axis, with labeled lines for what the runs are compared with."""
    from matplotlib.figure import Figure

    if not (grouped := repeated(results, "tinyshakespeare")):
        return
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log")
    axes.set(xlabel="minutes of the whole command", ylabel="validation loss, nats per character")
    minutes = [mean(records, "seconds") / 60 for records in grouped.values()]
    for protocol, (color, _, side) in LOOKS.items():
        losses = [mean(records, protocol) for records in grouped.values()]
        axes.plot(minutes, losses, color=color, label=f"tfcharlm train, {TITLES[protocol]}")
        for records, *mean_point in zip(grouped.values(), minutes, losses, strict=True):
            axes.scatter([r["seconds"] / 60 for r in records], [r[protocol] for r in records], s=14, color=color)
            axes.annotate(f"{mean_point[1]:.3f}", mean_point, **side, **NUMBERS, color=color)
    lines = []
    for key, name, record in beside(results, "tinyshakespeare"):
        if key in DRAWN:
            name = name.removesuffix(" recipe") + ("" if "environment" in record else " (its README)")
            lines += [(record[p], f"{name} {digits(record, p)}", *LOOKS[p][:2]) for p in LOOKS if p in record]
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 30, 60, 120) if min(minutes) / 1.3 < t < max(minutes) * 1.3]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.margins(0.1, 0.06)
    reference_lines(axes, lines)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.92))
    figure.savefig(path, dpi=120)


def reference_lines(axes, lines):
    """Draws horizontal lines `(loss, name, color, dashes)` with their names at the right, where none overlap."""
    for loss, _, color, dashes in lines:
        axes.axhline(loss, color=color, linestyle=dashes, linewidth=1)
    lowest, highest = axes.get_ylim()
    height = -math.inf
    for loss, name, color, _ in sorted(lines):
        height = max(loss, height + (highest - lowest) / 22)
        pointer = {"arrowstyle": "-", "color": color, "linewidth": 0.7}
        where = {"xy": (1, loss), "xytext": (1.03, height), "xycoords": ("axes fraction", "data"), "va": "center"}
        axes.annotate(name, **where, fontsize=9, color=color, arrowprops=pointer)
