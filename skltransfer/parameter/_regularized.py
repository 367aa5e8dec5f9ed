"""Networks that are trained near their source, as a classifier and as a regressor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from skltransfer._networks._estimators import FittedNetwork, NetworkClassifier, NetworkRegressor
from skltransfer._networks._fitting import Fitting
from skltransfer._parameters import Choice, Count, Number
from skltransfer.backbones._extractors import takes_text
from skltransfer.parameter._penalties import (
    FeatureMaps,
    PullByFisher,
    PullToSource,
    PullToZero,
    SmallSingularValues,
    fisher_of_source,
)


class Regularized:
    """Penalties of the classifier and the regressor."""

    _held = ("backbone", "fisher_rows")
    _parameters = {
        "penalty": Choice("l2_sp", "l2_sp_fisher", "delta", "bss", "l2"),
        "alpha": Number(0, inf, high_open=True),
        "head_alpha": Number(0, inf, high_open=True),
        "n_singular_values": Count(),
    }

    def _objective(self, fitting: Fitting) -> PullToZero:
        alphas = (self.head_alpha, self.alpha)
        if self.penalty == "l2_sp":
            return PullToSource(fitting, *alphas)
        if self.penalty == "l2_sp_fisher":
            return PullByFisher(fitting, *alphas, self._fisher)
        if self.penalty == "delta" and self.alpha > 0:
            return FeatureMaps(fitting, *alphas)
        if self.penalty == "bss" and self.alpha > 0:
            return SmallSingularValues(fitting, *alphas, self.n_singular_values)
        return PullToZero(fitting, *alphas)

    def _fisher(self, fitting: Fitting) -> dict:
        """Return the Fisher information of the source's weights."""
        rows = fitting.data.rows
        if self.fisher_rows is not None:
            is_text = takes_text(fitting.built.record)
            rows = self._rows(self.fisher_rows, reset=False, is_text=is_text)
        source = self.backbone
        while isinstance(source, FrozenEstimator):
            source = source.estimator
        return fisher_of_source(
            fitting, rows, source if isinstance(source, FittedNetwork) else None
        )


class RegularizedTransferClassifier(Regularized, NetworkClassifier):
    r"""Fine-tune a network as a classifier, and keep it near its source.

    .. math::

        \min_w \; \frac{1}{n} \sum_i \ell(f_w(x_i), y_i)
        + \frac{\alpha}{2} \lVert w_\text{carried} - w_\text{source} \rVert^2
        + \frac{\alpha_\text{head}}{2} \lVert w_\text{new} \rVert^2

    is minimised for ``penalty="l2_sp"`` [1]_. The other penalties replace the middle term. With
    `alpha` at 0 this is plain fine-tuning. As `alpha` grows, the model approaches the source's
    weights with a new head.

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Network to start from, see :func:`~skltransfer.load_backbone`. ``"tiny"`` and
        ``"efficientnet_lite0"`` work offline; ``"minilm"`` and ``"hf:NAME"`` take texts. A fitted
        estimator of this family gives its trained network without the output layer. The object is
        held by reference and never changed. ``None`` is a table network with `hidden_layer_sizes`
        and random weights.
    weights : str, Path, torchvision weights or None, default="default"
        Weights to start from. ``"default"`` takes the published weights or the weights of the given
        module. Other choices are a member of torchvision's weights enum or its name, and the path
        of a file. ``None`` draws random weights.
    penalty : {"l2_sp", "l2_sp_fisher", "delta", "bss", "l2"}, default="l2_sp"
        Penalty beside the loss. ``"l2_sp"`` is the squared distance of the carried weights from the
        source's [1]_. ``"l2_sp_fisher"`` multiplies it for each weight by its Fisher information,
        relative to the mean of all weights (EWC [4]_). ``"delta"`` is the squared distance of the
        feature maps of all stages from the source's [5]_. ``"bss"`` is the sum of the smallest
        squared singular values of a batch's features (batch spectral shrinkage [6]_). ``"l2"`` is
        the squared norm of the carried weight matrices.
    alpha : float, default=0.01
        Strength of the penalty. 0 gives plain fine-tuning. Values from 0.01 to 10 are worth a
        search.
    head_alpha : float, default=0.01
        Strength of the pull of the head's weight matrices to zero.
    fisher_rows : array-like, default=None
        Samples of the source task for the Fisher information, of which at most 200 are drawn. They
        are held by reference. ``None`` takes the samples given to `fit`, or to each call of
        `partial_fit`.
    n_singular_values : int, default=1
        Number of singular values that ``penalty="bss"`` shrinks, the smallest ones.
    strategy : {"finetune", "linear_probe", "lp_ft"}, default="finetune"
        Parts that are trained. ``"finetune"`` trains the network and its head together.
        ``"linear_probe"`` trains the head alone, on features that are computed once. ``"lp_ft"``
        trains the head alone first and then both [2]_.
    unfreeze : {"all", "head"}, str or int, default="all"
        Stages of the network that are trained. ``"all"`` trains every stage, and ``"head"`` trains
        the head alone. A number trains this many stages from the top. A name trains the stage of
        that name and all stages above it; ``stages_`` lists the names. All other stages stay as
        they are, including their running statistics.
    gradual_unfreezing : int, default=0
        Number of epochs after which one more stage is trained, from the top down [3]_. The head is
        trained alone at first. 0 trains all stages that `unfreeze` allows from the start.
    layer_decay : float, default=1.0
        Factor on the learning rate from each stage to the next shallower one [3]_. 1 gives all
        stages the same learning rate.
    backbone_lr_ratio : float or "auto", default="auto"
        Learning rate of the network as a multiple of the head's. ``"auto"`` is 1 for random weights
        and 0.1 otherwise.
    norm_statistics : {"auto", "keep", "learn"}, default="auto"
        Treatment of the running statistics of batch normalisation in the stages that are trained.
        ``"keep"`` leaves the source's statistics, so that only scale and shift are trained.
        ``"learn"`` takes the statistics of the batches, which small batches estimate badly.
        ``"auto"`` keeps statistics that were learned before, and learns them where weights are
        random.
    head : {"linear", "mlp", "cosine"} or callable, default="linear"
        Output layer. ``"linear"`` is one linear layer, ``"mlp"`` has one hidden layer, and
        ``"cosine"`` gives the scaled cosine between the features and one direction per output. All
        three standardise the features with the mean and scale they have before training. A callable
        takes (n_features, n_outputs) and returns a module, which is given the features unchanged.
    dropout : float, default=0.0
        Share of the inputs of the last layer of a named head that is set to zero in each training
        step. 0 sets none to zero.
    label_smoothing : float, default=0.0
        Share of each label that is spread over all classes. 0 leaves the labels as they are.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn. ``None`` gives every class the weight 1.
    balanced_batches : bool, default=False
        Whether every class is drawn equally often. Samples of small classes are then repeated.
    augment : str, callable or list of these, default=None
        Random changes of each training batch. ``"flip"``, ``"crop"``, ``"trivial"``, ``"rand"``,
        ``"auto"``, ``"color"`` and ``"erase"`` change images. ``"mixup"`` and ``"cutmix"`` mix
        samples with their labels. A callable takes and returns a batch of pixels (n, channels,
        height, width) or of columns (n, n_columns). ``None`` changes nothing.
    n_views : int, default=None
        Number of views of each sample that `augment` draws once, before training. They are the
        training samples from then on, so that an epoch has `n_views` times as many steps, and what
        frozen stages give for them is kept (see ``cached_stage_``). A view depends on the content
        of its sample, its number and `random_state` alone. ``None`` draws anew in every batch.
    optimizer : {"auto", "adamw", "sgd", "lbfgs"}, default="auto"
        Optimizer of the training. ``"lbfgs"`` takes all samples at once, without randomness or a
        learning rate. ``"auto"`` is L-BFGS for a head alone on at most 20000 samples and for tables
        of at most 2000 samples, unless another parameter or a layer asks for mini-batches. It is
        AdamW otherwise.
    lr : float or "auto", default="auto"
        Learning rate of the head. ``"auto"`` is 0.001 for AdamW and 0.01 for SGD. It is 0.003 for
        AdamW if a network for tables begins with random weights (no `backbone`) and `max_epochs`
        is ``"auto"``. L-BFGS does not use it.
    momentum : float, default=0.9
        Momentum of the SGD optimizer. AdamW does not use it.
    schedule : {"cosine", "constant", "plateau"}, default="cosine"
        Course of the learning rate. ``"cosine"`` lowers it to zero along half a cosine.
        ``"constant"`` leaves it as it is. ``"plateau"`` divides it by 10 when the validation loss,
        or the training loss if there is no validation, has not fallen for more than 3 epochs.
    warmup : float, default=0.05
        Share of the training steps in which the learning rate rises from zero. 0 starts with the
        full learning rate.
    max_epochs : int or "auto", default="auto"
        Number of passes over the samples, or of iterations if L-BFGS trains the whole network.
        ``"auto"`` makes about 500 steps in 10 to 100 passes, or 1500 steps if a network for tables
        begins with random weights, and at most 500 iterations. L-BFGS for the head alone always has
        at least 500 iterations to reach `tol`.
    batch_size : int or "auto", default="auto"
        Number of samples per step. ``"auto"`` is 64 for tables and 32 otherwise.
    accumulate : int, default=1
        Number of passes in which a batch goes through the network. The gradients are added, so that
        the step stays the same and needs less memory.
    clip_norm : float, default=None
        Largest norm of the gradient of all parameters. A longer gradient is shortened to it.
        ``None`` sets no limit.
    ema_decay : float, default=None
        Decay per step of an exponential moving average of the weights, for example 0.99. The fitted
        network has the averaged weights. ``None`` takes no average.
    early_stopping : bool, default=False
        Whether to set samples aside, stop when their loss no longer falls, and restore the best
        weights.
    validation_fraction : float, default=0.1
        Share of the samples that early stopping sets aside.
    patience : int, default=5
        Number of epochs without a lower validation loss after which training stops.
    tol : float, default=1e-4
        Largest absolute entry of the gradient at which L-BFGS stops.
    hidden_layer_sizes : tuple of int, default=(64,)
        Widths of the hidden layers of the table network, which is used if `backbone` is None. An
        empty tuple gives a linear model.
    layers : str or list of str, default=None
        Layers of the network whose outputs are the features for the head. ``None`` takes the layers
        that the record names.
    pooling : {"default", "avg", "max", "grid2", "cls", "flatten"}, default="default"
        Pooling of a layer's output to one vector per sample. ``"default"`` is the pooling of the
        record. ``"avg"`` and ``"max"`` are the mean and the maximum over the positions, ``"grid2"``
        is the mean over each quarter of an image, ``"cls"`` is the class token, and ``"flatten"``
        takes all values.
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
        otherwise. ``"bfloat16"`` and ``"float16"`` mean mixed precision, in which the weights stay
        in float32.
    warm_start : bool, default=False
        Whether `fit` continues from the weights of the last fit. False starts again from
        `backbone`.
    checkpoint : str or Path, default=None
        Folder in which the state of the training is kept after each epoch. The same `fit`, called
        again after an interruption, continues from there. The file is removed at the end. ``None``
        keeps no state.
    store : {"memory"}, path, FeatureStore, DiskFeatureStore or None, default="memory"
        Store of what frozen layers give: the features for a head, and the outputs of frozen stages
        (see ``cached_stage_``). ``"memory"`` is shared within the process, and the folder of a path
        by processes and later runs; :func:`~skltransfer.save` writes ``"memory"`` in its place.
        ``None`` keeps nothing, and every epoch begins with the samples.
    random_state : int, RandomState instance or None, default=0
        Seed of random weights, of the order of samples and of randomness in training. Global
        generators are not touched.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of ``y``, or the numbers of the labels if a sample may have several.
    network_ : torch.nn.Module
        The trained network with its head, in evaluation mode.
    stages_ : tuple of str
        Stages of the network that have parameters, shallow to deep.
    cached_stage_ : str or None
        Deepest of the frozen stages whose outputs were kept, so that every epoch began behind it.
        ``None`` if epochs began with the samples: no stage or every stage is frozen, `augment`
        without `n_views`, the strategy ``"lora"``, mixed precision or a penalty on feature maps
        makes inputs vary or needs them, the network cannot be traced, or half of the `store` has no
        room for the outputs.
    history_ : list of dict
        One record per epoch: ``epoch``, ``phase``, ``train_loss``, ``seconds``, and ``valid_loss``
        with early stopping. ``lr_STAGE`` and ``lr_head`` are the learning rates at the last step of
        the epoch, and 0 for frozen stages. ``pandas.DataFrame(model.history_)`` is a table.
    n_iter_ : int
        Number of records in ``history_``.
    n_features_in_ : int
        Number of values per sample of ``X``. It is 1 for paths, PIL images, encoded bytes and
        texts.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``. Set if ``X`` is a data frame and all names are strings.

    Warns
    -----
    ConvergenceWarning
        If the loss diverges, in which case training stops with the best weights so far, or if a
        linear head on fixed features does not reach `tol`.
    RuntimeWarning
        If memory runs out. Batches then go through the network in more passes.

    See Also
    --------
    FineTunedClassifier : Fine-tunes without a penalty.
    TransferLogisticRegression : L2-SP of a linear classifier, to its optimum.

    Notes
    -----
    L-BFGS adds the gradient of the penalty to the gradient of the loss. AdamW and SGD follow each
    step by an implicit step of the penalty, ``w <- (w + r alpha w_source) / (1 + r alpha)``, which
    is stable for any `alpha`. The rate ``r`` is the rate at which the optimizer follows a steady
    gradient. It is the learning rate divided by one minus the momentum for SGD, and divided by the
    root mean square of the loss's gradient for AdamW. Every optimizer thus minimises the sum of the
    loss and the penalties.

    The source is `backbone` as it was given, also after `warm_start` and `partial_fit`. With
    ``penalty="delta"`` all channels have equal weights, and squared differences are averaged over
    positions. ``X`` has the same forms as in :class:`FineTunedClassifier`.

    References
    ----------
    .. [1] X. Li, Y. Grandvalet, F. Davoine, "Explicit Inductive Bias for Transfer Learning with
       Convolutional Networks", ICML 2018, equation (2).
    .. [2] A. Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
       Out-of-Distribution", ICLR 2022.
    .. [3] J. Howard, S. Ruder, "Universal Language Model Fine-tuning for Text Classification",
       ACL 2018, sections 3.2 and 3.3.
    .. [4] J. Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS
       2017, equation (3).
    .. [5] X. Li et al., "DELTA: DEep Learning Transfer using Feature Map with Attention for
       Convolutional Networks", ICLR 2019, equation (3).
    .. [6] X. Chen et al., "Catastrophic Forgetting Meets Negative Transfer: Batch Spectral
       Shrinkage for Safe Transfer Learning", NeurIPS 2019, equation (4).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skltransfer import FineTunedClassifier, RegularizedTransferClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> source = FineTunedClassifier().fit(X[y < 5], y[y < 5])
    >>> X, y = X[y >= 5], y[y >= 5]
    >>> X, X_test, y, y_test = train_test_split(X, y, train_size=100, random_state=0)
    >>> model = RegularizedTransferClassifier(source, alpha=0.1).fit(X, y)
    >>> model.score(X_test, y_test) > 0.85
    True
    """

    def __init__(
        self,
        backbone=None,
        *,
        weights: Any = "default",
        penalty: str = "l2_sp",
        alpha: float = 0.01,
        head_alpha: float = 0.01,
        fisher_rows=None,
        n_singular_values: int = 1,
        strategy: str = "finetune",
        unfreeze: str | int = "all",
        gradual_unfreezing: int = 0,
        layer_decay: float = 1.0,
        backbone_lr_ratio: float | str = "auto",
        norm_statistics: str = "auto",
        head: str | Callable = "linear",
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        class_weight: dict | str | None = None,
        balanced_batches: bool = False,
        augment=None,
        n_views: int | None = None,
        optimizer: str = "auto",
        lr: float | str = "auto",
        momentum: float = 0.9,
        schedule: str = "cosine",
        warmup: float = 0.05,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        accumulate: int = 1,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 5,
        tol: float = 1e-4,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        layers: str | Sequence[str] | None = None,
        pooling: str = "default",
        image_shape: tuple[int, ...] | None = None,
        value_range=None,
        input_size: int | None = None,
        device: Any = "auto",
        precision: str = "auto",
        warm_start: bool = False,
        checkpoint=None,
        store: Any = "memory",
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.penalty = penalty
        self.alpha = alpha
        self.head_alpha = head_alpha
        self.fisher_rows = fisher_rows
        self.n_singular_values = n_singular_values
        self.strategy = strategy
        self.unfreeze = unfreeze
        self.gradual_unfreezing = gradual_unfreezing
        self.layer_decay = layer_decay
        self.backbone_lr_ratio = backbone_lr_ratio
        self.norm_statistics = norm_statistics
        self.head = head
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.balanced_batches = balanced_batches
        self.augment = augment
        self.n_views = n_views
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.schedule = schedule
        self.warmup = warmup
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.ema_decay = ema_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tol = tol
        self.hidden_layer_sizes = hidden_layer_sizes
        self.layers = layers
        self.pooling = pooling
        self.image_shape = image_shape
        self.value_range = value_range
        self.input_size = input_size
        self.device = device
        self.precision = precision
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.store = store
        self.random_state = random_state


class RegularizedTransferRegressor(Regularized, NetworkRegressor):
    r"""Fine-tune a network as a regressor, and keep it near its source.

    The penalties are the same as in :class:`RegularizedTransferClassifier`. The loss is half the
    squared error, with each column of ``y`` in units of its standard deviation.

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Network to start from, see :func:`~skltransfer.load_backbone`. ``"tiny"`` and
        ``"efficientnet_lite0"`` work offline; ``"minilm"`` and ``"hf:NAME"`` take texts. A fitted
        estimator of this family gives its trained network without the output layer. The object is
        held by reference and never changed. ``None`` is a table network with `hidden_layer_sizes`
        and random weights.
    weights : str, Path, torchvision weights or None, default="default"
        Weights to start from. ``"default"`` takes the published weights or the weights of the given
        module. Other choices are a member of torchvision's weights enum or its name, and the path
        of a file. ``None`` draws random weights.
    penalty : {"l2_sp", "l2_sp_fisher", "delta", "bss", "l2"}, default="l2_sp"
        Penalty beside the loss. ``"l2_sp"`` is the squared distance of the carried weights from the
        source's [1]_. ``"l2_sp_fisher"`` multiplies it for each weight by its Fisher information,
        relative to the mean of all weights (EWC [4]_). ``"delta"`` is the squared distance of the
        feature maps of all stages from the source's [5]_. ``"bss"`` is the sum of the smallest
        squared singular values of a batch's features (batch spectral shrinkage [6]_). ``"l2"`` is
        the squared norm of the carried weight matrices.
    alpha : float, default=0.01
        Strength of the penalty. 0 gives plain fine-tuning. Values from 0.01 to 10 are worth a
        search.
    head_alpha : float, default=0.01
        Strength of the pull of the head's weight matrices to zero.
    fisher_rows : array-like, default=None
        Samples of the source task for the Fisher information, of which at most 200 are drawn. They
        are held by reference. ``None`` takes the samples given to `fit`, or to each call of
        `partial_fit`.
    n_singular_values : int, default=1
        Number of singular values that ``penalty="bss"`` shrinks, the smallest ones.
    strategy : {"finetune", "linear_probe", "lp_ft"}, default="finetune"
        Parts that are trained. ``"finetune"`` trains the network and its head together.
        ``"linear_probe"`` trains the head alone, on features that are computed once. ``"lp_ft"``
        trains the head alone first and then both [2]_.
    unfreeze : {"all", "head"}, str or int, default="all"
        Stages of the network that are trained. ``"all"`` trains every stage, and ``"head"`` trains
        the head alone. A number trains this many stages from the top. A name trains the stage of
        that name and all stages above it; ``stages_`` lists the names. All other stages stay as
        they are, including their running statistics.
    gradual_unfreezing : int, default=0
        Number of epochs after which one more stage is trained, from the top down [3]_. The head is
        trained alone at first. 0 trains all stages that `unfreeze` allows from the start.
    layer_decay : float, default=1.0
        Factor on the learning rate from each stage to the next shallower one [3]_. 1 gives all
        stages the same learning rate.
    backbone_lr_ratio : float or "auto", default="auto"
        Learning rate of the network as a multiple of the head's. ``"auto"`` is 1 for random weights
        and 0.1 otherwise.
    norm_statistics : {"auto", "keep", "learn"}, default="auto"
        Treatment of the running statistics of batch normalisation in the stages that are trained.
        ``"keep"`` leaves the source's statistics, so that only scale and shift are trained.
        ``"learn"`` takes the statistics of the batches, which small batches estimate badly.
        ``"auto"`` keeps statistics that were learned before, and learns them where weights are
        random.
    head : {"linear", "mlp", "cosine"} or callable, default="linear"
        Output layer. ``"linear"`` is one linear layer, ``"mlp"`` has one hidden layer, and
        ``"cosine"`` gives the scaled cosine between the features and one direction per output. All
        three standardise the features with the mean and scale they have before training. A callable
        takes (n_features, n_outputs) and returns a module, which is given the features unchanged.
    dropout : float, default=0.0
        Share of the inputs of the last layer of a named head that is set to zero in each training
        step. 0 sets none to zero.
    augment : str, callable or list of these, default=None
        Random changes of each training batch. ``"flip"``, ``"crop"``, ``"trivial"``, ``"rand"``,
        ``"auto"``, ``"color"`` and ``"erase"`` change images. ``"mixup"`` and ``"cutmix"`` mix
        samples with their labels. A callable takes and returns a batch of pixels (n, channels,
        height, width) or of columns (n, n_columns). ``None`` changes nothing.
    n_views : int, default=None
        Number of views of each sample that `augment` draws once, before training. They are the
        training samples from then on, so that an epoch has `n_views` times as many steps, and what
        frozen stages give for them is kept (see ``cached_stage_``). A view depends on the content
        of its sample, its number and `random_state` alone. ``None`` draws anew in every batch.
    optimizer : {"auto", "adamw", "sgd", "lbfgs"}, default="auto"
        Optimizer of the training. ``"lbfgs"`` takes all samples at once, without randomness or a
        learning rate. ``"auto"`` is L-BFGS for a head alone on at most 20000 samples and for tables
        of at most 2000 samples, unless another parameter or a layer asks for mini-batches. It is
        AdamW otherwise.
    lr : float or "auto", default="auto"
        Learning rate of the head. ``"auto"`` is 0.001 for AdamW and 0.01 for SGD. It is 0.003 for
        AdamW if a network for tables begins with random weights (no `backbone`) and `max_epochs`
        is ``"auto"``. L-BFGS does not use it.
    momentum : float, default=0.9
        Momentum of the SGD optimizer. AdamW does not use it.
    schedule : {"cosine", "constant", "plateau"}, default="cosine"
        Course of the learning rate. ``"cosine"`` lowers it to zero along half a cosine.
        ``"constant"`` leaves it as it is. ``"plateau"`` divides it by 10 when the validation loss,
        or the training loss if there is no validation, has not fallen for more than 3 epochs.
    warmup : float, default=0.05
        Share of the training steps in which the learning rate rises from zero. 0 starts with the
        full learning rate.
    max_epochs : int or "auto", default="auto"
        Number of passes over the samples, or of iterations if L-BFGS trains the whole network.
        ``"auto"`` makes about 500 steps in 10 to 100 passes, or 1500 steps if a network for tables
        begins with random weights, and at most 500 iterations. L-BFGS for the head alone always has
        at least 500 iterations to reach `tol`.
    batch_size : int or "auto", default="auto"
        Number of samples per step. ``"auto"`` is 64 for tables and 32 otherwise.
    accumulate : int, default=1
        Number of passes in which a batch goes through the network. The gradients are added, so that
        the step stays the same and needs less memory.
    clip_norm : float, default=None
        Largest norm of the gradient of all parameters. A longer gradient is shortened to it.
        ``None`` sets no limit.
    ema_decay : float, default=None
        Decay per step of an exponential moving average of the weights, for example 0.99. The fitted
        network has the averaged weights. ``None`` takes no average.
    early_stopping : bool, default=False
        Whether to set samples aside, stop when their loss no longer falls, and restore the best
        weights.
    validation_fraction : float, default=0.1
        Share of the samples that early stopping sets aside.
    patience : int, default=5
        Number of epochs without a lower validation loss after which training stops.
    tol : float, default=1e-4
        Largest absolute entry of the gradient at which L-BFGS stops.
    hidden_layer_sizes : tuple of int, default=(64,)
        Widths of the hidden layers of the table network, which is used if `backbone` is None. An
        empty tuple gives a linear model.
    layers : str or list of str, default=None
        Layers of the network whose outputs are the features for the head. ``None`` takes the layers
        that the record names.
    pooling : {"default", "avg", "max", "grid2", "cls", "flatten"}, default="default"
        Pooling of a layer's output to one vector per sample. ``"default"`` is the pooling of the
        record. ``"avg"`` and ``"max"`` are the mean and the maximum over the positions, ``"grid2"``
        is the mean over each quarter of an image, ``"cls"`` is the class token, and ``"flatten"``
        takes all values.
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
        otherwise. ``"bfloat16"`` and ``"float16"`` mean mixed precision, in which the weights stay
        in float32.
    warm_start : bool, default=False
        Whether `fit` continues from the weights of the last fit. False starts again from
        `backbone`.
    checkpoint : str or Path, default=None
        Folder in which the state of the training is kept after each epoch. The same `fit`, called
        again after an interruption, continues from there. The file is removed at the end. ``None``
        keeps no state.
    store : {"memory"}, path, FeatureStore, DiskFeatureStore or None, default="memory"
        Store of what frozen layers give: the features for a head, and the outputs of frozen stages
        (see ``cached_stage_``). ``"memory"`` is shared within the process, and the folder of a path
        by processes and later runs; :func:`~skltransfer.save` writes ``"memory"`` in its place.
        ``None`` keeps nothing, and every epoch begins with the samples.
    random_state : int, RandomState instance or None, default=0
        Seed of random weights, of the order of samples and of randomness in training. Global
        generators are not touched.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network with its head, in evaluation mode.
    stages_ : tuple of str
        Stages of the network that have parameters, shallow to deep.
    cached_stage_ : str or None
        Deepest of the frozen stages whose outputs were kept, so that every epoch began behind it.
        ``None`` if epochs began with the samples: no stage or every stage is frozen, `augment`
        without `n_views`, the strategy ``"lora"``, mixed precision or a penalty on feature maps
        makes inputs vary or needs them, the network cannot be traced, or half of the `store` has no
        room for the outputs.
    history_ : list of dict
        One record per epoch: ``epoch``, ``phase``, ``train_loss``, ``seconds``, and ``valid_loss``
        with early stopping. ``lr_STAGE`` and ``lr_head`` are the learning rates at the last step of
        the epoch, and 0 for frozen stages. ``pandas.DataFrame(model.history_)`` is a table.
    n_iter_ : int
        Number of records in ``history_``.
    n_features_in_ : int
        Number of values per sample of ``X``. It is 1 for paths, PIL images, encoded bytes and
        texts.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``. Set if ``X`` is a data frame and all names are strings.

    Warns
    -----
    ConvergenceWarning
        If the loss diverges, in which case training stops with the best weights so far, or if a
        linear head on fixed features does not reach `tol`.
    RuntimeWarning
        If memory runs out. Batches then go through the network in more passes.

    See Also
    --------
    FineTunedRegressor : Fine-tunes without a penalty.
    TransferRidge : L2-SP of a linear regressor, in closed form.

    Notes
    -----
    L-BFGS adds the gradient of the penalty to the gradient of the loss. AdamW and SGD follow each
    step by an implicit step of the penalty, ``w <- (w + r alpha w_source) / (1 + r alpha)``, which
    is stable for any `alpha`. The rate ``r`` is the rate at which the optimizer follows a steady
    gradient. It is the learning rate divided by one minus the momentum for SGD, and divided by the
    root mean square of the loss's gradient for AdamW. Every optimizer thus minimises the sum of the
    loss and the penalties.

    The source is `backbone` as it was given, also after `warm_start` and `partial_fit`. With
    ``penalty="delta"`` all channels have equal weights, and squared differences are averaged over
    positions. ``X`` has the same forms as in :class:`FineTunedRegressor`.

    References
    ----------
    .. [1] X. Li, Y. Grandvalet, F. Davoine, "Explicit Inductive Bias for Transfer Learning with
       Convolutional Networks", ICML 2018, equation (2).
    .. [2] A. Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
       Out-of-Distribution", ICLR 2022.
    .. [3] J. Howard, S. Ruder, "Universal Language Model Fine-tuning for Text Classification",
       ACL 2018, sections 3.2 and 3.3.
    .. [4] J. Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS
       2017, equation (3).
    .. [5] X. Li et al., "DELTA: DEep Learning Transfer using Feature Map with Attention for
       Convolutional Networks", ICLR 2019, equation (3).
    .. [6] X. Chen et al., "Catastrophic Forgetting Meets Negative Transfer: Batch Spectral
       Shrinkage for Safe Transfer Learning", NeurIPS 2019, equation (4).

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from skltransfer import FineTunedRegressor, RegularizedTransferRegressor
    >>> X, y = make_regression(200, 5, noise=5.0, random_state=0)
    >>> source = FineTunedRegressor().fit(X[:100], y[:100])
    >>> X, y = X[100:], 2 * y[100:] + X[100:, 0]
    >>> model = RegularizedTransferRegressor(source, alpha=0.1).fit(X[:30], y[:30])
    >>> model.score(X[30:], y[30:]) > 0.7
    True
    """

    def __init__(
        self,
        backbone=None,
        *,
        weights: Any = "default",
        penalty: str = "l2_sp",
        alpha: float = 0.01,
        head_alpha: float = 0.01,
        fisher_rows=None,
        n_singular_values: int = 1,
        strategy: str = "finetune",
        unfreeze: str | int = "all",
        gradual_unfreezing: int = 0,
        layer_decay: float = 1.0,
        backbone_lr_ratio: float | str = "auto",
        norm_statistics: str = "auto",
        head: str | Callable = "linear",
        dropout: float = 0.0,
        augment=None,
        n_views: int | None = None,
        optimizer: str = "auto",
        lr: float | str = "auto",
        momentum: float = 0.9,
        schedule: str = "cosine",
        warmup: float = 0.05,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        accumulate: int = 1,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 5,
        tol: float = 1e-4,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        layers: str | Sequence[str] | None = None,
        pooling: str = "default",
        image_shape: tuple[int, ...] | None = None,
        value_range=None,
        input_size: int | None = None,
        device: Any = "auto",
        precision: str = "auto",
        warm_start: bool = False,
        checkpoint=None,
        store: Any = "memory",
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.penalty = penalty
        self.alpha = alpha
        self.head_alpha = head_alpha
        self.fisher_rows = fisher_rows
        self.n_singular_values = n_singular_values
        self.strategy = strategy
        self.unfreeze = unfreeze
        self.gradual_unfreezing = gradual_unfreezing
        self.layer_decay = layer_decay
        self.backbone_lr_ratio = backbone_lr_ratio
        self.norm_statistics = norm_statistics
        self.head = head
        self.dropout = dropout
        self.augment = augment
        self.n_views = n_views
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.schedule = schedule
        self.warmup = warmup
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.ema_decay = ema_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tol = tol
        self.hidden_layer_sizes = hidden_layer_sizes
        self.layers = layers
        self.pooling = pooling
        self.image_shape = image_shape
        self.value_range = value_range
        self.input_size = input_size
        self.device = device
        self.precision = precision
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.store = store
        self.random_state = random_state
