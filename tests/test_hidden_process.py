"""The process in the hidden units is the process over the items."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_cfgdiff.diffusion import (
    Denoiser,
    HiddenProcess,
    NoiseSchedule,
    SparseRows,
    branches,
    guided_prediction,
    make_betas,
    make_guidance_encoder,
    reverse_process,
    spaced_timesteps,
)
from recbole_cfgdiff.diffusion.fast import hidden_process as hidden_process_module
from recbole_cfgdiff.diffusion.samplers import SAMPLERS
from recbole_cfgdiff.diffusion.schedule import NOISE_SCHEDULES

N_ITEMS, HIDDEN = 40, 12
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}

dtypes = st.sampled_from(list(TOLERANCE))
seeds = st.integers(0, 2**32 - 1)
mean_types = st.sampled_from(["x0", "eps"])
samplers = st.sampled_from(list(SAMPLERS))
noise_schedules = st.sampled_from(NOISE_SCHEDULES)
denoisers = st.fixed_dictionaries(
    {
        "depth": st.integers(1, 3),
        "norm": st.booleans(),
        "encoder": st.sampled_from(["raw", "embedding"]),
        "embedding_size": st.sampled_from([0, 10]),
        "mlp_act_func": st.sampled_from(["tanh", "relu"]),
        "output_scale": st.sampled_from([1.0, 0.1]),
        "input_scale": st.sampled_from([1.0, 0.1]),
    }
)


def a_denoiser(seed, dtype, depth=1, encoder="raw", size=1.0, **options):
    """Of Xavier weights times ``size``, and some bias."""
    torch.manual_seed(seed)
    widths = [HIDDEN + 3 * place for place in range(depth)]
    guidance_encoder = make_guidance_encoder(encoder, N_ITEMS, 5, HIDDEN)
    denoiser = Denoiser(N_ITEMS, widths, guidance_encoder=guidance_encoder, **options)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.mul_(size) if parameter.dim() > 1 else parameter.normal_(std=0.1)
    return denoiser.to(dtype).eval()


def histories(seed, dtype, n_users=6):
    """Multi-hot vectors, the first empty and the last full."""
    x = (torch.rand(n_users, N_ITEMS, generator=torch.Generator().manual_seed(seed)) < 0.3).to(dtype)
    x[0], x[-1] = 0, 1
    return x


def a_schedule(noise_schedule, steps, noise_scale=0.1):
    return NoiseSchedule(make_betas(noise_schedule, steps, noise_scale, 0.001, 0.2, True))


def steps_of(schedule, mean_type, sampler="ddpm", n=None):
    return SAMPLERS[sampler](schedule, mean_type, spaced_timesteps(schedule.steps, n))


@torch.no_grad()
def over_the_items(denoiser, steps, x_T, guidance, scale):
    code = denoiser.encode(guidance)

    def predict(x_t, t):
        return guided_prediction([denoiser(x_t, t, each) for each in branches(code, scale)], scale)

    return reverse_process(steps, predict, x_T)


@torch.no_grad()
def in_the_hidden_units(denoiser, steps, x_T, guidance, scale):
    return next(HiddenProcess(denoiser, steps).scores(x_T, denoiser.encode(guidance), [scale]))


def assert_agree(got, expected):
    assert expected.isfinite().all()
    error = (got - expected).abs().max() / expected.abs().max()
    assert error < TOLERANCE[expected.dtype], error


@settings(max_examples=150)
@given(dtypes, seeds, denoisers, mean_types, noise_schedules, samplers, st.data(), st.floats(0, 2))
def test_whole_chains_agree(dtype, seed, shape, mean_type, noise_schedule, sampler, data, scale):
    n_steps = data.draw(st.integers(1, 100))
    n_sampled = data.draw(st.none() | st.integers(1, n_steps))
    steps = steps_of(a_schedule(noise_schedule, n_steps), mean_type, sampler, n_sampled)
    arguments = a_denoiser(seed, dtype, **shape), steps
    x_T = histories(seed, dtype)
    rows = SparseRows.of_dense(x_T)
    expected = over_the_items(*arguments, x_T, rows, scale)
    assert_agree(in_the_hidden_units(*arguments, rows, rows, scale), expected)
    assert_agree(in_the_hidden_units(*arguments, x_T, x_T, scale), expected)


@settings(max_examples=150)
@given(dtypes, seeds, denoisers, mean_types, st.floats(-1, 8), st.sampled_from([0.1, 3.0, 30.0]))
def test_single_steps_agree_for_any_weights_and_scales(dtype, seed, shape, mean_type, scale, size):
    """The last step from any ``x_1``, of either sign and any length."""
    denoiser, steps = a_denoiser(seed, dtype, **shape, size=size), steps_of(a_schedule("linear", 1), mean_type)
    x_1 = size * torch.randn(6, N_ITEMS, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    guidance = SparseRows.of_dense(histories(seed, dtype))
    expected = over_the_items(denoiser, steps, x_1, guidance, scale)
    assert_agree(in_the_hidden_units(denoiser, steps, x_1, guidance, scale), expected)


@settings(max_examples=100)
@given(dtypes, seeds, denoisers, mean_types, noise_schedules, st.sampled_from([0.1, 3.0, 30.0]))
def test_a_step_between_agrees_for_any_weights(dtype, seed, shape, mean_type, noise_schedule, size):
    """What the next step needs of ``x_{t-1}``, from any ``x_t`` and last hidden layer, relative to its terms."""
    steps = steps_of(a_schedule(noise_schedule, 5), mean_type)
    denoiser, step = a_denoiser(seed, dtype, **shape, size=size), steps[1]
    generator = torch.Generator().manual_seed(seed)
    x_t = size * torch.randn(6, N_ITEMS, generator=generator, dtype=dtype)
    a = torch.randn(6, denoiser.output_layer.in_features, generator=generator, dtype=dtype)
    process = HiddenProcess(denoiser, steps)
    with torch.no_grad():
        prediction = denoiser.output_scale * denoiser.output_layer(a)
        state = hidden_process_module.State(x_t @ process._table, x_t.square().sum(dim=1) if shape["norm"] else None)
        got = process._next(state, a, step)
    terms = torch.stack([step.of_x_t * x_t, step.of_prediction * prediction]).double()
    x_next = terms.sum(dim=0)
    largest = (terms.abs() @ process._table.double().abs()).max()
    assert (got.images - x_next @ process._table.double()).abs().max() < TOLERANCE[dtype] * largest
    if shape["norm"]:
        largest = terms.square().sum(dim=2).max()
        assert (got.squared_norm - x_next.square().sum(dim=1)).abs().max() < TOLERANCE[dtype] * largest


@settings(max_examples=60)
@given(seeds, denoisers, mean_types, noise_schedules, st.integers(2, 6), st.floats(-1, 8))
def test_few_steps_agree_for_large_weights_in_float64(seed, shape, mean_type, noise_schedule, steps, scale):
    """The products that lead from one step to the next, at weights where more steps would be chaotic."""
    denoiser = a_denoiser(seed, torch.float64, **shape, size=3.0)
    arguments = denoiser, steps_of(a_schedule(noise_schedule, steps), mean_type)
    x_T = histories(seed, torch.float64)
    rows = SparseRows.of_dense(x_T)
    expected = over_the_items(*arguments, x_T, rows, scale)
    error = (in_the_hidden_units(*arguments, rows, rows, scale) - expected).abs().max() / expected.abs().max()
    assert error < 1e-7


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("n", [None, 2])
@pytest.mark.parametrize("mean_type", ["x0", "eps"])
def test_without_noise_the_network_is_applied_again_and_again(mean_type, n, sampler):
    schedule = a_schedule("linear", 4, noise_scale=0)
    arguments = a_denoiser(0, torch.float64), steps_of(schedule, mean_type, sampler, n)
    rows = SparseRows.of_dense(histories(0, torch.float64))
    assert [step[1:3] for step in arguments[1]] == [(0, 1)] * (n or 4)
    assert_agree(in_the_hidden_units(*arguments, rows, rows, 2.0), over_the_items(*arguments, rows.dense(), rows, 2.0))


@given(seeds, denoisers, mean_types, st.integers(1, 5))
def test_a_sweep_gives_each_scale_its_scores_in_one_memory(seed, shape, mean_type, steps):
    denoiser = a_denoiser(seed, torch.float64, **shape)
    arguments = denoiser, steps_of(a_schedule("linear", steps), mean_type)
    rows = SparseRows.of_dense(histories(seed, torch.float64))
    scales = [0.0, 1.0, 0.5, 2.0, 0.5]
    memory = set()
    sweep = HiddenProcess(*arguments).scores(rows, denoiser.encode(rows), scales)
    for scale, scores in zip(scales, sweep):
        memory.add(scores.data_ptr())
        assert_agree(scores, in_the_hidden_units(*arguments, rows, rows, scale))
        scores.fill_(float("nan"))  # as evaluation writes its mask there
    assert len(memory) == 1


def test_users_are_scored_in_chunks_alike(monkeypatch):
    arguments = a_denoiser(0, torch.float64), steps_of(a_schedule("linear", 5), "x0")
    rows = SparseRows.of_dense(histories(0, torch.float64, n_users=50))
    whole = in_the_hidden_units(*arguments, rows, rows, 2.0).clone()
    monkeypatch.setattr(hidden_process_module, "_CHUNK", 7)
    assert_agree(in_the_hidden_units(*arguments, rows, rows, 2.0), whole)


def test_sampled_noise_has_the_distribution_of_noise_on_the_items():
    """Mean and covariance of the scores of one user, of a denoiser that is nearly linear."""
    steps = steps_of(a_schedule("linear", 3), "x0")
    denoiser = a_denoiser(0, torch.float64, mlp_act_func="none", input_scale=0.5)
    x_T = histories(1, torch.float64)[2:3].expand(40_000, -1)
    process = HiddenProcess(denoiser, steps, sampling_noise=True)
    torch.manual_seed(0)
    with torch.no_grad():
        got = next(process.scores(SparseRows.of_dense(x_T), None, [0.0]))
        expected = reverse_process(steps, denoiser, x_T, sampling_noise=True)
    torch.testing.assert_close(got.mean(dim=0), expected.mean(dim=0), rtol=0, atol=5 * expected.std() / 200)
    spread = expected.T.cov()
    torch.testing.assert_close(got.T.cov(), spread, rtol=0, atol=0.05 * spread.diagonal().max().item())
    assert spread.diagonal().min() > 0


@pytest.mark.parametrize(
    ("mean_type", "norm", "sampling_noise", "exact"),
    [("x0", True, False, True), ("x0", False, True, True), ("x0", True, True, False), ("eps", False, True, False)],
)
def test_where_it_would_not_be_exact_it_refuses(mean_type, norm, sampling_noise, exact):
    denoiser, steps = a_denoiser(0, torch.float32, norm=norm), steps_of(a_schedule("linear", 2), mean_type)
    assert HiddenProcess.is_exact(denoiser, steps, sampling_noise) is exact
    if exact:
        HiddenProcess(denoiser, steps, sampling_noise)
    else:
        with pytest.raises(ValueError, match="only the process over the items is exact"):
            HiddenProcess(denoiser, steps, sampling_noise)
