"""Weights between those of a start and those that training has made of it (WiSE-FT)."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skltransfer._parameters import Number
from skltransfer.parameter._source import LinearModel, match_classes, match_features, read_source

_SHARE = Number(0, 1)


def interpolate_weights(start, tuned, share: float = 0.5):
    r"""Return a model whose weights lie between those of a start and of a trained model.

    .. math::

        \theta = (1 - \text{share}) \, \theta_\text{start} + \text{share} \, \theta_\text{tuned}

    Fine-tuning gains accuracy where its samples come from, and may lose some elsewhere. Weights on
    the line between both often keep most of both (WiSE-FT [1]_).

    Parameters
    ----------
    start : fitted estimator
        A linear model, such as a :class:`~skltransfer.ZeroShotClassifier`; or, if `tuned` is a
        network, a network of the same structure, such as a linear probe
        (``strategy="linear_probe"``) of the same backbone.
    tuned : fitted estimator
        A linear model with ``coef_`` and ``intercept_``, or a ``FineTuned*`` or
        ``RegularizedTransfer*`` estimator. It does not change. With a linear `start`, the
        network of a classifier begins at its pretrained backbone, with that model as its output
        layer.
    share : float, default=0.5
        Share of `tuned`, from 0, which gives the predictions of `start`, to 1, which gives those of
        `tuned`.

    Returns
    -------
    model : estimator of the type of `tuned`
        Fitted copy with other weights.

    Raises
    ------
    ValueError
        If their weights differ in shape, their networks in the classes or in the scale of the
        labels, or `start` lacks a class of `tuned`.
    TypeError
        If one of them has no such weights.

    See Also
    --------
    ZeroShotClassifier : A linear classifier made of class names.
    TransferLogisticRegression : A linear model that is trained near another.

    Notes
    -----
    Classes of linear models are matched by their labels, and features by their names if both were
    fitted on data frames. Tensors of networks are matched by their names, running statistics of
    batch normalisation included. The scores of an interpolated linear model are the interpolated
    scores; those of a network are not.

    References
    ----------
    .. [1] M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, equation (1).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer import interpolate_weights
    >>> X, y = load_iris(return_X_y=True)
    >>> start = LogisticRegression(C=0.01).fit(X, y)
    >>> tuned = LogisticRegression(max_iter=1000).fit(X, y)
    >>> model = interpolate_weights(start, tuned, 0.25)
    >>> bool((model.coef_ == 0.75 * start.coef_ + 0.25 * tuned.coef_).all())
    True
    """
    _SHARE.check("share", share)
    for model in (start, tuned):
        check_is_fitted(model)
    if hasattr(tuned, "_built"):
        return _network_between(start, tuned, share)
    own = read_source(tuned, "tuned")
    if "coef_" not in vars(tuned):
        raise TypeError(
            f"tuned is a {type(tuned).__name__}, which holds its linear model inside, or computes "
            "its coefficients. Pass a model that stores them, such as tuned.best_estimator_ of a "
            "search, or LinearSVC in the place of SVC."
        )
    carried = _matched(start, tuned)
    twin = copy.copy(tuned)
    twin.coef_ = _between(carried.coef, own.coef, share).reshape(np.shape(tuned.coef_))
    if hasattr(tuned, "intercept_"):
        nothing = np.zeros(len(own.coef))
        intercepts = [nothing if m.intercept is None else m.intercept for m in (carried, own)]
        intercept = _between(*intercepts, share)
        if hasattr(tuned, "_x_mean"):  # partial least squares centres the columns itself
            intercept = intercept + np.atleast_2d(twin.coef_) @ tuned._x_mean
        is_one = len(intercept) == 1
        twin.intercept_ = intercept.reshape(np.shape(tuned.intercept_)) if is_one else intercept
    return twin


def _between(start, tuned, share: float):
    return (1 - share) * start + share * tuned


def _matched(start, tuned) -> LinearModel:
    """Return the linear model of `start`, for the features and classes of `tuned`."""
    model = read_source(start, "start")
    classes = getattr(tuned, "classes_", None)
    coef, intercept = model.coef, model.intercept
    if not hasattr(tuned, "_built"):  # the columns of a network are not its features
        names = getattr(tuned, "feature_names_in_", None)
        coef = match_features(model, names, read_source(tuned).coef.shape[1], "start", "tuned")
    if (classes is None) != (model.classes is None):
        raise ValueError("start and tuned have to be both classifiers, or both regressors.")
    if classes is not None:
        missing = sorted(set(classes.tolist()) - set(model.classes.tolist()), key=str)
        if missing:
            raise ValueError(
                f"start does not know the classes {missing[:5]} of tuned: it knows "
                f"{model.classes.tolist()[:5]}. Fit both on the same labels."
            )
        coef, intercept = match_classes(coef, intercept, model.classes, classes)
    elif len(coef) != len(read_source(tuned).coef):
        raise ValueError(
            f"start has {len(coef)} outputs, and tuned has {len(read_source(tuned).coef)}."
        )
    return LinearModel(coef, intercept)


def _network_between(start, tuned, share: float):
    """Do the same for a trained network."""
    own = tuned.network_.state_dict()
    if hasattr(start, "_built"):
        _check_same_labels(start, tuned)
        given = start.network_.state_dict()
        # Kept features are found by the key of the frozen weights.
        is_frozen = start._built.is_frozen and start._built.key == tuned._built.key
    else:
        given, is_frozen = _state_of_start(start, tuned), True
    shapes = [{name: tuple(t.shape) for name, t in state.items()} for state in (given, own)]
    if shapes[0] != shapes[1]:
        odd = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))[0]
        raise ValueError(
            f"The networks of start and tuned differ, such as in the tensor {odd[0]} of shape "
            f"{odd[1]}. Fit both with the same backbone, layers, head and classes."
        )
    network = copy.deepcopy(tuned.network_)
    network.load_state_dict(
        {
            name: given[name].to(tensor).lerp(tensor, share)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in own.items()
        }
    )
    twin, is_frozen = copy.copy(tuned), is_frozen and tuned._built.is_frozen
    twin._built = replace(tuned._built, held=network, is_frozen=is_frozen)
    return twin


def _check_same_labels(start, tuned) -> None:
    """Raise a ValueError unless the outputs of both networks mean the same."""
    for name in ("classes_", "_is_flat"):
        values = [getattr(model, name, None) for model in (start, tuned)]
        if not np.array_equal(*values):
            raise ValueError(
                "start and tuned were fitted on labels of other classes or another shape. Fit both "
                "on the same labels."
            )
    for name in ("mean", "scale"):  # of numbers
        values = [getattr(model._labels, name, None) for model in (start, tuned)]
        if not np.array_equal(*values):
            raise ValueError(
                "start and tuned have standardised their labels in another way, so that no weights "
                "lie between them. Fit both on the same samples."
            )


def _state_of_start(start, tuned) -> dict:
    """Return the tensors of the pretrained network with a linear model as its output layer."""
    import torch

    from skltransfer._torch._layers import LinearHead

    built = tuned._built.with_source(tuned._load(None))
    head = tuned.network_.head
    is_linear = isinstance(head, LinearHead) and built.record.module is not None
    if not is_linear or not hasattr(tuned, "classes_"):
        raise TypeError(
            f"start is a {type(start).__name__}, which can begin only the network of a classifier "
            "with a backbone= and head='linear'. Pass a network that was fitted by "
            "strategy='linear_probe'."
        )
    model = _matched(start, tuned)
    if model.coef.shape[1] != built.n_features:
        raise ValueError(
            f"start has coefficients for {model.coef.shape[1]} features, and the network of tuned "
            f"has {built.n_features} before its output layer. Fit start on features of the same "
            "backbone, layers and pooling."
        )
    features = copy.deepcopy(built.network.features)
    features.module.load_state_dict(built.record.module.state_dict())
    state = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    # Behind standardised features: the same function.
    like = head.output.weight
    coef = torch.as_tensor(model.coef, dtype=torch.float64, device=like.device)
    mean, scale = head.features.mean.double(), head.features.scale.double()
    intercept = np.zeros(len(model.coef)) if model.intercept is None else model.intercept
    intercept = torch.as_tensor(intercept, dtype=torch.float64, device=like.device)
    state |= {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    state["head.output.weight"] = (coef * scale).to(like)
    state["head.output.bias"] = (intercept + coef @ mean).to(like)
    return state
