import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.diffusion import (
    Denoiser,
    NoiseSchedule,
    SparseRows,
    branches,
    drop_guidance,
    guided_prediction,
    make_betas,
    make_guidance_encoder,
    reverse_process,
)
from recbole_cfgdiff.diffusion.denoiser import timestep_embedding
from recbole_cfgdiff.diffusion.samplers import ddpm

N_ITEMS, HIDDEN, BATCH = 12, 8, 5

ENCODERS = ["raw", "embedding"]
encoders = st.sampled_from(ENCODERS)
seeds = st.integers(0, 2**32 - 1)
scales = st.floats(-2, 8, allow_nan=False)


def a_denoiser(encoder="raw", seed=0, embedding_size=4):
    torch.manual_seed(seed)
    guidance_encoder = make_guidance_encoder(encoder, N_ITEMS, 3, HIDDEN)
    denoiser = Denoiser(N_ITEMS, [HIDDEN], embedding_size, guidance_encoder=guidance_encoder)
    return denoiser.double().eval()


def guided(denoiser, x_t, t, guidance, scale):
    code = denoiser.encode(guidance)
    return guided_prediction([denoiser(x_t, t, each) for each in branches(code, scale)], scale)


def a_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x_t = torch.randn(BATCH, N_ITEMS, generator=generator, dtype=torch.float64)
    guidance = (torch.rand(BATCH, N_ITEMS, generator=generator) < 0.4).double()
    return x_t, torch.tensor([2]), guidance


@given(encoders, seeds)
def test_scale_one_is_conditional_and_scale_zero_unconditional(encoder, seed):
    denoiser, (x_t, t, guidance) = a_denoiser(encoder, seed), a_batch(seed)
    conditional = denoiser(x_t, t, denoiser.encode(guidance))
    assert torch.equal(guided(denoiser, x_t, t, guidance, 1), conditional)
    assert torch.equal(guided(denoiser, x_t, t, guidance, 0), denoiser(x_t, t))
    assert not torch.equal(conditional, denoiser(x_t, t))


@given(encoders, seeds, scales)
def test_a_single_step_is_linear_in_the_scale(encoder, seed, scale):
    denoiser, (x_t, t, guidance) = a_denoiser(encoder, seed), a_batch(seed)
    conditional, unconditional = denoiser(x_t, t, denoiser.encode(guidance)), denoiser(x_t, t)
    expected = unconditional + scale * (conditional - unconditional)
    torch.testing.assert_close(guided(denoiser, x_t, t, guidance, scale), expected)


@given(encoders, seeds, st.floats(0.1, 8))
def test_a_user_without_history_gets_the_unconditional_scores(encoder, seed, scale):
    denoiser, (x_T, _, guidance) = a_denoiser(encoder, seed), a_batch(seed)
    guidance[0] = 0
    steps = ddpm(NoiseSchedule(make_betas("linear", 5, 0.1, 0.01, 0.5, True)), "x0", range(5))

    def scores(scale):
        return reverse_process(steps, lambda x, t: guided(denoiser, x, t, guidance, scale), x_T)

    torch.testing.assert_close(scores(scale)[0], scores(0)[0], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(scores(scale)[1:], scores(0)[1:])


@given(seeds, st.floats(0, 1))
def test_guidance_is_dropped_for_whole_users_at_the_given_rate(seed, p_uncond):
    torch.manual_seed(seed)
    guidance = torch.rand(4000, 2) + 0.1
    dropped = drop_guidance(SparseRows.of_dense(guidance), p_uncond).dense()
    is_null = (dropped == 0).all(dim=1)
    assert torch.equal(dropped[~is_null], guidance[~is_null])
    assert abs(is_null.float().mean().item() - p_uncond) < 0.05
    if p_uncond in (0, 1):
        assert is_null.float().mean() == p_uncond


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("p_uncond", "learns"), [(1.0, False), (0.0, True)])
def test_the_encoder_has_no_gradient_where_all_guidance_is_dropped(encoder, p_uncond, learns):
    denoiser, (x_t, t, guidance) = a_denoiser(encoder), a_batch()
    code = denoiser.encode(drop_guidance(SparseRows.of_dense(guidance), p_uncond))
    denoiser(x_t, t, code).square().sum().backward()
    gradients = [parameter.grad for parameter in denoiser.guidance_encoder.parameters()]
    assert all(bool(gradient.any()) == learns for gradient in gradients)


def test_guidance_counts_by_direction_not_by_length():
    denoiser, (_, _, guidance) = a_denoiser(), a_batch()
    torch.testing.assert_close(denoiser.encode(guidance), denoiser.encode(7 * guidance))


def test_an_unknown_encoder_is_named():
    with pytest.raises(ValueError, match="guidance_encoder: expected one of raw, embedding, sequence, got 'attention'"):
        make_guidance_encoder("attention", N_ITEMS, 3, HIDDEN)


@given(seeds, st.integers(1, 3))
def test_the_split_first_layer_is_the_layer_on_the_concatenation(seed, depth):
    torch.manual_seed(seed)
    encoder = make_guidance_encoder("raw", N_ITEMS, 3, HIDDEN)
    denoiser = Denoiser(N_ITEMS, [HIDDEN] * depth, 4, guidance_encoder=encoder).double().eval()
    x_t, t, guidance = a_batch(seed)
    time = denoiser.time_layer(timestep_embedding(t, 4).double()).expand(BATCH, -1)
    concatenation = torch.cat([x_t, time, torch.nn.functional.normalize(guidance)], dim=1)
    blocks = (
        denoiser.input_layer.weight,
        denoiser.time_projection.weight.T,
        denoiser.guidance_encoder.projection.weight,
    )
    hidden = torch.tanh(concatenation @ torch.cat(blocks) + denoiser.input_bias)
    for layer in denoiser.hidden_layers:
        hidden = torch.tanh(layer(hidden))
    prediction = denoiser(x_t, t, denoiser.encode(SparseRows.of_dense(guidance)))
    torch.testing.assert_close(prediction, denoiser.output_layer(hidden))


def test_the_first_layer_is_initialised_as_one():
    torch.manual_seed(0)
    denoiser = Denoiser(900, [200], 10, guidance_encoder=make_guidance_encoder("raw", 900, 3, 200))
    expected = (2 / (900 + 10 + 900 + 200)) ** 0.5
    for block in (denoiser.input_layer, denoiser.guidance_encoder.projection):
        assert block.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_a_denoiser_needs_a_hidden_layer_and_a_known_activation():
    with pytest.raises(ValueError, match="dims_dnn: expected at least one hidden layer"):
        Denoiser(N_ITEMS, [])
    with pytest.raises(ValueError, match="mlp_act_func: expected one of tanh"):
        Denoiser(N_ITEMS, [3], mlp_act_func="gelu")
