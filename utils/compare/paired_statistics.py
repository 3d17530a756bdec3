"""Statistics of paired results: the same seeds, and the same test images, with and without."""

import dataclasses
import math

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Difference:
    """A mean difference of pairs and its confidence interval, `None` where there is none.

    Args:
        mean: float.
        low, high: floats, the bounds of the interval, or `None` both.
    """

    mean: float
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True)
class McNemar:
    """A test of whether two networks err equally often on the same images.

    Args:
        gained: int, images that the base has wrong and the other has right.
        lost: int, images that the base has right and the other has wrong.
        p: float, two-sided and exact.
    """

    gained: int
    lost: int
    p: float


def mean_and_deviation(values):
    """Mean and sample standard deviation; the deviation of a single value is `None`."""
    values = np.asarray(values, "float64")
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def paired_difference(values, base, confidence=0.95):
    """The mean of the pairs' differences, with the interval of Student's t.

    Args:
        values, base: sequences of numbers of the same length; a pair has the same place in both.
        confidence: float in (0, 1).

    Returns:
        A `Difference`, of `values` minus `base`. One pair alone has no interval.
    """
    pairs = zip(values, base, strict=True)
    mean, deviation = mean_and_deviation([value - of_base for value, of_base in pairs])
    if deviation is None:
        return Difference(mean, None, None)
    count = len(values)
    half = stats.t.ppf((1 + confidence) / 2, count - 1) * deviation / math.sqrt(count)
    return Difference(mean, float(mean - half), float(mean + half))


def mcnemar(hits, base):
    """McNemar's exact test of the images that only one of two networks has right.

    Args:
        hits, base: boolean arrays of the same shape: which images each of them has right.

    Returns:
        A `McNemar`; its p is 1 where the two have the same images right.
    """
    hits, base = np.asarray(hits, bool), np.asarray(base, bool)
    if hits.shape != base.shape:
        raise ValueError(f"the shapes must be the same, received {hits.shape} and {base.shape}")
    gained, lost = int(np.sum(hits & ~base)), int(np.sum(~hits & base))
    p = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return McNemar(gained, lost, float(p))
