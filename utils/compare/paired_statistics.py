"""Statistics of paired results: two variants with the same seeds, or on the same test images."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

MOST_PAIRS = 1000


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean difference of pairs, with its confidence interval.

    Args:
        mean: float.
        low, high: floats, the bounds of the interval; both `None` if there is none.
        pairs_needed: int, about how many pairs would show a difference of this size; `None` if the
            interval shows one, if there is none, or if it would take more than `MOST_PAIRS`.
        pairs: int, how many there are. Defaults to 1.
    """

    mean: float
    low: float | None
    high: float | None
    pairs_needed: int | None = None
    pairs: int = 1


@dataclasses.dataclass(frozen=True)
class McNemar:
    """McNemar's test that two networks are wrong on the same test images equally often.

    Args:
        gained: int, images on which the base is wrong and the other network right.
        lost: int, images on which the base is right and the other network wrong.
        p: float, the exact two-sided p-value.
    """

    gained: int
    lost: int
    p: float


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Returns mean and sample standard deviation; the deviation of a single value is `None`."""
    array = np.asarray(values, "float64")
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None


def paired_difference(
    values: Sequence[float], base: Sequence[float], confidence: float = 0.95
) -> Difference:
    """Computes the mean of `values - base`, with the confidence interval of a paired t-test.

    Args:
        values, base: sequences of numbers of the same length; the items at an index are a pair.
        confidence: float between 0 and 1. Defaults to 0.95.

    Returns:
        A `Difference`. A single pair has no interval, and neither have pairs that all differ by the
        same: accuracies are shares of a number of test images, and a few small shares can be equal
        by chance, which says nothing of their spread.

    Raises:
        ValueError: the lengths differ.
    """
    differences = [value - of_base for value, of_base in zip(values, base, strict=True)]
    mean, deviation = mean_and_deviation(differences)
    pairs = len(differences)
    if deviation is None or np.allclose(differences, mean, rtol=0, atol=1e-12):
        return Difference(mean, None, None, pairs=pairs)
    half = _half_width(deviation, pairs, confidence)
    needed = None if half < abs(mean) else _pairs_needed(mean, deviation, confidence)
    return Difference(mean, mean - half, mean + half, needed, pairs)


def _half_width(deviation: float, pairs: int, confidence: float) -> float:
    quantile = stats.t.ppf((1 + confidence) / 2, pairs - 1)
    return float(quantile * deviation / math.sqrt(pairs))


def _pairs_needed(mean: float, deviation: float, confidence: float) -> int | None:
    """The fewest pairs with which an interval of this mean and deviation leaves zero out."""
    counts = range(2, MOST_PAIRS + 1)
    return next((n for n in counts if _half_width(deviation, n, confidence) < abs(mean)), None)


def mcnemar(hits: np.ndarray, base: np.ndarray) -> McNemar:
    """Computes McNemar's exact test, on the images that only one of two networks gets right.

    Args:
        hits, base: boolean arrays of the same shape, which images each network gets right.

    Returns:
        A `McNemar`; its p is 1 if both get the same images right.

    Raises:
        ValueError: the shapes differ.
    """
    hits, base = np.asarray(hits, bool), np.asarray(base, bool)
    if hits.shape != base.shape:
        raise ValueError(f"the shapes must be the same, received {hits.shape} and {base.shape}")
    gained, lost = int(np.sum(hits & ~base)), int(np.sum(~hits & base))
    p = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return McNemar(gained, lost, float(p))
