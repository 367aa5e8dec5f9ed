"""Images made by formula, to pretrain the embedded backbone without any photograph.

Every image comes from a short formula and a random generator, so the data need no licence and
no download. The idea is formula-driven supervised learning (Kataoka et al. 2020): the
parameters of a formula are the class, a small perturbation of them is an instance.

A family of images is one function ``family(rng, n_classes, n_instances)`` that returns grey
*ink* in [0, 1], of shape ``(n_classes * n_instances, SIZE, SIZE)``, the instances of a class
side by side. :func:`draw_formula_images` draws all families, colours them, and adds the
unlabelled dead leaves. The plane of a picture is the square from -1 to 1.

References
----------
Kataoka et al. (2020), "Pre-training without natural images", ACCV: classes from formulas,
iterated function systems.
Kataoka et al. (2022), "Replacing labeled real-image datasets with auto-generated contours",
CVPR: radial contours.
Anderson and Farrell (2022), "Improving fractal pre-training", WACV: contractions sampled by
their singular values.
Baradad et al. (2021), "Learning to see by looking at noise", NeurIPS: dead leaves and noise
with a power-law spectrum.
Lake et al. (2015), "Human-level concept learning through probabilistic program induction",
Science: characters as a few strokes, each drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

SIZE = 32
CHUNK = 64  # images per vectorised call: keeps the temporary arrays within the cache


@dataclass(frozen=True)
class FormulaImages:
    """Coloured images with their classes.

    Attributes
    ----------
    images : uint8 array of shape (n, 3, SIZE, SIZE)
        The images, those of a class side by side.
    labels : int array of shape (n,)
        The class of each image, -1 where it has none (dead leaves).
    families : dict of str to slice
        The rows of each family.
    """

    images: np.ndarray
    labels: np.ndarray
    families: dict[str, slice]


# The plane --------------------------------------------------------------------------------


def pixel_centres() -> np.ndarray:
    """Return the centres of the pixels, x to the right and y down, ``(SIZE**2, 2)``."""
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) * (2 / SIZE) - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def rotations(angles: np.ndarray) -> np.ndarray:
    """Return the rotation matrices of some angles, ``(*angles.shape, 2, 2)``."""
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def sample_affine_maps(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw small affine maps of the plane: what changes when one thing is drawn again.

    Returns
    -------
    matrices : array of shape (n, 2, 2)
        Rotation, shear and scales.
    shifts : array of shape (n, 2)
        Translations.
    """
    scales = np.exp(rng.normal(0, 0.12, (n, 2)))
    shears = np.broadcast_to(np.eye(2), (n, 2, 2)).copy()
    shears[:, 0, 1] = rng.normal(0, 0.15, n)
    matrices = rotations(rng.normal(0, 0.15, n)) @ shears * scales[:, None, :]
    return matrices, rng.normal(0, 0.06, (n, 2))


def redrawn_pixels(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return pixel centres seen through small affine maps, ``(n, SIZE**2, 2)``.

    A family that is a function of the place is redrawn by moving the places.
    """
    matrices, shifts = sample_affine_maps(rng, n)
    moved = pixel_centres() @ np.linalg.inv(matrices).swapaxes(1, 2) + shifts[:, None]
    return moved.astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function, through tanh so that nothing overflows."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def per_image(values: np.ndarray) -> np.ndarray:
    """Append a dimension, so that one value per image meets ``(n, n_pixels)``."""
    return values.astype(np.float32)[:, None]


def in_chunks(draw: Callable[[slice], np.ndarray], n: int) -> np.ndarray:
    """Fill ``n`` images by calling ``draw(rows)`` on consecutive slices of rows."""
    ink = np.empty((n, SIZE, SIZE), np.float32)
    for start in range(0, n, CHUNK):
        rows = slice(start, min(start + CHUNK, n))
        ink[rows] = draw(rows).reshape(-1, SIZE, SIZE)
    return ink


# Glyphs -----------------------------------------------------------------------------------

MAX_STROKES = 4
POINTS_PER_STROKE = 48
HAND = 0.07  # how far a control point moves from one drawing to the next


@dataclass(frozen=True)
class Strokes:
    """The plan of some characters.

    Attributes
    ----------
    controls : array of shape (n, MAX_STROKES, 4, 2)
        Control points of cubic Bezier curves.
    present : bool array of shape (n, MAX_STROKES)
        Which strokes the character has; the first always.
    continues : bool array of shape (n, MAX_STROKES)
        Which strokes begin where the one before ended.
    loops, lines : bool arrays of shape (n, MAX_STROKES)
        Which strokes end where they began, and which are straight.
    """

    controls: np.ndarray
    present: np.ndarray
    continues: np.ndarray
    loops: np.ndarray
    lines: np.ndarray

    def repeat(self, n_instances: int) -> Strokes:
        """Return the plans with each character ``n_instances`` times in turn."""
        return Strokes(*(np.repeat(part, n_instances, axis=0) for part in vars(self).values()))

    def curves(self, controls: np.ndarray) -> np.ndarray:
        """Return control points that obey the plan, however they were moved."""
        controls = controls.copy()
        for stroke in range(1, MAX_STROKES):
            follows = self.continues[:, stroke]
            controls[follows, stroke, 0] = controls[follows, stroke - 1, 3]
        controls[self.loops, 3] = controls[self.loops, 0]
        ends = controls[self.lines][:, [0, 3]]
        controls[self.lines, 1] = (2 * ends[:, 0] + ends[:, 1]) / 3
        controls[self.lines, 2] = (ends[:, 0] + 2 * ends[:, 1]) / 3
        # A missing stroke repeats the first one, which changes no distance.
        return np.where(self.present[:, :, None, None], controls, controls[:, :1])


def sample_strokes(rng: np.random.Generator, n: int) -> Strokes:
    """Draw the plans of ``n`` characters: curves, straight lines and loops, sized to the frame."""
    counts = rng.choice(np.arange(1, MAX_STROKES + 1), n, p=[0.2, 0.35, 0.3, 0.15])
    controls = rng.uniform(-1, 1, (n, MAX_STROKES, 4, 2))
    controls[:, :, 1:3] *= 1.5  # a Bezier curve stays inside its control polygon
    kind = rng.random((n, MAX_STROKES))
    strokes = Strokes(
        controls=controls,
        present=np.arange(MAX_STROKES) < counts[:, None],
        continues=rng.random((n, MAX_STROKES)) < 0.5,
        loops=kind < 0.15,
        lines=kind > 0.65,
    )
    # Centre the bounding box and give its longer side most of the frame.
    points = bezier_points(strokes.curves(controls)).reshape(n, -1, 2)
    low, high = points.min(1), points.max(1)
    extent = (high - low).max(1) / 2
    scale = rng.uniform(0.55, 0.85, n) / extent
    fitted = (controls - ((low + high) / 2)[:, None, None]) * scale[:, None, None, None]
    return replace(strokes, controls=fitted)


def bezier_points(controls: np.ndarray) -> np.ndarray:
    """Return points of cubic Bezier curves, ``(..., 4, 2)`` to ``(..., n_points, 2)``."""
    t = np.linspace(0, 1, POINTS_PER_STROKE)[:, None]
    bernstein = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    return bernstein @ controls


def distances_to_points(points: np.ndarray) -> np.ndarray:
    """Return the distance of every pixel to the nearest of some points.

    Parameters
    ----------
    points : array of shape (n, n_points, 2)
        Points of each image.

    Returns
    -------
    distances : float32 array of shape (n, SIZE**2)
        The distances.
    """
    # |x - p|^2 = |x|^2 + (|p|^2 - 2 p.x): one product, then a minimum over the points.
    pixels = torch.from_numpy(pixel_centres())
    points = torch.from_numpy(points.astype(np.float32))
    left = torch.cat([points.square().sum(2, keepdim=True), -2 * points], dim=2)
    right = torch.cat([torch.ones(len(pixels), 1), pixels], dim=1)
    squares = (left @ right.T).amin(1) + pixels.square().sum(1)
    return squares.clamp_(min=0).sqrt_().numpy()


def glyphs(rng: np.random.Generator, n_classes: int, n_instances: int) -> np.ndarray:
    """Draw invented characters: one to four strokes, each instance by another hand."""
    strokes = sample_strokes(rng, n_classes).repeat(n_instances)
    n = len(strokes.controls)
    controls = strokes.curves(strokes.controls + rng.normal(0, HAND, strokes.controls.shape))
    matrices, shifts = sample_affine_maps(rng, n)
    widths = per_image(rng.uniform(0.04, 0.16, n))
    softness = per_image(rng.uniform(0.02, 0.06, n))

    def draw(rows: slice) -> np.ndarray:
        points = bezier_points(controls[rows]).reshape(-1, MAX_STROKES * POINTS_PER_STROKE, 2)
        points = points @ matrices[rows].swapaxes(1, 2) + shifts[rows, None]
        return sigmoid((widths[rows] - distances_to_points(points)) / softness[rows])

    return in_chunks(draw, n)


# Radial contours --------------------------------------------------------------------------

MAX_CONTOURS = 6


def radial_contours(rng: np.random.Generator, n_classes: int, n_instances: int) -> np.ndarray:
    """Draw nested closed curves with two sine waves on them, as lines or filled.

    The radius at the angle t is ``1 + l1 sin(n1 t) + l2 sin(n2 t + phi)``; up to five further
    curves run inside the outer one.
    """

    def instances(values: np.ndarray, spread: float = 0.0) -> np.ndarray:
        values = np.repeat(values, n_instances, axis=0)
        return values + rng.normal(0, spread, values.shape) if spread else values

    n1 = instances(rng.integers(1, 7, n_classes))
    n2 = instances(rng.integers(2, 16, n_classes))
    l1 = instances(rng.uniform(0, 0.4, n_classes), 0.03)
    l2 = instances(rng.uniform(0, 0.25, n_classes), 0.02)
    t1 = instances(rng.uniform(-np.pi, np.pi, n_classes), 0.1)
    phi = instances(rng.uniform(-np.pi, np.pi, n_classes), 0.15)
    size = instances(rng.uniform(0.4, 0.75, n_classes), 0.03)
    filled = instances(rng.random(n_classes) < 0.5)
    n_contours = instances(rng.integers(1, MAX_CONTOURS + 1, n_classes))
    gap = instances(rng.uniform(0.1, 0.25, n_classes))
    n = len(n1)
    widths, softness = rng.uniform(0.02, 0.07, n), rng.uniform(0.02, 0.05, n)

    def draw(rows: slice) -> np.ndarray:
        x, y = np.moveaxis(redrawn_pixels(rng, rows.stop - rows.start), 2, 0)
        rho, t = np.hypot(x, y), np.arctan2(y, x)
        wave = 1 + per_image(l1[rows]) * np.sin(per_image(n1[rows]) * t + per_image(t1[rows]))
        wave += per_image(l2[rows]) * np.sin(per_image(n2[rows]) * t + per_image(phi[rows]))
        # The sign of the product over contours tells the even-odd filling.
        parity, nearest = np.ones_like(rho), np.full_like(rho, np.inf)
        for k in range(MAX_CONTOURS):
            present = per_image(k < n_contours[rows]) > 0
            signed = rho - per_image(size[rows] * np.maximum(1 - k * gap[rows], 0.05)) * wave
            parity *= np.where(present, np.tanh(signed / per_image(softness[rows])), 1)
            nearest = np.where(present, np.minimum(nearest, np.abs(signed)), nearest)
        lines = sigmoid((per_image(widths[rows]) - nearest) / (0.5 * per_image(softness[rows])))
        return np.where(per_image(filled[rows]) > 0, 0.5 * (1 - parity), lines)

    return in_chunks(draw, n)


# Iterated function systems ----------------------------------------------------------------

MAX_MAPS = 6
CHAINS, BURN_IN, ITERATIONS = 160, 8, 32


def fractals(rng: np.random.Generator, n_classes: int, n_instances: int) -> np.ndarray:
    """Draw attractors of two to six random contractions by the chaos game."""
    shape = (n_classes, MAX_MAPS)
    large = rng.uniform(0.3, 0.85, shape)
    scales = np.stack([large, large * rng.uniform(0.2, 1, shape)], -1)
    scales *= rng.choice([-1, 1], scales.shape)
    turns = rotations(rng.uniform(-np.pi, np.pi, (2, *shape)))
    matrices = turns[0] * scales[..., None, :] @ turns[1]
    shifts = rng.uniform(-1, 1, (*shape, 2))
    n_maps = rng.integers(2, MAX_MAPS + 1, n_classes)
    # A map is chosen in proportion to the area that it covers.
    weights = np.abs(scales.prod(-1)) + 0.02
    weights *= np.arange(MAX_MAPS) < n_maps[:, None]
    cumulated = np.cumsum(weights, 1) / weights.sum(1, keepdims=True)

    def instances(values: np.ndarray, spread: float) -> np.ndarray:
        values = np.repeat(values, n_instances, axis=0)
        return values + rng.normal(0, spread, values.shape)

    matrices, shifts = instances(matrices, 0.03), instances(shifts, 0.05)
    cumulated = np.repeat(cumulated, n_instances, axis=0)[:, None, :-1]

    def draw(rows: slice) -> np.ndarray:
        points = chaos_game(rng, matrices[rows], shifts[rows], cumulated[rows])
        points -= np.median(points, axis=1, keepdims=True)
        points *= 0.8 / np.quantile(np.abs(points), 0.95, axis=1, keepdims=True).clip(1e-3)
        maps, moves = sample_affine_maps(rng, len(points))
        return point_density(points @ maps.swapaxes(1, 2) + moves[:, None])

    return in_chunks(draw, n_classes * n_instances)


def chaos_game(
    rng: np.random.Generator, matrices: np.ndarray, shifts: np.ndarray, cumulated: np.ndarray
) -> np.ndarray:
    """Follow random choices among contractions, many chains at once.

    Parameters
    ----------
    rng : numpy Generator
        The source of the choices.
    matrices, shifts : arrays of shape (n, MAX_MAPS, 2, 2) and (n, MAX_MAPS, 2)
        The maps of each image.
    cumulated : array of shape (n, 1, MAX_MAPS - 1)
        Their cumulated probabilities.

    Returns
    -------
    points : array of shape (n, CHAINS * (ITERATIONS - BURN_IN), 2)
        Points of the attractors.
    """
    n = len(matrices)
    image = np.arange(n)[:, None]
    points, visited = np.zeros((n, CHAINS, 2)), []
    for iteration in range(ITERATIONS):
        chosen = (rng.random((n, CHAINS, 1)) > cumulated).sum(2)
        points = (matrices[image, chosen] @ points[..., None])[..., 0] + shifts[image, chosen]
        if iteration >= BURN_IN:
            visited.append(points)
    return np.concatenate(visited, axis=1)


def point_density(points: np.ndarray) -> np.ndarray:
    """Return the saturating density of points, ``(n, n_points, 2)`` to ``(n, SIZE**2)``."""
    n = len(points)
    cells = np.floor((points + 1) * (SIZE / 2)).astype(int)
    inside = ((cells >= 0) & (cells < SIZE)).all(2)
    image = np.broadcast_to(np.arange(n)[:, None], inside.shape)
    flat = (image * SIZE + cells[..., 1]) * SIZE + cells[..., 0]
    counts = np.bincount(flat[inside], minlength=n * SIZE**2).reshape(n, SIZE**2)
    level = counts.sum(1, keepdims=True) / (counts > 0).sum(1, keepdims=True).clip(1)
    return 1 - np.exp(-counts / level.clip(0.5))


# Textures ---------------------------------------------------------------------------------


def power_law_noise(
    rng: np.random.Generator, slopes: np.ndarray, stretches: np.ndarray, angles: np.ndarray
) -> np.ndarray:
    """Draw standardised noise with the spectrum ``frequency ** -slope``, ``(n, SIZE**2)``.

    A stretch above one makes the frequencies across ``angles`` rarer, which gives a grain.
    """
    n = len(slopes)
    fy, fx = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.rfftfreq(SIZE), indexing="ij")
    turned = rotations(angles) @ np.stack([fx.ravel(), fy.ravel()])
    turned[:, 1] *= stretches[:, None]
    frequency = np.hypot(turned[:, 0], turned[:, 1]).reshape(n, *fx.shape)
    frequency[:, 0, 0] = 1
    amplitude = frequency ** -slopes[:, None, None]
    amplitude[:, 0, 0] = 0
    spectrum = np.fft.rfft2(rng.standard_normal((n, SIZE, SIZE))) * amplitude
    noise = np.fft.irfft2(spectrum, s=(SIZE, SIZE)).reshape(n, -1)
    return noise / noise.std(1, keepdims=True)


def textures(rng: np.random.Generator, n_classes: int, n_instances: int) -> np.ndarray:
    """Draw gratings, checkers, power-law noise, ridges, Voronoi cells and dots.

    A sixth of the classes is of each kind; phases, noise and centres are new in each instance.
    """
    kinds = (gratings, checkers, clouds, ridges, voronoi_cells, dots)
    ink = np.empty((n_classes, n_instances, SIZE * SIZE), np.float32)
    for label in range(n_classes):
        ink[label] = kinds[label % len(kinds)](rng, n_instances)
    return ink.reshape(-1, SIZE, SIZE)


def waves(rng: np.random.Generator, pixels: np.ndarray, angle: float, period: float) -> np.ndarray:
    """Return sine waves in one direction with a random phase, ``(n, SIZE**2)``."""
    along = pixels @ np.array([np.cos(angle), np.sin(angle)], np.float32)
    phases = rng.uniform(0, 2 * np.pi, (len(pixels), 1))
    return np.sin(2 * np.pi / period * along + phases)


def gratings(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw instances of one grating."""
    angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(0.2), np.log(1.2)))
    offset, steepness = rng.uniform(-0.5, 0.5), np.exp(rng.uniform(0, 2.5))
    return sigmoid(steepness * (waves(rng, redrawn_pixels(rng, n), angle, period) + offset))


def checkers(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw instances of one checkerboard, whose axes need not be orthogonal."""
    angle, steepness = rng.uniform(0, np.pi), np.exp(rng.uniform(1, 3))
    periods = np.exp(rng.uniform(np.log(0.3), np.log(1.2), 2))
    second = angle + np.pi / 2 + rng.normal(0, 0.2)
    pixels = redrawn_pixels(rng, n)
    board = waves(rng, pixels, angle, periods[0]) * waves(rng, pixels, second, periods[1])
    return sigmoid(steepness * board)


def clouds(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw instances of one power-law noise."""
    slope, stretch, angle = rng.uniform(0.5, 2.5), rng.uniform(1, 4), rng.uniform(0, np.pi)
    steepness = np.exp(rng.uniform(0, 1.5))
    angles = angle + rng.normal(0, 0.15, n)
    return sigmoid(steepness * power_law_noise(rng, np.full(n, slope), np.full(n, stretch), angles))


def ridges(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw the zero lines of one smooth noise."""
    slope, stretch, angle = rng.uniform(1.5, 3), rng.uniform(1, 4), rng.uniform(0, np.pi)
    sharpness = rng.uniform(2, 8)
    angles = angle + rng.normal(0, 0.15, n)
    noise = power_law_noise(rng, np.full(n, slope), np.full(n, stretch), angles)
    return np.exp(-sharpness * np.abs(noise))


def voronoi_cells(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw the cells, the borders or the distances of scattered centres."""
    n_centres, style = rng.integers(5, 40), rng.integers(3)
    squares = np.full((2, n, SIZE * SIZE), np.inf, np.float32)  # the two nearest centres
    grey = np.zeros((n, SIZE * SIZE), np.float32)
    pixels, levels = redrawn_pixels(rng, n), rng.random((n_centres, n, 1))
    for centre, level in zip(rng.uniform(-1.1, 1.1, (n_centres, n, 1, 2)), levels, strict=True):
        square = ((pixels - centre.astype(np.float32)) ** 2).sum(2)
        grey = np.where(square < squares[0], level, grey)
        squares[1] = np.minimum(squares[1], np.maximum(squares[0], square))
        squares[0] = np.minimum(squares[0], square)
    nearest, second = np.sqrt(squares)
    cell = 2 / np.sqrt(n_centres)
    if style == 0:
        return grey
    return np.exp(-8 * (second - nearest) / cell) if style == 1 else (nearest / cell).clip(0, 1)


def dots(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw instances of one lattice of dots."""
    angle, spacing = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(0.25), np.log(0.8)))
    radius, slant = rng.uniform(0.15, 0.45), rng.choice([0.0, 0.5])
    axes = rotations(np.array(angle)) @ np.array([[1, slant], [0, 1]]) * spacing
    places = redrawn_pixels(rng, n) @ np.linalg.inv(axes).T + rng.random((n, 1, 2))
    offset = (places - np.round(places)) @ (axes / spacing).T
    return sigmoid((radius - np.hypot(offset[..., 0], offset[..., 1])) * spacing / 0.03)


# Shapes -----------------------------------------------------------------------------------

MAX_PARTS = 3
MAX_CORNERS = 12


def signed_polygon_distances(corners: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return distances to polygons, negative inside.

    Parameters
    ----------
    corners : array of shape (n, n_corners, 2)
        The corners in order; repeated corners are harmless.
    pixels : array of shape (n_pixels, 2)
        Where to measure.

    Returns
    -------
    distances : array of shape (n, n_pixels)
        The signed distances.
    """
    x, y = pixels.T
    squares = np.full((len(corners), len(pixels)), np.inf, np.float32)
    inside = np.zeros(squares.shape, bool)
    for k in range(corners.shape[1]):
        (ax, ay), (bx, by) = corners[:, k - 1].T[..., None], corners[:, k].T[..., None]
        dx, dy = bx - ax, by - ay
        along = ((x - ax) * dx + (y - ay) * dy) / np.maximum(dx**2 + dy**2, 1e-9)
        along = along.clip(0, 1)
        squares = np.minimum(squares, (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2)
        # A ray to the right changes sides at each edge that it crosses.
        straddles = (ay > y) != (by > y)
        inside ^= straddles & ((x - ax) * np.abs(dy) < (y - ay) * dx * np.sign(dy))
    return np.sqrt(squares) * np.where(inside, -1, 1)


def shapes(rng: np.random.Generator, n_classes: int, n_instances: int) -> np.ndarray:
    """Draw one to three polygons or stars, each filled or as an outline in a grey of its own."""
    shape = (n_classes, MAX_PARTS)
    tips = rng.integers(3, 7, shape)
    star = rng.random(shape) < 0.4
    corner = np.arange(MAX_CORNERS)
    # A star alternates tips and notches; a polygon is a star without notches.
    n_corners = np.where(star, 2 * tips, tips)[..., None]
    index = np.minimum(corner, n_corners - 1)
    angles = 2 * np.pi * index / n_corners + rng.uniform(-np.pi, np.pi, shape)[..., None]
    notch = np.where(star[..., None] & (index % 2 == 1), rng.uniform(0.3, 0.7, shape)[..., None], 1)
    radii = notch * rng.uniform(0.25, 0.75, shape)[..., None]
    corners = np.stack([np.cos(angles), np.sin(angles)], -1) * radii[..., None]
    corners[..., 0] *= rng.uniform(0.6, 1.2, shape)[..., None]
    corners += rng.uniform(-0.4, 0.4, (*shape, 1, 2))
    outline, greys = rng.random(shape) < 0.4, rng.uniform(0.4, 1, shape)
    present = np.arange(MAX_PARTS) < rng.integers(1, MAX_PARTS + 1, n_classes)[:, None]

    corners, outline, greys, present = (
        np.repeat(values, n_instances, axis=0) for values in (corners, outline, greys, present)
    )
    n = len(corners)
    wobble = rng.normal(0, 0.03, corners.shape)
    corners = corners + wobble + rng.normal(0, 0.05, (n, MAX_PARTS, 1, 2))
    matrices, shifts = sample_affine_maps(rng, n)
    corners = corners @ matrices.swapaxes(1, 2)[:, None] + shifts[:, None, None]
    widths, softness = per_image(rng.uniform(0.03, 0.1, n)), per_image(rng.uniform(0.01, 0.05, n))
    pixels = pixel_centres()

    def draw(rows: slice) -> np.ndarray:
        ink = np.zeros((rows.stop - rows.start, SIZE * SIZE), np.float32)
        for part in range(MAX_PARTS):
            signed = signed_polygon_distances(corners[rows, part].astype(np.float32), pixels)
            line = np.abs(signed) - widths[rows]
            signed = np.where(outline[rows, part, None], line, signed)
            cover = sigmoid(-signed / softness[rows]) * per_image(present[rows, part])
            ink += cover * (per_image(greys[rows, part]) - ink)
        return ink

    return in_chunks(draw, n)


# Dead leaves ------------------------------------------------------------------------------

N_LEAVES = 60


def dead_leaves(rng: np.random.Generator, n: int) -> np.ndarray:
    """Cover the plane with opaque discs and rectangles of random size and colour.

    Returns
    -------
    images : float32 array of shape (n, 3, SIZE, SIZE)
        Coloured images; they have no class.
    """
    images = np.empty((n, 3, SIZE, SIZE), np.float32)
    x, y = pixel_centres().T
    for start in range(0, n, CHUNK):
        block = images[start : start + CHUNK]
        m = len(block)
        # Leaves share the palette of their image; sizes follow a power law.
        base = rng.uniform(0.2, 0.8, (m, 3, 1)).astype(np.float32)
        spread = rng.uniform(0.1, 0.5, (m, 1, 1)).astype(np.float32)
        canvas = np.repeat(base, SIZE * SIZE, axis=2)
        for _ in range(N_LEAVES):
            centre_x, centre_y = rng.uniform(-1.1, 1.1, (2, m, 1)).astype(np.float32)
            radius = 0.1 / np.sqrt(rng.uniform(0.015, 1, (m, 1)).astype(np.float32))
            turn = rng.uniform(0, np.pi, (m, 1)).astype(np.float32)
            aspect = rng.uniform(0.4, 1, (m, 1)).astype(np.float32)
            round_leaf = rng.random((m, 1)) < 0.5
            u = (x - centre_x) * np.cos(turn) + (y - centre_y) * np.sin(turn)
            v = ((y - centre_y) * np.cos(turn) - (x - centre_x) * np.sin(turn)) / aspect
            size = np.where(round_leaf, np.hypot(u, v), np.maximum(np.abs(u), np.abs(v)))
            colour = base + spread * rng.standard_normal((m, 3, 1)).astype(np.float32)
            slope = 0.3 * rng.standard_normal((m, 1)).astype(np.float32)
            shaded = colour + (slope * u)[:, None]
            canvas = np.where((size < radius)[:, None], shaded, canvas)
        block[:] = canvas.reshape(m, 3, SIZE, SIZE)
    return images.clip(0, 1)


# Colours ----------------------------------------------------------------------------------


def colour(rng: np.random.Generator, ink: np.ndarray) -> np.ndarray:
    """Give each image one colour for the ink and one for the ground.

    Half of the pairs are grey, light on dark; the others are any two colours, most of them
    shaded from one side to the other. Then 30 % of the images exchange ink and ground.

    Parameters
    ----------
    rng : numpy Generator
        The source of the colours.
    ink : array of shape (n, SIZE, SIZE)
        Ink in [0, 1].

    Returns
    -------
    images : float32 array of shape (n, 3, SIZE, SIZE)
        Images in [0, 1].
    """
    n = len(ink)
    grey = rng.random((n, 1)) < 0.5
    light = np.where(grey, rng.uniform(0.6, 1, (n, 1)), rng.random((n, 3)))
    dark = np.where(grey, rng.uniform(0, 0.25, (n, 1)), rng.random((n, 3)))
    # Two colours that are too near are driven apart.
    near = np.abs(light - dark).max(1) < 0.3
    light[near] = np.where(dark[near] < 0.5, dark[near] + 0.4, dark[near] - 0.4)
    exchanged = rng.random((n, 1)) < 0.3
    top, ground = np.where(exchanged, dark, light), np.where(exchanged, light, dark)

    turn = rng.uniform(0, 2 * np.pi, (n, 1))
    slope = np.where(~grey & (rng.random((n, 1)) < 0.7), rng.uniform(0, 0.3, (n, 1)), 0)
    x, y = pixel_centres().T
    shade = (slope * (np.cos(turn) * x + np.sin(turn) * y)).reshape(n, 1, SIZE, SIZE)
    top, ground = (c.astype(np.float32)[:, :, None, None] for c in (top, ground))
    return (ground + (top - ground) * ink[:, None] + shade.astype(np.float32)).clip(0, 1)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Round images in [0, 1] to bytes."""
    return np.round(images * 255).astype(np.uint8)


FAMILIES = {
    "glyphs": glyphs,
    "radial_contours": radial_contours,
    "fractals": fractals,
    "textures": textures,
    "shapes": shapes,
}


def draw_formula_images(
    rng: np.random.Generator, counts: dict[str, tuple[int, int]], n_dead_leaves: int
) -> FormulaImages:
    """Draw, colour and label images of all families.

    Parameters
    ----------
    rng : numpy Generator
        The source of all randomness.
    counts : dict of str to (int, int)
        Number of classes, and of instances per class, of each family in ``FAMILIES``.
    n_dead_leaves : int
        Number of unlabelled images.

    Returns
    -------
    drawn : FormulaImages
        The families in the order of ``counts``, then the dead leaves.
    """
    n = sum(n_classes * n_instances for n_classes, n_instances in counts.values())
    images = np.empty((n + n_dead_leaves, 3, SIZE, SIZE), np.uint8)
    labels = np.full(n + n_dead_leaves, -1)
    families, row, n_labels = {}, 0, 0
    for name, (n_classes, n_instances) in counts.items():
        rows = slice(row, row + n_classes * n_instances)
        ink = FAMILIES[name](rng, n_classes, n_instances)
        for start in range(0, len(ink), CHUNK):
            coloured = to_uint8(colour(rng, ink[start : start + CHUNK]))
            images[rows.start + start : rows.start + start + len(coloured)] = coloured
        labels[rows] = n_labels + np.repeat(np.arange(n_classes), n_instances)
        families[name] = rows
        row, n_labels = rows.stop, n_labels + n_classes
    families["dead_leaves"] = slice(n, n + n_dead_leaves)
    images[n:] = to_uint8(dead_leaves(rng, n_dead_leaves))
    return FormulaImages(images, labels, families)
