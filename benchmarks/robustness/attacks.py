"""Attacks on fine-tuned networks by people who have the public weights, and not the network.

The embedded network ``tiny`` (characters) learns scikit-learn's digits in several ways from 200
labelled ones, at 16 pixels a side. An attacker has 200 others, and makes a network of their own: of
the public weights, or of random ones, which is the control. Examples that 10 steps of projected
gradient descent make on it are given to the networks under attack. Beside these, the attack by
somebody who has the network itself, the fast gradient sign method, and noise of the same size.
Epsilon is in parts of the range from black to white. 0.1 is a change that one sees.

Accuracy on 100 digits that no network was trained on, mean of 5 draws; intervals are Student's over
the draws, differences are paired. The ways differ in accuracy without an attack, so that "lost"
tells more: points between the samples as they are and the attacked ones.
"""

from __future__ import annotations

from benchmarks._measure import Parts, make_parser, one_thread, write

one_thread()

import numpy as np
from sklearn.datasets import load_digits

from skltransfer import (
    FineTunedClassifier,
    RegularizedTransferClassifier,
    adversarial_examples,
)
from skltransfer.model_selection import mean_interval

NEEDS = ["art"]
CLAIMS = [
    {
        "claim": "digits, fine-tuned: accuracy under PGD with the network itself, epsilon 0.1",
        "beside": "limit",
        "value": ["rows", {"victim": "fine-tuned", "epsilon": 0.1}, "pgd", "accuracy", "mean"],
        "at_most": 50,
        "unit": "%",
    },
    {
        "claim": "digits, fine-tuned: lost to public weights beyond random ones, lower end",
        "beside": "a network of random weights",
        "value": [
            "rows",
            {"victim": "fine-tuned", "epsilon": 0.1},
            "public weights minus random weights",
            "low",
        ],
        "at_least": 0,
        "unit": "points",
    },
]

EPSILONS = (0.05, 0.1)
N_DRAWS, N_TRAIN, N_TEST, N_STEPS = 5, 200, 100, 10
IMAGES = {"image_shape": (8, 8), "value_range": (0, 16), "input_size": 16}
RANDOM = {"weights": None, "max_epochs": 15}
PUBLIC, OTHER = "public weights, fine-tuned", "random weights"


def victims(seed: int) -> dict:
    """Return ways to reuse the public weights, and a network that does not."""
    settings = {"random_state": seed, **IMAGES}
    return {
        "linear probe": FineTunedClassifier("tiny", strategy="linear_probe", **settings),
        "fine-tuned": FineTunedClassifier("tiny", max_epochs=6, **settings),
        "L2-SP": RegularizedTransferClassifier("tiny", max_epochs=6, **settings),
        "random weights": FineTunedClassifier("tiny", **RANDOM, **settings),
    }


def surrogates(seed: int) -> dict:
    """Return networks that an attacker can train on samples of their own."""
    settings = {"random_state": 1000 + seed, **IMAGES}
    return {
        "public weights, linear probe": FineTunedClassifier(
            "tiny", strategy="linear_probe", **settings
        ),
        PUBLIC: FineTunedClassifier("tiny", max_epochs=6, **settings),
        OTHER: FineTunedClassifier("tiny", **RANDOM, **settings),
    }


def score_draw(number: int, n_test: int) -> list:
    """Return accuracies in percent of each victim, attack and epsilon, and of the attackers."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(number).permutation(len(y))
    own, others, test = np.split(order[: 2 * N_TRAIN + n_test], [N_TRAIN, 2 * N_TRAIN])
    X_test, y_test = X[test], y[test]
    networks = {name: each.fit(X[own], y[own]) for name, each in victims(number).items()}
    attackers = {name: each.fit(X[others], y[others]) for name, each in surrogates(number).items()}
    scores = {}

    def attack(network, method, epsilon):
        return adversarial_examples(
            network, X_test, y_test, epsilon=epsilon, method=method, n_steps=N_STEPS,
            random_state=number,
        )  # fmt: skip

    def score(name, samples):
        return 100 * float(np.mean(networks[name].predict(samples) == y_test))

    for name, network in networks.items():
        clean = score(name, X_test)
        for epsilon in EPSILONS:
            scores[name, "none", epsilon] = clean
            for method in ("noise", "fgsm", "pgd"):
                scores[name, method, epsilon] = score(name, attack(network, method, epsilon))
    for attacker, network in attackers.items():
        for epsilon in EPSILONS:
            samples = attack(network, "pgd", epsilon)
            for name in networks:
                scores[name, f"pgd on {attacker}", epsilon] = score(name, samples)
    alone = {
        name: 100 * float(np.mean(network.predict(X_test) == y_test))
        for name, network in attackers.items()
    }
    return [[[*key, score] for key, score in scores.items()], alone]


def interval(values) -> dict[str, float]:
    """Return mean and interval."""
    mean, low, high = mean_interval(values)
    return {"mean": round(mean, 2), "low": round(low, 2), "high": round(high, 2)}


def main(options) -> None:
    """Score every victim under every attack."""
    n_draws, n_test = (2, 10) if options.quick else (N_DRAWS, N_TEST)
    parts = Parts(__file__, options)
    numbers = range(n_draws) if options.draws is None else options.draws
    drawn = [parts.get([n, n_test], lambda n=n: score_draw(n, n_test)) for n in numbers]
    if options.draws is not None:
        return
    found = [{tuple(key): score for *key, score in scores} for scores, _ in drawn]
    attackers = [alone for _, alone in drawn]
    rows = []
    for victim in victims(0):
        for epsilon in EPSILONS:
            row = {"victim": victim, "epsilon": epsilon}
            by_attack = {
                attack: np.array([scores[victim, attack, epsilon] for scores in found])
                for name, attack, size in found[0]
                if (name, size) == (victim, epsilon)
            }
            for attack, values in by_attack.items():
                row[attack] = {"accuracy": interval(values)}
                if attack != "none":
                    row[attack]["lost"] = interval(by_attack["none"] - values)
            row["public weights minus random weights"] = interval(
                by_attack[f"pgd on {OTHER}"] - by_attack[f"pgd on {PUBLIC}"]
            )
            rows.append(row)
    record = {
        "draws": n_draws,
        "n_train": N_TRAIN,
        "n_test": n_test,
        "n_steps": N_STEPS,
        "metric": "accuracy in percent",
        "attackers": {
            name: interval([alone[name] for alone in attackers]) for name in attackers[0]
        },
        "rows": rows,
    }
    write(__file__, record, options)
    parts.close()


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "--draws", nargs="+", type=int, default=None,
        help="some draws, whose results are kept for a run without this option",
    )  # fmt: skip
    main(parser.parse_args())
