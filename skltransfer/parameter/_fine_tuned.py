"""Networks that are fine-tuned, as a classifier and as a regressor."""

from __future__ import annotations

from math import inf

from skltransfer._networks._estimators import NetworkClassifier, NetworkRegressor
from skltransfer._parameters import Choice, Count, Number


class FineTuned:
    """What the fine-tuned classifier and regressor share."""

    _parameters = {
        "strategy": Choice("finetune", "linear_probe", "lp_ft", "lora"),
        "weight_decay": Number(0, inf, high_open=True),
        "lora_rank": Count(),
        "lora_alpha": Number(0, low_open=True),
    }


class FineTunedClassifier(FineTuned, NetworkClassifier):
    """Fine-tune a pretrained network as a classifier.

    The network's output layer is replaced by one for the classes of ``y``, so that surplus
    classes of the source vanish. Labels may be of any kind: two classes, more, or any number per
    row (an indicator matrix).

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Network to start from, see :func:`~skltransfer.load_backbone`: ``"tiny"`` works offline,
        ``"hf:NAME"`` takes texts. A fitted estimator of this family gives its trained network
        without the output layer. Held by reference and never changed. ``None``: a table network
        with `hidden_layer_sizes` and random weights.
    weights : str, Path, torchvision weights or None, default="default"
        Weights to start from: the published ones, a file of weights, or random weights (``None``).
    strategy : {"finetune", "linear_probe", "lp_ft", "lora"}, default="finetune"
        Train the network and its head together; the head alone, on features that are computed
        once; first the head alone and then both [1]_; or low-rank changes of frozen layers and
        the head (needs ``skltransfer[lora]``) [2]_.
    unfreeze : {"all", "head"}, str or int, default="all"
        Stages that are trained: all of them; none, but the head; the stages from the one of this
        name upwards; or this number of stages from the top. ``stages_`` names them. All other
        stages stay as they are, running statistics included.
    gradual_unfreezing : int, default=0
        Train the head alone at first, and one more stage every so many epochs [3]_; 0: all that
        `unfreeze` allows from the start.
    layer_decay : float, default=1.0
        Factor on the learning rate from each stage to the next shallower one [3]_; 1: no decay.
    backbone_lr_ratio : float or "auto", default="auto"
        Learning rate of the network relative to the head's. ``"auto"``: 0.1, and 1 for random
        weights; 0.3 for low-rank changes.
    norm_statistics : {"auto", "keep", "learn"}, default="auto"
        Running statistics of batch normalisation in the stages that are trained. ``"keep"`` leaves
        the source's, so that only scale and shift are trained; ``"learn"`` takes the statistics of
        the batches, which small batches estimate badly; ``"auto"`` keeps statistics that were
        learned, and learns them where weights are random.
    head : {"linear", "mlp", "cosine"} or callable, default="linear"
        Output layer. A name: a layer on features that are standardised with their mean and scale
        before training. A function of (n_features, n_outputs): the module that it returns, on the
        features themselves.
    dropout : float, default=0.0
        Share of the head's inputs that is set to zero in each training step.
    label_smoothing : float, default=0.0
        Share of each label that is spread over all classes.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn. ``None``: all classes weigh 1.
    balanced_batches : bool, default=False
        Whether every class is drawn equally often, so that samples of small classes are repeated.
    augment : str, callable or list of these, default=None
        Random changes of each batch: ``"flip"``, ``"crop"``, ``"trivial"``, ``"rand"``,
        ``"auto"``, ``"color"``, ``"erase"`` (images), ``"mixup"``, ``"cutmix"``, or a function
        of a batch of pixels (n, channels, height, width) or columns (n, n_columns).
    optimizer : {"auto", "adamw", "sgd", "lbfgs"}, default="auto"
        ``"lbfgs"`` takes all rows at once, without chance or learning rate. ``"auto"`` is that for
        a linear probe and for tables of at most 2000 rows where nothing else asks for
        mini-batches, and AdamW otherwise.
    lr : float or "auto", default="auto"
        Learning rate of the head. ``"auto"``: 0.001 for AdamW, 0.01 for SGD.
    momentum : float, default=0.9
        Momentum of the SGD optimizer. AdamW does not use it.
    weight_decay : float, default=0.01
        Strength of the pull of matrices (not of biases and norms) to zero: decoupled in AdamW; with
        L-BFGS and SGD the factor of half the squared norm beside the mean loss.
    schedule : {"cosine", "constant", "plateau"}, default="cosine"
        The learning rate over time; ``"plateau"`` divides it by 10 after 3 epochs without gain.
    warmup : float, default=0.05
        Share of the training steps in which the learning rate rises from zero.
    max_epochs : int or "auto", default="auto"
        Passes over the rows; iterations, if L-BFGS trains the whole network. ``"auto"``: about 500
        steps, in 10 to 100 passes; at most 500 iterations, as for a linear probe in any case.
    batch_size : int or "auto", default="auto"
        Samples per step. ``"auto"``: 64 for tables, 32 otherwise.
    accumulate : int, default=1
        Number of passes in which a batch goes through the network, with the gradients added. The
        step stays the same, and needs less memory.
    clip_norm : float, default=None
        Largest norm of the gradient of all parameters. ``None``: no limit.
    ema_decay : float, default=None
        Decay of an exponential moving average over the steps, for example 0.99, which the weights
        become. ``None``: the weights of the last step.
    early_stopping : bool, default=False
        Whether to set samples aside, to stop when their loss no longer falls, and to restore the
        best weights.
    validation_fraction : float, default=0.1
        Share of the samples that early stopping sets aside.
    patience : int, default=5
        Number of epochs without a lower validation loss after which training stops.
    tol : float, default=1e-4
        Largest entry of the gradient at which L-BFGS stops.
    lora_rank : int, default=8
        Rank of the low-rank changes.
    lora_alpha : float, default=16.0
        Strength of the low-rank changes: they are scaled by ``lora_alpha / lora_rank``.
    hidden_layer_sizes : tuple of int, default=(64,)
        Widths of the table network, if `backbone` is None; empty: a linear model.
    layers : str or list of str, default=None
        Layers that the head's features are taken from. ``None``: the layers that the record names.
    pooling : {"default", "avg", "max", "grid2", "cls", "flatten"}, default="default"
        How a layer's output becomes a vector.
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
        float32. The 16-bit types mean mixed precision: weights stay in float32.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last fit.
    checkpoint : str or Path, default=None
        Folder in which the state of the training is kept after each epoch: the same `fit`, called
        again after an interruption, goes on there. The file is removed at the end.
    random_state : int, RandomState instance or None, default=0
        Seed of random weights, of the order of rows and of chance in training. Global generators
        are not touched.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes of ``y``; numbers of the labels, if a row may have several.
    network_ : torch.nn.Module
        The trained network with its head, in evaluation mode.
    stages_ : tuple of str
        Stages of the network that have parameters, shallow to deep.
    history_ : list of dict
        One record an epoch: ``epoch``, ``phase``, ``train_loss``, ``valid_loss`` with early
        stopping, ``seconds``, and ``lr_STAGE`` and ``lr_head``, the learning rates at its last
        step (0 where frozen). ``pandas.DataFrame(model.history_)`` is a table.
    n_iter_ : int
        Number of records.
    n_features_in_ : int
        Numbers per row of ``X``; 1 for paths, PIL images, encoded bytes and texts.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where it is a data frame and all are strings.

    Warns
    -----
    ConvergenceWarning
        If the loss diverges (training stops with the best weights so far), or a linear head on
        fixed features does not reach `tol`.
    RuntimeWarning
        If memory runs out: batches then go through in more passes.

    See Also
    --------
    FineTunedRegressor : The same for numbers.
    PretrainedFeatureTransformer : Features of a frozen network for any model.

    Notes
    -----
    ``X`` may be a table (n, d); images as arrays (n, height, width), (n, height, width, channels),
    (n, channels, height, width) or flattened rows with `image_shape`; a list, Series or one-column
    frame of paths, PIL images or encoded bytes; or of texts.

    Two fits with the same `random_state` are equal, on one machine bit for bit at equal numbers of
    threads. A clone starts from the pretrained weights again. The loss is the weighted mean over
    the rows, so that on the full batch a weight of two is a row given twice. Threads of one
    process take turns at training; processes (``n_jobs``) do not.

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
        weights="default",
        strategy="finetune",
        unfreeze="all",
        gradual_unfreezing=0,
        layer_decay=1.0,
        backbone_lr_ratio="auto",
        norm_statistics="auto",
        head="linear",
        dropout=0.0,
        label_smoothing=0.0,
        class_weight=None,
        balanced_batches=False,
        augment=None,
        optimizer="auto",
        lr="auto",
        momentum=0.9,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.05,
        max_epochs="auto",
        batch_size="auto",
        accumulate=1,
        clip_norm=None,
        ema_decay=None,
        early_stopping=False,
        validation_fraction=0.1,
        patience=5,
        tol=1e-4,
        lora_rank=8,
        lora_alpha=16.0,
        hidden_layer_sizes=(64,),
        layers=None,
        pooling="default",
        image_shape=None,
        value_range=None,
        input_size=None,
        device="auto",
        precision="auto",
        warm_start=False,
        checkpoint=None,
        random_state=0,
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
        self.random_state = random_state


class FineTunedRegressor(FineTuned, NetworkRegressor):
    """Fine-tune a pretrained network as a regressor.

    The network's output layer is replaced by one for the columns of ``y``, which are learned in
    units of their standard deviation by half the squared error.

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Network to start from, see :func:`~skltransfer.load_backbone`: ``"tiny"`` works offline,
        ``"hf:NAME"`` takes texts. A fitted estimator of this family gives its trained network
        without the output layer. Held by reference and never changed. ``None``: a table network
        with `hidden_layer_sizes` and random weights.
    weights : str, Path, torchvision weights or None, default="default"
        Weights to start from: the published ones, a file of weights, or random weights (``None``).
    strategy : {"finetune", "linear_probe", "lp_ft", "lora"}, default="finetune"
        Train the network and its head together; the head alone, on features that are computed
        once; first the head alone and then both [1]_; or low-rank changes of frozen layers and
        the head (needs ``skltransfer[lora]``) [2]_.
    unfreeze : {"all", "head"}, str or int, default="all"
        Stages that are trained: all of them; none, but the head; the stages from the one of this
        name upwards; or this number of stages from the top. ``stages_`` names them. All other
        stages stay as they are, running statistics included.
    gradual_unfreezing : int, default=0
        Train the head alone at first, and one more stage every so many epochs [3]_; 0: all that
        `unfreeze` allows from the start.
    layer_decay : float, default=1.0
        Factor on the learning rate from each stage to the next shallower one [3]_; 1: no decay.
    backbone_lr_ratio : float or "auto", default="auto"
        Learning rate of the network relative to the head's. ``"auto"``: 0.1, and 1 for random
        weights; 0.3 for low-rank changes.
    norm_statistics : {"auto", "keep", "learn"}, default="auto"
        Running statistics of batch normalisation in the stages that are trained. ``"keep"`` leaves
        the source's, so that only scale and shift are trained; ``"learn"`` takes the statistics of
        the batches, which small batches estimate badly; ``"auto"`` keeps statistics that were
        learned, and learns them where weights are random.
    head : {"linear", "mlp", "cosine"} or callable, default="linear"
        Output layer. A name: a layer on features that are standardised with their mean and scale
        before training. A function of (n_features, n_outputs): the module that it returns, on the
        features themselves.
    dropout : float, default=0.0
        Share of the head's inputs that is set to zero in each training step.
    augment : str, callable or list of these, default=None
        Random changes of each batch: ``"flip"``, ``"crop"``, ``"trivial"``, ``"rand"``,
        ``"auto"``, ``"color"``, ``"erase"`` (images), ``"mixup"``, ``"cutmix"``, or a function
        of a batch of pixels (n, channels, height, width) or columns (n, n_columns).
    optimizer : {"auto", "adamw", "sgd", "lbfgs"}, default="auto"
        ``"lbfgs"`` takes all rows at once, without chance or learning rate. ``"auto"`` is that for
        a linear probe and for tables of at most 2000 rows where nothing else asks for
        mini-batches, and AdamW otherwise.
    lr : float or "auto", default="auto"
        Learning rate of the head. ``"auto"``: 0.001 for AdamW, 0.01 for SGD.
    momentum : float, default=0.9
        Momentum of the SGD optimizer. AdamW does not use it.
    weight_decay : float, default=0.01
        Strength of the pull of matrices (not of biases and norms) to zero: decoupled in AdamW; with
        L-BFGS and SGD the factor of half the squared norm beside the mean loss.
    schedule : {"cosine", "constant", "plateau"}, default="cosine"
        The learning rate over time; ``"plateau"`` divides it by 10 after 3 epochs without gain.
    warmup : float, default=0.05
        Share of the training steps in which the learning rate rises from zero.
    max_epochs : int or "auto", default="auto"
        Passes over the rows; iterations, if L-BFGS trains the whole network. ``"auto"``: about 500
        steps, in 10 to 100 passes; at most 500 iterations, as for a linear probe in any case.
    batch_size : int or "auto", default="auto"
        Samples per step. ``"auto"``: 64 for tables, 32 otherwise.
    accumulate : int, default=1
        Number of passes in which a batch goes through the network, with the gradients added. The
        step stays the same, and needs less memory.
    clip_norm : float, default=None
        Largest norm of the gradient of all parameters. ``None``: no limit.
    ema_decay : float, default=None
        Decay of an exponential moving average over the steps, for example 0.99, which the weights
        become. ``None``: the weights of the last step.
    early_stopping : bool, default=False
        Whether to set samples aside, to stop when their loss no longer falls, and to restore the
        best weights.
    validation_fraction : float, default=0.1
        Share of the samples that early stopping sets aside.
    patience : int, default=5
        Number of epochs without a lower validation loss after which training stops.
    tol : float, default=1e-4
        Largest entry of the gradient at which L-BFGS stops.
    lora_rank : int, default=8
        Rank of the low-rank changes.
    lora_alpha : float, default=16.0
        Strength of the low-rank changes: they are scaled by ``lora_alpha / lora_rank``.
    hidden_layer_sizes : tuple of int, default=(64,)
        Widths of the table network, if `backbone` is None; empty: a linear model.
    layers : str or list of str, default=None
        Layers that the head's features are taken from. ``None``: the layers that the record names.
    pooling : {"default", "avg", "max", "grid2", "cls", "flatten"}, default="default"
        How a layer's output becomes a vector.
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
        float32. The 16-bit types mean mixed precision: weights stay in float32.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last fit.
    checkpoint : str or Path, default=None
        Folder in which the state of the training is kept after each epoch: the same `fit`, called
        again after an interruption, goes on there. The file is removed at the end.
    random_state : int, RandomState instance or None, default=0
        Seed of random weights, of the order of rows and of chance in training. Global generators
        are not touched.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network with its head, in evaluation mode.
    stages_ : tuple of str
        Stages of the network that have parameters, shallow to deep.
    history_ : list of dict
        One record an epoch: ``epoch``, ``phase``, ``train_loss``, ``valid_loss`` with early
        stopping, ``seconds``, and ``lr_STAGE`` and ``lr_head``, the learning rates at its last
        step (0 where frozen). ``pandas.DataFrame(model.history_)`` is a table.
    n_iter_ : int
        Number of records.
    n_features_in_ : int
        Numbers per row of ``X``; 1 for paths, PIL images, encoded bytes and texts.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where it is a data frame and all are strings.

    Warns
    -----
    ConvergenceWarning
        If the loss diverges (training stops with the best weights so far), or a linear head on
        fixed features does not reach `tol`.
    RuntimeWarning
        If memory runs out: batches then go through in more passes.

    See Also
    --------
    FineTunedClassifier : The same for classes.

    Notes
    -----
    ``X`` may be a table (n, d); images as arrays (n, height, width), (n, height, width, channels),
    (n, channels, height, width) or flattened rows with `image_shape`; a list, Series or one-column
    frame of paths, PIL images or encoded bytes; or of texts.

    Two fits with the same `random_state` are equal, bit for bit at equal numbers of threads. A
    clone starts from the pretrained weights again. The loss is the weighted mean over the rows, so
    that on the full batch a weight of two is a row given twice. Threads of one process take turns
    at training; processes (``n_jobs``) do not.

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
        weights="default",
        strategy="finetune",
        unfreeze="all",
        gradual_unfreezing=0,
        layer_decay=1.0,
        backbone_lr_ratio="auto",
        norm_statistics="auto",
        head="linear",
        dropout=0.0,
        augment=None,
        optimizer="auto",
        lr="auto",
        momentum=0.9,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.05,
        max_epochs="auto",
        batch_size="auto",
        accumulate=1,
        clip_norm=None,
        ema_decay=None,
        early_stopping=False,
        validation_fraction=0.1,
        patience=5,
        tol=1e-4,
        lora_rank=8,
        lora_alpha=16.0,
        hidden_layer_sizes=(64,),
        layers=None,
        pooling="default",
        image_shape=None,
        value_range=None,
        input_size=None,
        device="auto",
        precision="auto",
        warm_start=False,
        checkpoint=None,
        random_state=0,
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
        self.random_state = random_state
