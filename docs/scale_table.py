"""The table of time and memory of every estimator, written from the committed measurement."""

import json

COLUMNS = ("10000", "100000", "1000000")
HEAD = """| estimator | 10 000 | 100 000 | 1 000 000 | time grows as | rows at most |
|---|---|---|---|---|---|"""


def scale_table(record: str) -> str:
    """Return a table in Markdown.

    Parameters
    ----------
    record : str
        Text of ``benchmarks/speed/scale.json``.
    """
    return "\n".join([HEAD, *map(_line, json.loads(record)["rows"])])


def _line(row: dict) -> str:
    cells = [_cell(row, n) for n in COLUMNS]
    slope = "" if row.get("time_slope") is None else f"n^{row['time_slope']:.1f}"
    most = "" if "largest_n" not in row else _rows(row["largest_n"], row["bound_by"])
    return f"| {' | '.join([row['name'], *cells, slope, most])} |"


def _cell(row: dict, n: str) -> str:
    if n not in row["seconds"]:
        return ""
    return f"{_number(row['seconds'][n])} s, {_memory(row['growth_mb'][n])}"


def _number(value: float) -> str:
    """Write two digits, and all digits before the point."""
    if value < 0.01:
        return "0.01"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _memory(megabytes: float) -> str:
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"


def _rows(most: int, bound: str) -> str:
    million = 1_000_000
    text = f"{most / million:.2g} million" if most >= million else f"{most:,}".replace(",", " ")
    if most >= 10 * million:
        text = f"{most // million} million"
    return text if bound == "neither" else f"{text} ({bound})"
