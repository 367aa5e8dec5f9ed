from skltransfer.metrics._domain_distances import (
    coral_distance,
    effective_sample_size,
    proxy_a_distance,
    sliced_wasserstein_distance,
    word_domain_similarity,
)
from skltransfer.metrics._mmd import MMDTest, mmd, mmd_test
from skltransfer.metrics._transferability import (
    h_score,
    leep_score,
    logme_score,
    nce_score,
    transrate_score,
)

__all__ = [
    "MMDTest",
    "coral_distance",
    "effective_sample_size",
    "h_score",
    "leep_score",
    "logme_score",
    "mmd",
    "mmd_test",
    "nce_score",
    "proxy_a_distance",
    "sliced_wasserstein_distance",
    "transrate_score",
    "word_domain_similarity",
]
