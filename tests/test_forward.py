"""ForwardCFGDiffRec: the past guides, the future is diffused, and what comes next is found."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import write_inter
from recbole_cfgdiff.diffusion import Denoiser, MovingAverage
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.quick_start import run
from recbole_cfgdiff.runs.prepare import load_data, make_trainer
from recbole_cfgdiff.scoring import histories as histories_module

NO_TIMES = "--load_col={'inter': ['user_id', 'item_id']}"
QUIET = {"show_progress": False, "state": "ERROR"}


def a_model(dataset, **options):
    config = Config("ForwardCFGDiffRec", dataset, config_dict={**QUIET, **options})
    _, train_data, _, _ = load_data(config)
    model = make_trainer(config, train_data).model
    return model, train_data.user_list["user_id"].to(model.device)


def row(rows, i):
    """Items and values of a row, without padding."""
    of_row = (rows.row == i) & (rows.values != 0)
    return rows.items[of_row].tolist(), rows.values[of_row].cpu()


@pytest.fixture
def chain(empty_folder):
    """``dataset/chain``: users who walk round a circle of 50 items, each from a place of their own, 20 steps.

    What comes next is told by the latest items only: seen as sets, two walks through the same items are the same.
    """
    rows = []
    for user in range(200):
        step = 1 if user % 2 else -1
        rows += [(f"u{user}", f"i{(7 * user + step * place) % 50}", 1_400_000_000 + place) for place in range(20)]
    write_inter(empty_folder / "dataset", "chain", rows)
    return "chain"


def test_the_past_guides_and_the_future_is_diffused(tiny):
    model, users = a_model(tiny, cut_min=0.2, cut_max=0.8, recency_powers=[0.5], p_shuffle=0)
    history = model.histories.select(users)
    shares = set()
    for _ in range(20):
        x_start, guidance = model.training_example(users)
        for i in range(len(users)):
            items, _ = row(history, i)
            past, weights = row(guidance, i)
            future, values = row(x_start, i)
            assert past + future == items
            assert int(0.2 * len(items)) <= len(past) <= 0.8 * len(items)
            expected = torch.arange(len(past), 0, -1) ** -0.5
            torch.testing.assert_close(weights, expected / expected.norm())
            assert (values == 1).all()
            shares.add(len(past) / len(items))
    assert len(shares) > 10


def test_the_latest_item_is_always_diffused(tiny):
    model, users = a_model(tiny, cut_min=1, cut_max=1, recency_powers=[0, 1], p_shuffle=0)
    history, (x_start, guidance) = model.histories.select(users), model.training_example(users)
    assert x_start.counts().tolist() == [1] * len(users)
    assert row(x_start, 0)[0] == row(history, 0)[0][-1:]
    assert guidance.shape == (len(users), 2 * model.n_items)
    assert guidance.counts().tolist() == [2 * (count - 1) for count in history.counts()]


def test_a_share_of_the_histories_is_cut_in_random_order(tiny):
    model, users = a_model(tiny, cut_min=0.5, cut_max=0.5, p_shuffle=0.25)
    history = model.histories.select(users)
    in_order, n = 0, 100
    for _ in range(n):
        x_start, guidance = model.training_example(users)
        for i in range(len(users)):
            items, _ = row(history, i)
            future, _ = row(x_start, i)
            past = [item for item in row(guidance, i)[0] if item < model.n_items]
            assert sorted(past + future) == sorted(items) and len(past) == len(items) // 2
            in_order += past + future == items
    assert in_order / (n * len(users)) == pytest.approx(0.75, abs=0.03)


def test_padding_of_histories_is_neither_past_nor_future(tiny, monkeypatch):
    """As on an accelerator, where histories are padded, shuffled or not."""
    model, users = a_model(tiny, p_shuffle=0.5, recency_powers=[0])
    users = users[:5]
    items = [row(model.histories.select(users), i)[0] for i in range(len(users))]
    monkeypatch.setattr(histories_module, "_may_wait_for", lambda _: False)
    assert len(model.histories.select(users).row) > sum(map(len, items))
    for _ in range(50):
        x_start, guidance = model.training_example(users)
        for i in range(len(users)):
            future = row(x_start, i)[0]
            assert future and sorted(row(guidance, i)[0] + future) == sorted(items[i])


def test_users_with_one_interaction_or_none_are_trained_on_and_scored(tiny):
    model, _ = a_model(tiny)
    histories = model.histories
    histories.offsets = histories.offsets.clone()
    histories.offsets[2:] -= histories.offsets[2] - 1  # user 1 has one interaction; user 0 is the padding
    users = torch.tensor([0, 1, 2], device=model.device)
    x_start, guidance = model.training_example(users)
    assert x_start.counts()[:2].tolist() == [0, 1] and guidance.counts()[:2].tolist() == [0, 0]
    assert torch.isfinite(model.calculate_loss({"user_id": users}))
    scores = model.eval().score(histories.select(users))
    assert torch.isfinite(scores).all() and not torch.equal(scores[0], scores[1])


def test_scores_tell_the_order_and_refuse_what_has_none(tiny):
    model, users = a_model(tiny)
    history = model.eval().histories.select(users[:1])
    turned = type(history)(history.row, history.items.flip(0), history.values, *history.shape)
    assert not torch.allclose(model.score(history), model.score(turned))
    with pytest.raises(ValueError, match="a tensor does not tell their order"):
        model.score(history.dense())


def test_the_loss_weights_users_and_items(tiny):
    powers = {"user_weight_power": 0.5, "item_weight_power": 0.3}
    weighted, users = a_model(tiny, **powers)
    plain, _ = a_model(tiny, user_weight_power=0, item_weight_power=0)
    plain.load_state_dict(weighted.state_dict())
    x_start, _ = plain.training_example(users)
    t, noise = torch.ones_like(users), torch.randn(x_start.shape, device=users.device)
    x_t = plain.schedule.q_sample(x_start, t, noise.clone())
    errors = ((plain.denoiser(x_t, t) - x_start.dense()) / plain.denoiser.output_scale).square()
    torch.testing.assert_close(plain.losses(x_start, None, t, noise.clone()), errors.mean(1))
    counts = torch.bincount(plain.histories.items, minlength=plain.n_items).clamp(min=1)
    items = (counts / counts.float().mean()) ** -0.3
    expected = (errors * items).mean(1) * x_start.counts() ** -0.5
    torch.testing.assert_close(weighted.losses(x_start, None, t, noise.clone()), expected)


@given(st.floats(0, 1), st.lists(st.floats(-2, 2), min_size=1, max_size=6))
def test_the_average_follows_its_formula(decay, values):
    network = torch.nn.Linear(1, 1, bias=False).double()
    average, expected = MovingAverage(network, decay), network.weight.item()
    for n, value in enumerate(values):
        torch.nn.init.constant_(network.weight, value)
        average.update(network)
        d = min(decay, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * value
    assert average.network.weight.item() == pytest.approx(expected, abs=1e-6)
    assert not average.network.weight.requires_grad


def test_the_average_is_what_scores_and_only_the_other_is_trained(tiny):
    model, users = a_model(tiny, ema_decay=0.9, gpu_id="")  # on the CPU, where the same sum is the same number
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    started = model.denoiser.output_layer.weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        model.calculate_loss({"user_id": users}).backward()
        optimizer.step()
        model.after_step()
    history = model.eval().histories.select(users)
    scores = model.score(history)
    with torch.no_grad():
        model.denoiser.output_layer.weight.zero_()
    assert torch.equal(model.score(history), scores)
    average = model.averaged.network
    assert isinstance(average, Denoiser) and not torch.equal(average.output_layer.weight, started)
    with torch.no_grad():
        average.output_layer.weight.zero_()
    assert not torch.equal(model.score(history), scores)


def test_what_comes_next_is_found(chain):
    """By a model that looks forward, and not by one that restores histories: those hold a walk's two ends alike."""
    options = {**QUIET, "epochs": 60, "stopping_step": 100, "eval_step": 10, "learning_rate": 0.003}
    found = {
        model: run(model, chain, None, options)["test_result"]["ndcg@10"]
        for model in ("CFGDiffRec", "ForwardCFGDiffRec")
    }
    assert found["ForwardCFGDiffRec"] > 0.8 and found["ForwardCFGDiffRec"] > found["CFGDiffRec"] + 0.2


def test_a_run_resumes_as_if_unbroken(tiny):
    options = {**QUIET, "epochs": 6, "metric_decimal_place": 8}
    whole = run("ForwardCFGDiffRec", tiny, None, options)
    run("ForwardCFGDiffRec", tiny, None, {**options, "epochs": 3, "run_name": "half"})
    again = run("ForwardCFGDiffRec", tiny, None, {**options, "resume": "saved/half/last.pth"})
    assert again["test_result"] == whole["test_result"]
    assert again["best_valid_score"] == whole["best_valid_score"]


def test_nothing_of_held_out_users_enters_training(tiny):
    config = Config("ForwardCFGDiffRec", tiny, ["properties/protocol/heldout_users.yaml"], QUIET)
    _, train_data, _, test_data = load_data(config)
    model = make_trainer(config, train_data).model
    users = train_data.user_list["user_id"].to(model.device)
    assert len(users) == 48 and not set(users.tolist()) & set(test_data.uid_list.tolist())
    with torch.no_grad():  # without padding, on an accelerator too
        counts = torch.bincount(model.histories.select(users).items, minlength=model.n_items).clamp(min=1)
    torch.testing.assert_close(model.root_item_weights, (counts / counts.float().mean()) ** -0.15)
    sizes = torch.stack([model.training_example(users)[0].squared_norm().mean() for _ in range(200)])
    assert model.n_items * model.denoiser.output_scale**2 == pytest.approx(sizes.mean().item(), rel=0.01)
    result = run("ForwardCFGDiffRec", tiny, ["properties/protocol/heldout_users.yaml"], {**QUIET, "epochs": 3})
    assert 0 < result["test_result"]["ndcg@10"] < 1


def test_without_an_average_the_latest_weights_score(tiny):
    config = Config("ForwardCFGDiffRec", tiny, config_dict={**QUIET, "ema_decay": 0, "epochs": 1})
    _, train_data, valid_data, _ = load_data(config)
    trainer = make_trainer(config, train_data)
    started = trainer.model.denoiser.output_layer.weight.detach().clone()
    trainer.fit(train_data, valid_data, verbose=False)
    model = trainer.model
    assert not torch.equal(model.denoiser.output_layer.weight, started)
    torch.testing.assert_close(model.scorer.denoiser.state_dict(), model.denoiser.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--cut_min=0.9", "--cut_max=0.5"], ["cut_max", "in [0.9, 1]"]),
        (["--p_shuffle=1.5"], ["p_shuffle: expected a finite number in [0, 1], got 1.5"]),
        (["--recency_powers=0.5"], ["recency_powers: expected a list"]),
        (["--recency_powers=[]"], ["recency_powers: expected at least one"]),
        (["--ema_decay=1.5"], ["ema_decay"]),
        (["--mean_type=eps"], ["mean_type: expected one of x0"]),
        (["--sampling_steps=2"], ["sampling_steps: expected one of 0"]),
        (["--time-aware=True"], ["recency_powers weight the past"]),
        ([NO_TIMES, "--eval_args={'order': 'RO'}"], ["has no column 'timestamp'", "load_col"]),
    ],
)
def test_mistakes_are_told(options, parts, tiny, cli):
    outcome = cli("--model=ForwardCFGDiffRec", "--dataset=tiny", "--state=ERROR", *options)
    assert outcome.status == 2 and all(part in outcome.err for part in parts), outcome.err
    assert "Traceback" not in outcome.err and not list(Path().rglob("*.pth"))


def test_random_orders_have_places(tiny):
    model, users = a_model(tiny)
    chosen = users[torch.randperm(len(users))[:7]]
    with torch.no_grad():  # without padding, on an accelerator too
        rows = model.histories.select(chosen)
    expected = np.concatenate([np.arange(count) for count in rows.counts().tolist()])
    assert rows.places().tolist() == expected.tolist()
