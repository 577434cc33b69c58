"""The training stream: pure in (seed, step), whatever the thread does; resumable; its errors surface."""

import threading
import time
from itertools import islice

import numpy as np
import pytest

from gland.data import Batches, Recipe, Sample, to_input
from gland.errors import InputError

SIZE = 32


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    made = ((rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 3, (40, 50), np.int32)) for _ in range(7))
    return [Sample(f"train_{i}", *arrays, i < 2) for i, arrays in enumerate(made)]


def first(samples, count, **options):
    with Batches(samples, 4, SIZE, **options) as batches:
        return list(islice(batches, count))


def same(a, b):
    """Whether two lists of batches agree bit for bit."""
    return len(a) == len(b) and all(np.array_equal(p, q) for x, y in zip(a, b, strict=True) for p, q in zip(x, y))


def test_a_batch_is_what_the_networks_take(samples):
    (batch,) = first(samples, 1)
    assert batch.images.shape == (4, 3, SIZE, SIZE) and batch.images.dtype == np.float32
    assert batch.images.transpose(0, 2, 3, 1).flags.c_contiguous
    assert np.abs(batch.images.mean(axis=(2, 3))).max() < 1e-3  # every image by itself: gland.data.sample
    assert batch.mask.shape == (4, SIZE, SIZE) and batch.mask.dtype == np.float32
    np.testing.assert_array_equal(batch.mask, batch.instances > 0)
    assert batch.malignant.tolist() == [int(name in ("train_0", "train_1")) for name in batch.names]


def test_the_same_seed_gives_the_same_batches_and_another_does_not(samples):
    assert same(first(samples, 5, seed=1), first(samples, 5, seed=1))
    assert not same(first(samples, 5, seed=1), first(samples, 5, seed=2))


def test_every_seed_step_and_index_has_a_window_of_its_own(samples):
    one = samples[:1]  # so that only the window, not the choice of sample, can differ
    windows = [image for seed in (1, 2) for batch in first(one, 2, seed=seed) for image in batch.images]
    assert all(not np.array_equal(a, b) for i, a in enumerate(windows) for b in windows[:i])


def test_timing_changes_nothing(samples):
    hurried = first(samples, 5, ahead=1)
    assert same(first(samples, 5, threads=3), hurried)
    with Batches(samples, 4, SIZE, ahead=6) as batches:
        slow = [batch for batch in islice(batches, 5) if not time.sleep(0.02)]
    assert same(hurried, slow)


def resumes(make, samples):
    """The check: does a stream started at step 3 go on as the uninterrupted one does?"""
    with make(samples, 4, SIZE, seed=9) as whole, make(samples, 4, SIZE, seed=9, start_step=3) as rest:
        uninterrupted = list(islice(whole, 6))
        return same(uninterrupted[3:], list(islice(rest, 3))) and whole.step == 6 == rest.step


def test_resuming_equals_never_having_stopped(samples):
    assert resumes(Batches, samples)


def test_a_stream_that_carries_a_generator_is_caught(samples):  # the planted mistake
    class Carrying(Batches):
        made = 0

        def make(self, step):
            self.made += 1
            return super().make(self.made)

    assert not resumes(Carrying, samples)


def test_an_error_in_the_thread_surfaces_at_its_own_step(samples):
    class Failing(Batches):
        def make(self, step):
            if step == 2:
                raise InputError("train_2.png is gone.")
            return super().make(step)

    with Failing(samples, 2, SIZE) as batches:
        next(batches), next(batches)
        with pytest.raises(InputError, match="train_2"):
            next(batches)


def test_the_thread_is_never_further_ahead_than_asked(samples):
    made = []

    class Counting(Batches):
        def make(self, step):
            made.append(step)
            return super().make(step)

    with Counting(samples, 2, SIZE, ahead=3) as batches:
        next(batches)
        time.sleep(0.3)
        assert made == [0, 1, 2]


def test_closing_ends_the_thread_even_when_batches_wait(samples):
    before = threading.active_count()
    batches = Batches(samples, 4, SIZE, ahead=8)
    next(batches)
    batches.close()
    batches.close()
    assert threading.active_count() == before


def test_balanced_batches_hold_as_many_of_either_class(samples):
    for batch in first(samples, 6):
        assert batch.malignant.sum() == 2


def test_every_sample_of_a_class_comes_once_before_any_comes_again(samples):
    benign = [n for batch in first(samples, 10) for n in batch.names if n not in ("train_0", "train_1")]
    assert all(len(set(benign[i : i + 5])) == 5 for i in range(0, 20, 5))


def test_one_class_alone_is_no_trouble(samples):
    assert {n for b in first(samples[:2], 2) for n in b.names} == {"train_0", "train_1"}


def test_without_augmentation_windows_are_cut_from_the_resized_image(samples):
    with Batches(samples, 1, SIZE, augment=False) as batches:
        batch = next(batches)
        whole = next(s for s in batches.samples if s.name == batch.names[0])
    places = np.lib.stride_tricks.sliding_window_view(whole.instances, (SIZE, SIZE))[:, :, ::5, ::5]
    places = np.argwhere((places == batch.instances[0, ::5, ::5]).all(axis=(2, 3)))
    windows = (whole.image[i : i + SIZE, j : j + SIZE] for i, j in places)
    assert any(np.array_equal(to_input([window])[0], batch.images[0]) for window in windows)


def test_the_recipe_is_followed(samples):
    assert not same(first(samples, 1), first(samples, 1, recipe=Recipe(stain=0)))


def test_no_images_is_one_sentence():
    with pytest.raises(InputError, match="no images to train on"):
        Batches([], 4)
