"""Networks that are fine-tuned, as a classifier and as a regressor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np

from skltransfer._networks._estimators import NetworkClassifier, NetworkRegressor
from skltransfer._parameters import Choice, Count, Number


class FineTuned:
    """Parameters that the fine-tuned classifier and regressor share."""

    _parameters = {
        "strategy": Choice("finetune", "linear_probe", "lp_ft", "lora"),
        "weight_decay": Number(0, inf, high_open=True),
        "lora_rank": Count(),
        "lora_alpha": Number(0, low_open=True),
    }


class FineTunedClassifier(FineTuned, NetworkClassifier):
    """Fine-tune a pretrained network as a classifier.

    The network's output layer is replaced by one for the classes of ``y``, so that classes of the
    source that are not in ``y`` vanish. A sample has one of two or more classes, or any number of
    labels (an indicator matrix).

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
    strategy : {"finetune", "linear_probe", "lp_ft", "lora"}, default="finetune"
        Parts that are trained. ``"finetune"`` trains the network and its head together.
        ``"linear_probe"`` trains the head alone, on features that are computed once. ``"lp_ft"``
        trains the head alone first and then both [1]_. ``"lora"`` trains low-rank changes of frozen
        layers and the head [2]_, and needs ``skltransfer[lora]``.
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
        Learning rate of the network as a multiple of the head's. ``"auto"`` is 1 for random
        weights, 0.3 for low-rank changes, and 0.1 otherwise.
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
    weight_decay : float, default=0.01
        Strength of the pull of weight matrices to zero. Biases and normalisation layers are not
        pulled. AdamW decouples the pull from the loss. L-BFGS and SGD add half the squared norm
        times `weight_decay` to the mean loss.
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
    lora_rank : int, default=8
        Rank of the low-rank changes, used by ``strategy="lora"``. A higher rank trains more
        weights.
    lora_alpha : float, default=16.0
        Strength of the low-rank changes, which are scaled by ``lora_alpha / lora_rank``.
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
    FineTunedRegressor : Fine-tunes a network as a regressor.
    PretrainedFeatureTransformer : Features of a frozen network for any model.

    Notes
    -----
    ``X`` may be a table (n_samples, n_features). Images may be arrays (n, height, width),
    (n, height, width, channels) or (n, channels, height, width), or flattened samples with
    `image_shape`. Paths, PIL images, encoded bytes and texts may be a list, a Series or a data
    frame with one column.

    Two fits with the same `random_state` give the same network, bit for bit on one machine with the
    same number of threads. A clone starts from the pretrained weights again. The loss is the
    weighted mean over the samples, so that on the full batch a weight of 2 equals a sample given
    twice. Threads of one process take turns at training, and processes (``n_jobs``) do not.

    References
    ----------
    .. [1] A. Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
       Out-of-Distribution", ICLR 2022.
    .. [2] E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
    .. [3] J. Howard, S. Ruder, "Universal Language Model Fine-tuning for Text Classification",
       ACL 2018, sections 3.2 and 3.3.

    Examples
    --------
    Train a network on one task, then transfer it to another:

    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skltransfer import FineTunedClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> old = FineTunedClassifier().fit(X[y < 5], y[y < 5])
    >>> X, y = X[y >= 5], y[y >= 5]
    >>> X, X_test, y, y_test = train_test_split(X, y, train_size=100, random_state=0)
    >>> new = FineTunedClassifier(old).fit(X, y)
    >>> new.score(X_test, y_test) > 0.85
    True
    >>> new.classes_
    array([5, 6, 7, 8, 9])
    """

    def __init__(
        self,
        backbone=None,
        *,
        weights: Any = "default",
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
        weight_decay: float = 0.01,
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
        lora_rank: int = 8,
        lora_alpha: float = 16.0,
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
        self.weight_decay = weight_decay
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
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
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


class FineTunedRegressor(FineTuned, NetworkRegressor):
    """Fine-tune a pretrained network as a regressor.

    The network's output layer is replaced by one for the columns of ``y``. The loss is half the
    squared error, with each column in units of its standard deviation.

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
    strategy : {"finetune", "linear_probe", "lp_ft", "lora"}, default="finetune"
        Parts that are trained. ``"finetune"`` trains the network and its head together.
        ``"linear_probe"`` trains the head alone, on features that are computed once. ``"lp_ft"``
        trains the head alone first and then both [1]_. ``"lora"`` trains low-rank changes of frozen
        layers and the head [2]_, and needs ``skltransfer[lora]``.
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
        Learning rate of the network as a multiple of the head's. ``"auto"`` is 1 for random
        weights, 0.3 for low-rank changes, and 0.1 otherwise.
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
    weight_decay : float, default=0.01
        Strength of the pull of weight matrices to zero. Biases and normalisation layers are not
        pulled. AdamW decouples the pull from the loss. L-BFGS and SGD add half the squared norm
        times `weight_decay` to the mean loss.
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
    lora_rank : int, default=8
        Rank of the low-rank changes, used by ``strategy="lora"``. A higher rank trains more
        weights.
    lora_alpha : float, default=16.0
        Strength of the low-rank changes, which are scaled by ``lora_alpha / lora_rank``.
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
    FineTunedClassifier : Fine-tunes a network as a classifier.
    PretrainedFeatureTransformer : Features of a frozen network for any model.

    Notes
    -----
    ``X`` may be a table (n_samples, n_features). Images may be arrays (n, height, width),
    (n, height, width, channels) or (n, channels, height, width), or flattened samples with
    `image_shape`. Paths, PIL images, encoded bytes and texts may be a list, a Series or a data
    frame with one column.

    Two fits with the same `random_state` give the same network, bit for bit on one machine with the
    same number of threads. A clone starts from the pretrained weights again. The loss is the
    weighted mean over the samples, so that on the full batch a weight of 2 equals a sample given
    twice. Threads of one process take turns at training, and processes (``n_jobs``) do not.

    References
    ----------
    .. [1] A. Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
       Out-of-Distribution", ICLR 2022.
    .. [2] E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
    .. [3] J. Howard, S. Ruder, "Universal Language Model Fine-tuning for Text Classification",
       ACL 2018, sections 3.2 and 3.3.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skltransfer import FineTunedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = FineTunedRegressor(weight_decay=0.1).fit(X[:300], y[:300])
    >>> model.score(X[300:], y[300:]) > 0.4
    True
    """

    def __init__(
        self,
        backbone=None,
        *,
        weights: Any = "default",
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
        weight_decay: float = 0.01,
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
        lora_rank: int = 8,
        lora_alpha: float = 16.0,
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
        self.weight_decay = weight_decay
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
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
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
