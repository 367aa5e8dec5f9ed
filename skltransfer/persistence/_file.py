"""Files of estimators, written by skops and read only if all their types are trusted."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import sklearn
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils._metadata_requests import MetadataRequest, MethodMetadataRequest
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torchvision.models._api import WeightsEnum

import skltransfer
from skltransfer._files import check_regular, write_whole
from skltransfer._messages import first_line, require
from skltransfer._persisted import Writing, states_as_data
from skltransfer._torch._text import TextPreprocessing
from skltransfer.persistence._contents import (
    check_members,
    check_schema,
    construct,
    known_types,
    with_stored_members,
)
from skltransfer.persistence._library_networks import TokenizerData
from skltransfer.persistence._modules import ModuleData, UntrustedClass, name_of, trusted_classes

_FORMAT = 1
_HEADER = "skltransfer.json"


def save(estimator, path, *, keep_data: bool = False) -> Path:
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
    keep_data : bool, default=False
        Whether the samples, labels and weights that :class:`~skltransfer.WithTarget` and
        :class:`~skltransfer.WithSource` hold are written too. A fitted one predicts without them.
        To fit it again after loading, set them by ``set_params``. True takes arrays, lists and
        sparse matrices, and no data frames.

    Returns
    -------
    path : Path
        Path of the file.

    Raises
    ------
    TypeError
        If something in it cannot be written as data, such as a network with hooks, a class that
        cannot be imported by name, or an open file. The message names its place.
    ValueError
        If the estimator is not fitted, and holds samples that would be left out.
    FileNotFoundError
        If the folder does not exist.
    OSError
        If the file cannot be written, for example because the disk is full.
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
    name keeps the name and not the weights. The path of a `store` is not written, because the file
    may be read on another computer: the loaded estimator has ``store="memory"``.

    Some models consist of training samples and hold them in the file: nearest neighbours, support
    vectors, kernel densities, kernel centres (:class:`~skltransfer.KLIEPReweighter`,
    :class:`~skltransfer.ULSIFReweighter`), :class:`~skltransfer.TCA` and
    :class:`~skltransfer.JDA` with a kernel, :class:`~skltransfer.OptimalTransportMapper`.

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
    require("skops.io", "export", "skltransfer.save")
    path = Path(path).expanduser()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(path.parent)!r}.")
    header = {
        "format": _FORMAT,
        "skltransfer": skltransfer.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
    }
    writing = Writing(to_data_once(), keep_data)
    try:
        with states_as_data(writing):
            content = _dumped(estimator)
    except (TypeError, RuntimeError) as error:  # skops on unknown types, circles and tensors
        with states_as_data(Writing(to_data_once(), keep_data)):
            place = _place_of_error(estimator, type(estimator).__name__)
        raise TypeError(
            f"{type(estimator).__name__} cannot be saved as data: {first_line(error)}{place}. "
            "If only you read the file, use pickle or joblib."
        ) from error
    if writing.left_out and not _is_fitted(estimator):
        raise ValueError(
            f"{type(estimator).__name__} is not fitted, and the samples that it holds are not "
            f"saved ({', '.join(writing.left_out)}): the file would be of no use. Fit it first, or "
            "write the samples too, by keep_data=True."
        )
    with write_whole(path) as temporary:
        temporary.write_bytes(content)
        with ZipFile(temporary, "a") as archive:
            archive.writestr(_HEADER, json.dumps(header))

    return path


def _is_fitted(estimator) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    except TypeError:  # no estimator, but several in a list for example
        return True
    return True


def _dumped(value) -> bytes:
    from skops.io import dumps
    from skops.io._utils import _get_state

    for kind in (MetadataRequest, MethodMetadataRequest):
        _get_state.register(kind)(_state_of_request)
    content = with_stored_members(dumps(value))
    with ZipFile(io.BytesIO(content)) as archive:
        check_schema(archive.read("schema.json"))
    return content


def _state_of_request(request, context) -> dict:
    """Describe which metadata an estimator asks for, without the estimator: that is a circle."""
    from skops.io._utils import get_module, get_state

    owner = request.owner if isinstance(request.owner, str) else type(request.owner).__name__
    return {
        "__class__": type(request).__name__,
        "__module__": get_module(type(request)),
        "__loader__": "ObjectNode",
        "content": get_state(vars(request) | {"owner": owner}, context),
    }


def _place_of_error(value, name: str, depth: int = 8) -> str:
    """Return " (at ...)" with the innermost value that cannot be written; "" if it is `value`."""
    if isinstance(value, dict):
        parts = {f"{name}[{key!r}]": part for key, part in value.items()}
    elif isinstance(value, list | tuple):
        parts = {f"{name}[{i}]": part for i, part in enumerate(value)}
    elif hasattr(value, "get_params") and not isinstance(value, type):
        parts = {f"{name}.{key}": part for key, part in vars(value).items()}
    else:
        parts = {}
    for place, part in parts.items() if depth else ():
        try:
            _dumped(part)
        except Exception:
            inner = _place_of_error(part, place, depth - 1)
            kind = type(part)
            return inner or f" ({place} is a {kind.__module__}.{kind.__qualname__})"
    return ""


def load(path, *, trusted: Any = ()):
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
    OSError
        If the path is that of a folder, a device or a pipe.
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
    require("skops.io", "export", "skltransfer.load")
    from skops.io._audit import get_tree  # as skops.io.load does, with checks in between
    from skops.io._utils import read_schema

    path = Path(path).expanduser()
    check_regular(path, "path")
    if isinstance(trusted, str):
        trusted = [trusted]
    names = [name if isinstance(name, str) else name_of(name) for name in trusted]
    allowed = known_types() + names
    with path.open("rb") as file:
        header = _read_header(path, file)
        _check_format(path, header)
        try:
            with ZipFile(file) as archive:
                check_members(archive, os.fstat(file.fileno()).st_size)
                schema, context = read_schema(archive)
                tree = get_tree(schema, context, trusted=allowed)
            foreign = sorted(tree.get_unsafe_set() - set(allowed))
            if not foreign:
                token = trusted_classes.set(frozenset(names))
                try:
                    return construct(tree)
                finally:
                    trusted_classes.reset(token)
        except UntrustedClass as error:
            raise UntrustedClass(f"{path}: {error}") from error
        except ImportError:
            raise
        except Exception as error:  # damaged and hostile files raise many types
            raise _damaged(path, error) from error
    raise TypeError(
        f"{path} holds types that are not trusted: {', '.join(foreign)}. Loading them may run any "
        f"code. If you know who wrote the file, pass trusted={foreign!r}."
    )


def _read_header(path: Path, file):
    """Return what `save` says about a file, whose check sums are right; None without."""
    try:
        with ZipFile(file) as archive:
            members = archive.infolist()
            if _HEADER not in archive.namelist() or any(m.compress_type for m in members):
                return None
            if (name := archive.testzip()) is not None:
                raise ValueError(f"the check sum of {name} is wrong")
            return json.loads(archive.read(_HEADER))
    except Exception as error:  # damaged and hostile files raise many types
        raise _damaged(path, error) from error


def _check_format(path: Path, header) -> None:
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


def _damaged(path: Path, reason: Exception) -> ValueError:
    return ValueError(
        f"{path} cannot be read. It is damaged, or was written with other versions of its "
        f"packages ({type(reason).__name__}: {first_line(reason)}). Save the estimator again."
    )


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
