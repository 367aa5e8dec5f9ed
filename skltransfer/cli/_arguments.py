"""What the command line takes; importing this needs nothing heavy."""

from __future__ import annotations

import argparse

import skltransfer


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets ``run`` to the path of its function."""
    top = argparse.ArgumentParser(
        prog="skltransfer",
        description="Transfer learning as ordinary scikit-learn estimators.",
    )
    top.add_argument(
        "--version", action="version", version=f"skltransfer {skltransfer.__version__}"
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _add_compare(commands)
    _add_extract(commands)
    _add_backbones(commands)
    return top


def _add_compare(commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="see whether transfer pays",
        description=(
            "See whether transfer pays. Without arguments, on bundled data: handwritten digits "
            "with few labels, and tumours of which one clinic saw a biased sample. With a CSV "
            "file: on your own table, by folds of its rows, with the rows of --source as the "
            "other domain, or with the texts of one column. With a folder of images, one folder "
            "a class: pixels against pretrained networks, with few labels."
        ),
    )
    compare.add_argument(
        "target", nargs="?", metavar="TARGET", help="a CSV file, or a folder of images"
    )
    compare.add_argument("--label", metavar="COLUMN", help="the column to predict")
    compare.add_argument(
        "--source",
        metavar="SOURCE.csv",
        help="labelled rows of another domain, in the same columns",
    )
    compare.add_argument(
        "--text",
        metavar="COLUMN",
        help="predict from the texts of this column: TF-IDF against the encoder of --backbone",
    )
    compare.add_argument(
        "--backbone",
        metavar="NAME",
        action=_Backbone,
        default=[],
        help=(
            "a pretrained network, for images and texts; may be repeated (default for images: "
            "tiny). 'skltransfer backbones' lists them"
        ),
    )
    compare.add_argument(
        "--weights",
        metavar="FILE",
        action=_Weights,
        help="weights of the --backbone before it, instead of the published ones",
    )
    compare.add_argument(
        "--fine-tune",
        action="store_true",
        help="also train networks larger than tiny: minutes to hours without a GPU",
    )
    compare.add_argument("--metric", help="a scikit-learn scorer; accuracy or r2 if it is left out")
    compare.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="guessed from the labels if it is left out",
    )
    compare.add_argument(
        "--output",
        metavar="FOLDER",
        default="skltransfer-report",
        help="where the scores and the picture go (default: %(default)s)",
    )
    compare.add_argument("--seed", type=_seed, default=0, help="draws and folds (default: 0)")
    compare.set_defaults(run="skltransfer.cli._compare.compare")


def _add_extract(commands) -> None:
    extract = commands.add_parser(
        "extract",
        help="write features of images or texts to a file",
        description=(
            "Write features of a frozen, pretrained network to a Parquet file. INPUT is a folder "
            "of images (a column 'path', and 'label' where each image lies in the folder of its "
            "class), or a CSV or Parquet file with a column of texts or of paths to images. The "
            "other columns of a table are kept."
        ),
    )
    extract.add_argument("input", metavar="INPUT", help="folder of images, CSV or Parquet file")
    extract.add_argument("--output", metavar="FILE", required=True, help="a .parquet file, or .csv")
    extract.add_argument(
        "--backbone",
        metavar="NAME",
        default="tiny",
        help="the network (default: %(default)s); 'skltransfer backbones' lists them",
    )
    extract.add_argument(
        "--weights",
        metavar="FILE",
        default="default",
        help="a file or a name of weights instead of the published ones; 'none': random ones",
    )
    extract.add_argument(
        "--column",
        metavar="COLUMN",
        help="the column of a table with texts, or with paths (relative to the table's folder)",
    )
    extract.add_argument(
        "--layers",
        metavar="LAYER",
        nargs="+",
        help="layers to take features from; 'skltransfer backbones NAME' lists them",
    )
    extract.add_argument("--pooling", help="how a layer's output becomes a vector, such as avg")
    extract.add_argument("--input-size", type=_count, metavar="PIXELS", help="of images")
    extract.add_argument("--batch-size", type=_count, metavar="N", help="rows per pass")
    extract.add_argument("--engine", help="what computes: torch, onnxruntime or openvino")
    extract.add_argument(
        "--on-error",
        choices=("raise", "nan"),
        help="stop at an image that cannot be read, or write NaN (default: raise)",
    )
    extract.add_argument("--force", action="store_true", help="replace the output if it exists")
    extract.set_defaults(run="skltransfer.cli._extract.extract")


def _add_backbones(commands) -> None:
    backbones = commands.add_parser(
        "backbones",
        help="list pretrained networks, or describe one",
        description=(
            "List the networks whose name matches PATTERN, or describe the one of that name: its "
            "layers, pooling, width and preprocessing. Nothing is downloaded, unless the name is "
            "that of a network on a hub, whose settings are read there."
        ),
    )
    backbones.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="a name, or a pattern with * and ?, in quotes",
    )
    backbones.add_argument("--json", action="store_true", help="print JSON")
    backbones.set_defaults(run="skltransfer.cli._backbones.backbones")


class _Backbone(argparse.Action):
    """Append a name with the weights that go with it, for now the published ones."""

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.backbone = [*namespace.backbone, (values, "default")]


class _Weights(argparse.Action):
    """Set the weights of the backbone named before."""

    def __call__(self, parser, namespace, values, option_string=None):
        if not namespace.backbone:
            raise argparse.ArgumentError(self, "goes after the --backbone whose weights they are")
        namespace.backbone = [*namespace.backbone[:-1], (namespace.backbone[-1][0], values)]


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2**32 - 1")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
