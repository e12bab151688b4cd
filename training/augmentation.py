"""Random changes of a batch of training images, on tensors, so that they run where the network runs.

The geometric ones are one affine map for each image, so that pixels are interpolated once.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from training.configuration import Augmentation

NARROWEST = 0.15
"""Largest share of a side that a black margin takes."""

SECTOR_HALF_ANGLE = (0.45, 0.75)
"""Of a sector, in radians."""

FILTER_LAYERS, FILTER_CHANNELS = 4, 2
"""Depth and width of the random networks that stand for other machines, as in Ouyang et al., 2023."""

BLANK_NOISE = 0.05
"""Largest standard deviation of the noise of a blank image."""


class Batch(NamedTuple):
    """What the network sees in a step, what an expert says of it, and a teacher, if there is one.

    Args:
        images: (batch, 1, rows, columns) float in [0, 1].
        references: (batch, rows, columns) class numbers.
        taught: (batch, classes, rows, columns) a teacher's softened probabilities.
    """

    images: Tensor
    references: Tensor
    taught: Tensor | None = None


class Augmenter:
    """Applies an `Augmentation`.

    Args:
        rules: What may happen, and how strongly.
        generator: Source of all randomness, on the CPU.
    """

    def __init__(self, rules: Augmentation, generator: torch.Generator) -> None:
        self.rules = rules
        self.generator = generator

    def __call__(self, batch: Batch, size: int) -> Batch:
        """The changed batch at a new size, its references int64; a teacher's answers follow the image's geometry."""
        grid = functional.affine_grid(
            self._inverse_maps(len(batch.images)), [len(batch.images), 1, size, size], align_corners=False
        )
        images = self._warped(batch.images, grid)
        # reflected lesions are lesions, but what lies beyond a border of zeros is background
        references = self._warped(batch.references.unsqueeze(1).float(), grid, "nearest").squeeze(1).long()
        taught = None
        if batch.taught is not None:
            taught = self._warped(batch.taught.float(), grid)
            taught[:, 0] += 1 - taught.sum(dim=1)  # and so it is for the teacher
        changed = Batch(self._grey(images), references, taught)
        if self.rules.frame > 0:
            changed = _overlaid(changed, self._outside(len(images), size), torch.zeros(()))
        if self.rules.blank > 0:
            blank = self._happens(len(images), self.rules.blank).view(-1, 1, 1).expand(-1, size, size)
            changed = _overlaid(changed, blank, self._nothing(changed.images))
        return changed

    def _warped(self, pixels: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
        return functional.grid_sample(pixels, grid, mode, self.rules.padding, align_corners=False)

    def _outside(self, count: int, size: int) -> Tensor:
        """(count, size, size) bool: black margins of an image, or what lies outside of a sector; mostly nothing."""
        centres = (torch.arange(size) + 0.5) / size
        rows, columns = centres.view(1, -1, 1), centres.view(1, 1, -1)
        top, bottom, left, right = (self._uniform(count, 0, NARROWEST).view(-1, 1, 1) for _ in range(4))
        margins = (rows < top) | (rows > 1 - bottom) | (columns < left) | (columns > 1 - right)
        half_angle = self._uniform(count, *SECTOR_HALF_ANGLE).view(-1, 1, 1)
        apex = 0.5 / half_angle.tan()  # so far above the image that the sector is as wide as its middle row
        depth = rows - 0.5 + apex
        sector = (columns - 0.5).abs() > depth.clamp_min(0) * half_angle.tan()
        sector = sector | (depth**2 + (columns - 0.5) ** 2 > (0.5 + apex) ** 2)
        chosen = torch.where(self._happens(count, 0.5).view(-1, 1, 1), margins, sector)
        return chosen & self._happens(count, self.rules.frame).view(-1, 1, 1)

    def _nothing(self, images: Tensor) -> Tensor:
        """As many images of an even grey with a little noise; half of them are black."""
        grey = self._uniform(len(images), -1, 1).clamp_min(0).view(-1, 1, 1, 1)
        noise = self._uniform(len(images), 0, BLANK_NOISE).view(-1, 1, 1, 1)
        return (grey + noise * self._normal(images)).clamp(0, 1)

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return torch.rand(count, generator=self.generator) * (high - low) + low

    def _happens(self, count: int, probability: float) -> Tensor:
        return torch.rand(count, generator=self.generator) < probability

    def _inverse_maps(self, count: int) -> Tensor:
        """(count, 2, 3) maps from the answer's coordinates, -1 to 1 along columns and rows, to the image's."""
        rules = self.rules
        angle = torch.deg2rad(self._uniform(count, -rules.rotation, rules.rotation))
        zoom = self._uniform(count, math.log(rules.zoom[0]), math.log(rules.zoom[1])).exp()
        stretch = self._uniform(count, -math.log(rules.aspect), math.log(rules.aspect)).div(2).exp()
        mirror_columns = 1 - 2 * self._happens(count, rules.flip_columns).float()
        mirror_rows = 1 - 2 * self._happens(count, rules.flip_rows).float()
        shift = torch.stack([self._uniform(count, -2 * rules.shift, 2 * rules.shift) for _ in range(2)], dim=1)
        crop = self._happens(count, rules.crop)
        corner = torch.stack([self._uniform(count, -0.5, 0.5) for _ in range(2)], dim=1)
        zoom = torch.where(crop, 2 * zoom, zoom)
        shift = torch.where(crop[:, None], shift + corner, shift)
        cosine, sine = angle.cos(), angle.sin()
        first = torch.stack([cosine * mirror_columns / (zoom * stretch), -sine * mirror_rows / (zoom * stretch)], dim=1)
        second = torch.stack([sine * mirror_columns * stretch / zoom, cosine * mirror_rows * stretch / zoom], dim=1)
        return torch.cat([torch.stack([first, second], dim=1), shift[:, :, None]], dim=2)

    def _grey(self, images: Tensor) -> Tensor:
        rules, count = self.rules, len(images)

        def factors(low: float, high: float) -> Tensor:
            return self._uniform(count, low, high).view(-1, 1, 1, 1)

        if rules.filter > 0:
            chosen = self._happens(count, rules.filter).view(-1, 1, 1, 1)
            images = torch.where(chosen, self._filtered(images), images)
        if rules.blur > 0:
            images = self._blurred(images)
        if rules.gamma != (1.0, 1.0):
            low, high = (math.log(bound) for bound in rules.gamma)
            images = images.clamp_min(1e-6) ** factors(low, high).exp()
        if rules.contrast > 0:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            images = mean + (images - mean) * factors(1 - rules.contrast, 1 + rules.contrast)
        if rules.brightness > 0:
            images = images * factors(1 - rules.brightness, 1 + rules.brightness)
        if rules.depth_gain > 0:
            depth = torch.linspace(-1, 1, images.shape[-2]).view(1, 1, -1, 1)
            images = images * (1 + factors(-rules.depth_gain, rules.depth_gain) * depth)
        if rules.speckle > 0:
            images = images * (1 + factors(0, rules.speckle) * self._normal(images))
        if rules.noise > 0:
            images = images + factors(0, rules.noise) * self._normal(images)
        return images.clamp(0, 1)

    def _filtered(self, images: Tensor) -> Tensor:
        """Each image through a small random network of its own, mixed with the image in a random share.

        Source: C. Ouyang et al., "Causality-inspired Single-source Domain Generalization for Medical Image
        Segmentation", IEEE Trans. Med. Imaging 42(4), 2023, section III-B (global intensity non-linear augmentation).
        Theirs keeps the image's norm; here its mean and contrast are kept, and what is darker stays darker on the
        whole, since lesions are told from tissue by being dark.
        """
        count, _, rows, columns = images.shape
        passed = images.view(1, count, rows, columns)
        width = 1
        for layer in range(FILTER_LAYERS):
            out = 1 if layer == FILTER_LAYERS - 1 else FILTER_CHANNELS
            side = 3 if layer % 2 else 1
            weights = torch.randn(count * out, width, side, side, generator=self.generator)
            offsets = torch.randn(count * out, generator=self.generator)
            padded = functional.pad(passed, [side // 2] * 4, mode="reflect")
            passed = functional.conv2d(padded, weights, offsets, groups=count)
            if layer < FILTER_LAYERS - 1:
                passed = functional.leaky_relu(passed)
            width = out
        other = _standardised(passed.view(count, 1, rows, columns))
        deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
        agreement = (other * (images - mean)).mean(dim=(1, 2, 3), keepdim=True)
        other = mean + deviation * other * torch.where(agreement < 0, -1.0, 1.0)
        share = self._uniform(count, 0, 1).view(-1, 1, 1, 1)
        return (share * other + (1 - share) * images).clamp(0, 1)

    def _normal(self, images: Tensor) -> Tensor:
        return torch.randn(images.shape, generator=self.generator)

    def _blurred(self, images: Tensor) -> Tensor:
        """Each image convolved with its own Gaussian, a batch as the channels of one depthwise convolution."""
        count, _, rows, columns = images.shape
        deviation = self._uniform(count, 0, self.rules.blur) * rows / 256 + 1e-3
        radius = max(1, math.ceil(2.5 * self.rules.blur * rows / 256))
        offsets = torch.arange(-radius, radius + 1)
        kernel = torch.exp(-0.5 * (offsets / deviation[:, None]) ** 2)
        kernel = kernel / kernel.sum(dim=1, keepdim=True)
        stacked = functional.pad(images.view(1, count, rows, columns), [radius] * 4, mode="reflect")
        stacked = functional.conv2d(stacked, kernel.view(count, 1, 1, -1), groups=count)
        stacked = functional.conv2d(stacked, kernel.view(count, 1, -1, 1), groups=count)
        return stacked.view(count, 1, rows, columns)


def _standardised(images: Tensor) -> Tensor:
    """Each image with a mean of zero and a deviation of one; an even one is zero."""
    deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
    return (images - mean) / deviation.clamp_min(1e-6)


def _overlaid(batch: Batch, where: Tensor, images: Tensor) -> Batch:
    """The batch with other grey values where (batch, rows, columns) bool says so, and nothing marked there."""
    taught = batch.taught
    if taught is not None:
        taught = taught.masked_fill(where.unsqueeze(1), 0.0)
        taught[:, 0].masked_fill_(where, 1.0)
    return Batch(torch.where(where.unsqueeze(1), images, batch.images), batch.references.masked_fill(where, 0), taught)
