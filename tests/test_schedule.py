import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.diffusion import NoiseSchedule, SparseRows, make_betas
from recbole_cfgdiff.diffusion.schedule import NOISE_SCHEDULES


def a_schedule(noise_schedule="linear", steps=5, noise_scale=0.1, noise_min=1e-3, noise_max=0.5, beta_fixed=False):
    return NoiseSchedule(make_betas(noise_schedule, steps, noise_scale, noise_min, noise_max, beta_fixed))


def predicted_x_start(schedule, x_t, t, eps):
    """DDPM Eq. 4 solved for ``x_0``."""
    abar = schedule.alphas_cumprod[t][:, None]
    return (x_t - (1 - abar).sqrt() * eps) / abar.sqrt()


def posterior_mean(schedule, x_start, x_t, t):
    """DDPM Eq. 7."""
    return schedule.posterior_mean_coef1[t][:, None] * x_start + schedule.posterior_mean_coef2[t][:, None] * x_t


schedules = st.builds(
    a_schedule,
    noise_schedule=st.sampled_from(NOISE_SCHEDULES),
    steps=st.integers(1, 60),
    noise_scale=st.floats(1e-3, 1),
    beta_fixed=st.booleans(),
)


@given(schedules)
def test_noise_only_grows_and_the_first_reverse_coefficients_are_exact(schedule):
    assert (schedule.alphas_cumprod.diff() < 0).all()
    assert schedule.posterior_mean_coef1[0] == 1
    assert schedule.posterior_mean_coef2[0] == 0
    assert schedule.posterior_std[0] == 0


@given(schedules)
def test_the_posterior_mean_moves_the_signal_back_by_one_step(schedule):
    """For x_t = sqrt(abar_t) x_0 the mean of q(x_{t-1} | x_t, x_0) is sqrt(abar_{t-1}) x_0."""
    moved = schedule.posterior_mean_coef1 + schedule.posterior_mean_coef2 * schedule.alphas_cumprod.sqrt()
    torch.testing.assert_close(moved, schedule.alphas_cumprod_prev.sqrt(), rtol=1e-6, atol=1e-9)


@given(schedules, st.integers(0, 2**32 - 1))
def test_x_start_is_recovered_from_the_true_noise(schedule, seed):
    generator = torch.Generator().manual_seed(seed)
    x_start = torch.randn(schedule.steps, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(schedule.steps, 3, generator=generator, dtype=torch.float64)
    t = torch.arange(schedule.steps)
    usable = schedule.alphas_cumprod > 1e-6
    recovered = predicted_x_start(schedule, schedule.q_sample(SparseRows.of_dense(x_start), t, noise), t, noise)
    torch.testing.assert_close(recovered[usable], x_start[usable], rtol=1e-6, atol=1e-6)


@given(st.integers(1, 60), st.floats(1e-3, 1))
def test_linear_var_makes_the_variance_linear(steps, noise_scale):
    schedule = a_schedule("linear-var", steps, noise_scale)
    expected = np.linspace(noise_scale * 1e-3, noise_scale * 0.5, steps)
    np.testing.assert_allclose(1 - schedule.alphas_cumprod.numpy(), expected, rtol=1e-9)


def test_without_noise_the_schedule_is_the_identity():
    schedule = a_schedule(noise_scale=0)
    x, t = torch.randn(5, 3), torch.arange(5)
    torch.testing.assert_close(schedule.q_sample(SparseRows.of_dense(x), t, torch.randn(5, 3)), x)
    torch.testing.assert_close(posterior_mean(schedule, x, torch.randn(5, 3), t).float(), x)
    assert (schedule.loss_weights("x0") == 1).all()


@pytest.mark.parametrize("mean_type", ["x0", "eps"])
@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
def test_loss_weights_are_positive(noise_schedule, mean_type):
    assert (a_schedule(noise_schedule).loss_weights(mean_type) > 0).all()


@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
def test_the_first_step_counts_the_error_of_x_start_once_or_by_half(noise_schedule):
    schedule = a_schedule(noise_schedule)
    assert schedule.loss_weights("x0")[0] == 1
    x_start, noise, predicted = torch.randn(3, 1, 4, dtype=torch.float64)
    t = torch.tensor([0])
    x_t = schedule.q_sample(SparseRows.of_dense(x_start), t, noise)
    half_error = (x_start - predicted_x_start(schedule, x_t, t, predicted)).square().sum() / 2
    weighted = schedule.loss_weights("eps")[0] * (noise - predicted).square().sum()
    torch.testing.assert_close(weighted, half_error, rtol=1e-6, atol=0)


@pytest.mark.parametrize("mean_type", ["x0", "eps"])
@given(schedules, st.integers(0, 2**32 - 1))
def test_the_affine_step_is_the_posterior_mean_at_the_predicted_x_start(mean_type, schedule, seed):
    generator = torch.Generator().manual_seed(seed)
    x_t, prediction = torch.randn(2, schedule.steps, 3, generator=generator, dtype=torch.float64)
    t = torch.arange(schedule.steps)
    x_start = prediction if mean_type == "x0" else predicted_x_start(schedule, x_t, t, prediction)
    alpha, beta = (coefficient[:, None] for coefficient in schedule.step_coefficients(mean_type))
    expected = posterior_mean(schedule, x_start, x_t, t)
    finite = expected.isfinite().all(dim=1)
    assert finite[0]
    torch.testing.assert_close((alpha * x_t + beta * prediction)[finite], expected[finite], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"noise_schedule": "quadratic"}, "noise_schedule: expected one of linear"),
        ({"noise_scale": 3.0}, "betas out of range: beta is 1.12575 at step 3"),
        ({"noise_schedule": "linear-var", "noise_min": 0.5, "noise_max": 0.1}, "betas out of range"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        a_schedule(**changes)
