"""The steps that a sampler gives, against its formulas and against the process that they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.diffusion import SAMPLERS, NoiseSchedule, make_betas, spaced_timesteps
from recbole_cfgdiff.diffusion.schedule import NOISE_SCHEDULES

schedules = st.builds(
    lambda noise_schedule, steps, noise_scale: NoiseSchedule(
        make_betas(noise_schedule, steps, noise_scale, 1e-3, 0.5, beta_fixed=False)
    ),
    noise_schedule=st.sampled_from(NOISE_SCHEDULES),
    steps=st.integers(1, 40),
    noise_scale=st.floats(1e-2, 1),
)
numbers = st.floats(-3, 3)


@given(st.integers(1, 200), st.data())
def test_timesteps_are_spread_back_from_the_last(steps, data):
    n = data.draw(st.integers(1, steps))
    timesteps = spaced_timesteps(steps, n)
    gaps = [after - before for before, after in zip([-1, *timesteps], timesteps)]
    assert len(timesteps) == n and timesteps[-1] == steps - 1 and timesteps[0] >= 0
    assert max(gaps) - min(gaps) <= 1
    assert spaced_timesteps(steps, None) == list(range(steps))


@given(schedules, st.sampled_from(["x0", "eps"]), st.sampled_from(["ddpm", "ddim"]), st.data())
def test_a_perfect_prediction_leads_to_x_start(schedule, mean_type, name, data):
    """From ``x_T`` of any ``x_0`` and noise: at the first timestep nothing of either is left but ``x_0``."""
    timesteps = spaced_timesteps(schedule.steps, data.draw(st.integers(1, schedule.steps)))
    x_start, eps = data.draw(numbers), data.draw(numbers)
    abar = schedule.alphas_cumprod
    x_t = float(abar[-1].sqrt()) * x_start + float((1 - abar[-1]).sqrt()) * eps
    for step in SAMPLERS[name](schedule, mean_type, timesteps):
        told = (x_t - float(abar[step.t].sqrt()) * x_start) / float((1 - abar[step.t]).sqrt())
        x_t = step.of_x_t * x_t + step.of_prediction * (x_start if mean_type == "x0" else told)
    assert x_t == pytest.approx(x_start, abs=1e-4)


@given(schedules, st.sampled_from(["x0", "eps"]), st.data())
def test_ddim_keeps_the_noise_of_x_t(schedule, mean_type, data):
    """DDIM Eq. 12 without noise: ``x_prev`` has the same ``x_0`` and ``eps``, in the proportion of its timestep."""
    timesteps = spaced_timesteps(schedule.steps, data.draw(st.integers(1, schedule.steps)))
    x_start, eps = data.draw(numbers), data.draw(numbers)
    abar = schedule.alphas_cumprod.tolist()
    for step, before in zip(SAMPLERS["ddim"](schedule, mean_type, timesteps), [*timesteps[-2::-1], None]):
        x_t = abar[step.t] ** 0.5 * x_start + (1 - abar[step.t]) ** 0.5 * eps
        abar_prev = 1.0 if before is None else abar[before]
        expected = abar_prev**0.5 * x_start + (1 - abar_prev) ** 0.5 * eps
        got = step.of_x_t * x_t + step.of_prediction * (x_start if mean_type == "x0" else eps)
        assert got == pytest.approx(expected, abs=1e-6) and step.noise_std == 0


@given(schedules, st.data())
def test_ddpm_of_fewer_timesteps_is_the_posterior_between_them(schedule, data):
    """``q(x_s | x_t, x_0)`` of Gaussians: precision-weighted mean of ``q(x_s | x_0)`` and what ``x_t`` tells of it."""
    timesteps = spaced_timesteps(schedule.steps, data.draw(st.integers(1, schedule.steps)))
    abar = schedule.alphas_cumprod.tolist()
    for step, before in list(zip(SAMPLERS["ddpm"](schedule, "x0", timesteps), timesteps[-2::-1])):
        alpha = abar[step.t] / abar[before]
        prior, likelihood = 1 / (1 - abar[before]), alpha / (1 - alpha)
        variance = 1 / (prior + likelihood)
        assert step.of_prediction == pytest.approx(variance * prior * abar[before] ** 0.5, rel=1e-6)
        assert step.of_x_t == pytest.approx(variance * likelihood / alpha**0.5, rel=1e-6)
        assert step.noise_std == pytest.approx(variance**0.5, rel=1e-6)


def test_one_timestep_is_the_prediction_at_the_noisiest():
    schedule = NoiseSchedule(make_betas("linear", 5, 1.0, 0.1, 0.5, beta_fixed=False))
    for sampler in (SAMPLERS["ddpm"], SAMPLERS["ddim"]):
        (step,) = sampler(schedule, "x0", spaced_timesteps(5, 1))
        assert step == (4, pytest.approx(0, abs=1e-12), pytest.approx(1), pytest.approx(0, abs=1e-7))
