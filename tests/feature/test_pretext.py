"""Views and objectives of self-supervised training, one by one, against plain numpy."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from skltransfer import Preprocessing
from skltransfer._networks._built import TransferNetwork
from skltransfer._torch._batches import Batch
from skltransfer._torch._extraction import FeatureNetwork
from skltransfer._torch._layers import Standardize
from skltransfer.feature._pretext import (
    DenoisedColumns,
    DenoisedImages,
    MaskedColumns,
    MaskedImages,
    Rotation,
    TwoViews,
)
from skltransfer.feature._views import (
    ImageViews,
    Noise,
    PolicyViews,
    SwappedColumns,
    checked_policies,
    patch_mask,
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Known:
    """A stand-in for the network: keeps what it sees, gives what it is told to."""

    dtype = torch.float64

    def __init__(self, outputs):
        self.outputs, self.seen = outputs, None

    def embed(self, x):
        self.seen = x
        return self.outputs(x)


def loss_of(objective, network, x):
    """Return the loss of each row where the head gives what the network does."""
    objective.head = nn.Identity()
    return sum(objective(network, Batch(x, torch.zeros(len(x)))).values())


IMAGES = torch.rand((6, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TABLE = torch.tensor(np.random.default_rng(0).normal(size=(400, 5)) * [1, 10, 0.1, 5, 2] + 3)


def columns_of(table):
    columns = Standardize(table.shape[1], of_one_kind=False).double()
    columns.learn(table)
    return columns


# --- views -----------------------------------------------------------------------------------


def test_views_of_images_differ_a_little_and_stay_images():
    views = ImageViews(1.0)
    a, b = views(IMAGES), views(IMAGES)
    assert a.shape == IMAGES.shape and a.dtype == IMAGES.dtype
    assert a.min() >= 0 and a.max() <= 1
    assert not torch.equal(a, b)
    assert torch.equal(ImageViews(0.0)(IMAGES), IMAGES)
    little = (ImageViews(0.1)(IMAGES) - IMAGES).abs().mean()
    assert 0 < little < (a - IMAGES).abs().mean()


def test_views_of_images_are_not_mirrored_and_each_moves_alone():
    """A bar on the left stays on the left, and no two of the same images come out alike."""
    bar = torch.zeros((200, 1, 16, 16))
    bar[..., 2:5] = 1.0
    moved = ImageViews(1.0)(bar)
    left, right = moved[..., :8].mean((1, 2, 3)), moved[..., 8:].mean((1, 2, 3))
    assert (left > right).all()
    assert len(torch.unique(moved, dim=0)) == 200


def test_strong_views_do_not_invert_contrast():
    ramp = torch.linspace(0, 1, 32).expand(100, 1, 32, 32)
    moved = ImageViews(3.0)._recoloured(ramp)
    assert (moved[..., -4:].mean((1, 2, 3)) >= moved[..., :4].mean((1, 2, 3)) - 0.2).all()


def test_a_transform_of_torchvision_meets_each_image_alone():
    views = PolicyViews([v2.RandomHorizontalFlip()], are_images=True)
    x = IMAGES[:1].expand(64, 1, 8, 8)
    flipped = (views(x) == x.flip(3)).all(dim=(1, 2, 3))
    assert 10 < int(flipped.sum()) < 54
    own = PolicyViews([lambda x: x * 0.5], are_images=False)
    torch.testing.assert_close(own(TABLE), TABLE * 0.5)
    with pytest.raises(ValueError, match="augment='mixup'.*a view shows one sample"):
        checked_policies("mixup")


@pytest.mark.parametrize("share", [0.01, 0.4, 1.0])
def test_swap_noise_replaces_that_part_by_values_of_the_column(share):
    corrupted = SwappedColumns(share)(TABLE)
    changed = corrupted != TABLE
    n_replaced = max(1, round(share * 5))
    # A row may be its own donor.
    assert (changed.sum(1) <= n_replaced).all()
    assert changed.double().mean() == pytest.approx(n_replaced / 5, abs=0.02)
    assert changed.any(0).all()
    for column in range(5):
        assert torch.isin(corrupted[:, column], TABLE[:, column]).all()
    # Columns are swapped one by one, not a whole row at a time.
    if share == 1.0:
        donors = (corrupted[:, None] == TABLE[None]).int().argmax(1)
        assert (donors[:, 0] != donors[:, 1]).any()


def test_normal_noise_has_the_scale_it_says():
    scale = 0.5 * columns_of(TABLE).scale
    noise = Noise(scale, clip=False)(TABLE) - TABLE
    torch.testing.assert_close(noise.std(0), scale, rtol=0.15, atol=0)
    pixels = Noise(0.3, clip=True)(IMAGES)
    assert pixels.min() == 0 and pixels.max() == 1


@pytest.mark.parametrize(("side", "patch", "share", "n"), [(8, 2, 0.5, 8), (9, 4, 1.0, 8)])
def test_patches_are_squares_and_as_many_as_asked(side, patch, share, n):
    mask = patch_mask(torch.zeros((50, 3, side, side)), share, patch)
    assert mask.shape == (50, 1, side, side)
    corners = mask[:, 0, ::patch, ::patch]
    assert (corners.sum((1, 2)) == n).all()
    whole = corners.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, :side, :side]
    assert torch.equal(whole, mask[:, 0])
    assert len(torch.unique(corners, dim=0)) > 5


# --- objectives ------------------------------------------------------------------------------


def test_two_views_go_through_together_and_are_compared_in_order():
    network = Known(lambda x: x)
    views = (lambda x: x, lambda x: x + 1)
    objective = TwoViews(views, lambda a, b: (b - a).sum(1), nn.Identity())
    np.testing.assert_allclose(loss_of(objective, network, TABLE), 5)
    assert len(network.seen) == 2 * len(TABLE)


def test_rotation_knows_all_four_positions():
    outputs = torch.randn((24, 4), dtype=torch.float64)
    network = Known(lambda x: outputs)
    found = loss_of(Rotation(1), network, IMAGES)
    log_p = (outputs - outputs.exp().sum(1, keepdim=True).log()).numpy()
    expected = [-np.mean([log_p[6 * turns + i, turns] for turns in range(4)]) for i in range(6)]
    np.testing.assert_allclose(found, expected)
    for turns in range(4):
        np.testing.assert_array_equal(
            network.seen[6 * turns : 6 * turns + 6, 0],
            [np.rot90(image[0], turns) for image in IMAGES.numpy()],
        )


def test_denoised_columns_are_compared_with_the_clean_ones():
    columns, noise = columns_of(TABLE), []

    def corrupt(x):
        noise.append(torch.randn_like(x))
        return x + noise[-1]

    network = Known(lambda x: torch.zeros_like(x))
    found = loss_of(DenoisedColumns(1, corrupt, columns), network, TABLE)
    clean = ((TABLE - TABLE.mean(0)) / TABLE.std(0, unbiased=False)).numpy()
    np.testing.assert_allclose(found, (clean**2).mean(1))
    assert torch.equal(network.seen, TABLE + noise[0])


def test_masked_columns_estimate_the_mask_and_the_values():
    columns = columns_of(TABLE)
    logits = torch.randn((len(TABLE), 10), dtype=torch.float64)
    network = Known(lambda x: logits)
    found = loss_of(MaskedColumns(1, SwappedColumns(0.4), columns), network, TABLE)
    changed = (network.seen != TABLE).numpy()
    p = 1 / (1 + np.exp(-logits[:, :5].numpy()))
    mask = -np.where(changed, np.log(p), np.log(1 - p)).mean(1)
    clean = ((TABLE - TABLE.mean(0)) / TABLE.std(0, unbiased=False)).numpy()
    values = ((logits[:, 5:].numpy() - clean) ** 2).mean(1)
    np.testing.assert_allclose(found, mask + 2 * values)


def test_denoised_images_are_compared_with_the_clean_ones():
    objective = DenoisedImages(1, lambda x: x * 0, (1, 8, 8))
    found = loss_of(objective, Known(lambda x: x.flatten(1) + 0.5), IMAGES)
    np.testing.assert_allclose(found, ((IMAGES - 0.5) ** 2).mean((1, 2, 3)))
    assert DenoisedImages(1, lambda x: x, (3, 224, 100)).shape == (3, 32, 32)


def test_masked_images_are_compared_where_they_were_covered():
    objective = MaskedImages(1, 0.5, (1, 8, 8))
    network = Known(lambda x: torch.zeros((len(x), 64), dtype=x.dtype))
    found = loss_of(objective, network, IMAGES)
    covered = (network.seen != IMAGES).numpy()
    pixels = IMAGES.numpy()
    expected = [(image[c] ** 2).mean() for image, c in zip(pixels, covered, strict=True)]
    np.testing.assert_allclose(found, expected)
    means = np.broadcast_to(pixels.mean((2, 3), keepdims=True), pixels.shape)
    np.testing.assert_allclose(network.seen[covered], means[covered])
    np.testing.assert_allclose(covered.mean((1, 2, 3)), 0.5)


def test_the_network_normalises_the_pixels_of_the_views():
    features = FeatureNetwork(nn.Flatten().eval(), {}, "avg", False)
    preprocessing = Preprocessing(8, 8, (0.5,), (0.25,))
    network = TransferNetwork(features, nn.Identity(), preprocessing, torch.float64)
    seen = []
    views = (lambda x: seen.append(x) or x, lambda x: x)
    objective = TwoViews(views, lambda a, b: a.sum(1) + 0 * b.sum(1), None)
    pixels = (IMAGES * 255).to(torch.uint8)
    loss = loss_of(objective, network, pixels)
    numbers = pixels.double() / 255
    torch.testing.assert_close(seen[0], numbers)
    torch.testing.assert_close(loss, ((numbers - 0.5) / 0.25).flatten(1).sum(1))


def test_the_head_is_trained_and_views_and_losses_stay_in_full_precision():
    head, dtypes = nn.Linear(5, 2), {}
    weight = TABLE[:5].float()

    class Network(Known):
        dtype = torch.float32

    def features(x):
        dtypes["network"] = nn.functional.linear(x, weight).dtype
        return x

    def loss(a, b):
        dtypes["outputs"], dtypes["loss"] = a.dtype, (weight @ weight.T).dtype
        return (a - b).sum(1)

    objective = TwoViews((lambda x: x, lambda x: x), loss, head)
    assert objective.modules() == (head,)
    with torch.autocast("cpu", torch.bfloat16):
        objective(Network(features), Batch(TABLE.float(), torch.zeros(len(TABLE))))
    assert dtypes == {"network": torch.bfloat16, "outputs": torch.float32, "loss": torch.float32}
