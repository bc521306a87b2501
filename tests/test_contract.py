"""Our models and encoders keep to the contract, and the contract finds what does not."""

import pytest
import torch
from contract import check_encoder, check_model, check_scorer, some_histories
from torch import nn

from recbole_cfgdiff.diffusion import Denoiser, NoiseSchedule, Restoration, Scorer, Step, make_betas
from recbole_cfgdiff.diffusion.encoders import GUIDANCE_ENCODERS, EmbeddedGuidance, GuidanceEncoder, RawGuidance

REGISTERS = True


@pytest.mark.parametrize("name", list(GUIDANCE_ENCODERS))
def test_encoders_keep_to_it(name):
    check_encoder(GUIDANCE_ENCODERS[name])


@pytest.mark.parametrize("model", ["CFGDiffRec", "DiffRec", "ForwardCFGDiffRec"])
def test_models_keep_to_it(model, tiny):
    check_model(model, tiny)


class WithBias(EmbeddedGuidance):
    """Its null guidance contributes."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.bias = nn.Parameter(torch.zeros(sizes[-1]))

    def forward(self, guidance):
        return super().forward(guidance) + self.bias


class OfAnotherWidth(RawGuidance):
    def __init__(self, n_items, embedding_size, output_size):
        super().__init__(n_items, embedding_size, output_size + 1)


class SeesPadding(GuidanceEncoder):
    """It counts entries whose value is 0."""

    def __init__(self, n_items, embedding_size, output_size):
        super().__init__()
        self.table = nn.Embedding(n_items, output_size)

    def forward(self, guidance):
        codes = self.table(guidance.items)
        return codes.new_zeros(len(guidance), codes.shape[1]).index_add(0, guidance.row, codes)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [(WithBias, "null guidance contributes"), (SeesPadding, "all padding"), (OfAnotherWidth, "codes of shape")],
)
def test_a_planted_encoder_is_found(encoder, message):
    with pytest.raises(AssertionError, match=message):
        check_encoder(encoder)


def a_scorer(denoiser_class):
    schedule = NoiseSchedule(make_betas("linear", 2, 0.1, 0.01, 0.5, True))
    denoiser = denoiser_class(30, [8], guidance_encoder=RawGuidance(30, 1, 8)).double().eval()
    steps = [Step(1, 0.5, 0.5, 0.0), Step(0, 0.0, 1.0, 0.0)]
    return Scorer(Restoration(30, schedule), denoiser, steps, sampling_noise=False)


class SquaresItsInput(Denoiser):
    """Not what the process in the hidden units takes it for."""

    def features(self, x_t, t, guidance_code=None):
        return super().features(x_t.square(), t, guidance_code)


def test_a_planted_denoiser_is_found():
    check_scorer(a_scorer(Denoiser), some_histories())
    with pytest.raises(AssertionError, match="the two processes give different scores"):
        check_scorer(a_scorer(SquaresItsInput), some_histories())
