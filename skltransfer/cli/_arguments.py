"""Arguments of the command line; importing this module loads nothing heavy."""

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
        help="compare models with and without transfer",
        description=(
            "Compare models with and without transfer. Without arguments the data are bundled: "
            "handwritten digits with few labels, and tumours of which one clinic saw a biased "
            "sample. With a CSV file, the folds of its rows are scored; --source adds the rows of "
            "another domain, and --text predicts from texts. With a folder of images, one folder "
            "per class, pixels are compared with pretrained networks for few labels."
        ),
    )
    compare.add_argument("target", nargs="?", metavar="TARGET", help="CSV file or folder of images")
    compare.add_argument("--label", metavar="COLUMN", help="column to predict")
    compare.add_argument(
        "--source",
        metavar="SOURCE.csv",
        help="CSV file with labelled rows of another domain and the same columns",
    )
    compare.add_argument(
        "--text",
        metavar="COLUMN",
        help="column of texts to predict from, by TF-IDF and by the encoder of --backbone",
    )
    compare.add_argument(
        "--backbone",
        metavar="NAME",
        action=_Backbone,
        default=[],
        help=(
            "pretrained network for images or texts; may be repeated (default for images: tiny); "
            "'skltransfer backbones' lists the names"
        ),
    )
    compare.add_argument(
        "--weights",
        metavar="FILE",
        action=_Weights,
        help="file of weights for the preceding --backbone (default: published weights)",
    )
    compare.add_argument(
        "--fine-tune",
        action="store_true",
        help="also train networks larger than tiny, which takes minutes to hours without a GPU",
    )
    compare.add_argument("--metric", help="scorer of scikit-learn (default: accuracy or r2)")
    compare.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="kind of prediction (default: guessed from the labels)",
    )
    compare.add_argument(
        "--output",
        metavar="FOLDER",
        default="skltransfer-report",
        help="folder of the scores and the picture (default: %(default)s)",
    )
    compare.add_argument(
        "--seed", type=_seed, default=0, help="seed of draws and folds (default: 0)"
    )
    compare.set_defaults(run="skltransfer.cli._compare.compare")


def _add_extract(commands) -> None:
    extract = commands.add_parser(
        "extract",
        help="write features of images or texts to a file",
        description=(
            "Write features of a frozen, pretrained network to a Parquet file. INPUT is a folder "
            "of images, or a CSV or Parquet file with a column of texts or of paths of images. The "
            "other columns of a table are kept. The features of a folder have a column 'path', and "
            "a column 'label' if each image lies in the folder of its class."
        ),
    )
    extract.add_argument("input", metavar="INPUT", help="folder of images, CSV or Parquet file")
    extract.add_argument(
        "--output", metavar="FILE", required=True, help=".parquet or .csv file to write"
    )
    extract.add_argument(
        "--backbone",
        metavar="NAME",
        default="tiny",
        help="pretrained network (default: %(default)s); 'skltransfer backbones' lists the names",
    )
    extract.add_argument(
        "--weights",
        metavar="FILE",
        default="default",
        help="file or name of weights, or 'none' for random weights (default: published weights)",
    )
    extract.add_argument(
        "--column",
        metavar="COLUMN",
        help="column of texts, or of paths relative to the table's folder",
    )
    extract.add_argument(
        "--layers",
        metavar="LAYER",
        nargs="+",
        help="layers to take features from; 'skltransfer backbones NAME' lists them",
    )
    extract.add_argument("--pooling", help="pooling of a layer's output to a vector, such as avg")
    extract.add_argument(
        "--input-size",
        type=_count,
        metavar="PIXELS",
        help="height and width of images at the network's input",
    )
    extract.add_argument("--batch-size", type=_count, metavar="N", help="rows per forward pass")
    extract.add_argument("--engine", help="runtime: torch (default), onnxruntime or openvino")
    extract.add_argument(
        "--on-error",
        choices=("raise", "nan"),
        help="stop at an unreadable image, or write NaN for it (default: raise)",
    )
    extract.add_argument("--force", action="store_true", help="replace the output if it exists")
    extract.set_defaults(run="skltransfer.cli._extract.extract")


def _add_backbones(commands) -> None:
    backbones = commands.add_parser(
        "backbones",
        help="list pretrained networks, or describe one",
        description=(
            "List the networks whose name matches PATTERN, or describe the layers, pooling, width "
            "and preprocessing of the network with that name. Nothing is downloaded but the "
            "settings of a network on a hub."
        ),
    )
    backbones.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="name, or pattern with * and ? in quotes",
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
