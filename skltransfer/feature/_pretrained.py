"""Features of a frozen, pretrained network."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from skltransfer._options import check_choice
from skltransfer._torch._engines import check_engine
from skltransfer._torch._extraction import Extractor
from skltransfer._torch._input import (
    check_dimensions,
    check_images_for,
    n_dimensions,
    n_dimensions_of_images,
    read_rows,
)
from skltransfer._torch._persisted import SavedAsData
from skltransfer._torch._rows import Rows, as_items
from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer.backbones import Backbone, load_backbone
from skltransfer.backbones._extractors import (
    extractor,
    resolve_device,
    resolve_layers,
    resolve_pooling,
    takes_text,
)
from skltransfer.backbones._table import check_shape
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.feature._readable import extract_readable, leading_readable


class PretrainedFeatureTransformer(SavedAsData, HoldsByReference, TransformerMixin, BaseEstimator):
    """Turn images, texts or tables into features of a frozen, pretrained network.

    A row passes the network once per process, whatever the number of folds and candidates: its
    features are kept in :data:`~skltransfer.feature.feature_store`. They depend on the row alone,
    bit for bit, not on its batch; statistics of the network never move.

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        The network, see :func:`~skltransfer.load_backbone`: ``"tiny"`` works offline, ``"hf:NAME"``
        is a text or image encoder of transformers, ``"timm:NAME"`` a network of timm, ``"st:NAME"``
        one of sentence-transformers, a path a file of weights, a fitted estimator of this package
        its trained network without the output layer. Held by reference, also by clones, and never
        changed.
        ``None`` passes numbers through as they are (images flattened): the baseline in a grid.
    weights : str, Path, torchvision weights or None, default="default"
        The published weights, those of a file, or ``None`` for random ones.
    layers : str or list of str, default=None
        Layers to take features from, side by side: stages of the record or names of submodules.
        ``"all_stages"``: all stages of the record, but for ``penultimate``, which is made of the
        last. ``None``: those that the record names.
    pooling : {"default", "avg", "max", "gem", "cls", "mean_tokens", "grid2", "flatten", "own"}, \
            default="default"
        How a layer's output becomes a vector: mean or maximum over positions; the generalised mean
        with power 3, of values raised to 1e-6 where they are smaller; the class token; the mean
        over the tokens of patches, without those of class and registers; the mean over each
        quarter of the image; all values. ``"own"`` is what the network itself does before its last
        layer, for those of timm and sentence-transformers, whose default it is. ``"default"``: the
        record's. For texts one of "avg", "max", "cls" and "mean_tokens", which is "avg"; padding
        does not count. What is a vector already stays one.
    image_shape : tuple of int, default=None
        Shape of one image where ``X`` holds flattened images in its rows: (height, width),
        (height, width, channels) or (channels, height, width), in pixels.
    value_range : (float, float), default=None
        Values of black and of white in arrays of images. ``None``: (0, 255) for integers, (0, 1)
        for floats and bools.
    input_size : int, default=None
        Height and width in pixels at which images enter the network. ``None``: as the weights
        were trained.
    batch_size : int or "auto", default="auto"
        Rows per pass.
    device : str or torch.device, default="auto"
        ``"auto"`` is a GPU when there is one.
    precision : {"float32", "float64", "bfloat16", "float16"}, default="float32"
        Arithmetic of the network. Features come out as float32, or float64 if that is chosen.
    engine : {"torch", "onnxruntime", "openvino"}, default="torch"
        What runs the network. The others (``pip install skltransfer[engines]``) run float32 on the
        CPU, which ``device="auto"`` then is, in less time; the first `fit` of a process builds one
        for seconds, and compares it with torch, to 1e-4 of a layer's largest feature. Where that
        fails a warning says why, and torch is used.
    store : {"memory"}, FeatureStore or None, default="memory"
        Where features are kept: in the store that the process shares, in one of your own, or
        nowhere.
    random_state : int, default=0
        Seed of random weights.
    on_error : {"raise", "nan"}, default="raise"
        What an image that is missing or cannot be read does: raise an error that names its row and
        path, or become a row of NaN, with one :class:`UnreadableImageWarning` for all of them. A
        missing text is an error in either case.
    output : {"numpy", "torch"}, default="numpy"
        What `transform` returns: an array, or a tensor on `device`, which `set_output` cannot put
        into a frame.

    Attributes
    ----------
    n_features_in_ : int
        Numbers per row of ``X``; 1 for texts, paths, PIL images and encoded bytes.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where it is a data frame and all are strings.
    feature_widths_ : dict of str to int
        Number of features of each layer, in the order of the columns.
    engine_ : str or None
        What runs the network here: `engine`, or ``"torch"``; None without a network.

    See Also
    --------
    load_backbone : Networks, weights and what goes with them.

    Notes
    -----
    "Bit for bit" holds for the networks of :func:`~skltransfer.list_backbones`. In a network of
    your own, a matrix product with fewer than about 8 columns may differ in its last digit.

    ``X`` may be a table (n, d); images as arrays (n, height, width), (n, height, width, channels),
    (n, channels, height, width) or flattened rows with `image_shape`; or a list, Series or
    one-column frame of paths, PIL images, encoded bytes or, for a text encoder, texts. Texts are
    cut at the length that the encoder knows, at most 512 tokens. Images are resized, cropped and
    normalised as the weights were trained. Grey images are repeated over the channels,
    transparency is dropped, and the orientation tag of a photograph is ignored, as in torchvision.

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

    def __init__(
        self,
        backbone=None,
        *,
        weights="default",
        layers=None,
        pooling="default",
        image_shape=None,
        value_range=None,
        input_size=None,
        batch_size="auto",
        device="auto",
        precision="float32",
        engine="torch",
        store="memory",
        random_state=0,
        on_error="raise",
        output="numpy",
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

    def fit(self, X, y=None):
        """Load the network and learn the form of the rows; no row is needed to train it.

        Parameters
        ----------
        X : array-like
            Rows in any of the forms above.
        y : None
            Ignored.

        Returns
        -------
        self : PretrainedFeatureTransformer
        """
        self._check_parameters()
        if self.backbone is None:
            self._numbers(X, reset=True)
            self.feature_widths_ = {"x": self.n_features_in_}
            self.engine_ = None
            return self
        rows = self._rows(X, reset=True)
        backbone, network = self._backbone_and_extractor(rows)
        if self.on_error == "nan":
            rows = leading_readable(rows)
        shape = tuple(network.blank(rows).shape[1:])
        network.check_channels(rows)
        self.feature_widths_ = check_shape(backbone, shape, lambda: network.widths(rows))
        run = network.engine(rows, self.batch_size, self.engine)
        self.engine_ = "torch" if run is network.network else self.engine
        self._fingerprint, self._n_dimensions = backbone.fingerprint, n_dimensions_of_images(X)
        return self

    def transform(self, X):
        """Return the features of each row.

        Parameters
        ----------
        X : array-like
            Rows in any of the forms above.

        Returns
        -------
        features : ndarray or Tensor of shape (n_samples, n_features_out)
            In float32, or float64 with ``precision="float64"``; with ``backbone=None``, `X` itself.
        """
        check_is_fitted(self)
        self._check_parameters()
        if self.backbone is None:
            return self._given_out(self._numbers(X, reset=False))
        check_dimensions(getattr(self, "_n_dimensions", None), X)
        rows = self._rows(X, reset=False)
        backbone, network = self._backbone_and_extractor(rows)
        if backbone.fingerprint != getattr(self, "_fingerprint", None):
            raise ValueError(
                f"The weights of backbone={self.backbone!r} are not those that this transformer "
                "was fitted with. Fit it again, or give back the file or module it had."
            )
        if self.on_error == "raise":
            return self._given_out(self._extract(network, rows))
        features = extract_readable(
            rows,
            partial(self._extract, network),
            sum(self.feature_widths_.values()),
            network.output_dtype,
        )
        return self._given_out(features)

    def _extract(self, network: Extractor, rows: Rows) -> np.ndarray:
        if len(rows) and network.widths(rows) != self.feature_widths_:
            raise ValueError(
                f"These rows give {network.widths(rows)} features, and those that this transformer "
                f"was fitted on gave {self.feature_widths_}. Fit it again after a change of its "
                "parameters, or of the size of the images."
            )
        return network.extract(
            rows, batch_size=self.batch_size, store=self._store(), engine=self.engine
        )

    def _given_out(self, features: np.ndarray):
        """Return features as what `output` asks for."""
        if self.output == "numpy":
            return features
        wanted = _get_output_config("transform", self)["dense"]
        if wanted != "default":
            raise ValueError(
                f"output='torch' gives tensors, and set_output(transform={wanted!r}) wants a "
                "frame. Set output='numpy', or set_output(transform='default')."
            )
        return torch.tensor(features, device=resolve_device(self.device))

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features: the layer and a number.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of ``X``; used where `backbone` is None.

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

    def __setstate__(self, state):
        # Parameters that one saved by an older version does not have.
        super().__setstate__({"engine": "torch", "on_error": "raise", "output": "numpy"} | state)

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
        return isinstance(self.backbone, str) and self.backbone.startswith(("hf:", "st:"))

    def _is_text_record(self) -> bool:
        return isinstance(self.backbone, Backbone) and takes_text(self.backbone)

    def _numbers(self, X, *, reset: bool) -> np.ndarray:
        """Validate numbers that pass through; images become rows."""
        if as_items(X) is not None:
            raise TypeError(
                "X holds paths, images or texts, which backbone=None cannot turn into numbers. "
                "Name a backbone, such as 'tiny'."
            )
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
            device=self.device if self.engine == "torch" or self.device != "auto" else "cpu",
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

    def _store(self) -> FeatureStore | None:
        return feature_store if self.store == "memory" else self.store

    def _check_parameters(self) -> None:
        check_engine(self.engine, self.precision, self.device)
        for name in ("batch_size", "input_size"):
            value = getattr(self, name)
            unset = "auto" if name == "batch_size" else None
            is_count = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if value != unset and not (is_count and value >= 1):
                raise ValueError(
                    f"{name}={value!r} is neither {unset!r} nor a number of at least 1."
                )
        check_choice(self, "on_error", ("raise", "nan"))
        check_choice(self, "output", ("numpy", "torch"))
        if not (self.store in ("memory", None) or isinstance(self.store, FeatureStore)):
            raise ValueError(f"store={self.store!r} is not 'memory', a FeatureStore or None.")
