"""Diabetes: 442 patients, ten measurements each, and how far the disease went in the year after.

Efron, Hastie, Johnstone and Tibshirani: Least Angle Regression, 2004. Inside scikit-learn. Features in their own
units: age, sex, body mass index, mean blood pressure and six blood values. The target runs from 25 to 346.
"""

import torch

from leyden.data.loaders import Batch
from leyden.data.tables import TableData, every_fifth


class Diabetes(TableData):
    def read(self, train: bool) -> Batch:
        from sklearn.datasets import load_diabetes  # takes a second to import, only this data set needs it

        bunch = load_diabetes(scaled=False)
        features = torch.from_numpy(bunch.data).float()
        targets = torch.from_numpy(bunch.target).float()[:, None]
        return every_fifth(features, targets, train)
