"""The statistics of a comparison, against closed forms and published numbers."""

import math

import numpy as np
import pytest
from scipy import stats

from utils.compare.paired_statistics import mcnemar, mean_and_deviation, paired_difference

pytestmark = pytest.mark.once

# W. S. Gosset ("Student"), The Probable Error of a Mean, 1908: hours of sleep gained with
# two drugs, the same ten patients
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_mean_and_deviation():
    assert mean_and_deviation([2, 4, 9]) == (5, pytest.approx(13**0.5))
    assert mean_and_deviation([0.8]) == (0.8, None)


def test_difference_of_students_sleepers():
    found = paired_difference(SECOND, FIRST)
    assert found.mean == pytest.approx(1.58)
    # as R's t.test(..., paired = TRUE) prints it
    assert (found.low, found.high) == (pytest.approx(0.7001142), pytest.approx(2.4598858))


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("count", [2, 3, 5, 30])
def test_difference_as_in_scipy(rng, count, confidence):
    values, base = rng.normal(0.9, 0.01, (2, count))
    found = paired_difference(values, base, confidence)
    wanted = stats.ttest_rel(values, base).confidence_interval(confidence)
    assert found.mean == pytest.approx(np.mean(values - base))
    assert (found.low, found.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_difference_of_one_pair_has_no_interval():
    found = paired_difference([0.75], [0.5])
    assert (found.mean, found.low, found.high) == (0.25, None, None)


def test_pairs_that_differ_by_the_same_have_no_interval():
    """Of a test set of 360 images: two seeds can both be one image better by chance."""
    found = paired_difference([0.5, 0.75, 0.25], [0.25, 0.5, 0.0])
    assert (found.mean, found.low, found.high, found.pairs) == (0.25, None, None, 3)
    one_image = paired_difference([301 / 360, 311 / 360], [300 / 360, 310 / 360])
    assert one_image.low is one_image.high is None


def test_sizes_must_be_the_same():
    with pytest.raises(ValueError, match="longer"):
        paired_difference([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="same"):
        mcnemar([True], [True, False])


def hits_of(both, gained, lost, neither):
    """Two boolean arrays with the given number of images of each kind."""
    counts = (both, gained, lost, neither)
    return np.repeat([True, True, False, False], counts), np.repeat(
        [True, False, True, False], counts
    )


def test_mcnemar_of_published_ratings():
    # A. Agresti, Categorical Data Analysis, table 10.1: approval of the prime minister, 1600 people
    # asked twice; 150 turned away, 86 turned towards, z^2 = 17.36 and p < 0.001
    found = mcnemar(*hits_of(794, 86, 150, 570))
    assert (found.gained, found.lost) == (86, 150)
    assert found.p == pytest.approx(stats.chi2.sf(17.36, 1), rel=0.5)  # the published approximation
    assert found.p == pytest.approx(2 * stats.binom.cdf(86, 236, 0.5))  # the exact value


@pytest.mark.parametrize("values", [[0.1, 0.2, -0.1], [0.01, 0.05, -0.02, 0.0], [1.0, 1.1]])
def test_pairs_needed_are_the_fewest(values):
    """As many pairs of this mean and deviation leave zero out of the interval, and no fewer."""
    found = paired_difference(values, [0.0] * len(values))
    mean, deviation = np.mean(values), np.std(values, ddof=1)

    def shows(count):
        low, high = stats.t.interval(0.95, count - 1, mean, deviation / math.sqrt(count))
        return low > 0 or high < 0

    if found.pairs_needed is None:
        assert shows(len(values))
    else:
        assert shows(found.pairs_needed)
        assert not shows(found.pairs_needed - 1)


@pytest.mark.parametrize("pairs", [4, 10, 30, 100])
def test_twice_the_pairs_needed_show_it_in_four_cases_of_five(pairs, rng):
    values = rng.normal(size=3)
    values = 0.1 + values - values.mean()
    # the deviation with which this is the least number of pairs
    values = 0.1 + (values - 0.1) / values.std(ddof=1) * deviation_that_needs(pairs, 0.1)
    assert paired_difference(values, np.zeros(3)).pairs_needed == pairs
    effect = 0.1 / values.std(ddof=1) * math.sqrt(2 * pairs)
    edge = stats.t.ppf(0.975, 2 * pairs - 1)
    assert stats.nct.sf(edge, 2 * pairs - 1, effect) > 0.79


def deviation_that_needs(pairs, mean):
    """A little less than that at which the interval of so many pairs ends at zero."""
    return 0.999 * mean * math.sqrt(pairs) / stats.t.ppf(0.975, pairs - 1)


def test_seeds_that_are_added_until_a_module_is_ahead(rng):
    """Of modules without an effect, which get as many seeds as the conclusion suggests."""
    counts = np.arange(2, 21)
    halves = stats.t.ppf(0.975, counts - 1) / np.sqrt(counts)  # of a deviation of 1

    def is_called_different(values):
        count = 3
        while True:
            mean, deviation = np.mean(values[:count]), np.std(values[:count], ddof=1)
            enough = counts[halves * deviation < abs(mean)]
            if count in enough:
                return True
            if not enough.size:
                return False
            count = enough[0]

    cases = rng.normal(size=(4000, 20))
    share = np.mean([is_called_different(values) for values in cases])
    assert 2 * 0.05 < share < 3 * 0.05


def test_pairs_that_show_nothing_at_all():
    found = paired_difference([0.1, -0.1], [0.0, 0.0])
    assert found.low < 0 < found.high
    assert found.pairs_needed is None


def test_mcnemar_by_hand():
    # 1 gained of 5: 2 (1 + 5) / 2^5
    assert mcnemar(*hits_of(3, 1, 4, 2)).p == pytest.approx(0.375)
    assert mcnemar(*hits_of(3, 4, 1, 2)).p == pytest.approx(0.375)
    assert mcnemar(*hits_of(3, 6, 0, 2)).p == pytest.approx(2 / 2**6)
    assert mcnemar(*hits_of(0, 3, 3, 0)).p == 1


def test_mcnemar_of_the_same_hits():
    found = mcnemar(*hits_of(5, 0, 0, 5))
    assert (found.gained, found.lost, found.p) == (0, 0, 1)
