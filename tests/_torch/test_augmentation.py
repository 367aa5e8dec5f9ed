"""Augmentation: each policy changes pixels; mixtures against their definition."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from skltransfer._networks._labels import Classes
from skltransfer._networks._objective import LabelLoss
from skltransfer._torch import _augmentation
from skltransfer._torch._augmentation import MIXES, POLICIES, Augmentation, names_of
from skltransfer._torch._batches import Batch


@pytest.fixture(autouse=True)
def _own_chance():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(n=6, dtype=torch.uint8, side=16):
    x = torch.randint(0, 256, (n, 3, side, side)).to(torch.uint8)
    return x if dtype == torch.uint8 else x.to(dtype) / 255


def changed(policies, x, are_images=True):
    batch = Batch(x, torch.arange(len(x)), torch.ones(len(x)))
    return Augmentation(names_of(policies), are_images)(batch)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_policy_changes_pixels_and_nothing_else(policy, dtype):
    x = images(12, dtype)
    kept = x.clone()
    batch = changed(policy, x)
    assert torch.equal(x, kept)
    assert batch.inputs.shape == x.shape and batch.inputs.dtype == x.dtype
    is_moved = (batch.inputs != x).flatten(1).any(1)
    assert is_moved.any()
    assert torch.equal(batch.targets, torch.arange(12)) and batch.partners is None
    assert not torch.equal(batch.inputs, changed(policy, x).inputs)
    torch.manual_seed(4)
    first = changed(policy, x).inputs
    torch.manual_seed(4)
    assert torch.equal(first, changed(policy, x).inputs)


def test_flips_mirror_single_images():
    x = images(40)
    flipped = changed("flip", x).inputs
    is_flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(flipped, x, strict=True)]
    is_kept = [torch.equal(a, b) for a, b in zip(flipped, x, strict=True)]
    assert all(np.add(is_flipped, is_kept) == 1)
    assert 8 < sum(is_flipped) < 32


def test_crops_shift():
    x = images(30)
    cropped = changed("crop", x).inputs
    shifts = set()
    for before, after in zip(x, cropped, strict=True):
        fits = [
            (i, j)
            for i in range(-2, 3)
            for j in range(-2, 3)
            if torch.equal(
                after[:, 2:-2, 2:-2].roll((i, j), (1, 2))[:, 4:-4, 4:-4],
                before[:, 2:-2, 2:-2][:, 4:-4, 4:-4],
            )
        ]
        assert len(fits) == 1
        shifts.add(fits[0])
    assert len(shifts) > 8


def test_policies_are_applied_in_their_order():
    calls = []

    def one(x):
        calls.append("one")
        return x + 1

    def two(x):
        calls.append("two")
        return x * 2

    batch = changed([one, two], torch.zeros(3, 2), are_images=False)
    assert calls == ["one", "two"]
    assert torch.equal(batch.inputs, torch.full((3, 2), 2.0))


def test_grey_images_and_other_sizes():
    augment = Augmentation(["crop", "flip"], True)
    for shape in ((4, 1, 8, 8), (4, 1, 12, 20), (4, 3, 8, 8)):
        x = torch.rand(shape)
        assert augment(Batch(x, torch.zeros(4))).inputs.shape == shape


# --- mixtures ------------------------------------------------------------------------------


def loss_of_run(outputs, batch):
    """Return what the training computes, with the weights that its loop multiplies by."""
    objective = LabelLoss(Classes(np.zeros(0), 3, {"classes_": np.arange(3)}))
    losses = objective(lambda _: outputs, batch)["label_loss"]
    return losses if batch.weights is None else losses * batch.weights


@pytest.mark.parametrize("kind", MIXES)
@pytest.mark.parametrize("weighted", [False, True])
def test_mixtures_against_their_definition(kind, weighted):
    n = 8
    x, targets = images(n, torch.float64), torch.arange(n) % 3
    weights = torch.rand(n, dtype=torch.float64) + 0.1 if weighted else None
    outputs = torch.randn(n, 3, dtype=torch.float64)
    shares = set()
    for _ in range(20):
        batch = Augmentation([kind], True)(Batch(x, targets, weights))
        # Which row is which one's partner can be read off the pixels.
        share = float(batch.share[0])
        shares.add(share)
        for row in range(n):
            fits = []
            for partner in range(n):
                if kind == "mixup":
                    fits.append(
                        torch.allclose(
                            batch.inputs[row], share * x[row] + (1 - share) * x[partner], atol=1e-6
                        )
                    )
                else:
                    own = batch.inputs[row] == x[row]
                    other = batch.inputs[row] == x[partner]
                    fits.append(
                        bool((own | other).all())
                        and (partner == row or abs(own.all(0).double().mean() - share) < 0.03)
                    )
            partners = np.flatnonzero(fits)
            assert len(partners) >= 1
            if len(partners) > 1:  # (nearly) nothing was mixed in
                continue
            partner = partners[0]
            assert batch.partners[row] == targets[partner]
            own, other = (
                functional.cross_entropy(outputs[row : row + 1], targets[i : i + 1])
                for i in (row, partner)
            )
            w_own, w_other = (1, 1) if weights is None else (weights[row], weights[partner])
            expected = share * w_own * own + (1 - share) * w_other * other
            computed = loss_of_run(outputs, batch)[row]
            torch.testing.assert_close(computed, expected, rtol=1e-6, atol=1e-6)
        assert torch.equal(batch.targets, targets)
    assert len(shares) > 5 and all(0 <= share <= 1 for share in shares)


def test_mixup_of_bytes_is_mixup_of_pixels():
    x = images(5)
    torch.manual_seed(3)
    from_bytes = changed("mixup", x)
    torch.manual_seed(3)
    from_pixels = changed("mixup", x.float() / 255)
    torch.testing.assert_close(from_bytes.inputs, from_pixels.inputs)


def test_a_patch_has_the_area_it_says():
    x = torch.stack([torch.full((1, 10, 14), float(i)) for i in range(4)])
    for share in (0.0, 0.3, 0.77, 1.0):
        mixed, true = _augmentation._with_patch(x, torch.tensor([1, 2, 3, 0]), share)
        own = (mixed == x).double().mean((1, 2, 3))
        torch.testing.assert_close(own, torch.full_like(own, true))
        assert abs(true - share) < 0.15


@pytest.mark.parametrize(
    "augment, error, words",
    [
        ("flop", ValueError, "no policy 'flop'.*Did you mean 'flip'.*cutmix"),
        (["mixup", "cutmix"], ValueError, "choose one"),
        (3, TypeError, "augment=3"),
        (["flip", 3], TypeError, "neither the name of a policy"),
    ],
)
def test_bad_policies(augment, error, words):
    with pytest.raises(error, match=words):
        names_of(augment)


def test_tables_have_no_pixels():
    with pytest.raises(ValueError, match="augment='flip' changes images.*'mixup' or a callable"):
        Augmentation(["flip"], are_images=False)


def test_rows_may_not_get_lost():
    with pytest.raises(ValueError, match="augment returned 2 rows for a batch of 3"):
        changed(lambda x: x[:2], torch.zeros(3, 2), are_images=False)
