"""Digits: 1,797 handwritten digits of 43 people, inside scikit-learn (Alpaydin and Kaynak, 1998, UCI).

The 8x8 images with 17 grey levels are enlarged bilinearly to 28x28, so that every net for MNIST runs
on them. There is no official split: every fifth image, in file order, is test.
"""

import torch
from torch.nn.functional import interpolate

from leyden.data.images import ImageData
from leyden.data.loaders import Batch


class Digits(ImageData):
    def read(self, train: bool) -> Batch:
        from sklearn.datasets import load_digits  # takes a second to import, only this data set needs it

        bunch = load_digits()
        small = torch.from_numpy(bunch.images)[:, None] * (255 / 16)  # (N, 1, 8, 8), 0 to 255
        images = interpolate(small, self.shape[1:], mode="bilinear").round().to(torch.uint8)
        labels = torch.from_numpy(bunch.target).long()
        is_test = torch.arange(len(labels)) % 5 == 4
        chosen = ~is_test if train else is_test
        return images[chosen], labels[chosen]
