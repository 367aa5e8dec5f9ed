"""Files of estimators, written by skops and read only if all their types are trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import sklearn
import sklearn.metrics
import sklearn.model_selection
import torch
from sklearn.base import BaseEstimator
from torch import nn
from torchvision.models._api import WeightsEnum

import skltransfer
from skltransfer._files import write_whole
from skltransfer._messages import require
from skltransfer._networks._built import Built
from skltransfer._networks._labels import Classes, Numbers
from skltransfer._torch._depth import DepthMap
from skltransfer._torch._persisted import states_as_data
from skltransfer._torch._text import TextPreprocessing
from skltransfer.parameter._multitask_network import MultiTaskNetwork, TaskClasses, TaskNumbers
from skltransfer.persistence._library_networks import TokenizerData
from skltransfer.persistence._modules import ModuleData, UntrustedClass, name_of, trusted_classes

_FORMAT = 1
_HEADER = "skltransfer.json"


def save(estimator, path) -> Path:
    """Save an estimator, a pipeline or a search in one file.

    Unlike a pickle, the file holds data only: settings and arrays in the format of skops_, and
    networks as structure and tensors. The file is written beside `path` and then renamed, so that
    it is never incomplete.

    .. _skops: https://skops.readthedocs.io/en/stable/persistence.html

    Parameters
    ----------
    estimator : estimator
        Estimator of this package, pipeline or search; it need not be fitted.
    path : str or Path
        Path of the file. An existing file is replaced.

    Returns
    -------
    path : Path
        Path of the file.

    Raises
    ------
    TypeError
        If something in it cannot be written as data, such as a network with hooks, a class that
        cannot be imported by name, or an open file.
    FileNotFoundError
        If the folder does not exist.
    ImportError
        If skops is not installed.

    See Also
    --------
    load : Load an estimator from a file.

    Notes
    -----
    Networks whose layers are from torch, torchvision and this package are rebuilt from settings,
    without their constructors. Networks of transformers are rebuilt from their configuration, and
    tokenizers from their files. The file names your own classes, and :func:`load` loads them if
    `trusted` lists them. A :class:`~skltransfer.PretrainedFeatureTransformer` whose `backbone` is a
    name keeps the name and not the weights.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import skltransfer
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), skltransfer.FineTunedClassifier(optimizer="adamw"))
    >>> model = model.fit(X, y)
    >>> with TemporaryDirectory() as folder:
    ...     path = skltransfer.save(model, f"{folder}/iris.skops")
    ...     again = skltransfer.load(path)
    >>> bool((again.predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    skops_io = require("skops.io", "export", "skltransfer.save")
    path = Path(path).expanduser()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(path.parent)!r}.")
    header = {
        "format": _FORMAT,
        "skltransfer": skltransfer.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
    }
    with write_whole(path) as temporary:
        try:
            with states_as_data(to_data_once()):
                skops_io.dump(estimator, temporary)
        except TypeError as error:  # also raised by skops for unknown types
            raise TypeError(
                f"{type(estimator).__name__} cannot be saved as data: {error} "
                "If only you read the file, use pickle or joblib."
            ) from error
        with ZipFile(temporary, "a") as archive:
            archive.writestr(_HEADER, json.dumps(header))

    return path


def load(path, *, trusted=()):
    """Load an estimator from a file of :func:`save`, and run no code that the file names.

    Parameters
    ----------
    path : str or Path
        Path of the file.
    trusted : list of str or type, default=()
        Further classes and functions that the file may hold, such as ``"my_package.MyNetwork"``.
        Loading the file may run their code. Estimators of this package, and types of scikit-learn,
        numpy and scipy that skops trusts, need no entry.

    Returns
    -------
    estimator : estimator
        Estimator with the same predictions, bit for bit on the same machine.

    Raises
    ------
    TypeError
        If the file holds types that are not trusted; the message names them.
    ValueError
        If the file is damaged, or written by another program or another version.
    FileNotFoundError
        If the file does not exist.
    ImportError
        If skops is not installed.

    See Also
    --------
    save : Save an estimator; describes the file.

    Notes
    -----
    Networks that were on a GPU return to a GPU if there is one, and to the CPU otherwise.

    Examples
    --------
    See :func:`save`. Other types are refused:

    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> import skltransfer
    >>> with TemporaryDirectory() as folder:
    ...     path = skltransfer.save(FunctionTransformer(print), f"{folder}/model.skops")
    ...     skltransfer.load(path)
    Traceback (most recent call last):
    TypeError: ... holds types that are not trusted: builtins.print. ...
    """
    skops_io = require("skops.io", "export", "skltransfer.load")
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"path={str(path)!r}: there is no such file.")
    if isinstance(trusted, str):
        trusted = [trusted]
    names = [name if isinstance(name, str) else name_of(name) for name in trusted]
    _check_header(path)
    allowed = known_types() + names
    try:
        foreign = sorted(set(skops_io.get_untrusted_types(file=path)) - set(allowed))
        if not foreign:
            token = trusted_classes.set(frozenset(names))
            try:
                return skops_io.load(path, trusted=allowed)
            finally:
                trusted_classes.reset(token)
    except (UntrustedClass, ImportError):
        raise
    except Exception as error:  # damaged and hostile files raise many types
        raise _damaged(path, error) from error
    raise TypeError(
        f"{path} holds types that are not trusted: {', '.join(foreign)}. Loading them may run any "
        f"code. If you know who wrote the file, pass trusted={foreign!r}."
    )


def _check_header(path: Path) -> None:
    try:
        with ZipFile(path) as archive:
            # `save` compresses nothing, so that no member is larger than the file.
            is_foreign = any(member.compress_type != ZIP_STORED for member in archive.infolist())
            is_whole = is_foreign or archive.testzip() is None
            is_foreign = is_foreign or _HEADER not in archive.namelist()
            header = None if is_foreign else json.loads(archive.read(_HEADER))
    except Exception as error:  # damaged and hostile files raise many types
        raise _damaged(path, error) from error
    if not is_whole:
        raise _damaged(path, "a check sum is wrong")
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise ValueError(
            f"{path} was not written by skltransfer.save. If skops wrote the file, read it "
            "with skops.io.load."
        )
    if header["format"] != _FORMAT:
        raise ValueError(
            f"{path} was written by skltransfer {header.get('skltransfer')} in format "
            f"{header['format']}, and this version, {skltransfer.__version__}, reads format "
            f"{_FORMAT}. Install the version that wrote it."
        )


def _damaged(path: Path, reason) -> ValueError:
    return ValueError(
        f"{path} cannot be read. It is damaged, or was written with other versions of its "
        f"packages ({type(reason).__name__ if isinstance(reason, Exception) else 'zip'}: "
        f"{reason}). Save the estimator again."
    )


_DATA = (
    Built,
    Classes,
    DepthMap,
    ModuleData,
    MultiTaskNetwork,
    Numbers,
    TaskClasses,
    TaskNumbers,
    TokenizerData,
)


# Types in a fitted search that skops does not trust by itself.
_SCORERS = ("sklearn.metrics._scorer._PassthroughScorer", "sklearn.metrics._scorer._Scorer")
_METRICS = ("_score", "_loss", "_error")


def to_data_once() -> Callable:
    """Return a function from values of a state to data, each network once."""
    written: dict[int, tuple[object, object]] = {}  # values are kept: their ids stay unique

    def once(value, describe):
        if id(value) not in written:
            written[id(value)] = (value, describe(value))
        return written[id(value)][1]

    def to_data(value):
        if isinstance(value, nn.Module):
            return once(value, ModuleData.of)
        if isinstance(value, TextPreprocessing):
            return once(value, TokenizerData.of)
        if isinstance(value, WeightsEnum | Path | torch.device):  # their names are enough
            return str(value)
        return value

    return to_data


def known_types() -> list[str]:
    """Return the full names of the types that a file may hold and skops does not trust.

    They are types of this package, and scikit-learn's splitters, metrics and scorers.
    """
    public = [getattr(skltransfer, name) for name in skltransfer.__all__]
    estimators = [v for v in public if isinstance(v, type) and issubclass(v, BaseEstimator)]
    others = (skltransfer.Backbone, skltransfer.FeatureStore, skltransfer.Preprocessing)
    splitters = [
        value
        for value in vars(sklearn.model_selection).values()
        if isinstance(value, type) and hasattr(value, "get_n_splits")
    ]
    metrics = [
        getattr(sklearn.metrics, name)
        for name in sklearn.metrics.__all__
        if name.endswith(_METRICS)
    ]
    kinds = (*estimators, *others, *_DATA, *splitters, *metrics)
    return [*_SCORERS, *map(name_of, kinds)]
