"""Images with their classes, as the model's processor prepares them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fxprune.distillation.batch import Batch
from fxprune.distillation.columns import Columns
from fxprune.distillation.labels import Labels
from fxprune.distillation.objective import REGRESSION, Objective
from fxprune.errors import DataError


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels (channels, height, width), and a label, ()."""

    pixels: Tensor
    label: Tensor


class ImageEncoder:
    """Turns rows with images into examples.

    Args:
        processor: of the model, which resizes and normalises; None: images are resized to what the model takes, and
            scaled to -1..1; planes of floating-point numbers are taken as they are.
        objective: image classification, regression, or features.
        columns: what is read.
        labels: reads the target; None for features.
        shape: (channels, height, width) the model takes.
    """

    def __init__(
        self, processor: Any, objective: Objective, columns: Columns, labels: Labels | None, shape: tuple[int, int, int]
    ) -> None:
        self.processor, self.objective, self.columns, self.labels, self.shape = (
            processor,
            objective,
            columns,
            labels,
            shape,
        )

    def __call__(self, rows: dict[str, list[Any]]) -> list[Picture]:
        """Return an example for each row with an image, and with a label where the data set has them."""
        images = rows[self.columns.content[0]]
        found = []
        for image, target in zip(images, rows.get(self.columns.target or "", [None] * len(images)), strict=True):
            label = self.labels(target) if self.labels and self.columns.target else 0
            if image is None or label is None:
                continue
            kind = torch.float32 if self.objective.name == REGRESSION else torch.int64
            found.append(Picture(self._pixels(image), torch.tensor(label, dtype=kind)))
        return found

    def length(self, example: Picture) -> int:
        """Return 0: all images have one size."""
        del example
        return 0

    def batch(self, examples: list[Picture]) -> Batch:
        """Stack images."""
        pixels = torch.stack([example.pixels for example in examples])
        return self.objective.picked(
            Batch({"pixel_values": pixels}, torch.stack([example.label for example in examples]))
        )

    def _pixels(self, image: Any) -> Tensor:
        planes = None if isinstance(image, (dict, bytes)) else np.asarray(image)
        if planes is not None and np.issubdtype(planes.dtype, np.floating):
            return self._checked(torch.from_numpy(planes.astype(np.float32)))
        picture = _opened(image) if planes is None else _drawn(planes)
        picture = picture.convert("L" if self.shape[0] == 1 else "RGB")
        if self.processor is not None:
            made = self.processor(images=picture, return_tensors="pt")["pixel_values"][0]
            return self._checked(made.to(torch.float32))
        small = np.asarray(picture.resize(self.shape[:0:-1]), dtype=np.float32).reshape(*self.shape[1:], -1)
        return self._checked(torch.from_numpy(small / 127.5 - 1.0).permute(2, 0, 1).contiguous())

    def _checked(self, pixels: Tensor) -> Tensor:
        if tuple(pixels.shape) != self.shape:
            size, wanted = (" x ".join(map(str, shape)) for shape in (pixels.shape, self.shape))
            raise DataError(
                f"an image is {size} once it is prepared, and the model takes {wanted}",
                remedy="give images, or planes, of that size, and the processor the model was trained with",
            )
        return pixels


def _opened(image: Any) -> Any:
    """Return the picture in a file."""
    from PIL import Image, UnidentifiedImageError

    data = image if isinstance(image, bytes) else image.get("bytes")
    try:
        return Image.open(io.BytesIO(data) if data is not None else image["path"])
    except (OSError, UnidentifiedImageError, TypeError) as error:
        name = image.get("path") if isinstance(image, dict) else None
        raise DataError(
            f"the image {name or 'of a row'} cannot be read", cause=str(error), remedy="give png, jpeg or webp files"
        ) from error


def _drawn(planes: np.ndarray) -> Any:
    """Return the picture that planes of whole numbers from 0 to 255 are: (h, w), (h, w, channels) or channels first."""
    from PIL import Image

    if planes.ndim == 3 and planes.shape[0] in (1, 3) and planes.shape[-1] not in (1, 3):
        planes = planes.transpose(1, 2, 0)
    planes = planes[..., 0] if planes.ndim == 3 and planes.shape[-1] == 1 else planes
    return Image.fromarray(planes.astype(np.uint8))
