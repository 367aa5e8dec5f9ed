"""Features of a frozen, pretrained network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import Choice, Count, check_parameters
from skltransfer._torch._engines import ENGINES, ON_CPU, check_engine
from skltransfer._torch._extraction import PRECISIONS, Extractor, resolve_device
from skltransfer._torch._image_columns import as_array, as_items
from skltransfer._torch._images import UnreadableImage, UnreadableImageWarning
from skltransfer._torch._rows import (
    EncodedImageRows,
    Rows,
    check_dimensions,
    check_images_for,
    n_dimensions,
    n_dimensions_of_images,
    read_rows,
)
from skltransfer._torch._store_parameter import KeepsFeatures, StoreParameter, resolve_store
from skltransfer._torch._text import warn_of_cut_texts
from skltransfer._warnings import warn
from skltransfer.backbones import Backbone, load_backbone
from skltransfer.backbones._extractors import (
    extractor,
    resolve_layers,
    resolve_pooling,
    takes_text,
)
from skltransfer.backbones._load import warn_if_not_preprocessed
from skltransfer.backbones._packaged import MINILM
from skltransfer.backbones._sentence_transformers import is_sentence_transformer
from skltransfer.backbones._table import check_shape
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._callbacks import reporting
from skltransfer.domains._refit import fits_anew


class PretrainedFeatureTransformer(
    CallbackSupportMixin, KeepsFeatures, HoldsByReference, TransformerMixin, DocumentedEstimator
):
    """Turn images, texts or tables into features of a frozen, pretrained network.

    A sample passes the network once per process, whatever the number of folds and candidates,
    because its features are kept in :data:`~skltransfer.feature.feature_store`, or once for all
    processes and runs that share a folder (`store`). Features depend on the sample alone and not on
    its batch, within rounding. The network never changes.

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Network, as in :func:`~skltransfer.load_backbone`. The names ``"tiny"``,
        ``"efficientnet_lite0"`` (photographs) and ``"minilm"`` (texts) work offline, ``"hf:NAME"``
        is a text or image encoder of transformers, ``"hf:NAME#text"`` the text tower of a network
        such as CLIP, ``"timm:NAME"`` a network of timm and
        ``"st:NAME"`` an encoder of sentence-transformers. A path names a file of weights. A
        fitted estimator of this package gives its trained network without the output layer. The
        estimator and its clones hold the network by reference and do not change it. ``None``
        passes numbers through, with images flattened, as the baseline in a grid.
    weights : str, Path, torchvision weights or None, default="default"
        Published weights, the path of a file, or ``None`` for random weights.
    layers : str or list of str, default=None
        Layers whose features stand side by side. Each is a stage of the record or a submodule's
        name. ``"all_stages"`` takes all stages but ``penultimate``, which is made of the last
        stage. ``None`` takes the layers that the record names.
    pooling : {"default", "avg", "max", "gem", "cls", "mean_tokens", "grid2", "flatten", "own"}, \
            default="default"
        Pooling of a layer's output to one vector per sample. Outputs that are vectors stay as they
        are.

        - ``"default"``: pooling of the record.
        - ``"avg"``, ``"max"``: mean, maximum over the positions.
        - ``"gem"``: generalised mean with power 3. Values below 1e-6 are raised to 1e-6.
        - ``"cls"``: class token.
        - ``"mean_tokens"``: mean over the patches' tokens, without class and register tokens.
        - ``"grid2"``: mean over each quarter of the image.
        - ``"flatten"``: all values.
        - ``"own"``: pooling of the network itself before its last layer, the default of networks
          of timm and sentence-transformers.

        Text encoders take "avg", "max", "cls" and "mean_tokens". Padding does not count, and
        "mean_tokens" equals "avg".
    image_shape : tuple of int, default=None
        Shape of one image in pixels if each sample of ``X`` is a flattened image: (height, width),
        (height, width, channels) or (channels, height, width).
    value_range : (float, float), default=None
        Values of black and white in images. ``None`` is (0, 255) for integers, (0, 1) for floats
        and bools, and the range of its format for a file.
    input_size : int, default=None
        Height and width in pixels at which images enter the network. ``None`` is the size at which
        the weights were trained.
    batch_size : int or "auto", default="auto"
        Number of samples per forward pass. ``"auto"`` depends on the input and the device, and
        calls with few samples are padded to 1, 8 or 64 of them, or 1 or 8 rows of a table (see
        Notes).
    device : str or torch.device, default="auto"
        Device of the network. ``"auto"`` is a GPU if there is one, else the CPU.
    precision : {"float32", "float64", "bfloat16", "float16"}, default="float32"
        Floating-point type of the forward pass. Features are float64 with ``"float64"`` and
        float32 otherwise.
    engine : {"torch", "onnxruntime", "openvino", "cuda_graph"}, default="torch"
        Runtime of the forward pass. ONNX Runtime and OpenVINO
        (``pip install "skltransfer[engines]"``) are faster than torch on the CPU. They compute in
        float32, and ``device="auto"`` is then the CPU. ``"cuda_graph"`` records the kernels of a
        batch on a GPU, and starts them by one call, which small networks need. The first `fit` of a
        process spends seconds on building the engine. If its features differ from torch by more
        than 1e-4 of a layer's largest feature, a warning says so and torch runs the network.
    store : {"memory"}, path, FeatureStore, DiskFeatureStore or None, default="memory"
        Store of features. ``"memory"`` is shared within the process. A path is a folder that
        processes and later runs share (:class:`~skltransfer.feature.DiskFeatureStore`,
        ``pip install "skltransfer[store]"``); :func:`~skltransfer.save` writes ``"memory"`` in its
        place. ``None`` keeps no features.
    random_state : int, default=0
        Seed of random weights.
    on_error : {"raise", "nan"}, default="raise"
        Treatment of images that are missing or cannot be read. ``"raise"`` raises an error with
        the row and the path. ``"nan"`` returns NaN for these samples, with one
        :class:`~skltransfer.UnreadableImageWarning` for all of them. A missing text is always an
        error.
    output : {"numpy", "torch"}, default="numpy"
        Type of the features. ``"torch"`` gives a tensor on `device`, which `set_output` cannot put
        into a frame.

    Attributes
    ----------
    n_features_in_ : int
        Number of values per sample of ``X``; 1 for texts, paths, PIL images and encoded bytes.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, if it is a data frame whose column names are all strings.
    feature_widths_ : dict of str to int
        Number of features of each layer, in the order of the columns.
    engine_ : str or None
        Runtime in use: `engine`, or ``"torch"`` if that engine failed; None without a network.

    See Also
    --------
    load_backbone : Networks, their weights and their preprocessing.

    Notes
    -----
    ``X`` may be

    - a table of shape (n_samples, n_features),
    - images in an array of shape (n_samples, height, width),
      (n_samples, height, width, channels) or (n_samples, channels, height, width), or flattened
      images with `image_shape`,
    - a list, Series or one-column frame of paths, PIL images, encoded bytes or arrays of any size,
      or of dictionaries with such bytes under ``"bytes"``, or a path under ``"path"``,
    - a list, Series or one-column frame of texts, for a text encoder.

    Texts are cut at the encoder's maximum length, at most 512 tokens. Images are resized, cropped
    and normalised as the weights were trained. Grey images are repeated over the channels.

    Files and PIL images are taken as a viewer shows them: turned as their orientation tag says, and
    laid on white where they are transparent. A PIL image that has been turned by hand must not
    carry the tag any more; ``PIL.ImageOps.exif_transpose`` removes it. Files of more than 8 bits
    per channel are black at 0 and white at the largest value of their format, unless `value_range`
    says otherwise. Files of JPEG, PNG, GIF, BMP, TIFF, WebP, PNM, JPEG 2000, AVIF and, with
    pillow-heif, HEIF are read, up to 1 GiB and Pillow's limit on the number of pixels.

    Passes of the same samples in the same order have equal bits on one machine. In another batch,
    or at another place in it, the last digits of a sample's features may differ.

    With ``batch_size="auto"``, a call with at most 1, 8 or 64 distinct samples (1 or 8 rows of a
    table) passes batches of that size, if it is smaller than the whole batch. A single sample then
    costs about one forward pass of one sample. The size of batches depends on the number of
    distinct samples in the call and never on what the store holds, so that results are
    reproducible. Where the small batch gives other bits (the largest difference measured is 3e-6 of
    the largest feature), the store keeps its features apart. A probe of images, once per network
    and process, tells. A given `batch_size` is kept in every call, and so are the batches of an
    `engine`.

    One :class:`~skltransfer.TruncatedTextWarning` per call of `transform` counts the texts that are
    cut, and ``load_backbone(name).preprocessing.is_cut(texts)`` tells which.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer import PretrainedFeatureTransformer
    >>> X, y = load_digits(return_X_y=True)
    >>> features = PretrainedFeatureTransformer("tiny", image_shape=(8, 8), value_range=(0, 16))
    >>> features.fit_transform(X[:5]).shape
    (5, 768)
    >>> features.get_feature_names_out()[[0, -1]]
    array(['stage2_0', 'stage3_511'], dtype=object)
    >>> model = make_pipeline(features, StandardScaler(), LogisticRegression())
    >>> bool(model.fit(X[:100], y[:100]).score(X[100:300], y[100:300]) > 0.9)
    True
    """

    _held = ("backbone",)
    _parameters = {
        "input_size": Count(unset=(None,)),
        "batch_size": Count(unset=("auto",)),
        "precision": Choice(*PRECISIONS),
        "engine": Choice(*ENGINES),
        "store": StoreParameter(),
        "on_error": Choice("raise", "nan"),
        "output": Choice("numpy", "torch"),
    }

    def __init__(
        self,
        backbone=None,
        *,
        weights: Any = "default",
        layers: str | Sequence[str] | None = None,
        pooling: str = "default",
        image_shape: tuple[int, ...] | None = None,
        value_range=None,
        input_size: int | None = None,
        batch_size: int | str = "auto",
        device: Any = "auto",
        precision: str = "float32",
        engine: str = "torch",
        store: Any = "memory",
        random_state: int = 0,
        on_error: str = "raise",
        output: str = "numpy",
    ):
        self.backbone = backbone
        self.weights = weights
        self.layers = layers
        self.pooling = pooling
        self.image_shape = image_shape
        self.value_range = value_range
        self.input_size = input_size
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.engine = engine
        self.store = store
        self.random_state = random_state
        self.on_error = on_error
        self.output = output

    @fits_anew
    def fit(self, X, y=None) -> Self:
        """Load the network and remember the form of the samples; nothing is trained.

        Parameters
        ----------
        X : array-like
            Samples in any form listed in the notes.
        y : None
            Ignored.

        Returns
        -------
        self : PretrainedFeatureTransformer
        """
        check_parameters(self)
        if self.backbone is None:
            self._numbers(X, reset=True)
            self.feature_widths_ = {"x": self.n_features_in_}
            self.engine_ = None
            return self
        rows = self._rows(X, reset=True)
        backbone, extractor = self._backbone_and_extractor(rows)
        warn_if_not_preprocessed(self.backbone, self.weights, backbone, rows)
        if self.on_error == "nan":
            rows = _leading_readable(rows)
        with _remedy():
            shape = extractor.shape(rows)
        extractor.check_rows(rows)
        self.feature_widths_ = check_shape(backbone, shape, lambda: extractor.widths(rows))
        engine = extractor.engine(rows, self.batch_size, self.engine)
        self.engine_ = "torch" if engine is extractor.network else self.engine
        self._fingerprint, self._n_dimensions = backbone.fingerprint, n_dimensions_of_images(X)
        return self

    def transform(self, X):
        """Return the features of each sample.

        Parameters
        ----------
        X : array-like
            Samples in any form listed in the notes.

        Returns
        -------
        features : ndarray or Tensor of shape (n_samples, n_features_out)
            Features in float32, or in float64 with ``precision="float64"``; `X` itself with
            ``backbone=None``.
        """
        check_is_fitted(self)
        check_parameters(self)  # some may be set after `fit`
        if self.backbone is None:
            numbers = self._numbers(X, reset=False)
            return self._as_output(reporting(self, X, lambda each_of: numbers))
        check_dimensions(getattr(self, "_n_dimensions", None), X)
        rows = self._rows(X, reset=False)
        backbone, extractor = self._backbone_and_extractor(rows)
        if backbone.fingerprint != getattr(self, "_fingerprint", None):
            raise ValueError(
                f"The weights of backbone={self.backbone!r} are not the weights that this "
                "transformer was fitted with. Fit it again, or restore the file or module."
            )
        features = reporting(self, X, lambda each_of: self._features(extractor, rows, each_of))
        warn_of_cut_texts([rows], backbone.preprocessing, backbone.name)
        return self._as_output(features)

    def _features(self, extractor: Extractor, rows: Rows, each_of: Callable | None) -> np.ndarray:
        if self.on_error == "nan" and isinstance(rows, EncodedImageRows):
            return self._extract_readable(extractor, rows, each_of)
        with _remedy():
            return self._extract(extractor, rows, each_of)

    def _extract(self, extractor: Extractor, rows: Rows, each_of: Callable | None) -> np.ndarray:
        if len(rows) and extractor.widths(rows) != self.feature_widths_:
            raise ValueError(
                f"The layers give {extractor.widths(rows)} features of these samples, and gave "
                f"{self.feature_widths_} in fit. Fit it again after a change of its parameters or "
                "of the size of the images."
            )
        return extractor.extract(
            rows,
            batch_size=self.batch_size,
            store=resolve_store(self.store),
            engine=self.engine,
            each_of=each_of,
        )

    def _extract_readable(
        self, extractor: Extractor, rows: Rows, each_of: Callable | None
    ) -> np.ndarray:
        """Return the features, NaN where an image cannot be read, with one warning for all."""
        try:
            return self._extract(extractor, rows, each_of)
        except UnreadableImage:  # only now is each row tried by itself
            errors = rows.unreadable()
        readable = np.setdiff1d(np.arange(len(rows)), list(errors))
        shape = (len(rows), sum(self.feature_widths_.values()))
        features = np.full(shape, np.nan, extractor.output_dtype)
        if len(readable):
            features[readable] = self._extract(extractor, rows.subset(readable), each_of)
        first = " ".join(map(str, list(errors.values())[:3]))
        warn(
            f"{len(errors)} of {len(rows)} images cannot be read, and their rows are NaN. {first}"
            f"{' ...' if len(errors) > 3 else ''}",
            UnreadableImageWarning,
        )
        return features

    def _as_output(self, features: np.ndarray):
        """Return features in the type of `output`."""
        if self.output == "numpy":
            return features
        wanted = _get_output_config("transform", self)["dense"]
        if wanted != "default":
            raise ValueError(
                f"output='torch' gives tensors, and set_output(transform={wanted!r}) asks for a "
                "frame. Set output='numpy', or set_output(transform='default')."
            )
        return torch.tensor(features, device=resolve_device(self.device))

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features, each a layer and a number.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Column names of ``X``; used if `backbone` is None.

        Returns
        -------
        names : ndarray of str, shape (n_features_out,)
        """
        check_is_fitted(self, "feature_widths_")
        if self.backbone is None:
            return OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        names = [
            f"{name}_{i}" for name, width in self.feature_widths_.items() for i in range(width)
        ]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        passes_through = self.backbone is None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"] if passes_through else []
        is_text = getattr(self, "_is_text", False) or self._is_text_record()
        tags.input_tags.three_d_array = not is_text
        tags.input_tags.two_d_array = not is_text
        # An encoder of transformers takes texts or paths of images.
        tags.input_tags.string = is_text or self._may_take_text()
        return tags

    def _may_take_text(self) -> bool:
        if not isinstance(self.backbone, str):
            return is_sentence_transformer(self.backbone)
        return self.backbone == MINILM or self.backbone.startswith(("hf:", "st:"))

    def _is_text_record(self) -> bool:
        return isinstance(self.backbone, Backbone) and takes_text(self.backbone)

    def _numbers(self, X, *, reset: bool) -> np.ndarray:
        """Validate numbers that pass through; images become rows."""
        if as_items(X) is not None:
            raise TypeError(
                "X holds paths, images or texts, which backbone=None cannot turn into numbers. "
                "Name a backbone, such as 'tiny'."
            )
        X = as_array(X)
        if n_dimensions(X) > 2:
            X = check_array(X, allow_nd=True, input_name="X")
            X = X.reshape(len(X), -1)
        return validate_data(self, X, reset=reset)

    def _rows(self, X, *, reset: bool) -> Rows:
        # Only the network can tell a text from the path of an image.
        may_be = self._may_take_text() or hasattr(self.backbone, "__skltransfer_backbone__")
        is_text = self._is_text_record() or (may_be and takes_text(self._backbone(None)))
        if reset:
            self._is_text = is_text
        return read_rows(
            self,
            X,
            reset=reset,
            image_shape=self.image_shape,
            value_range=self.value_range,
            is_text=is_text,
        )

    def _backbone(self, input_shape) -> Backbone:
        return load_backbone(
            self.backbone, self.weights, random_state=self.random_state, input_shape=input_shape
        )

    def _backbone_and_extractor(self, rows: Rows) -> tuple[Backbone, Extractor]:
        backbone = self._backbone(rows.shape if callable(self.backbone) else None)
        check_images_for(backbone.name, backbone.preprocessing, rows)
        return backbone, extractor(
            backbone,
            layers=self.layers,
            pooling=self.pooling,
            input_size=self.input_size,
            device="cpu" if self.engine in ON_CPU and self.device == "auto" else self.device,
            precision=self.precision,
        )

    def __skltransfer_backbone__(self) -> Backbone:
        """Return the network with the layers and the pooling that were fitted."""
        check_is_fitted(self)
        if self.backbone is None:
            raise TypeError(
                "backbone is a PretrainedFeatureTransformer(backbone=None), which has no network. "
                "Pass backbone=None itself."
            )
        record = self._backbone(None)
        if self.layers is None and self.pooling == "default" and self.input_size is None:
            return record
        preprocessing = record.preprocessing
        if self.input_size is not None:
            preprocessing = preprocessing.with_input_size(self.input_size)
        return replace(
            record,
            preprocessing=preprocessing,
            layers=tuple(resolve_layers(record, self.layers)),
            pooling=resolve_pooling(record, self.pooling),
            n_features=sum(self.feature_widths_.values()),
        )

    def _check_combinations(self) -> None:
        check_engine(self.engine, self.precision, self.device)


@contextmanager
def _remedy() -> Iterator[None]:
    """Let the error of an image that cannot be read name `on_error`."""
    try:
        yield
    except UnreadableImage as error:
        remedy = f"{error.remedy} Or set on_error='nan', which gives NaN for it."
        raise UnreadableImage(error.row, error.reason, remedy) from error


def _leading_readable(rows: Rows) -> Rows:
    """Return rows without the first ones whose image cannot be read.

    Raises
    ------
    ValueError
        If none can be read.
    """
    if not isinstance(rows, EncodedImageRows):
        return rows
    errors = rows.unreadable(until_first_readable=True)
    if len(errors) == len(rows):
        raise ValueError(f"No image of {len(rows)} can be read. {errors[0]}")
    return rows.subset(np.arange(len(errors), len(rows)))
