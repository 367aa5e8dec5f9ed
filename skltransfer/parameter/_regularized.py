"""Networks that are trained near their source, as a classifier and as a regressor."""

from __future__ import annotations

from math import inf

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
    """What is pulled where, for the classifier and the regressor."""

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

    for ``penalty="l2_sp"`` [1]_; the other penalties replace the middle term. As `alpha` grows
    from 0 it goes from plain fine-tuning to the source's weights with a new head.

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Network to start from, see :func:`~skltransfer.load_backbone`: ``"tiny"`` works offline,
        ``"hf:NAME"`` takes texts. A fitted estimator of this family gives its trained network
        without the output layer. Held by reference and never changed. ``None``: a table network
        with `hidden_layer_sizes` and random weights.
    weights : str, Path, torchvision weights or None, default="default"
        Weights to start from: the published ones, a file of weights, or random weights (``None``).
    penalty : {"l2_sp", "l2_sp_fisher", "delta", "bss", "l2"}, default="l2_sp"
        Squared distance of carried weights from the source's [1]_; the same with each weight as
        strong as its Fisher information says, in units of its mean (EWC [4]_); squared distance
        of the feature maps of all stages from the source's [5]_; the smallest singular values of
        a batch's features, squared (batch spectral shrinkage [6]_); or the squared weights.
    alpha : float, default=0.01
        Strength of the penalty, at least 0; 0.01 to 10 are the values to search.
    head_alpha : float, default=0.01
        Strength of the pull of the head's matrices to zero.
    fisher_rows : array-like, default=None
        Rows of the source task for the Fisher information, at most 200 of which are drawn. Held by
        reference. ``None``: the rows of the task; in `partial_fit` those of each call.
    n_singular_values : int, default=1
        Number of singular values that ``"bss"`` shrinks.
    strategy : {"finetune", "linear_probe", "lp_ft"}, default="finetune"
        Train the network and its head together; the head alone, on features that are computed
        once; or first the head alone and then both [2]_.
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
        weights.
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
    FineTunedClassifier : The same without the pull.
    TransferLogisticRegression : L2-SP of a linear classifier, to its optimum.

    Notes
    -----
    With L-BFGS the penalty's gradient is added in place. With AdamW and SGD each step is followed
    by an implicit step of the penalty, in place, ``w <- (w + r alpha w_source) / (1 + r alpha)``,
    stable for any `alpha`, at the rate ``r`` with which the optimiser follows a steady gradient:
    divided by one minus SGD's momentum, or by AdamW's root mean square of the loss's gradient. So
    the sum above is what every optimiser minimises.

    The source is `backbone` as it was given, also after `warm_start` and `partial_fit`. With
    ``penalty="delta"`` channels have equal weights, and squared differences are averaged over
    positions. Forms of ``X`` and all else are as in :class:`FineTunedClassifier`.

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
        weights="default",
        penalty="l2_sp",
        alpha=0.01,
        head_alpha=0.01,
        fisher_rows=None,
        n_singular_values=1,
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
        self.random_state = random_state


class RegularizedTransferRegressor(Regularized, NetworkRegressor):
    r"""Fine-tune a network as a regressor, and keep it near its source.

    The same penalties as in :class:`RegularizedTransferClassifier`, beside half the squared error
    of the columns of ``y`` in units of their standard deviation.

    Parameters
    ----------
    backbone : str, callable, torch.nn.Module, Backbone, fitted estimator or None, default=None
        Network to start from, see :func:`~skltransfer.load_backbone`: ``"tiny"`` works offline,
        ``"hf:NAME"`` takes texts. A fitted estimator of this family gives its trained network
        without the output layer. Held by reference and never changed. ``None``: a table network
        with `hidden_layer_sizes` and random weights.
    weights : str, Path, torchvision weights or None, default="default"
        Weights to start from: the published ones, a file of weights, or random weights (``None``).
    penalty : {"l2_sp", "l2_sp_fisher", "delta", "bss", "l2"}, default="l2_sp"
        Squared distance of carried weights from the source's [1]_; the same with each weight as
        strong as its Fisher information says, in units of its mean (EWC [4]_); squared distance
        of the feature maps of all stages from the source's [5]_; the smallest singular values of
        a batch's features, squared (batch spectral shrinkage [6]_); or the squared weights.
    alpha : float, default=0.01
        Strength of the penalty, at least 0; 0.01 to 10 are the values to search.
    head_alpha : float, default=0.01
        Strength of the pull of the head's matrices to zero.
    fisher_rows : array-like, default=None
        Rows of the source task for the Fisher information, at most 200 of which are drawn. Held by
        reference. ``None``: the rows of the task; in `partial_fit` those of each call.
    n_singular_values : int, default=1
        Number of singular values that ``"bss"`` shrinks.
    strategy : {"finetune", "linear_probe", "lp_ft"}, default="finetune"
        Train the network and its head together; the head alone, on features that are computed
        once; or first the head alone and then both [2]_.
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
        weights.
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
    FineTunedRegressor : The same without the pull.
    TransferLogisticRegression : L2-SP of a linear classifier, to its optimum.

    Notes
    -----
    With L-BFGS the penalty's gradient is added in place. With AdamW and SGD each step is followed
    by an implicit step of the penalty, in place, ``w <- (w + r alpha w_source) / (1 + r alpha)``,
    stable for any `alpha`, at the rate ``r`` with which the optimiser follows a steady gradient:
    divided by one minus SGD's momentum, or by AdamW's root mean square of the loss's gradient. So
    the sum above is what every optimiser minimises.

    The source is `backbone` as it was given, also after `warm_start` and `partial_fit`. With
    ``penalty="delta"`` channels have equal weights, and squared differences are averaged over
    positions. Forms of ``X`` and all else are as in :class:`FineTunedRegressor`.

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
        weights="default",
        penalty="l2_sp",
        alpha=0.01,
        head_alpha=0.01,
        fisher_rows=None,
        n_singular_values=1,
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
        self.random_state = random_state
