"""One round of joint distribution adaptation against scripts that are written for it.

All find the same components. A fit of one round, which checks its input and computes the kernel,
stands beside the scripts with their kernel.

Gaussian shift (source N(0, I), target scale 0.8 and mean 0.5 in half of the coordinates), d = 10,
N / 2 rows in each domain, five classes (the fifths of the first column), rbf kernel of width 0.1,
20 components, lambda = 1. A round starts with the kernel matrix and labels for all target rows, and
includes the eigenproblem, mapped rows of norm 1, and their nearest neighbours. Both scripts form M
class by class. The careful script gives (K H K, K M K + lambda I) to scipy.linalg.eigh, and asks
for the largest 20. The usual script, that of the paper, gives (K M K + lambda I, K H K) to
scipy.linalg.eig. One thread, process CPU time, medians of rounds in which the contenders take
turns.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, write

one_thread()

import numpy as np
import scipy.linalg
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier

from skltransfer import JDA
from skltransfer._solvers._transfer_components import domain_differences

GAMMA, N_COMPONENTS, LAMBDA, N_CLASSES = 0.1, 20, 1.0, 5
CLAIMS = [
    {
        "claim": "a round of JDA, 300 rows",
        "beside": "script with eigh",
        "value": ["rows", {"N": 300}, "ratio_cpu_to_eigh"],
        "at_least": 1.5,
    },
    {
        "claim": "a round of JDA, 600 rows",
        "beside": "script with eigh",
        "value": ["rows", {"N": 600}, "ratio_cpu_to_eigh"],
        "at_least": 2.5,
    },
]


def shifted(n: int, n_features: int = 10, seed: int = 0):
    """Return source rows and labels, and target rows and labels."""
    rng = np.random.default_rng(seed)
    target = 0.8 * rng.normal(size=(n, n_features))
    target[:, : n_features // 2] += 0.5
    source = rng.normal(size=(n, n_features))
    edges = np.quantile(source[:, 0], np.linspace(0, 1, N_CLASSES + 1)[1:-1])
    return source, np.digitize(source[:, 0], edges), target, np.digitize(target[:, 0], edges)


def kernel(X, T):
    """Return the kernel matrix of all rows."""
    return rbf_kernel(np.vstack([X, T]), gamma=GAMMA)


def largest_by_eigh(left, right):
    """Return the largest eigenvalues of the problem, and their vectors."""
    N = len(left)
    values, vectors = scipy.linalg.eigh(right, left, subset_by_index=(N - N_COMPONENTS, N - 1))
    return values[::-1], vectors[:, ::-1]


def largest_by_eig(left, right):
    """Return the same by the solver of problems that are not symmetric, from the inverses."""
    values, vectors = scipy.linalg.eig(left, right)
    values = values.real
    order = np.argsort(np.where(np.isfinite(values) & (values > 0), values, np.inf))
    order = order[:N_COMPONENTS]
    return 1 / values[order], vectors[:, order].real


def script(find, K, X, y, T, guess):
    """Run the round with dense matrices; return eigenvalues."""
    n, m = len(X), len(T)
    N = n + m
    e = np.vstack([np.full((n, 1), 1 / n), np.full((m, 1), -1 / m)])
    M = e @ e.T
    for c in np.unique(y):
        e = np.zeros((N, 1))
        e[:n][y == c] = 1 / np.sum(y == c)
        e[n:][guess == c] = -1 / np.sum(guess == c)
        M = M + e @ e.T
    M = M / np.linalg.norm(M, "fro")
    H = np.eye(N) - np.ones((N, N)) / N
    values, vectors = find(K @ M @ K.T + LAMBDA * np.eye(N), K @ H @ K.T)
    mapped = K @ vectors
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    KNeighborsClassifier(1).fit(mapped[:n], y).predict(mapped[n:])
    return values


def estimator():
    """Return the library's estimator for one round."""
    return JDA(N_COMPONENTS, kernel="rbf", gamma=GAMMA, regularization=LAMBDA, max_iter=1)


def fit(X, y, T, guess):
    """Fit for one round."""
    jda = estimator().fit(X, y, X_target=T, y_target=guess)
    assert jda.residual_ <= 1e-9
    return jda.eigenvalues_


def round_of(jda, spaces, X, y, T, guess):
    """Run what a fit does in each round, where the kernel matrix is there."""
    n = len(X)
    mapped = jda._solve(spaces, domain_differences(n, len(T), y, guess), n + len(T))
    mapped = jda._scaled(mapped)
    jda._guess(mapped[:n], y, mapped[n:])
    assert jda.residual_ <= 1e-9
    return jda.eigenvalues_


def compare(N: int, n_rounds: int) -> dict:
    """Let the contenders take turns, and check that the eigenvalues are the same."""
    data = X, y, T, guess = shifted(N // 2)
    K, jda = kernel(X, T), estimator()
    spaces = jda._start(X, T)
    contenders = {
        "eigh, round": lambda: script(largest_by_eigh, K, *data),
        "eig, round": lambda: script(largest_by_eig, K, *data),
        "skltransfer, round": lambda: round_of(jda, spaces, *data),
        "eigh, with kernel": lambda: script(largest_by_eigh, kernel(X, T), *data),
        "skltransfer, fit": lambda: fit(*data),
    }
    results = interleave(contenders, n_rounds)
    by_eigh, *others = (results[name].pop("result") for name in contenders)
    difference = float(max(np.abs(by_eigh / values - 1).max() for values in others))
    assert difference < 1e-6
    seconds = {name: result["cpu_seconds"] for name, result in results.items()}
    return {
        "N": N,
        "ratio_cpu_to_eigh": seconds["eigh, round"] / seconds["skltransfer, round"],
        "ratio_cpu_to_eig": seconds["eig, round"] / seconds["skltransfer, round"],
        "ratio_cpu_of_fit_to_eigh": seconds["eigh, with kernel"] / seconds["skltransfer, fit"],
        "largest_relative_difference_of_eigenvalues": difference,
        "results": results,
    }


def main(options) -> None:
    """Measure the claims."""
    sizes = ((100, 1),) if options.quick else ((300, 15), (600, 5))
    write(__file__, {"rows": [compare(N, n_rounds) for N, n_rounds in sizes]}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
