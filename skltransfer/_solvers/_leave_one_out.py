"""Ridge regression and its leave-one-out predictions, for many labellings and problems at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skltransfer._blas import threads_by


class LeaveOneOut(NamedTuple):
    """A fitted ridge regression.

    Parameters
    ----------
    coefficients : ndarray of shape (..., n_features, n_outputs)
    predictions : ndarray of shape (..., n_samples, n_outputs)
        Prediction of each sample by the fit without it; of a sample without weight, by the fit.
    inverse : ndarray of shape (..., n_features, n_features)
        Inverse of the penalized matrix of second moments.
    leverage : ndarray of shape (..., n_samples, 1)
        Weight of each label in the prediction of its own sample.
    """

    coefficients: np.ndarray
    predictions: np.ndarray
    inverse: np.ndarray
    leverage: np.ndarray


@threads_by(lambda Z, *_, **__: Z.shape[-2] * Z.shape[-1])
def ridge_leave_one_out(Z, Y, sample_weight, penalty: float) -> LeaveOneOut:
    r"""Fit a ridge regression, and predict each sample without it.

    The fit minimizes :math:`\sum_i w_i (y_i - z_i^\top b)^2 + \lambda \lVert b \rVert^2`. With the
    leverage :math:`h_i = w_i z_i^\top (Z^\top W Z + \lambda I)^{-1} z_i`, the fit without sample
    `i` predicts :math:`(\hat y_i - h_i y_i) / (1 - h_i)` for it.

    Parameters
    ----------
    Z : ndarray of shape (..., n_samples, n_features)
        Samples, with a column of ones where there is to be an intercept.
    Y : ndarray of shape (..., n_samples, n_outputs)
        Labels. Each output is a problem of its own.
    sample_weight : ndarray of shape (n_samples,)
    penalty : float
        Above 0, so that every leverage is below 1.

    Returns
    -------
    LeaveOneOut
    """
    weighted = (Z * sample_weight[:, None]).swapaxes(-1, -2)
    moments = weighted @ Z
    diagonal = np.arange(moments.shape[-1])
    moments[..., diagonal, diagonal] += penalty
    inverse = np.linalg.inv(moments)
    coefficients = inverse @ (weighted @ Y)
    leverage = sample_weight[:, None] * ((Z @ inverse) * Z).sum(axis=-1, keepdims=True)
    predictions = (Z @ coefficients - leverage * Y) / (1 - leverage)
    return LeaveOneOut(coefficients, predictions, inverse, leverage)
