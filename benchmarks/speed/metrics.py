"""LogME beside one product of the features, and MMD beside numpy with whole kernel matrices.

LogME: 5000 samples, 512 features, 100 classes, in float64; the limit is one ``X.T @ X``. Beside it
the published iteration, class by class, from one singular value decomposition. MMD: the biased
estimate with the rbf kernel of two domains of 5000 samples with 10 features, beside three kernel
matrices from squared norms and a product. Memory is the peak of what numpy allocates. The last row
is one run with 100 000 samples in each domain, of which no kernel matrix would fit into memory
(80 GB each).

What is asserted: LogME equals the published iteration run to convergence to 1e-6 and MMD equals
the whole matrices to 1e-12.
"""

from __future__ import annotations

import time
import tracemalloc

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np

from skltransfer.metrics import logme_score, mmd, mmd_test

CLAIMS = [
    {
        "claim": "LogME, 5000 x 512, 100 classes",
        "beside": "one X.T @ X",
        "value": ["logme", "of one product"],
        "at_most": 2.5,
    },
    {
        "claim": "LogME, 5000 x 512, 100 classes",
        "beside": "published iteration",
        "value": ["logme", "published / skltransfer"],
        "at_least": 1,
    },
    {
        "claim": "MMD, 5000 samples a side",
        "beside": "numpy, whole matrices",
        "value": ["mmd", "numpy / skltransfer"],
        "at_least": 3,
    },
    {
        "claim": "memory of MMD, 5000 samples a side",
        "beside": "limit",
        "value": ["mmd", "peak megabytes"],
        "at_most": 20,
        "unit": "MB",
    },
    {
        "claim": "memory of MMD, 100 000 samples a side",
        "beside": "limit",
        "value": ["mmd, many samples", "peak megabytes"],
        "at_most": 200,
        "unit": "MB",
    },
]
GAMMA = 0.1


def published_logme(F: np.ndarray, y: np.ndarray, n_iterations: int, tol: float) -> float:
    """Return LogME by the fixed-point iteration of its authors, for each class in turn."""
    n, d = F.shape
    u, s, vh = np.linalg.svd(F, full_matrices=False)
    e = s**2
    scores = []
    for label in np.unique(y):
        z = (y == label).astype(float)
        projected = u.T @ z
        squares = projected**2
        rest = (z**2).sum() - squares.sum()
        a = b = 1.0
        for _ in range(n_iterations):
            t = a / b
            gamma = (e / (e + t)).sum()
            m2 = (e * squares / (t + e) ** 2).sum()
            error = (squares / (1 + e / t) ** 2).sum() + rest
            a, b = gamma / (m2 + 1e-12), (n - gamma) / (error + 1e-12)
            if abs(a / b - t) / t <= tol:
                break
        evidence = d / 2 * np.log(a) + n / 2 * np.log(b) - 0.5 * np.log(a + b * e).sum()
        evidence += -b / 2 * error - a / 2 * m2 - n / 2 * np.log(2 * np.pi)
        scores.append(evidence / n)
    return float(np.mean(scores))


def of_numpy(X: np.ndarray, T: np.ndarray) -> float:
    """Return the biased estimate from whole kernel matrices."""

    def kernel(A, B):
        squares = (A**2).sum(axis=1)[:, None] + (B**2).sum(axis=1) - 2 * A @ B.T
        return np.exp(-GAMMA * squares)

    return kernel(X, X).mean() + kernel(T, T).mean() - 2 * kernel(X, T).mean()


def peak_megabytes(run) -> float:
    """Return the peak of what numpy allocates in a call."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def logme(options) -> dict:
    """Time LogME."""
    n, d, n_classes = (500, 64, 10) if options.quick else (5000, 512, 100)
    rng = np.random.default_rng(0)
    y = rng.integers(n_classes, size=n)
    X = np.maximum(rng.normal(size=(n, d)) + 0.3 * rng.normal(size=(n_classes, d))[y], 0)
    times = interleave(
        {
            "one product": lambda: X.T @ X,
            "skltransfer": lambda: logme_score(X, y),
            "published, 11 iterations": lambda: published_logme(X, y, 11, 1e-3),
        },
        rounds(9, options),
    )
    found = {name: time.pop("result") for name, time in times.items()}
    converged = published_logme(X, y, 1000, 1e-9)
    error = abs(found["skltransfer"] - converged)
    assert error < 1e-6, error
    ours = times["skltransfer"]["cpu_seconds"]
    return {
        "samples, features, classes": [n, d, n_classes],
        "of one product": ours / times["one product"]["cpu_seconds"],
        "published / skltransfer": times["published, 11 iterations"]["cpu_seconds"] / ours,
        "difference to the published iteration, converged": error,
        "times": times,
    }


def discrepancy(options) -> dict:
    """Time MMD and its test."""
    n = 600 if options.quick else 5000
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(n, 10)), rng.normal(0.1, size=(n, 10))
    times = interleave(
        {
            "numpy": lambda: of_numpy(X, T),
            "skltransfer": lambda: mmd(X, T, estimator="biased", gamma=GAMMA),
            "skltransfer, linear time": lambda: mmd(X, T, estimator="linear", gamma=GAMMA),
        },
        rounds(5, options),
    )
    found = {name: time.pop("result") for name, time in times.items()}
    error = abs(found["skltransfer"] - found["numpy"])
    assert error < 1e-12, error
    few = X[: n // 5], T[: n // 5]
    start = time.process_time()
    mmd_test(*few, gamma=GAMMA, n_permutations=200)
    return {
        "samples in each domain": n,
        "numpy / skltransfer": times["numpy"]["cpu_seconds"] / times["skltransfer"]["cpu_seconds"],
        "peak megabytes": peak_megabytes(lambda: mmd(X, T, estimator="biased", gamma=GAMMA)),
        "peak megabytes, numpy": peak_megabytes(lambda: of_numpy(X, T)),
        "difference to numpy": error,
        "values": found,
        "cpu seconds of a test with 200 permutations, a fifth of the samples": time.process_time()
        - start,
        "times": times,
    }


def many_samples(options) -> dict:
    """Run MMD once where no kernel matrix would fit."""
    n = 2000 if options.quick else 100_000
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(n, 10)), rng.normal(0.1, size=(n, 10))
    value = {}

    def run():
        value["mmd"] = mmd(X, T, gamma=GAMMA)

    start = time.process_time()
    peak = peak_megabytes(run)
    gaussian = (1 + 4 * GAMMA) ** -5 * 2 * (1 - np.exp(-GAMMA * 10 * 0.1**2 / (1 + 4 * GAMMA)))
    return {
        "samples in each domain": n,
        "cpu seconds": time.process_time() - start,
        "peak megabytes": peak,
        "value": value["mmd"],
        "value of the two normal distributions": gaussian,
    }


def main(options) -> None:
    """Measure LogME, MMD, and MMD of many samples."""
    record = {
        "logme": logme(options),
        "mmd": discrepancy(options),
        "mmd, many samples": many_samples(options),
    }
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
