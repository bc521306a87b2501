import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.diffusion import TimestepSampler
from recbole_cfgdiff.diffusion.timesteps import UNIFORM_SHARE

STEPS, CAPACITY = 4, 3

batches = st.lists(st.lists(st.integers(0, STEPS - 1), min_size=1, max_size=20), max_size=5)


@given(batches)
def test_each_step_remembers_its_latest_losses(batches):
    sampler, expected, value = TimestepSampler(STEPS, CAPACITY), [[] for _ in range(STEPS)], 0.0
    for batch in batches:
        losses = torch.arange(value, value + len(batch))
        value += len(batch)
        sampler.update(torch.tensor(batch), losses)
        for step, loss in zip(batch, losses.tolist()):
            expected[step].append(loss)
    for step in range(STEPS):
        latest = expected[step][-CAPACITY:]
        assert sorted(sampler.loss_history[step].tolist()) == sorted(latest + [0.0] * (CAPACITY - len(latest)))
        assert sampler.loss_count[step] == len(expected[step])


def a_full_sampler(losses):
    sampler = TimestepSampler(STEPS, CAPACITY)
    for _ in range(CAPACITY):
        sampler.update(torch.arange(STEPS), torch.tensor(losses))
    return sampler


def test_sampling_is_uniform_until_every_step_is_full():
    sampler = TimestepSampler(STEPS, CAPACITY)
    sampler.update(torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]), torch.ones(11) * 7)
    assert (sampler.probabilities() == 1 / STEPS).all()
    t, importance = sampler.sample(1000)
    assert (importance == 1).all()
    assert set(t.tolist()) == set(range(STEPS))


def test_probabilities_follow_the_root_mean_square_of_the_losses():
    losses = np.array([1.0, 2.0, 3.0, 4.0])
    sampler = a_full_sampler(losses)
    expected = (1 - UNIFORM_SHARE) * losses / losses.sum() + UNIFORM_SHARE / STEPS
    np.testing.assert_allclose(sampler.probabilities().numpy(), expected)
    t, importance = sampler.sample(20000)
    np.testing.assert_allclose(np.bincount(t, minlength=STEPS) / 20000, expected, atol=0.02)
    np.testing.assert_allclose(importance.numpy(), STEPS * expected[t.numpy()], rtol=1e-6)


def test_losses_of_zero_leave_sampling_uniform():
    assert (a_full_sampler([0.0] * STEPS).probabilities() == 1 / STEPS).all()


def test_the_state_is_saved_with_the_model():
    sampler, restored = a_full_sampler([1.0, 2.0, 3.0, 4.0]), TimestepSampler(STEPS, CAPACITY)
    restored.load_state_dict(sampler.state_dict())
    assert (restored.probabilities() == sampler.probabilities()).all()
