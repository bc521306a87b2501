"""Loaded with the weights of RecBole's DiffRec, ours computes what RecBole's does."""

import pytest
import torch
import torch.nn.functional as F
from recbole.model.general_recommender import diffrec as recbole_module
from recbole.model.general_recommender.diffrec import DiffRec as RecBoleDiffRec

from recbole_cfgdiff import data
from recbole_cfgdiff.diffusion import denoiser as our_denoiser
from recbole_cfgdiff.diffusion.schedule import NOISE_SCHEDULES
from recbole_cfgdiff.model import DiffRec
from recbole_cfgdiff.overlay.config import Config


def a_pair(dataset, **options):
    """RecBole's DiffRec and ours, of the same weights, and a batch of all users."""
    options = {"noise_scale": 0.1, "noise_min": 1e-3, "noise_max": 0.5, "embedding_size": 7, **options}
    config = Config("DiffRec", dataset, config_dict=options)
    train_data, _, _ = data.data_preparation(config, data.create_dataset(config), data.UserDataLoader)
    torch.manual_seed(0)
    theirs, ours = (model(config, train_data._dataset).to(config["device"]) for model in (RecBoleDiffRec, DiffRec))
    ours.load_recbole_weights(theirs.state_dict())
    return theirs, ours, train_data.user_list.to(config["device"])


def their_losses(model, batch, t, noise, monkeypatch):
    """Per-user losses of RecBole's calculate_loss at given steps and noise."""
    kept = {}
    monkeypatch.setattr(model, "sample_timesteps", lambda *_, **__: (t, torch.ones_like(t)))
    monkeypatch.setattr(model, "update_Lt_history", lambda ts, losses: kept.update(losses=losses.detach().clone()))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda _: noise)
        torch.manual_seed(1)  # for the dropout mask
        model.calculate_loss(batch)
    return kept["losses"]


CASES = [
    *({"noise_schedule": name, "mean_type": mean_type} for name in NOISE_SCHEDULES for mean_type in ("x0", "eps")),
    *({"noise_scale": 0.0, "mean_type": mean_type} for mean_type in ("x0", "eps")),
    *({"dims_dnn": [9] * depth, "mean_type": mean_type} for depth in (2, 3) for mean_type in ("x0", "eps")),
    {"reweight": False},
    {"reweight": False, "mean_type": "eps"},
    {"norm": True},
    {"output_scale": 0.5},
    {"input_scale": 0.5},
    {"input_scale": 0.5, "norm": True},
    {"steps": 2},
    {"steps": 40, "noise_scale": 0.005, "noise_max": 0.01, "mlp_act_func": "relu"},
    {"beta_fixed": False},
    {"time-aware": True, "w_min": 0.3, "w_max": 2.0},
]
SCORES_BEYOND_FLOAT32 = {"noise_schedule": "cosine", "mean_type": "eps"}


@pytest.fixture(autouse=True)
def one_dropout_mask(monkeypatch):
    """Draw our dropout as torch draws RecBole's, so that a seed gives both the same mask."""

    def dropped(x, dropout_prob):
        return F.dropout(x if isinstance(x, torch.Tensor) else x.dense(), dropout_prob)

    monkeypatch.setattr(our_denoiser, "dropped", dropped)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_losses_and_scores_are_those_of_recbole(options, tiny, monkeypatch):
    theirs, ours, batch = a_pair(tiny, **options)
    generator = torch.Generator().manual_seed(2)
    t = torch.randint(ours.schedule.steps, (len(batch),), generator=generator).to(ours.device)
    t[0] = 0
    x_start, _ = ours.training_example(batch["user_id"])
    noise = torch.randn(x_start.shape, generator=generator).to(ours.device)

    torch.manual_seed(1)
    losses = ours.losses(x_start, None, t, noise.clone())
    expected = their_losses(theirs, batch, t, noise, monkeypatch)
    scale = ours.denoiser.output_scale
    torch.testing.assert_close(losses * scale**2, expected.float(), rtol=1e-5, atol=0)

    if options == SCORES_BEYOND_FLOAT32:
        in_float64(theirs, ours, monkeypatch)
    theirs.eval(), ours.eval()
    with torch.no_grad():
        torch.testing.assert_close(ours.full_sort_predict(batch), theirs.full_sort_predict(batch), rtol=0, atol=1e-5)


def in_float64(theirs, ours, monkeypatch):
    """Make both compute in float64: with eps and the cosine schedule scores are some 100, where neighbouring float32
    numbers lie 1e-5 apart. RecBole's float32 result is then 7e-5 from its own float64 one."""
    theirs.double(), ours.double()
    their_history = theirs.get_rating_matrix
    monkeypatch.setattr(theirs, "get_rating_matrix", lambda users: their_history(users).double())
    ours.histories.values = ours.histories.values.double()
    embed = recbole_module.timestep_embedding
    monkeypatch.setattr(recbole_module, "timestep_embedding", lambda t, size: embed(t, size).double())
    monkeypatch.setattr(theirs, "_extract_into_tensor", lambda values, t, shape: values[t].unsqueeze(-1).expand(shape))


@pytest.mark.parametrize(
    "options",
    [{"sampling_steps": 3}, {"sampling_steps": 3, "sampling_noise": True}, {"sampling_noise": True, "norm": True}],
    ids=str,
)
def test_scores_with_noise_are_those_of_recbole(options, tiny):
    theirs, ours, batch = a_pair(tiny, **options)
    theirs.eval(), ours.eval()
    # In the hidden units noise is drawn as its image there, so that a seed gives other numbers.
    ours.scorer.runs_in_hidden_space = not ours.scorer.sampling_noise
    scores = []
    for model in (theirs, ours):
        torch.manual_seed(3)
        with torch.no_grad():
            scores.append(model.full_sort_predict(batch))
    torch.testing.assert_close(*scores, rtol=0, atol=1e-5)


def test_the_gradients_are_those_of_recbole(tiny, monkeypatch):
    theirs, ours, batch = a_pair(tiny)
    x_start, _ = ours.training_example(batch["user_id"])
    t = torch.arange(len(batch), device=ours.device) % ours.schedule.steps
    noise = torch.randn(x_start.shape, device=ours.device)
    torch.manual_seed(1)
    ours.losses(x_start, None, t, noise.clone()).mean().backward()
    monkeypatch.setattr(theirs, "sample_timesteps", lambda *_: (t, torch.ones_like(t)))
    monkeypatch.setattr(torch, "randn_like", lambda _: noise)
    torch.manual_seed(1)
    theirs.calculate_loss(batch).backward()
    expected = theirs.mlp.mlp_layers.mlp_layers[-1].weight.grad
    atol = 1e-5 * expected.abs().max().item()
    torch.testing.assert_close(ours.denoiser.output_layer.weight.grad, expected, rtol=0, atol=atol)
