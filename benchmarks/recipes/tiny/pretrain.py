"""Train the embedded backbone ``tiny`` on images made by formula.

    python -m benchmarks.recipes.tiny.pretrain [--seed 0] [--steps N] [--weights PATH]

Every run draws its images, trains for a fixed number of steps, and writes the weights in
float16 (safetensors). The record of the embedded weights is ``pretrain.json``, that of
other weights stands beside them. The same seed on the same machine with the same number of
threads gives the same weights.

Two views of one thing have to be nearest neighbours among all views of the step (NT-Xent, Chen
et al. 2020), and a linear classifier has to tell its class: see :class:`Recipe`.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from benchmarks._measure import ROOT, make_parser, output_folder, write
from benchmarks.recipes.tiny.formula_images import FormulaImages, draw_formula_images
from skltransfer.backbones._tiny import TinyResNet

CLAIMS = [
    {
        "claim": "training of tiny",
        "beside": "limit",
        "value": ["cpu_minutes"],
        "at_most": 30,
        "unit": "min",
    },
    {
        "claim": "file of the weights of tiny",
        "beside": "limit",
        "value": ["file_bytes"],
        "at_most": 1_000_000,
        "unit": "bytes",
    },
]
WEIGHTS = ROOT / "skltransfer" / "backbones" / "weights" / "tiny.safetensors"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the seed and the formulas.

    Attributes
    ----------
    counts : dict of str to (int, int)
        Classes and instances per class of each family.
    n_dead_leaves : int
        Images without a class.
    steps, n_pairs : int
        Number of steps, and pairs of views in each.
    leaf_share, glyph_share : float
        Share of dead leaves among the pairs, and of glyphs among the others.
    same_image_share : float
        Share of the pairs that show one image twice (strong augmentation) instead of two
        instances of a class (weak augmentation). Dead leaves are always of the first kind.
    low_resolution_share : float
        Share of the views that are reduced to 8 to 24 pixels a side and enlarged again.
    temperature : float
        Of the contrastive loss.
    label_smoothing : float
        Of the classification loss.
    learning_rate, weight_decay, warm_up : float
        AdamW; ``warm_up`` is the share of steps before the cosine decay begins.
    """

    counts: dict[str, tuple[int, int]] = field(
        default_factory=lambda: {
            "glyphs": (1500, 40),
            "radial_contours": (400, 30),
            "fractals": (400, 30),
            "textures": (300, 30),
            "shapes": (500, 30),
        }
    )
    n_dead_leaves: int = 20_000
    steps: int = 5500
    n_pairs: int = 256
    leaf_share: float = 0.15
    glyph_share: float = 0.5
    same_image_share: float = 0.5
    low_resolution_share: float = 0.2
    temperature: float = 0.15
    label_smoothing: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warm_up: float = 0.05


# Augmentation -----------------------------------------------------------------------------

LOW_RESOLUTIONS = (8, 10, 12, 16, 20, 24)


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Return ``n`` uniform numbers."""
    return low + (high - low) * torch.rand(n, generator=generator)


def move(images: torch.Tensor, strong: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Zoom, turn and shift each image; a strong view is a crop of half the area or more."""
    n = len(images)
    crop = uniform(n, 0.5, 1, generator).sqrt()
    extent = torch.where(strong, crop, 1 / uniform(n, 0.85, 1.2, generator))
    angle = uniform(n, -1, 1, generator) * torch.where(strong, 0.26, 0.17)
    reach = torch.where(strong, 1 - extent, 0.12)
    shift = uniform(2 * n, -1, 1, generator).view(n, 2) * reach[:, None]
    cos, sin = extent * angle.cos(), extent * angle.sin()
    rows = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1)
    grid = F.affine_grid(rows.view(n, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def recolour(
    images: torch.Tensor, strong: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Change brightness, contrast and saturation; strong views also lose polarity and hue.

    All changes are affine in the channels, so each image meets one 3 x 3 matrix.
    """
    n = len(images)
    reach = torch.where(strong, 0.4, 0.2)
    brightness = uniform(n, -0.5, 0.5, generator) * reach
    contrast = 1 + uniform(n, -1, 1, generator) * reach
    saturation = 1 + uniform(n, -1, 1, generator) * reach
    saturation = torch.where(torch.rand(n, generator=generator) < 0.2, 0.0, saturation)
    inverted = strong & (torch.rand(n, generator=generator) < 0.15)
    shuffled = strong & (torch.rand(n, generator=generator) < 0.3)
    order = torch.rand(n, 3, generator=generator).argsort(1)
    order = torch.where(shuffled[:, None], order, torch.arange(3))
    mix = saturation[:, None, None] * torch.eye(3)[order]
    mix = mix + ((1 - saturation) / 3)[:, None, None]
    mix = mix * torch.where(inverted, -contrast, contrast)[:, None, None]
    changed = mix @ (images.flatten(2) - 0.5) + (0.5 + brightness)[:, None, None]
    return changed.clamp_(0, 1).view_as(images)


def blur(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blur 30 % of the images by a random amount."""
    n = len(images)
    rows = torch.randperm(n, generator=generator)[: int(0.3 * n)]
    amount = torch.rand(len(rows), 1, 1, 1, generator=generator)
    smooth = F.avg_pool2d(images[rows], 3, stride=1, padding=1, count_include_pad=False)
    smooth = F.avg_pool2d(smooth, 3, stride=1, padding=1, count_include_pad=False)
    blurred = images.clone()
    blurred[rows] = torch.lerp(images[rows], smooth, amount)
    return blurred


def lower_resolution(
    images: torch.Tensor, share: float, generator: torch.Generator
) -> torch.Tensor:
    """Show some images as they would arrive from files with fewer pixels."""
    n = len(images)
    rows = torch.randperm(n, generator=generator)[: int(share * n)]
    coarse = images.clone()
    for size, some in zip(LOW_RESOLUTIONS, rows.tensor_split(len(LOW_RESOLUTIONS)), strict=True):
        small = F.interpolate(images[some], size=size, mode="bilinear", antialias=True)
        coarse[some] = F.interpolate(small, size=images.shape[-1], mode="bilinear")
    return coarse


def augment(
    images: torch.Tensor, strong: torch.Tensor, recipe: Recipe, generator: torch.Generator
) -> torch.Tensor:
    """Return new views of images.

    Parameters
    ----------
    images : tensor of shape (n, 3, 32, 32)
        Images in [0, 1].
    strong : bool tensor of shape (n,)
        Which images are changed strongly.
    recipe : Recipe
        The recipe.
    generator : torch Generator
        The source of the changes.

    Returns
    -------
    views : tensor of shape (n, 3, 32, 32)
        Views, standardised as the network expects them.
    """
    views = recolour(move(images, strong, generator), strong, generator)
    views = lower_resolution(blur(views, generator), recipe.low_resolution_share, generator)
    level = uniform(len(views), 0, 0.06, generator)[:, None, None, None]
    views = views + level * torch.randn(views.shape, generator=generator)
    return (views.clamp_(0, 1) - 0.5) / 0.25


# Pairs ------------------------------------------------------------------------------------


class Pairs:
    """Draws pairs of rows: an image twice, or two instances of a class.

    Parameters
    ----------
    drawn : FormulaImages
        The images.
    recipe : Recipe
        Sizes and shares.
    generator : torch Generator
        The source of the choices.
    """

    def __init__(self, drawn: FormulaImages, recipe: Recipe, generator: torch.Generator):
        self.generator = generator
        labels = torch.from_numpy(drawn.labels)
        _, self.class_of, counts = torch.unique_consecutive(
            labels, return_inverse=True, return_counts=True
        )
        self.class_size, self.class_start = counts, counts.cumsum(0) - counts
        rows = {name: torch.arange(len(labels))[part] for name, part in drawn.families.items()}
        leaves, glyphs = rows.pop("dead_leaves"), rows.pop("glyphs")
        n_leaves = round(recipe.leaf_share * recipe.n_pairs)
        n_glyphs = round(recipe.glyph_share * (recipe.n_pairs - n_leaves))
        n_others = recipe.n_pairs - n_leaves - n_glyphs
        self.pools = [leaves, glyphs, torch.cat(list(rows.values()))]
        self.takes = [n_leaves, n_glyphs, n_others]
        self.queues = [pool[:0] for pool in self.pools]
        self.leaf = torch.arange(recipe.n_pairs) < n_leaves
        self.same_image_share = recipe.same_image_share

    def next_rows(self, k: int) -> torch.Tensor:
        """Return rows of pool ``k`` without repetition until the pool is used up."""
        while len(self.queues[k]) < self.takes[k]:
            order = torch.randperm(len(self.pools[k]), generator=self.generator)
            self.queues[k] = torch.cat([self.queues[k], self.pools[k][order]])
        taken, self.queues[k] = self.queues[k].tensor_split([self.takes[k]])
        return taken

    def draw(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the first rows, the second rows, and which pairs show one image twice."""
        first = torch.cat([self.next_rows(k) for k in range(len(self.pools))])
        chance = torch.rand(2, len(first), generator=self.generator)
        same = self.leaf | (chance[0] < self.same_image_share)
        label = self.class_of[first]
        other = self.class_start[label] + (chance[1] * self.class_size[label]).long()
        return first, torch.where(same, first, other), same


# Training ---------------------------------------------------------------------------------


class PretrainingModel(nn.Module):
    """The backbone with a projection for the contrastive loss and a classifier."""

    def __init__(self, n_classes: int):
        super().__init__()
        self.backbone = TinyResNet()
        self.projection = nn.Sequential(
            nn.Linear(512, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64)
        )
        self.classifier = nn.Linear(512, n_classes)

    def forward(self, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return unit projections and class scores."""
        pooled = F.adaptive_avg_pool2d(self.backbone(views), 2).flatten(1)
        projected = self.projection(F.normalize(pooled, dim=1))
        return F.normalize(projected.float(), dim=1), self.classifier(pooled).float()


def nt_xent(projections: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the normalised temperature-scaled cross-entropy of Chen et al. (2020).

    Parameters
    ----------
    projections : tensor of shape (2 * n_pairs, d)
        Unit vectors; row ``i`` and row ``i + n_pairs`` are a pair.
    labels : tensor of shape (2 * n_pairs,)
        Classes, -1 where there is none. Beside its partner, a row of the same class is left
        out of the comparison: it would be a wrong negative.
    temperature : float
        The temperature.

    Returns
    -------
    loss : tensor of shape ()
        The mean loss.
    """
    n = len(projections)
    partner = torch.arange(n).roll(n // 2)
    excluded = (labels[:, None] == labels) & (labels >= 0)
    excluded |= torch.eye(n, dtype=torch.bool)
    excluded[torch.arange(n), partner] = False
    scores = projections @ projections.T / temperature
    return F.cross_entropy(scores.masked_fill(excluded, float("-inf")), partner)


def learning_rate_factor(step: int, recipe: Recipe) -> float:
    """Return the factor of the learning rate: linear warm-up, then half a cosine."""
    warm_up = max(1, int(recipe.warm_up * recipe.steps))
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, recipe.steps - warm_up)
    return 0.5 * (1 + np.cos(np.pi * done))


def initial_model(n_classes: int, generator: torch.Generator) -> PretrainingModel:
    """Return a model whose initial weights come from ``generator`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        return PretrainingModel(n_classes).to(memory_format=torch.channels_last)


def train(
    drawn: FormulaImages, recipe: Recipe, seed: int, report_every: int = 250
) -> tuple[TinyResNet, list[dict[str, float]]]:
    """Train the backbone.

    Parameters
    ----------
    drawn : FormulaImages
        The images.
    recipe : Recipe
        The recipe.
    seed : int
        Seed of the initial weights, the pairs and the views.
    report_every : int
        Steps between printed and recorded losses.

    Returns
    -------
    backbone : TinyResNet
        The trained backbone, in evaluation mode.
    losses : list of dict
        Mean losses of each stretch of ``report_every`` steps.
    """
    generator = torch.Generator().manual_seed(seed)
    model = initial_model(int(drawn.labels.max()) + 1, generator).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, recipe)
    )
    pairs = Pairs(drawn, recipe, generator)
    images, labels = torch.from_numpy(drawn.images), torch.from_numpy(drawn.labels)
    losses, sums = [], np.zeros(2)
    for step in range(1, recipe.steps + 1):
        first, second, same = pairs.draw()
        rows = torch.cat([first, second])
        views = augment(images[rows].float() / 255, same.repeat(2), recipe, generator)
        views = views.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            projections, scores = model(views)
        classes = labels[rows]
        contrastive = nt_xent(projections, classes, recipe.temperature)
        classification = F.cross_entropy(
            scores, classes, ignore_index=-1, label_smoothing=recipe.label_smoothing
        )
        optimizer.zero_grad()
        (contrastive + classification).backward()
        optimizer.step()
        schedule.step()
        sums += contrastive.item(), classification.item()
        if step % report_every == 0 or step == recipe.steps:
            n = (step - 1) % report_every + 1
            nt_xent_mean, cross_entropy_mean = (sums / n).round(4).tolist()
            losses.append(
                {"step": step, "nt_xent": nt_xent_mean, "cross_entropy": cross_entropy_mean}
            )
            print(losses[-1], flush=True)
            sums[:] = 0
    return model.backbone.eval(), losses


# Script -----------------------------------------------------------------------------------


def write_weights(backbone: TinyResNet, metadata: dict[str, str], path: Path) -> None:
    """Write the weights in float16, so that ``path`` is always a complete file."""
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in backbone.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    save_file(weights, unfinished, metadata=metadata)
    unfinished.chmod(0o644)  # safetensors makes files that only their owner reads
    os.replace(unfinished, path)


class Stopwatch:
    """Measures the seconds on the wall, and those that all cores of this process worked."""

    def __init__(self):
        self.start = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return the seconds since the start."""
        now = time.perf_counter(), time.process_time()
        wall, cpu = (end - start for end, start in zip(now, self.start, strict=True))
        return {"wall_seconds": round(wall, 1), "cpu_seconds": round(cpu, 1)}


def main(options) -> None:
    """Draw, train, write the weights and the record; a quick run draws and trains little."""
    torch.set_num_threads(options.threads)
    recipe = Recipe(steps=options.steps)
    weights = options.weights or WEIGHTS
    if options.quick:
        few = dict.fromkeys(recipe.counts, (10, 4))
        recipe = replace(recipe, counts=few, n_dead_leaves=40, steps=3, n_pairs=32)
        options.output = output_folder(__file__, options)
        options.output.mkdir(parents=True, exist_ok=True)
        weights = options.output / WEIGHTS.name

    watch = Stopwatch()
    drawn = draw_formula_images(
        np.random.default_rng(options.seed), recipe.counts, recipe.n_dead_leaves
    )
    drawing = watch.read()
    print(f"{len(drawn.images)} images in {drawing['cpu_seconds']} CPU seconds", flush=True)
    watch = Stopwatch()
    backbone, losses = train(drawn, recipe, options.seed)
    training = watch.read()
    metadata = {
        "architecture": "TinyResNet",
        "seed": str(options.seed),
        "steps": str(recipe.steps),
    }
    write_weights(backbone, metadata, weights)
    record = {
        "seed": options.seed,
        "recipe": asdict(recipe),
        "n_images": len(drawn.images),
        "n_classes": int(drawn.labels.max()) + 1,
        "n_views": 2 * recipe.n_pairs * recipe.steps,
        "n_parameters": sum(weight.numel() for weight in backbone.parameters()),
        "file_bytes": weights.stat().st_size,
        "drawing": drawing,
        "training": training,
        "cpu_minutes": round((drawing["cpu_seconds"] + training["cpu_seconds"]) / 60, 1),
        "losses": losses,
    }
    # The record of other weights than the embedded ones stands beside them.
    script = __file__ if weights == WEIGHTS or options.quick else weights
    write(script, record, options, threads=options.threads)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--weights", type=Path, help="file to write, instead of the embedded one")
    main(parser.parse_args())
