"""Diabetes (Efron, Hastie, Johnstone and Tibshirani: Least Angle Regression, 2004), included in scikit-learn.

Features in their own units: age, sex, body mass index, mean blood pressure and six blood values. The target is the
progression of the disease after one year, from 25 to 346.
"""

import torch

from leyden.data.loaders import Batch
from leyden.data.tables import TableData, every_fifth


class Diabetes(TableData):
    """Diabetes: 442 patients, ten measurements each, and the progression of the disease. No download."""

    features = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")  # as scikit-learn names them

    def count_test(self) -> int:
        return 442 // 5

    def read(self, train: bool) -> Batch:
        from sklearn.datasets import load_diabetes  # takes a second to import and only this data set needs it

        bunch = load_diabetes(scaled=False)
        features = torch.from_numpy(bunch.data).float()
        targets = torch.from_numpy(bunch.target).float()[:, None]
        return every_fifth(features, targets, train)
