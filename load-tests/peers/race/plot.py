"""Rates and CPU time of each side as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from race.report import medians  # noqa: E402

COLOURS = {"jtav": "#1f6f8b", "python": "#e0a030", "bytewax": "#b05a7a"}
MEASURES = (("rate_per_s", "posts a second, saturated"), ("cpu_ms_a_post", "CPU-ms a post"), ("pss_mib", "MiB (PSS)"))


def draw(whole: dict[str, Any], path: Path) -> None:
    """A row for each feed, a column for each measure."""
    feeds = list(dict.fromkeys(result["feed"] for result in whole["results"] if result["kind"] == "saturated"))
    figure, axes = plt.subplots(len(feeds), len(MEASURES), figsize=(13, 0.6 + 2.1 * len(feeds)), squeeze=False)
    for row, feed in zip(axes, feeds, strict=True):
        lines = medians(whole["results"], "saturated", feed)
        names = [line["side"] for line in lines]
        for axis, (measure, title) in zip(row, MEASURES, strict=True):
            values = [line[measure] for line in lines]
            bars = axis.barh(names, values, color=[COLOURS[line["program"]] for line in lines])
            axis.bar_label(bars, labels=[f"{value:,.3g}" if value < 1_000 else f"{value:,.0f}" for value in values], padding=3, fontsize=8)
            axis.invert_yaxis()
            axis.margins(x=0.18)
            axis.set_title(f"{feed}: {title}", fontsize=9)
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
            if axis is not row[0]:
                axis.set_yticklabels([])
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
