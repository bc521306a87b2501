"""The process in the hidden units is the process over the items."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_cfgdiff.diffusion import (
    Denoiser,
    HiddenProcess,
    NoiseSchedule,
    SparseRows,
    guided_prediction,
    make_betas,
    make_guidance_encoder,
    reverse_process,
)
from recbole_cfgdiff.diffusion import hidden_process as hidden_process_module
from recbole_cfgdiff.diffusion.guidance import GUIDANCE_ENCODERS
from recbole_cfgdiff.diffusion.schedule import NOISE_SCHEDULES

N_ITEMS, HIDDEN = 40, 12
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}

dtypes = st.sampled_from(list(TOLERANCE))
seeds = st.integers(0, 2**32 - 1)
mean_types = st.sampled_from(["x0", "eps"])
noise_schedules = st.sampled_from(NOISE_SCHEDULES)
denoisers = st.fixed_dictionaries(
    {
        "depth": st.integers(1, 3),
        "norm": st.booleans(),
        "encoder": st.sampled_from(GUIDANCE_ENCODERS),
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


@torch.no_grad()
def over_the_items(schedule, mean_type, denoiser, x_T, guidance, scale):
    code = denoiser.encode(guidance)

    def predict(x_t, t):
        return guided_prediction(lambda code: denoiser(x_t, t, code), code, scale)

    return reverse_process(schedule, mean_type, predict, x_T)


@torch.no_grad()
def in_the_hidden_units(schedule, mean_type, denoiser, x_T, guidance, scale):
    return next(HiddenProcess(schedule, mean_type, denoiser).scores(x_T, denoiser.encode(guidance), [scale]))


def assert_agree(got, expected):
    assert expected.isfinite().all()
    error = (got - expected).abs().max() / expected.abs().max()
    assert error < TOLERANCE[expected.dtype], error


@settings(max_examples=150)
@given(dtypes, seeds, denoisers, mean_types, noise_schedules, st.integers(1, 100), st.floats(0, 2))
def test_whole_chains_agree(dtype, seed, shape, mean_type, noise_schedule, steps, scale):
    arguments = a_schedule(noise_schedule, steps), mean_type, a_denoiser(seed, dtype, **shape)
    x_T = histories(seed, dtype)
    rows = SparseRows.of_dense(x_T)
    expected = over_the_items(*arguments, x_T, rows, scale)
    assert_agree(in_the_hidden_units(*arguments, rows, rows, scale), expected)
    assert_agree(in_the_hidden_units(*arguments, x_T, x_T, scale), expected)


@settings(max_examples=150)
@given(dtypes, seeds, denoisers, mean_types, st.floats(-1, 8), st.sampled_from([0.1, 3.0, 30.0]))
def test_single_steps_agree_for_any_weights_and_scales(dtype, seed, shape, mean_type, scale, size):
    """The last step from any ``x_1``, of either sign and any length."""
    schedule, denoiser = a_schedule("linear", 1), a_denoiser(seed, dtype, **shape, size=size)
    x_1 = size * torch.randn(6, N_ITEMS, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    guidance = SparseRows.of_dense(histories(seed, dtype))
    expected = over_the_items(schedule, mean_type, denoiser, x_1, guidance, scale)
    assert_agree(in_the_hidden_units(schedule, mean_type, denoiser, x_1, guidance, scale), expected)


@settings(max_examples=100)
@given(dtypes, seeds, denoisers, mean_types, noise_schedules, st.sampled_from([0.1, 3.0, 30.0]))
def test_a_step_between_agrees_for_any_weights(dtype, seed, shape, mean_type, noise_schedule, size):
    """What the next step needs of ``x_{t-1}``, from any ``x_t`` and last hidden layer, relative to its terms."""
    schedule, denoiser = a_schedule(noise_schedule, 5), a_denoiser(seed, dtype, **shape, size=size)
    generator = torch.Generator().manual_seed(seed)
    x_t = size * torch.randn(6, N_ITEMS, generator=generator, dtype=dtype)
    a = torch.randn(6, denoiser.output_layer.in_features, generator=generator, dtype=dtype)
    process, step = HiddenProcess(schedule, mean_type, denoiser), 3
    with torch.no_grad():
        prediction = denoiser.output_scale * denoiser.output_layer(a)
        alpha, beta = (coefficient[step].item() for coefficient in schedule.step_coefficients(mean_type))
        state = hidden_process_module._State(x_t @ process._table, x_t.square().sum(dim=1) if shape["norm"] else None)
        got = process._next(state, a, process._next_images(state, a, step), step)
    terms = torch.stack([alpha * x_t, beta * prediction]).double()
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
    arguments = a_schedule(noise_schedule, steps), mean_type, a_denoiser(seed, torch.float64, **shape, size=3.0)
    x_T = histories(seed, torch.float64)
    rows = SparseRows.of_dense(x_T)
    expected = over_the_items(*arguments, x_T, rows, scale)
    error = (in_the_hidden_units(*arguments, rows, rows, scale) - expected).abs().max() / expected.abs().max()
    assert error < 1e-7


@pytest.mark.parametrize("mean_type", ["x0", "eps"])
def test_without_noise_the_network_is_applied_again_and_again(mean_type):
    arguments = a_schedule("linear", 4, noise_scale=0), mean_type, a_denoiser(0, torch.float64)
    rows = SparseRows.of_dense(histories(0, torch.float64))
    assert_agree(in_the_hidden_units(*arguments, rows, rows, 2.0), over_the_items(*arguments, rows.dense(), rows, 2.0))


@given(seeds, denoisers, mean_types, st.integers(1, 5))
def test_a_sweep_gives_each_scale_its_scores_in_one_memory(seed, shape, mean_type, steps):
    arguments = a_schedule("linear", steps), mean_type, a_denoiser(seed, torch.float64, **shape)
    rows = SparseRows.of_dense(histories(seed, torch.float64))
    denoiser = arguments[-1]
    scales = [0.0, 1.0, 0.5, 2.0, 0.5]
    memory = set()
    sweep = HiddenProcess(*arguments).scores(rows, denoiser.encode(rows), scales)
    for scale, scores in zip(scales, sweep):
        memory.add(scores.data_ptr())
        assert_agree(scores, in_the_hidden_units(*arguments, rows, rows, scale))
        scores.fill_(float("nan"))  # as evaluation writes its mask there
    assert len(memory) == 1


def test_users_are_scored_in_chunks_alike(monkeypatch):
    arguments = a_schedule("linear", 5), "x0", a_denoiser(0, torch.float64)
    rows = SparseRows.of_dense(histories(0, torch.float64, n_users=50))
    whole = in_the_hidden_units(*arguments, rows, rows, 2.0).clone()
    monkeypatch.setattr(hidden_process_module, "_CHUNK", 7)
    assert_agree(in_the_hidden_units(*arguments, rows, rows, 2.0), whole)


def test_sampled_noise_has_the_distribution_of_noise_on_the_items():
    """Mean and covariance of the scores of one user, of a denoiser that is nearly linear."""
    schedule = a_schedule("linear", 3)
    denoiser = a_denoiser(0, torch.float64, mlp_act_func="none", input_scale=0.5)
    x_T = histories(1, torch.float64)[2:3].expand(40_000, -1)
    process = HiddenProcess(schedule, "x0", denoiser, sampling_noise=True)
    torch.manual_seed(0)
    with torch.no_grad():
        got = next(process.scores(SparseRows.of_dense(x_T), None, [0.0]))
        expected = reverse_process(schedule, "x0", denoiser, x_T, sampling_noise=True)
    torch.testing.assert_close(got.mean(dim=0), expected.mean(dim=0), rtol=0, atol=5 * expected.std() / 200)
    spread = expected.T.cov()
    torch.testing.assert_close(got.T.cov(), spread, rtol=0, atol=0.05 * spread.diagonal().max().item())
    assert spread.diagonal().min() > 0


@pytest.mark.parametrize(
    ("mean_type", "norm", "sampling_noise", "exact"),
    [("x0", True, False, True), ("x0", False, True, True), ("x0", True, True, False), ("eps", False, True, False)],
)
def test_where_it_would_not_be_exact_it_refuses(mean_type, norm, sampling_noise, exact):
    assert HiddenProcess.is_exact(mean_type, norm, sampling_noise) is exact
    denoiser = a_denoiser(0, torch.float32, norm=norm)
    if exact:
        HiddenProcess(a_schedule("linear", 2), mean_type, denoiser, sampling_noise)
    else:
        with pytest.raises(ValueError, match="only the process over the items is exact"):
            HiddenProcess(a_schedule("linear", 2), mean_type, denoiser, sampling_noise)


def test_it_knows_when_a_weight_has_changed():
    denoiser = a_denoiser(0, torch.float32)
    other = copy.deepcopy(denoiser.state_dict())

    def loaded_in_inference_mode():
        with torch.inference_mode():
            denoiser.load_state_dict(other)

    changes = [
        lambda: denoiser.load_state_dict(other),
        loaded_in_inference_mode,
        lambda: denoiser.double(),
        lambda: torch.optim.Adam(denoiser.parameters(), fused=True).step(),
        lambda: torch.optim.SGD(denoiser.parameters()).step(),
    ]
    for change in changes:
        process = HiddenProcess(a_schedule("linear", 2), "x0", denoiser)
        assert process.is_current()
        for parameter in denoiser.parameters():
            parameter.grad = torch.ones_like(parameter)
        assert process.is_current()
        change()
        assert not process.is_current()
