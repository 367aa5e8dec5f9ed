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
    _add_predict(commands)
    _add_extract(commands)
    _add_backbones(commands)
    _add_store(commands)
    return top


def _add_compare(commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="find out whether transfer pays, and which strategy",
        description=(
            "Compare strategies with and without transfer on the same folds of the target, and "
            "write a report, the scores, the chosen model and its predictions. Without arguments "
            "the data are bundled: tumours of which one clinic saw a biased sample, and "
            "handwritten digits with few labels. TARGET is a CSV or Parquet file, or a folder of "
            "images with one folder for each class."
        ),
    )
    compare.add_argument(
        "target", nargs="?", metavar="TARGET", help="CSV or Parquet file, or folder of images"
    )
    _add_data(compare.add_argument_group("tables and texts"))
    _add_networks(compare.add_argument_group("pretrained networks, for images and texts"))
    _add_strategies(compare.add_argument_group("strategies and scores"))
    _add_output(compare.add_argument_group("output"))
    compare.set_defaults(run="skltransfer.cli._compare.compare")


def _add_data(group) -> None:
    group.add_argument("--label", metavar="COLUMN", help="column to predict")
    group.add_argument(
        "--source",
        metavar="SOURCE",
        help="CSV or Parquet file with labelled rows of another domain and the same columns",
    )
    group.add_argument(
        "--domain",
        metavar="COLUMN[=VALUE]",
        help=(
            "column that tells the domains apart, if both are in one file; rows with VALUE are the "
            "target (default: the value with fewer labelled rows)"
        ),
    )
    group.add_argument(
        "--text",
        metavar="COLUMN",
        help=(
            "column of texts to predict from, by TF-IDF and by the encoder of --backbone (default: "
            "minilm if installed)"
        ),
    )
    group.add_argument(
        "--drop",
        metavar="COLUMN",
        action="append",
        default=[],
        help="column to leave out, such as an id; may be repeated",
    )
    group.add_argument(
        "--group",
        metavar="COLUMN",
        help="column of groups, such as patients, that no fold cuts apart; it is no feature",
    )
    group.add_argument(
        "--align-columns",
        action="store_true",
        help="leave out the columns that only one of two files has",
    )
    group.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="kind of prediction (default: guessed from the labels)",
    )


def _add_networks(group) -> None:
    _add_named_networks(group)
    group.add_argument(
        "--fine-tune",
        action="store_true",
        help="also train networks larger than tiny, which takes minutes to hours without a GPU",
    )


def _add_named_networks(group) -> None:
    group.add_argument(
        "--backbone",
        metavar="NAME",
        action=_Backbone,
        default=[],
        help=(
            "pretrained network for images or texts; may be repeated (default: "
            "efficientnet_lite0 for photographs and minilm for texts, if the extra networks is "
            "installed; tiny for other images); 'skltransfer backbones' lists the names"
        ),
    )
    group.add_argument(
        "--weights",
        metavar="FILE",
        action=_Weights,
        help="file of weights for the preceding --backbone (default: published weights)",
    )


def _add_strategies(group) -> None:
    group.add_argument(
        "--strategies",
        metavar="NAME",
        nargs="+",
        action="extend",
        help="strategies to compare, beside the baseline (default: all that suit the data)",
    )
    group.add_argument("--metric", help="scorer of scikit-learn (default: accuracy or r2)")
    group.add_argument(
        "--positive",
        metavar="CLASS",
        help="class that a metric of one class scores, such as f1 or average_precision",
    )
    group.add_argument(
        "--budget",
        type=_minutes,
        metavar="MINUTES",
        help="time after which weaker strategies are given up (default: 10 for images, and for "
        "tables above 2000 rows)",
    )
    group.add_argument("--jobs", type=_count, default=1, metavar="N", help="processes (default: 1)")
    group.add_argument(
        "--quick", action="store_true", help="fewer strategies and folds, no learning curve"
    )
    group.add_argument("--seed", type=_seed, default=0, help="seed of draws and folds (default: 0)")


def _add_output(group) -> None:
    group.add_argument(
        "--output",
        metavar="FOLDER",
        default="skltransfer-report",
        help="folder of the report, the scores and the model (default: %(default)s)",
    )
    group.add_argument(
        "--force", action="store_true", help="replace the report that the folder holds"
    )
    shown = group.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the summary as JSON")
    shown.add_argument("--quiet", action="store_true", help="print the verdict alone")


def _add_predict(commands) -> None:
    predict = commands.add_parser(
        "predict",
        help="predict with the model that compare has saved",
        description=(
            "Predict with the model.skops of 'skltransfer compare'. INPUT is a CSV or Parquet "
            "file with the columns of the model, in any order, or a folder of images. The output "
            "has a row for each row of the input: its number, the prediction, and with --proba "
            "the probability of each class."
        ),
    )
    predict.add_argument("model", metavar="MODEL", help="file written by 'skltransfer compare'")
    predict.add_argument("input", metavar="INPUT", help="CSV or Parquet file, or folder of images")
    predict.add_argument(
        "--output",
        metavar="FILE",
        default="predictions.csv",
        help=".csv or .parquet file to write (default: %(default)s)",
    )
    predict.add_argument(
        "--proba", action="store_true", help="write the probability of each class too"
    )
    predict.add_argument("--force", action="store_true", help="replace the output if it exists")
    predict.set_defaults(run="skltransfer.cli._predict.predict")


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
    extract.add_argument(
        "--engine", help="runtime: torch (default), onnxruntime, openvino or cuda_graph"
    )
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
            "settings of a network on a hub. With --rank, score the features of networks for "
            "labelled data, without training."
        ),
    )
    backbones.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="name, or pattern with * and ? in quotes",
    )
    backbones.add_argument("--json", action="store_true", help="print JSON")
    ranked = backbones.add_argument_group("ranking")
    ranked.add_argument(
        "--rank",
        metavar="DATA",
        help=(
            "rank the networks that match PATTERN and those of --backbone (default: as for "
            "compare) on a folder of images with one folder for each class, or on the texts of a "
            "CSV or Parquet file; published weights are downloaded"
        ),
    )
    ranked.add_argument(
        "--score",
        choices=("logme", "h_score", "transrate"),
        default="logme",
        help="score of the features (default: %(default)s)",
    )
    ranked.add_argument("--label", metavar="COLUMN", help="column to predict from texts")
    ranked.add_argument("--text", metavar="COLUMN", help="column of texts")
    _add_named_networks(ranked)
    backbones.set_defaults(run="skltransfer.cli._backbones.backbones")


def _add_store(commands) -> None:
    store = commands.add_parser(
        "store",
        help="show, check or empty a feature store on disk",
        description=(
            "Show what a feature store on disk holds, check all its values, or empty it. PATH is "
            "the folder that is the parameter store of an estimator."
        ),
    )
    store.add_argument(
        "action",
        metavar="ACTION",
        choices=("info", "verify", "clear"),
        help=(
            "info shows the number of samples and the size, verify compares all values with their "
            "checksums, clear removes all features"
        ),
    )
    store.add_argument("path", metavar="PATH", help="folder of the store")
    store.set_defaults(run="skltransfer.cli._store.store")


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


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")
    return minutes


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
