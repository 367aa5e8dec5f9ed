"""Features of a network that has learned from rows without labels."""

from __future__ import annotations

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils.validation import check_is_fitted

from skltransfer._networks._estimators import EpochReports, NetworkEstimator
from skltransfer._networks._plan import TRAINING_PARAMETERS, Plan
from skltransfer._parameters import Choice, Count, ListOf, Number, check_parameters
from skltransfer._torch._rows import Rows, TableRows, check_images_for
from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer.backbones import Backbone
from skltransfer.backbones._extractors import extractor, takes_text
from skltransfer.backbones._record import unfitted_backbone
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._refit import forget
from skltransfer.feature._pretext import PretextTask
from skltransfer.feature._pretraining import Pretraining
from skltransfer.feature._views import checked_policies


class SelfSupervisedTransformer(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetworkEstimator
):
    """Train a network on rows without labels, and turn rows into its features.

    The rows set the task themselves: views of one row are to agree, an image is to be turned back,
    a corrupted row is to be put together again. A fitted one is the ``backbone`` of any other
    estimator (much unlabelled data, then few labels), and a step of a plain pipeline (features,
    then clusters).

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Network to train, see :func:`~skltransfer.load_backbone`. Held by reference and never
        changed. ``None``: a table network with `hidden_layer_sizes`, images flattened.
    method : {"simclr", "barlow", "rotation", "denoising", "masked"}, default="simclr"
        The task. ``"simclr"``: two views of a row are closer than views of different rows [1]_.
        ``"barlow"``: the outputs for two views correlate one by one, and not with each other [2]_.
        ``"rotation"``: by which multiple of 90 degrees was the image turned [3]_ (images only).
        ``"denoising"``: the row without its noise [4]_. ``"masked"``: what were the patches of
        an image that are covered [5]_, or which columns of a row were replaced and what were they
        [6]_.
    weights : str, Path, torchvision weights or None, default="default"
        Weights to start from: the published ones, a file of weights, or random weights (``None``).
    augment : str, callable, torchvision transform or list of these, default="default"
        Views for ``"simclr"`` and ``"barlow"``. ``"default"``: of images, small changes of place,
        size, slant and brightness, without mirror images; of rows of a table, the row itself and
        one with columns replaced [7]_. Or policies as in :class:`~skltransfer.FineTunedClassifier`,
        a transform of ``torchvision.transforms.v2``, which meets each image alone, or a function
        of a batch of pixels in [0, 1] (n, channels, height, width) or of columns (n, n_columns).
    strength : float, default=1.0
        Size of the default changes of images, relative to the usual one.
    corruption : float or "auto", default="auto"
        Part of the columns that is replaced, or of the patches that is covered; with normal noise,
        its standard deviation, relative to the column's or to the range from black to white.
        ``"auto"``: columns 0.6 for views and 0.3 else, patches 0.6, noise 0.5 of columns and 0.3 of
        pixels.
    noise : {"swap", "gaussian"}, default="swap"
        How columns of tables are corrupted: by values of other rows, or by normal noise (not for
        ``"masked"``). Images denoised have normal noise in any case.
    temperature : float, default=0.2
        Of ``"simclr"``: how much the closest of the other rows count.
    redundancy_weight : float, default=0.005
        Of ``"barlow"``: weight of the correlations between different outputs.
    projection_sizes : tuple of int, default=(128, 64)
        Widths of the head of ``"simclr"`` and ``"barlow"``, which is thrown away after training.
    optimizer : {"adamw", "sgd"}, default="adamw"
        Which steps are taken.
    lr : float or "auto", default="auto"
        Learning rate. ``"auto"``: 0.001 for AdamW, 0.03 for SGD.
    momentum : float, default=0.9
        Momentum of the SGD optimizer. AdamW does not use it.
    weight_decay : float, default=1e-4
        Pull of matrices (not of biases and norms) to zero.
    schedule : {"cosine", "constant", "plateau"}, default="cosine"
        The learning rate over time.
    warmup : float, default=0.05
        Share of the training steps in which the learning rate rises from zero.
    max_epochs : int or "auto", default="auto"
        Passes over the rows. ``"auto"``: about 1000 steps, in 10 to 100 passes.
    batch_size : int or "auto", default="auto"
        Rows per step, at least 2 for ``"simclr"`` and ``"barlow"``. ``"auto"``: 128.
    clip_norm : float, default=None
        Largest norm of the gradient of all parameters. ``None``: no limit.
    hidden_layer_sizes : tuple of int, default=(64,)
        Widths of the table network, if `backbone` is None.
    layers : str or list of str, default=None
        Layers that features are taken from, in training and after it; ``None``: those that the
        record names.
    pooling : str, default="default"
        How a layer's output becomes a vector, as in
        :class:`~skltransfer.PretrainedFeatureTransformer`; ``"default"``: the record's.
    image_shape : tuple of int, default=None
        Shape of one image, where ``X`` holds flattened images in its rows.
    value_range : (float, float), default=None
        Values of black and white in arrays of images. ``None``: (0, 255) for integers, (0, 1) for
        floats and bools.
    input_size : int, default=None
        Height and width, in pixels, at which images enter the network. ``None``: the record's size.
    device : str or torch.device, default="auto"
        Device of the network. ``"auto"``: a GPU, if there is one.
    precision : {"auto", "float32", "float64", "bfloat16", "float16"}, default="auto"
        Floating-point type of the training. ``"auto"``: float64 for tables on the CPU, else
        float32. The 16-bit types mean mixed precision in training: weights and features stay in
        float32.
    store : {"memory"}, FeatureStore or None, default="memory"
        Where features are kept, as in :class:`~skltransfer.PretrainedFeatureTransformer`.
    random_state : int, RandomState instance or None, default=0
        Seed of random weights, of the order of rows, of views and of noise. Global generators are
        not touched.

    Attributes
    ----------
    backbone_ : Backbone
        The trained network, without the head.
    history_ : list of dict
        One record an epoch: ``epoch``, ``train_loss``, ``lr_network``, ``seconds``.
    n_iter_ : int
        Number of epochs.
    n_features_in_ : int
        Numbers per row of ``X``; 1 for paths, PIL images and encoded bytes.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where it is a data frame and all are strings.

    Warns
    -----
    ConvergenceWarning
        If the loss diverges: training stops with the best weights so far.
    RuntimeWarning
        If memory runs out: batches then go through in parts, and views of one part are compared.

    See Also
    --------
    PretrainedFeatureTransformer : Features of a network that others have trained.
    FineTunedClassifier : Takes a fitted one as its backbone.

    Notes
    -----
    ``X`` takes the forms that it has for :class:`~skltransfer.PretrainedFeatureTransformer`, texts
    excepted. The table network standardises columns itself; a network of your own should be behind
    a scaler. Running statistics of batch normalisation that a source has learned stay as they
    are; in a network with random weights they are learned.

    A row's features are a function of the row alone, within rounding. Two fits with the same
    `random_state` are equal, on one machine bit for bit at equal numbers of threads. Whether
    features without labels are of use depends on whether the task needs what the labels say:
    compare them with raw columns, and with the network before training.

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
    }

    def __init__(
        self,
        backbone=None,
        method="simclr",
        *,
        weights="default",
        augment="default",
        strength=1.0,
        corruption="auto",
        noise="swap",
        temperature=0.2,
        redundancy_weight=0.005,
        projection_sizes=(128, 64),
        optimizer="adamw",
        lr="auto",
        momentum=0.9,
        weight_decay=1e-4,
        schedule="cosine",
        warmup=0.05,
        max_epochs="auto",
        batch_size="auto",
        clip_norm=None,
        hidden_layer_sizes=(64,),
        layers=None,
        pooling="default",
        image_shape=None,
        value_range=None,
        input_size=None,
        device="auto",
        precision="auto",
        store="memory",
        random_state=0,
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
                f"batch_size=1, and method={self.method!r} compares the rows of a batch. Set "
                "batch_size to at least 2; some hundred are better."
            )
        if not (self.store in ("memory", None) or isinstance(self.store, FeatureStore)):
            raise ValueError(f"store={self.store!r} is not 'memory', a FeatureStore or None.")

    @with_callbacks
    def fit(self, X, y=None):
        """Train the network on rows without labels.

        Parameters
        ----------
        X : array-like
            Rows, in any of the forms above.
        y : None
            Ignored.

        Returns
        -------
        self : SelfSupervisedTransformer
        """
        task = FitTask.begin(self, X, y, max_subtasks=None)
        check_parameters(self)
        forget(self)  # an interrupted fit leaves nothing half done
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
        """Return the features of each row; the network stays as it is.

        Parameters
        ----------
        X : array-like
            Rows, in any of the forms above.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
            In float64 where the network was trained in it, as for tables on the CPU; else float32.
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        record = self.backbone_
        check_images_for(record.name, record.preprocessing, rows)
        taps = extractor(record, device=self.device, precision=self._precision)
        if len(rows) and (given := sum(taps.widths(rows).values())) != self._n_features_out:
            raise ValueError(
                f"These rows give {given} features, and those that this transformer was fitted on "
                f"gave {self._n_features_out}. Give it images of the same size."
            )
        return taps.extract(rows, store=feature_store if self.store == "memory" else self.store)

    # --- rows ----------------------------------------------------------------------------

    def _check_rows(self, rows: Rows) -> None:
        if len(rows) < 2:
            raise ValueError(
                f"X has {len(rows)} sample(s), n_samples = {len(rows)}, and "
                f"{type(self).__name__} compares rows: at least 2 are needed."
            )
        if self.method == "rotation" and isinstance(rows, TableRows):
            hint = (
                "backbone=None flattens images into one: name a backbone for images, such as "
                "'tiny'."
                if self.backbone is None
                else "For flattened images pass image_shape=."
            )
            raise ValueError(
                "method='rotation' turns images, and the rows are those of a table. Choose one of "
                f"'simclr', 'barlow', 'denoising' and 'masked'. {hint}"
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
