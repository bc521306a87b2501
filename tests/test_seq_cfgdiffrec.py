"""SeqCFGDiffRec as a RecBole model."""

import numpy as np
import pytest
import torch
from contract import check_encoder, check_model
from recommending import make_recommender

from conftest import write_inter
from recbole_cfgdiff.data.loaders import PositionDataLoader
from recbole_cfgdiff.diffusion.encoders import SequenceGuidance
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.quick_start import run
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.runs.prepare import load_data, make_trainer, prepare_config

SMALL = {"hidden_size": 16, "inner_size": 16, "train_batch_size": 64, "hidden_dropout_prob": 0.1}
QUIET = {"show_progress": False, "state": "ERROR"}


def load(dataset, files=(), **options):
    config = Config("SeqCFGDiffRec", dataset, list(files), config_dict={**QUIET, **SMALL, **options})
    dataset, train, valid, test = load_data(config)
    return make_trainer(config, train), train, valid, test


@pytest.mark.parametrize("options", [{}, {"n_next": 3, "steps": 3}, {"linear_weight": 0}])
def test_it_keeps_what_any_model_of_ours_keeps(options, tiny):
    check_model("SeqCFGDiffRec", tiny, {**SMALL, **options})


def test_the_sequence_is_a_guidance_encoder_as_the_others():
    check_encoder(SequenceGuidance)


def test_a_tensor_tells_a_sequence_no_order():
    recommender = make_recommender(guidance_encoder="sequence", guidance_embedding_size=8)
    with pytest.raises(ValueError, match="a tensor does not tell their order"):
        next(recommender.source.scorer.sweep(torch.zeros(1, recommender.source.n_items), [1.0]))


@pytest.mark.parametrize("model", ["CFGDiffRec", "ForwardCFGDiffRec"])
def test_other_models_may_be_guided_by_the_sequence(model, tiny):
    options = {"guidance_encoder": "sequence", "guidance_embedding_size": 8, "epochs": 2}
    options |= {"recency_powers": [0.0]} if model == "ForwardCFGDiffRec" else {}
    assert run(model, tiny, None, {**QUIET, **options})["test_result"]["ndcg@10"] > 0


def test_a_batch_has_about_so_many_rows_to_find_of_all_users_once(tiny):
    trainer, train, *_ = load(tiny)
    counts = trainer.model.histories.counts()
    assert isinstance(train, PositionDataLoader)
    seen, sizes = [], []
    for batch in train:
        users = batch["user_id"]
        seen += users.tolist()
        sizes.append(int((counts[users] - 1).sum()))
    assert sorted(seen) == (counts > 1).nonzero().squeeze(1).tolist()
    assert len(sizes) == len(train) and sum(sizes[:-1]) and max(sizes) <= 64 + counts.max()
    again = [batch["user_id"].tolist() for batch in train]
    assert [user for batch in again for user in batch] != seen  # another order in each epoch


def test_without_shuffling_every_epoch_is_the_same(tiny):
    _, train, *_ = load(tiny, shuffle=False)
    first, second = ([batch["user_id"].tolist() for batch in train] for _ in range(2))
    assert first == second


def test_a_sequence_reads_the_past_once(tiny):
    with pytest.raises(ConfigError, match="recency_powers: guidance_encoder sequence reads the past once"):
        run("ForwardCFGDiffRec", tiny, None, {**QUIET, "guidance_encoder": "sequence"})


def order_counts(folder, n_users=80):
    """Each item is followed by the next of twelve in a circle: the last item tells all, the set nothing."""
    rows = []
    for user in range(n_users):
        items = (np.arange(9) + user) % 12
        rows += [(f"u{user}", f"i{item}", place) for place, item in enumerate(items)]
    write_inter(folder / "dataset", "circle", rows)
    return "circle"


def test_it_learns_an_order_that_sets_do_not_tell(empty_folder):
    name = order_counts(empty_folder)
    options = {
        **QUIET,
        **SMALL,
        "eval_args": {"split": {"LS": "valid_and_test"}},
        "history_at_test": "train_and_valid",
        "topk": [1, 10],
    }
    result = run("SeqCFGDiffRec", name, None, {**options, "epochs": 40, "learning_rate": 0.01, "ema_decay": 0.9})
    assert result["test_result"]["recall@1"] > 0.9


def test_repeated_items_are_read_as_often_as_they_come(empty_folder):
    rows = [(f"u{user}", f"i{item}", place) for user in range(3) for place, item in enumerate([1, 2, 1, 3, 2, 4])]
    write_inter(empty_folder / "dataset", "again", rows)
    trainer, *_ = load("again", eval_args={"split": {"LS": "valid_and_test"}}, topk=[1], valid_metric="NDCG@1")
    histories = trainer.model.histories
    assert histories.counts()[1:].tolist() == [4, 4, 4]


def test_a_users_guidance_is_dropped_in_training(tiny, monkeypatch):
    trainer, train, *_ = load(tiny, p_uncond=1.0)
    torch.manual_seed(0)
    batch = next(iter(train))
    trainer.model.calculate_loss(batch).backward()
    encoder = trainer.model.denoiser.encoder
    assert all((weight.grad == 0).all() for weight in encoder.blocks.parameters())


def test_held_out_users_are_not_trained_on(tiny):
    _, train, _, test = load(tiny, ["properties/protocol/heldout_users.yaml"], heldout_users=0.3)
    trained = torch.cat([batch["user_id"] for batch in train])
    tested = torch.cat([batch[0]["user_id"] for batch in test])
    assert isinstance(train, PositionDataLoader) and not set(trained.tolist()) & set(tested.tolist())


def test_a_run_may_start_from_the_weights_of_an_older_one(tiny):
    run("SeqCFGDiffRec", tiny, None, {**QUIET, **SMALL, "epochs": 2, "run_name": "older"})
    of_run = Recommender.load("saved/older")
    of_run.save_pretrained("older-model")
    for older in ("saved/older", "older-model"):
        config = Config("SeqCFGDiffRec", tiny, config_dict={**QUIET, **SMALL, "init_from": older})
        model = prepare_config(config).trainer.model
        torch.testing.assert_close(model.scorer.denoiser.state_dict(), of_run.source.scorer.denoiser.state_dict())
        assert not model.linear_part.coefficients.any()  # fitted anew


def test_without_times_there_is_no_order(empty_folder):
    write_inter(
        empty_folder / "dataset", "timeless", [("u1", f"i{n}") for n in range(9)], "user_id:token\titem_id:token"
    )
    with pytest.raises(ConfigError, match="no column 'timestamp' that tells the order"):
        load("timeless", eval_args={"order": "RO"})


def test_an_exported_model_gives_the_same_lists(tiny, tmp_path):
    run("SeqCFGDiffRec", tiny, None, {**QUIET, **SMALL, "epochs": 2, "run_name": "seq"})
    of_run = Recommender.load("saved/seq")
    of_run.save_pretrained(tmp_path / "model")
    exported = Recommender.load(tmp_path / "model")
    users = [f"u{number}" for number in range(5)]
    for scale in (0.0, 1.0, 2.0):
        expected = of_run.recommend(users=users, guidance_scale=scale)
        assert exported.recommend(users=users, guidance_scale=scale).equals(expected)
    history = ["i3", "i5", "i7"]
    forth, back = (exported.recommend(histories=[each]) for each in (history, history[::-1]))
    assert forth["score"].tolist() != back["score"].tolist()  # order counts
