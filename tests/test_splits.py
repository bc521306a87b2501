import numpy as np
import pytest
import torch

from conftest import write_inter
from recbole_cfgdiff import data
from recbole_cfgdiff.data.splits import is_held_out
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.runs.prepare import load_data, make_trainer

RATED = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
HELDOUT = ["properties/protocol/heldout_users.yaml"]


def load(name, model="CFGDiffRec", files=None, **options):
    config = Config(model, name, files, options)
    return config, *load_data(config)


def rows_of(loader):
    inter = loader._dataset.inter_feat
    return list(zip(inter["user_id"].tolist(), inter["item_id"].tolist()))


@pytest.fixture
def rated(empty_folder):
    """30 users with 20 ratings each at times a second apart; every third is below 4."""
    rows = [
        (f"u{user}", f"i{(7 * user + place) % 50}", 2 if place % 3 == 1 else 5, 1_000_000_000 + place)
        for user in range(30)
        for place in range(20)
    ]
    write_inter(empty_folder / "dataset", "rated", rows, RATED)
    load_col = "load_col:\n  inter: [user_id, item_id, rating, timestamp]\n"
    (empty_folder / "dataset" / "rated" / "rated.yaml").write_text(load_col)
    return "rated"


def test_noise_enters_training_and_validation_and_leaves_the_test_part_alone(rated):
    _, clean, *clean_parts = load(rated, files=["properties/protocol/clean.yaml"])
    _, noisy, *noisy_parts = load(rated, files=["properties/protocol/noisy.yaml"])

    def named(dataset, loader):
        inter = loader._dataset.inter_feat
        tokens = [dataset.id2token(field, inter[field].numpy()) for field in ("user_id", "item_id")]
        return list(zip(*tokens))

    train, valid, test = (set(named(noisy, part)) for part in noisy_parts)
    clean_train, clean_valid, clean_test = (set(named(clean, part)) for part in clean_parts)
    assert test == clean_test
    assert (len(train), len(valid)) == (len(clean_train), len(clean_valid))
    for part, clean_part in ((train, clean_train), (valid, clean_valid)):
        assert part - clean_part and part & clean_part
        assert not part & clean_test
    assert "rating" not in noisy_parts[0]._dataset.inter_feat
    # The sample depends on its own seed, not on the model's.
    assert set(named(*load(rated, files=["properties/protocol/noisy.yaml"], seed=1)[1:3])) == train
    assert set(named(*load(rated, files=["properties/protocol/noisy.yaml"], noise_seed=1)[1:3])) != train


def test_noisy_rows_keep_the_order_of_time(rated):
    _, noisy, train, valid, _ = load(rated, files=["properties/protocol/noisy.yaml"])
    last = {}
    for loader in (train, valid):
        inter = loader._dataset.inter_feat
        for user, item in zip(
            noisy.id2token("user_id", inter["user_id"].numpy()), noisy.id2token("item_id", inter["item_id"].numpy())
        ):
            place = (int(item[1:]) - 7 * int(user[1:])) % 50
            assert place > last.get(user, -1)
            last[user] = place


def test_the_noisy_protocol_refuses_a_k_core(rated):
    with pytest.raises(ConfigError, match="user_inter_num_interval: RecBole would count noise too"):
        load(rated, noise_threshold=4.0, user_inter_num_interval="[5,inf)")


def test_held_out_users_need_targets(tiny):
    with pytest.raises(ConfigError, match="heldout_targets: the split has no validation part; set it to test"):
        load(tiny, files=HELDOUT, eval_args={"split": {"RS": [0.8, 0, 0.2]}})


def test_the_noisy_protocol_needs_ratings(tiny):
    with pytest.raises(ConfigError, match="no column 'rating' is loaded to tell noise by"):
        load(tiny, noise_threshold=4.0)


@pytest.mark.parametrize("eval_args", [{"order": "RO"}, {"split": {"LS": "valid_and_test"}}])
def test_the_noisy_protocol_needs_a_split_by_ratios_in_time_order(eval_args, rated):
    with pytest.raises(ConfigError, match="needs a split by ratios in time order"):
        load(rated, noise_threshold=4.0, eval_args=eval_args)


def test_held_out_users_are_chosen_by_their_ids_alone():
    tokens = [f"u{number}" for number in range(1000)]
    chosen = is_held_out(tokens, 0.2, seed=1)
    assert chosen.sum() == 200
    order = np.random.default_rng(0).permutation(1000)
    assert (is_held_out([tokens[index] for index in order], 0.2, seed=1) == chosen[order]).all()
    assert (is_held_out(tokens, 0.2, seed=2) != chosen).any()


@pytest.mark.parametrize("model", ["CFGDiffRec", "MultiVAE", "RecBoleDiffRec", "RecVAE"])
def test_no_row_of_a_held_out_user_is_ever_trained_on(model, tiny):
    _config, dataset, train, valid, test = load(tiny, model, HELDOUT, train_batch_size=7)
    held_out = set(test.uid_list.tolist())
    trained = torch.cat([batch["user_id"] for batch in train]).tolist()
    assert len(held_out) == round(0.2 * (dataset.user_num - 1))
    assert sorted([*trained, *held_out]) == list(range(1, dataset.user_num))
    assert set(valid.uid_list.tolist()) == set(trained)
    # The choice does not depend on the seed.
    assert set(load(tiny, model, HELDOUT, seed=1)[-1].uid_list.tolist()) == held_out


@pytest.mark.parametrize("targets", ["valid", "test"])
def test_held_out_users_are_tested_on_rows_that_are_not_in_their_input(targets, tiny):
    config, _, *plain = load(tiny)
    _, _, train, _, test = load(tiny, files=HELDOUT, heldout_targets=targets)
    users = set(test.uid_list.tolist())
    train_rows, target_rows = (
        {row for row in rows_of(part) if row[0] in users} for part in (plain[0], plain[1 if targets == "valid" else 2])
    )
    assert set(rows_of(test)) == target_rows
    trainer = make_trainer(config, train)
    for user in users:
        history = trainer.model.histories.select(torch.tensor([user])).dense()[0].nonzero().flatten().tolist()
        assert {(user, item) for item in history} == {row for row in train_rows if row[0] == user}
        # Training rows, and nothing else, are left out of the ranking.
        assert set(test.uid2history_item[user].tolist()) == set(history)


def test_metrics_of_held_out_users_equal_a_hand_computation(tiny):
    config, _dataset, train, _, test = load(
        tiny, files=HELDOUT, topk=[5], metrics=["Recall", "NDCG"], valid_metric="NDCG@5"
    )
    trainer = make_trainer(config, train)
    trainer.eval_collector.data_collect(train)
    result = trainer.evaluate(test, load_best_model=False)
    targets, recall, ndcg = rows_of(test), [], []
    for user in test.uid_list.tolist():
        history = trainer.model.histories.select(torch.tensor([user])).dense()
        scores = trainer.model.score(history)[0].detach().masked_fill(history[0] > 0, -np.inf)
        scores[0] = -np.inf
        wanted = {item for owner, item in targets if owner == user}
        hits = [item in wanted for item in scores.topk(5).indices.tolist()]
        gain = sum(hit / np.log2(place + 2) for place, hit in enumerate(hits))
        ideal = sum(1 / np.log2(place + 2) for place in range(min(5, len(wanted))))
        recall.append(sum(hits) / len(wanted))
        ndcg.append(gain / ideal)
    assert result["recall@5"] == pytest.approx(np.mean(recall), abs=1e-4)
    assert result["ndcg@5"] == pytest.approx(np.mean(ndcg), abs=1e-4)


@pytest.mark.parametrize("model", ["LightGCN", "BPR", "EASE", "ItemKNN", "SLIMElastic", "CDAE", "ENMF", "Pop"])
def test_models_that_know_their_users_are_refused(model, tiny):
    with pytest.raises(ConfigError, match=f"heldout_users: {model} has parameters of its own for each user"):
        load(tiny, model, HELDOUT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heldout_users": 1.5}, "heldout_users: expected a share between 0 and 1, got 1.5"),
        (
            {"heldout_users": 0.2, "heldout_targets": "train"},
            "heldout_targets: expected one of valid, test, got 'train'",
        ),
        ({"heldout_users": 0.2, "eval_args": {"mode": "uni100", "order": "TO"}}, "only full ranking is supported"),
    ],
)
def test_bad_options_of_the_protocol_are_named(options, message, tiny):
    with pytest.raises(ConfigError, match=message):
        load(tiny, **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"val_interval": {"rating": "[4,inf)"}}, "val_interval"),
        ({"user_inter_num_interval": "[5,inf)"}, "user_inter_num_interval"),
        ({"rm_dup_inter": "first"}, "rm_dup_inter"),
        ({"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}}}, "eval_args: split"),
        ({"eval_args": {"order": "RO"}}, "eval_args: order"),
    ],
)
def test_filters_and_splits_are_refused_where_the_data_comes_split(options, named, empty_folder):
    for part in ("train", "valid", "test"):
        folder = empty_folder / "dataset" / "given"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"given.{part}.inter").write_text("user_id:token\titem_id:token\nu\ti\n")
    given = {"benchmark_filename": ["train", "valid", "test"]}
    with pytest.raises(ConfigError, match=f"^{named}: the data set given comes split into"):
        data.create_dataset(Config("CFGDiffRec", "given", config_dict={**given, **options}))
    config = Config("CFGDiffRec", "given", config_dict=given)
    again = Config("CFGDiffRec", "given", config_dict=config.options)
    assert len(data.create_dataset(again).inter_feat) == 3
