"""Batches of sample numbers and draws: a pure function of seed, epoch and sample."""

import keras
import numpy as np
import pytest

from utils.feeding.epoch_batches import CROP_X, CROP_Y, ORDER, EpochBatches, uniform_draws


def test_draws_are_a_function_of_seed_epoch_and_index():
    draws = uniform_draws(seed=3, epoch=5, count=100)
    np.testing.assert_array_equal(uniform_draws(3, 5, 1000)[:100], draws)
    # row 42 alone, by moving the generator's counter: four numbers for each count
    generator = np.random.Generator(np.random.Philox(key=[3, 5]).advance(42 * 2))
    np.testing.assert_array_equal(generator.random(8), draws[42])
    assert (uniform_draws(3, 6, 100) != draws).all()
    assert (uniform_draws(4, 5, 100) != draws).all()


def test_draws_are_uniform_and_independent():
    draws = uniform_draws(0, 0, 20_000)
    assert (draws >= 0).all()
    assert (draws < 1).all()
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(draws.T), np.eye(8), atol=0.03)


def batches(**options):
    settings = {"batch_size": 8, "size": (6, 5), "seed": 1, "shuffle": True}
    labels = np.arange(40) % 7
    return EpochBatches(np.arange(3, 33), labels, **{**settings, **options})


def epoch_of(source, epoch):
    source.start_epoch(epoch)
    return [source[i] for i in range(len(source))]


def test_an_epoch_is_a_permutation_of_its_own():
    source = batches()
    orders = []
    for epoch in range(3):
        seen = epoch_of(source, epoch)
        assert len(seen) == 3  # the last six wait for another epoch
        index = np.concatenate([x["index"] for x, _ in seen])
        assert set(index) <= set(range(3, 33))
        assert len(set(index)) == 24
        for x, y in seen:
            np.testing.assert_array_equal(y, x["index"] % 7)
            assert {values.dtype for values in (*x.values(), y)} == {np.dtype("int32")}
        orders.append(index)
    assert (orders[0] != orders[1]).any()
    again = np.concatenate([x["index"] for x, _ in epoch_of(source, 0)])
    np.testing.assert_array_equal(again, orders[0])
    order = np.argsort(uniform_draws(1, 0, 40)[3:33, ORDER]) + 3
    np.testing.assert_array_equal(orders[0], order[:24])


def test_an_epoch_can_start_after_some_of_its_batches():
    source = batches(crop_padding=2, flip=True)
    whole = epoch_of(source, 4)
    source.start_epoch(4, skip=1)
    assert (len(source), source.num_batches) == (2, 2)
    for number in range(2):
        (inputs, labels), (wanted_inputs, wanted_labels) = source[number], whole[number + 1]
        np.testing.assert_array_equal(labels, wanted_labels)
        for name, values in wanted_inputs.items():
            np.testing.assert_array_equal(inputs[name], values)


def test_without_shuffling_everything_comes_in_order_unchanged():
    seen = epoch_of(batches(shuffle=False), 0)
    assert [len(y) for _, y in seen] == [8, 8, 8, 6]
    np.testing.assert_array_equal(np.concatenate([x["index"] for x, _ in seen]), np.arange(3, 33))
    for x, _ in seen:
        assert not x["dy"].any()
        assert not x["dx"].any()
        assert not x["flip"].any()


def test_draws_of_a_sample_do_not_depend_on_the_batch_size():
    options = {"crop_padding": 4, "flip": True, "cutout": 2}
    by_sample = []
    for size in (5, 10):
        seen = epoch_of(batches(batch_size=size, **options), 4)
        by_sample.append(
            {
                int(i): tuple(int(x[name][row]) for name in x)
                for x, _ in seen
                for row, i in enumerate(x["index"])
            }
        )
    assert by_sample[0] == by_sample[1]


def test_draws_cover_their_ranges():
    source = EpochBatches(
        np.arange(4000), np.zeros(4000), 4000, (6, 5), 0, True, crop_padding=4, flip=True, cutout=3
    )
    ((x, _),) = epoch_of(source, 0)
    assert set(x["dy"]) == set(x["dx"]) == set(range(-4, 5))
    assert x["flip"].mean() == pytest.approx(0.5, abs=0.03)
    assert set(x["cutout_y"]) == set(range(-1, 5))
    assert set(x["cutout_x"]) == set(range(-1, 4))
    raw = uniform_draws(0, 0, 4000)[x["index"]]
    np.testing.assert_array_equal(x["dy"], (raw[:, CROP_Y] * 9).astype(int) - 4)
    np.testing.assert_array_equal(x["dx"], (raw[:, CROP_X] * 9).astype(int) - 4)


def test_a_batch_is_never_larger_than_the_set():
    assert len(batches(batch_size=1000)) == 1


def test_fit_sees_the_draws_of_every_epoch():
    """The order that reaches the network in epoch `e` is that of `(seed, e)`, on every backend."""
    from utils.training.callbacks import SetEpoch

    source = batches()
    seen = []

    class Spy(keras.utils.PyDataset):
        num_batches = len(source)

        def __len__(self):
            return len(source)

        def __getitem__(self, number):
            x, y = source[number]
            seen.append((source.epoch, number, tuple(x["index"])))
            return x["index"].astype("float32")[:, None], y.astype("float32")[:, None]

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(Spy(), epochs=3, callbacks=[SetEpoch(source)], shuffle=False, verbose=0)
    for epoch in range(3):
        wanted = [(epoch, i, tuple(x["index"])) for i, (x, _) in enumerate(epoch_of(source, epoch))]
        # Keras may look at the first batches more than once to learn their shapes
        assert set(wanted) == {entry for entry in seen if entry[0] == epoch}
        assert [entry for entry in seen if entry[0] == epoch][-len(wanted) :] == wanted


def test_flips_alternate():
    """What is mirrored in one epoch is not in the next, and is again in the one after."""
    source = EpochBatches(np.arange(50), np.zeros(50), 50, (6, 5), 0, True, flip=True)
    flips = []
    for epoch in range(3):
        ((x, _),) = epoch_of(source, epoch)
        flips.append(dict(zip(x["index"].tolist(), x["flip"].tolist(), strict=True)))
    assert flips[0] == flips[2]
    assert flips[1] == {index: 1 - flip for index, flip in flips[0].items()}
    assert set(flips[0].values()) == {0, 1}
