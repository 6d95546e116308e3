"""The operator's figures: throughput, latency and errors of the last hours, from the index alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from page import texts
from page.request_index import Entry
from page.training_card import AXIS_COLOR

BIN_SECONDS = 600
OK_COLOR, FAILED_COLOR, P95_COLOR = "#0f9d8f", "#d9544f", "#d97706"


@dataclass(frozen=True)
class Bin:
    """What was answered in ten minutes.

    Attributes:
        begin: in seconds since 1970.
        seconds: from request to answer, sorted.
    """

    begin: float
    ok: int
    failed: int
    seconds: tuple[float, ...]

    def percentile(self, share: float) -> float | None:
        """Return the nearest-rank percentile of the seconds; None without any."""
        if not self.seconds:
            return None
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def bin_answers(newest: Iterable[Entry], now: float, hours: int) -> list[Bin]:
    """Return the answers of the last hours by ten minutes, the oldest first.

    Args:
        newest: all requests, newest first; reading ends with the first that was written before those hours.
    """
    first = (now // BIN_SECONDS + 1) * BIN_SECONDS - hours * 3600
    found: dict[float, tuple[list[Entry], list[Entry]]] = {}
    for entry in newest:
        if (entry.written or entry.answered) < first - 3600:
            break
        if entry.answered < first:
            continue
        ok, failed = found.setdefault(entry.answered // BIN_SECONDS * BIN_SECONDS, ([], []))
        (failed if entry.error else ok).append(entry)
    bins = []
    for number in range(hours * 3600 // BIN_SECONDS):
        begin = first + number * BIN_SECONDS
        ok, failed = found.get(begin, ([], []))
        took = sorted(one.answered - one.written for one in (*ok, *failed) if one.written)
        bins.append(Bin(begin, len(ok), len(failed), tuple(max(0.0, one) for one in took)))
    return bins


def throughput_options(bins: list[Bin]) -> dict[str, Any]:
    """Return the chart of answers by ten minutes."""
    bar = {"type": "bar", "stack": "answers", "barCategoryGap": "30%"}
    return _options(
        bins,
        [
            bar | {"name": texts.ANSWERS_OK, "color": OK_COLOR, "data": [one.ok for one in bins]},
            bar | {"name": texts.ANSWERS_FAILED, "color": FAILED_COLOR, "data": [one.failed for one in bins]},
        ],
    )


def latency_options(bins: list[Bin]) -> dict[str, Any]:
    """Return the chart of the seconds from request to answer."""
    line = {"type": "line", "showSymbol": True, "symbolSize": 5, "connectNulls": True}
    return _options(
        bins,
        [
            line | {"name": texts.MEDIAN, "color": OK_COLOR, "data": [_round(one.percentile(0.5)) for one in bins]},
            line | {"name": texts.P95, "color": P95_COLOR, "data": [_round(one.percentile(0.95)) for one in bins]},
        ],
    )


def _options(bins: list[Bin], series: list[dict[str, Any]]) -> dict[str, Any]:
    labels = {"color": AXIS_COLOR}
    faint = {"lineStyle": {"color": AXIS_COLOR, "opacity": 0.2}}
    return {
        "animation": False,
        "grid": {"left": 44, "right": 12, "top": 34, "bottom": 26},
        "legend": {"textStyle": labels, "top": 0, "icon": "roundRect"},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": [_clock(one.begin) for one in bins], "axisLabel": labels},
        "yAxis": {"type": "value", "axisLabel": labels, "splitLine": faint, "minInterval": 1},
        "series": series,
    }


def _clock(moment: float) -> str:
    minutes = int(moment // 60) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
