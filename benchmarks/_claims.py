"""The claims of all scripts beside the numbers they measured.

A script declares literals, which are read without running it: ``CLAIMS``, ``NEEDS`` (packages that
are imported) and ``DATA`` (folders of the shared data). A claim is a dictionary:

- ``claim``: what is measured, in words;
- ``beside``: the peer, or ``"limit"``;
- ``value``: path into the script's JSON file; a dictionary selects the one record of a list that
  holds its items;
- ``at_least``, ``at_most``, or ``within`` (a centre and a tolerance): the bar;
- ``unit``: unit of the number. Without one it is a ratio of times.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks._measure import ROOT

FOLDER = ROOT / "benchmarks"
KEYS = {"claim", "beside", "value", "at_least", "at_most", "within", "unit"}
NO_BREAK = "\N{NO-BREAK SPACE}"
HEADINGS = {
    "speed": "Time and memory",
    "size": "Size",
    "accuracy": "Accuracy",
    "robustness": "Hostile input",
    "recipes": "The embedded network",
}


@dataclass(frozen=True)
class Claim:
    """A number that a script has measured, and its bar."""

    text: str
    beside: str
    number: float
    asked: str
    measured: str
    is_met: bool


@dataclass(frozen=True)
class Script:
    """A script, its declarations, and its claims."""

    path: Path
    title: str
    needs: tuple[str, ...]
    data: tuple[str, ...]
    claims: tuple[Claim, ...]

    @property
    def name(self) -> str:
        """Path below ``benchmarks`` without suffix, such as ``"speed/kmm"``."""
        return self.path.relative_to(FOLDER).with_suffix("").as_posix()

    @property
    def module(self) -> str:
        """Name of the module, for ``python -m``."""
        return "benchmarks." + self.name.replace("/", ".")


def find(record, path: list):
    """Return the number at a path of a record.

    Parameters
    ----------
    record : dict
        Content of a JSON file.
    path : list of str, int or dict
        Keys, positions, and conditions that exactly one record of a list fulfils.
    """
    for step in path:
        if isinstance(step, dict):
            found = [row for row in record if step.items() <= row.items()]
            if len(found) != 1:
                raise ValueError(f"{len(found)} records fulfil {step}, wanted is one.")
            record = found[0]
        else:
            record = record[step]
    return record


def _shown(number: float, unit: str) -> str:
    """Return a number as the table shows it."""
    if isinstance(number, int):
        text = f"{number:,}".replace(",", " ")
    elif unit == "" and abs(number) < 0.1:
        text = f"{number:.1e}"
    elif abs(number) >= 100:
        text = f"{number:.0f}"
    elif unit == "x" or abs(number) < 2:
        text = f"{number:.2f}"
    else:
        text = f"{number:.1f}"
    return f"{text} {unit}".strip() if unit != "x" else text + "x"


def judge(declared: dict, record: dict) -> Claim:
    """Hold a declared claim against the record."""
    if unknown := declared.keys() - KEYS:
        raise ValueError(f"Unknown keys in a claim: {sorted(unknown)}.")
    number, unit = find(record, declared["value"]), declared.get("unit", "x")
    if "within" in declared:
        centre, tolerance = declared["within"]
        asked, is_met = f"{centre} ± {tolerance} {unit}", abs(number - centre) <= tolerance
    elif "at_least" in declared:
        bar = declared["at_least"]
        asked, is_met = "≥ " + _bar(bar, unit), number >= bar
    else:
        bar = declared["at_most"]
        asked, is_met = "≤ " + _bar(bar, unit), number <= bar
    measured = _shown(number, unit)
    return Claim(declared["claim"], declared["beside"], number, asked, measured, is_met)


def _bar(bar: float, unit: str) -> str:
    text = f"{bar:.0e}" if unit == "" and bar < 0.1 else f"{bar:,}".replace(",", " ")
    return text + "x" if unit == "x" else f"{text} {unit}".strip()


def _declared(tree: ast.Module, name: str) -> tuple:
    """Return the literal that a module assigns to a name, or nothing."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == [name]:
            return tuple(ast.literal_eval(node.value))
    return ()


def scripts() -> list[Script]:
    """Return all scripts, folder by folder."""
    found = []
    for folder in HEADINGS:
        for path in sorted((FOLDER / folder).rglob("*.py")):
            record = path.with_suffix(".json")
            if not record.is_file():
                continue  # a helper
            tree = ast.parse(path.read_text())
            content = json.loads(record.read_text())
            claims = tuple(judge(claim, content) for claim in _declared(tree, "CLAIMS"))
            title = ast.get_docstring(tree).splitlines()[0]
            declared = (_declared(tree, name) for name in ("NEEDS", "DATA"))
            found.append(Script(path, title, *declared, claims))
    return found


def table() -> str:
    """Return the claims as Markdown: one table a folder, and the scripts without a bar."""
    blocks, every = [], scripts()
    for folder, heading in HEADINGS.items():
        lines = [
            f"## {heading}",
            "",
            "| claim | beside | asked | measured | met | script |",
            "|---|---|---|---|---|---|",
        ]
        for script in every:
            if script.name.split("/")[0] != folder:
                continue
            for claim in script.claims:
                numbers = (text.replace(" ", NO_BREAK) for text in (claim.asked, claim.measured))
                met = "yes" if claim.is_met else "**no**"
                cells = [claim.text, claim.beside, *numbers, met, f"`{script.name}`"]
                lines.append("| " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    lines = ["## Tables without a bar", ""]
    lines += [f"- `{script.name}`: {script.title}" for script in every if not script.claims]
    claims = [claim for script in every for claim in script.claims]
    n_met = sum(claim.is_met for claim in claims)
    return "\n\n".join([f"{n_met} of {len(claims)} claims are met.", *blocks, "\n".join(lines)])
