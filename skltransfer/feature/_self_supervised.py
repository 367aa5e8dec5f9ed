"""Features of a network that has learned from samples without labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.validation import check_is_fitted

from skltransfer._decorators import with_callbacks
from skltransfer._networks._estimators import EpochReports, NetworkEstimator
from skltransfer._networks._plan import TRAINING_PARAMETERS, Plan
from skltransfer._parameters import Choice, Count, ListOf, Number, check_parameters
from skltransfer._torch._rows import Rows, TableRows, check_images_for
from skltransfer._torch._store_parameter import StoreParameter, resolve_store
from skltransfer.backbones import Backbone
from skltransfer.backbones._extractors import extractor, takes_text
from skltransfer.backbones._record import unfitted_backbone
from skltransfer.domains._callbacks import FitTask, reporting
from skltransfer.domains._refit import fits_anew
from skltransfer.feature._pretext import PretextTask
from skltransfer.feature._pretraining import Pretraining
from skltransfer.feature._views import checked_policies


class SelfSupervisedTransformer(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    NetworkEstimator,
):
    """Train a network on samples without labels, and turn samples into its features.

    The task comes from the samples: two views of a sample have to agree, the rotation of an image
    is predicted, or a corrupted sample is restored. A fitted transformer is the ``backbone`` of
    another estimator, which then needs few labels. It is also a step of an ordinary pipeline, for
    example before clustering.

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Network to train, see :func:`~skltransfer.load_backbone`. The object is held by reference
        and never changed. ``None`` is a table network with `hidden_layer_sizes`, which takes images
        as flattened samples.
    method : {"simclr", "barlow", "rotation", "denoising", "masked"}, default="simclr"
        Task of the training. ``"simclr"`` brings two views of a sample closer together than views
        of different samples [1]_. ``"barlow"`` makes each output correlate between two views and
        not with the other outputs [2]_. ``"rotation"`` predicts the multiple of 90 degrees by which
        an image was turned, and takes images only [3]_. ``"denoising"`` restores a sample from a
        noisy copy [4]_. ``"masked"`` restores the covered patches of an image [5]_. For tables it
        predicts which columns were replaced, and restores their values [6]_.
    weights : str, Path, torchvision weights or None, default="default"
        Weights to start from. ``"default"`` takes the published weights or the weights of the given
        module. Other choices are a member of torchvision's weights enum or its name, and the path
        of a file. ``None`` draws random weights.
    augment : str, callable, torchvision transform or list of these, default="default"
        Views for ``"simclr"`` and ``"barlow"``. ``"default"`` changes the place, size, slant and
        brightness of images a little, without mirror images. For tables it pairs the sample itself
        with a copy whose columns are partly replaced [7]_. Other choices are the policies of
        :class:`~skltransfer.FineTunedClassifier`, a transform of ``torchvision.transforms.v2``,
        which is applied to each image alone, and a function of a batch of pixels in [0, 1] (n,
        channels, height, width) or of columns (n, n_columns).
    strength : float, default=1.0
        Size of the default changes of images, relative to the usual size. 0 changes nothing.
    corruption : float or "auto", default="auto"
        Strength of the corruption. It is the share of the columns that is replaced, or the share of
        the patches that is covered. For normal noise it is the standard deviation, in units of the
        column's standard deviation or of the range from black to white. ``"auto"`` replaces 0.6 of
        the columns for views and 0.3 otherwise, covers 0.6 of the patches, and adds noise of 0.5 to
        columns and of 0.3 to pixels.
    noise : {"swap", "gaussian"}, default="swap"
        Corruption of the columns of tables. ``"swap"`` takes values of other samples, and
        ``"gaussian"`` adds normal noise. ``"masked"`` always swaps, and images are always denoised
        from normal noise.
    temperature : float, default=0.2
        Temperature of ``"simclr"``. A lower one gives more weight to the closest of the other
        samples.
    redundancy_weight : float, default=0.005
        Weight of the correlations between different outputs in the loss of ``"barlow"``.
    projection_sizes : tuple of int, default=(128, 64)
        Widths of the layers of the head of ``"simclr"`` and ``"barlow"``. The head is dropped after
        training.
    optimizer : {"adamw", "sgd"}, default="adamw"
        Optimizer of the training.
    lr : float or "auto", default="auto"
        Learning rate of the network and its head. ``"auto"`` is 0.001 for AdamW and 0.03 for SGD.
    momentum : float, default=0.9
        Momentum of the SGD optimizer. AdamW does not use it.
    weight_decay : float, default=1e-4
        Strength of the pull of weight matrices to zero. Biases and normalisation layers are not
        pulled.
    schedule : {"cosine", "constant", "plateau"}, default="cosine"
        Course of the learning rate. ``"cosine"`` lowers it to zero along half a cosine.
        ``"constant"`` leaves it as it is. ``"plateau"`` divides it by 10 when the training loss has
        not fallen for more than 3 epochs.
    warmup : float, default=0.05
        Share of the training steps in which the learning rate rises from zero. 0 starts with the
        full learning rate.
    max_epochs : int or "auto", default="auto"
        Number of passes over the samples. ``"auto"`` makes about 1000 steps in 10 to 100 passes.
    batch_size : int or "auto", default="auto"
        Number of samples per step, at least 2 for ``"simclr"`` and ``"barlow"``. ``"auto"`` is 128.
    clip_norm : float, default=None
        Largest norm of the gradient of all parameters. A longer gradient is shortened to it.
        ``None`` sets no limit.
    hidden_layer_sizes : tuple of int, default=(64,)
        Widths of the hidden layers of the table network, which is used if `backbone` is None.
    layers : str or list of str, default=None
        Layers of the network whose outputs are the features, in training and after it. ``None``
        takes the layers that the record names.
    pooling : str, default="default"
        Pooling of a layer's output to one vector per sample, as in
        :class:`~skltransfer.PretrainedFeatureTransformer`. ``"default"`` is the pooling of the
        record.
    image_shape : tuple of int, default=None
        Shape of one image in pixels if each sample of ``X`` is a flattened image: (height, width),
        (height, width, channels) or (channels, height, width). ``None`` takes ``X`` as it is.
    value_range : (float, float), default=None
        Values of black and white in images. ``None`` is (0, 255) for integers, (0, 1) for floats
        and bools, and the range of its format for a file.
    input_size : int, default=None
        Height and width in pixels at which images enter the network. ``None`` is the size in the
        record.
    device : str or torch.device, default="auto"
        Device of the network. ``"auto"`` is a GPU if there is one, else the CPU.
    precision : {"auto", "float32", "float64", "bfloat16", "float16"}, default="auto"
        Floating-point type of the training. ``"auto"`` is float64 for tables on the CPU and float32
        otherwise. ``"bfloat16"`` and ``"float16"`` mean mixed precision in training, in which
        weights and features stay in float32.
    store : {"memory"}, path, FeatureStore, DiskFeatureStore or None, default="memory"
        Store of features, as in :class:`~skltransfer.PretrainedFeatureTransformer`. ``"memory"`` is
        shared within the process, and a path within this computer. ``None`` keeps no features.
    random_state : int, RandomState instance or None, default=0
        Seed of random weights, of the order of samples, of views and of noise. Global generators
        are not touched.

    Attributes
    ----------
    backbone_ : Backbone
        The trained network, without the head.
    history_ : list of dict
        One record per epoch: ``epoch``, ``train_loss``, ``lr_network`` and ``seconds``.
    n_iter_ : int
        Number of records in ``history_``.
    n_features_in_ : int
        Number of values per sample of ``X``. It is 1 for paths, PIL images and encoded bytes.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``. Set if ``X`` is a data frame and all names are strings.

    Warns
    -----
    ConvergenceWarning
        If the loss diverges, in which case training stops with the best weights so far.
    RuntimeWarning
        If memory runs out. Batches then go through the network in parts, and only views of one part
        are compared.

    See Also
    --------
    PretrainedFeatureTransformer : Features of a network that is already trained.
    FineTunedClassifier : Fine-tunes a network, such as the one trained here.

    Notes
    -----
    ``X`` has the forms of :class:`~skltransfer.PretrainedFeatureTransformer`, without texts. The
    table network standardises columns itself. Put a scaler before a network of your own.
    Running statistics of batch normalisation stay as they are if the source has learned them. In a
    network with random weights they are learned.

    The features of a sample depend on this sample alone, within rounding. Two fits with the same
    `random_state` give the same network, bit for bit on one machine with the same number of
    threads. Features learned without labels do not help every task. Compare them with the raw
    columns, and with the network before training.

    References
    ----------
    .. [1] T. Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
       ICML 2020, equation 1.
    .. [2] J. Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
       ICML 2021, equation 1.
    .. [3] S. Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations",
       ICLR 2018, equations 2 and 3.
    .. [4] P. Vincent et al., "Extracting and Composing Robust Features with Denoising
       Autoencoders", ICML 2008.
    .. [5] K. He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022.
    .. [6] J. Yoon et al., "VIME: Extending the Success of Self- and Semi-supervised Learning to
       Tabular Domain", NeurIPS 2020.
    .. [7] D. Bahri et al., "SCARF: Self-Supervised Contrastive Learning using Random Feature
       Corruption", ICLR 2022.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import SelfSupervisedTransformer
    >>> X = load_iris().data
    >>> features = SelfSupervisedTransformer(method="denoising", max_epochs=20)
    >>> features.fit_transform(X).shape
    (150, 64)
    >>> model = make_pipeline(features, KMeans(3, random_state=0)).fit(X)
    >>> model.predict(X).shape
    (150,)
    """

    _parameters = TRAINING_PARAMETERS | {
        "method": Choice("simclr", "barlow", "rotation", "denoising", "masked"),
        "optimizer": Choice("adamw", "sgd"),
        "noise": Choice("swap", "gaussian"),
        "strength": Number(0),
        "corruption": Number(0, low_open=True, unset=("auto",)),
        "temperature": Number(0, low_open=True),
        "redundancy_weight": Number(0),
        "weight_decay": Number(0),
        "input_size": Count(unset=(None,)),
        "projection_sizes": ListOf(Count()),
        "store": StoreParameter(),
    }

    def __init__(
        self,
        backbone=None,
        method: str = "simclr",
        *,
        weights: Any = "default",
        augment: Any = "default",
        strength: float = 1.0,
        corruption: float | str = "auto",
        noise: str = "swap",
        temperature: float = 0.2,
        redundancy_weight: float = 0.005,
        projection_sizes: tuple[int, ...] = (128, 64),
        optimizer: str = "adamw",
        lr: float | str = "auto",
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        schedule: str = "cosine",
        warmup: float = 0.05,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        clip_norm: float | None = None,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        layers: str | Sequence[str] | None = None,
        pooling: str = "default",
        image_shape: tuple[int, ...] | None = None,
        value_range=None,
        input_size: int | None = None,
        device: Any = "auto",
        precision: str = "auto",
        store: Any = "memory",
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.backbone = backbone
        self.method = method
        self.weights = weights
        self.augment = augment
        self.strength = strength
        self.corruption = corruption
        self.noise = noise
        self.temperature = temperature
        self.redundancy_weight = redundancy_weight
        self.projection_sizes = projection_sizes
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.clip_norm = clip_norm
        self.hidden_layer_sizes = hidden_layer_sizes
        self.layers = layers
        self.pooling = pooling
        self.image_shape = image_shape
        self.value_range = value_range
        self.input_size = input_size
        self.device = device
        self.precision = precision
        self.store = store
        self.random_state = random_state

    def _check_combinations(self):
        checked_policies(self.augment)
        if self.method in ("simclr", "barlow") and self.batch_size == 1:
            raise ValueError(
                f"batch_size=1, and method={self.method!r} compares the samples of a batch. Set "
                "batch_size to at least 2. Some hundred are better."
            )

    @with_callbacks
    @fits_anew
    def fit(self, X, y=None) -> Self:
        """Train the network on samples without labels.

        Parameters
        ----------
        X : array-like
            Samples, in any of the forms above.
        y : None
            Ignored.

        Returns
        -------
        self : SelfSupervisedTransformer
        """
        task = FitTask.begin(self, X, y, max_subtasks=None)
        check_parameters(self)
        rows = self._rows(X, reset=True)
        self._check_rows(rows)
        plan = Plan.of(
            self,
            rows,
            rates=(("adamw", 1e-3), ("sgd", 3e-2)),
            batch_sizes=(128, 128),
            seeds=("weights", "head", "order", "chance"),
            n_steps=1000,
            augment=None,  # views are the task's
        )
        pretext = PretextTask(
            method=self.method,
            policies=checked_policies(self.augment),
            strength=self.strength,
            corruption=self.corruption,
            noise=self.noise,
            temperature=self.temperature,
            redundancy_weight=self.redundancy_weight,
            projection_sizes=self.projection_sizes,
        )
        run = Pretraining(plan, pretext, self._load(rows), rows)
        of_rows = self._read_attributes()
        run.train(EpochReports(task, lambda: of_rows | run.attributes(), run.history))
        vars(self).update(run.attributes())
        task.end({})
        return self

    def transform(self, X):
        """Return the features of each sample.

        Parameters
        ----------
        X : array-like
            Samples, in any of the forms above.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            Features in float64 if the network was trained in float64, else in float32.
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        record = self.backbone_
        check_images_for(record.name, record.preprocessing, rows)
        taps = extractor(record, device=self.device, precision=self._precision)
        if len(rows) and (given := sum(taps.widths(rows).values())) != self._n_features_out:
            raise ValueError(
                f"X gives {given} features per sample, and the samples seen in fit gave "
                f"{self._n_features_out}. Pass images of the same size."
            )
        extract = partial(taps.extract, rows, store=resolve_store(self.store))
        if hasattr(self, "_parent_callback_ctx"):  # of which `fit` has been the one part
            return extract()
        return reporting(self, X, lambda each_of: extract(each_of=each_of))

    # --- rows ----------------------------------------------------------------------------

    def _check_rows(self, rows: Rows) -> None:
        if len(rows) < 2:
            raise ValueError(
                f"X has {len(rows)} sample(s), n_samples = {len(rows)}, and "
                f"{type(self).__name__} compares samples. Pass at least 2."
            )
        if self.method == "rotation" and isinstance(rows, TableRows):
            hint = (
                "backbone=None flattens images. Pass a backbone for images, such as 'tiny'."
                if self.backbone is None
                else "For flattened images pass image_shape."
            )
            raise ValueError(
                "method='rotation' turns images, and X is read as a table. Choose one of 'simclr', "
                f"'barlow', 'denoising' and 'masked'. {hint}"
            )

    def _load(self, rows: Rows | None) -> Backbone | None:
        record = super()._load(rows)
        if record is not None and takes_text(record):
            raise ValueError(
                f"backbone={record.name!r} is a text encoder, and {type(self).__name__} takes "
                "images and tables. For features of texts use PretrainedFeatureTransformer."
            )
        return record

    def _takes_text(self, reset: bool) -> bool:
        return False

    # --- a backbone for others -----------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "backbone_")

    def __skltransfer_backbone__(self) -> Backbone:
        """Return the trained network as a start for another estimator."""
        if not hasattr(self, "backbone_"):
            raise unfitted_backbone(self)
        return self.backbone_
