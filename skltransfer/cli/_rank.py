"""``skltransfer backbones --rank DATA``: networks for a user's data, the best score first."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skltransfer._messages import first_line, how_to_install
from skltransfer.backbones import Backbone
from skltransfer.backbones._packaged import EXTRA, MINILM
from skltransfer.cli._errors import CommandError, shown
from skltransfer.cli._image_data import read_images
from skltransfer.cli._named_networks import default_network, image_backbones, text_backbones
from skltransfer.cli._output import LiveLine
from skltransfer.cli._plans import pixel_features
from skltransfer.cli._table_data import TableRequest, read_tables
from skltransfer.cli._text_data import texts_of
from skltransfer.model_selection import BackboneFailureWarning, BackboneRanking, rank_backbones

_PIXELS = "pixels"


def rank(options, names: list[str]) -> None:
    """Rank networks on a folder of images, or on a column of texts.

    Parameters
    ----------
    options : Namespace
    names : list of str
        Networks that the pattern matches.
    """
    networks = [*((name, "default") for name in names), *options.backbone]
    is_folder = Path(options.rank).is_dir()
    if is_folder and (options.label or options.text):
        raise CommandError("--label and --text go with a table, not with a folder of images.")
    if not is_folder and options.text is None:
        raise CommandError(
            f"--text is missing: which column of {options.rank} holds the texts? Networks for the "
            "columns of tables cannot be ranked."
        )
    if is_folder:
        loaded = image_backbones(networks)
    else:
        loaded = text_backbones(networks)
        if not loaded:
            raise CommandError(
                "--rank needs encoders of texts: --backbone hf:NAME, hf:FOLDER or st:NAME; or "
                f"--backbone {MINILM}, by {how_to_install(EXTRA)}."
            )
    with LiveLine(options.json) as live:
        if is_folder:
            images = read_images(
                options.rank, 0, lambda n, total: live.count("reading images", n, total)
            )
            X, y, notes = images.paths, images.y, list(images.notes)
            if not loaded:
                default = default_network(photographs=images.look_like_photographs)
                loaded = image_backbones(default)
        else:
            data = read_tables(TableRequest(options.rank, options.label, text=options.text))
            if not len(data.y):
                raise CommandError(
                    f"no row of {data.name!r} has a label, and a score needs some. Label some rows."
                )
            texts = texts_of(data, options.text)
            X, y, notes = texts.X.tolist(), texts.y, list(texts.notes)
    named: dict = {name: _weighted(record, name, weights) for name, weights, record in loaded}
    if is_folder:
        named[_PIXELS] = pixel_features()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BackboneFailureWarning)  # the table tells
        try:
            ranking = rank_backbones(X, y, named, score=options.score)
        except (ValueError, TypeError) as error:
            raise CommandError(f"{shown(options.rank)}: {first_line(error)}.") from error
    _print(ranking, len(y), notes, options)


def _weighted(record: Backbone, name: str, weights: str | None):
    """Return what stands for a network in Python: its name, with its weights."""
    return (name, weights) if weights != "default" else name


def _print(ranking: BackboneRanking, n_samples: int, notes: list[str], options) -> None:
    if options.json:
        results = [
            {name: None if value != value else value for name, value in asdict(result).items()}
            for result in ranking.results
        ]
        content = {"score": ranking.score_name, "n_samples": n_samples, "results": results}
        print(json.dumps(content | {"notes": notes}, indent=1))
    elif sys.stdout.isatty():
        header, *rows = ranking.cells()
        table = Table()
        for number, title in enumerate(header):
            table.add_column(title, justify="right" if number else "left")
        for row in rows:
            table.add_row(*map(escape, row))
        console = Console()
        console.print(table)
        for note in notes:
            console.print(f"{note}.", markup=False, highlight=False)
    else:
        for row in ranking.cells():
            print("\t".join(row))
        for note in notes:
            print(f"skltransfer: {note}.", file=sys.stderr)
    sys.stdout.flush()
