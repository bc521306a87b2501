"""Evaluation gives RecBole's metrics, and does once what does not change."""

import pytest
import torch
from recbole.evaluator import Collector

from conftest import SHARED_DATA
from recbole_cfgdiff import diffusion
from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.diffusion import scorer as scorer_module
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.evaluation.collector import SparseCollector, evaluate_guidance_scales
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.runs.prepare import load_data, make_trainer

ALL_METRICS = ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP", "GAUC", "ItemCoverage", "AveragePopularity"]
ALL_METRICS += ["GiniIndex", "ShannonEntropy", "TailPercentage"]


class RecBolesCollector(SparseCollector):
    """RecBole's way of collecting; but RecBole's own can't give numbers and counters away."""

    __init__ = Collector.__init__
    eval_batch_collect = Collector.eval_batch_collect


def a_trained(dataset, model="CFGDiffRec", epochs=2, **options):
    """A trained trainer, and the validation loader, of several batches."""
    options = {"epochs": epochs, "show_progress": False, "eval_batch_size": 600, **options}
    config = Config(model, dataset, config_dict=options)
    _, train_data, valid_data, _ = load_data(config)
    trainer = make_trainer(config, train_data)
    trainer.fit(train_data, valid_data, saved=False)
    trainer.model.eval()
    return trainer, valid_data


@pytest.mark.parametrize("model", ["CFGDiffRec", "MultiVAE"])
def test_metrics_are_those_of_recboles_collector(model, tiny):
    trainer, valid_data = a_trained(tiny, model, metrics=ALL_METRICS)
    assert len(valid_data) > 1 and isinstance(trainer.eval_collector, SparseCollector)
    ours = trainer.evaluate(valid_data, load_best_model=False)
    facts = trainer.eval_collector.data_struct
    trainer.eval_collector = RecBolesCollector(trainer.config)
    trainer.eval_collector.data_struct = facts
    assert ours == trainer.evaluate(valid_data, load_best_model=False)
    assert len(ours) > len(ALL_METRICS)


def test_targets_and_recommendations_are_marked_as_by_recbole(tiny):
    """By hand: of two users with 2 and 1 targets, one of which is named twice."""
    config = Config(
        "Pop", tiny, config_dict={"topk": [3], "valid_metric": "Recall@3", "metrics": ["Recall", "ItemCoverage"]}
    )
    scores = torch.tensor([[0.0, 5.0, 4.0, 3.0, 1.0], [0.0, 1.0, 2.0, 3.0, 4.0]])
    positive_u, positive_i = torch.tensor([0, 0, 1, 1]), torch.tensor([4, 2, 4, 4])
    collected = []
    for collector in (SparseCollector(config), Collector(config)):
        collector.eval_batch_collect(scores.clone(), None, positive_u, positive_i)
        collected.append([collector.data_struct.get(name) for name in ("rec.topk", "rec.items")])
    assert collected[0][0].tolist() == [[0, 1, 0, 2], [1, 0, 0, 1]]
    assert collected[0][0].dtype is collected[1][0].dtype
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*collected))


def test_masks_are_built_once(tiny):
    _, valid_data = a_trained(tiny)
    first, second = list(valid_data), list(valid_data)
    assert all(before is after for before, after in zip(first, second))


def test_a_sweep_gives_the_metrics_of_one_evaluation_a_scale(tiny):
    trainer, valid_data = a_trained(tiny, metrics=ALL_METRICS)
    scales = [0.0, 1.0, 2.0, 0.0, 5.0]
    swept = evaluate_guidance_scales(trainer, valid_data, scales)
    single = {}
    for scale in scales:
        trainer.model.guidance_scale = scale
        single[scale] = trainer.evaluate(valid_data, load_best_model=False)
    assert swept == single
    assert len({tuple(metrics.values()) for metrics in swept.values()}) > 1


def test_a_sweep_refuses_a_sampled_evaluation(tiny):
    config = Config("CFGDiffRec", tiny, config_dict={"eval_args": {"mode": "uni20"}, "show_progress": False})
    _, train_data, valid_data, _ = load_data(config)
    trainer = make_trainer(config, train_data)
    with pytest.raises(ConfigError, match="only full ranking is supported"):
        evaluate_guidance_scales(trainer, valid_data, [1.0])


def test_a_history_of_whole_numbers_is_a_history(tiny):
    trainer, _ = a_trained(tiny)
    history = torch.zeros(1, trainer.model.n_items)
    history[0, [1, 3, 5, 7]] = 1
    torch.testing.assert_close(trainer.model.score(history.long()), trainer.model.score(history))


def test_what_the_weights_tell_is_computed_once_an_evaluation_and_anew_for_other_weights(tiny, monkeypatch):
    made = []

    class Counted(diffusion.HiddenProcess):
        def __init__(self, *arguments):
            made.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr(scorer_module, "HiddenProcess", Counted)
    trainer, valid_data = a_trained(tiny, epochs=1)
    assert len(valid_data) > 1 and len(made) == 1
    trainer.evaluate(valid_data, load_best_model=False)
    evaluate_guidance_scales(trainer, valid_data, [0.0, 1.0])
    assert len(made) == 3
    model, users = trainer.model, next(iter(valid_data))[0].to(trainer.device)
    before = model.full_sort_predict(users)
    with model.fixed_weights():
        for _ in range(2):
            assert torch.equal(model.full_sort_predict(users), before)
    assert len(made) == 5
    with torch.no_grad():
        model.denoiser.output_layer.weight.mul_(1.5)
    assert not torch.allclose(before, model.full_sort_predict(users)) and len(made) == 6


@pytest.mark.skipif(
    not (SHARED_DATA / "diffrec_ml-1m_clean.zip").is_file(), reason="needs the DiffRec authors' ML-1M split"
)
def test_a_model_trained_on_ml_1m_recommends_the_same_lists_by_either_process(empty_folder):
    assert main(["convert", "diffrec", str(SHARED_DATA / "diffrec_ml-1m_clean.zip"), "--name=ml-1m-clean"]) == 0
    trainer, valid_data = a_trained("ml-1m-clean", epochs=5, eval_step=5, steps=10, eval_batch_size=2**23)
    batch = next(iter(valid_data))[0][:1000]
    for model, tolerance in ((trainer.model, 1e-4), (trainer.model.double(), 1e-10)):
        for model.guidance_scale in (0.0, 1.0, 2.0):
            model.scorer.runs_in_hidden_space = True
            hidden = model.full_sort_predict(batch)
            model.scorer.runs_in_hidden_space = False
            dense = model.full_sort_predict(batch)
            assert (hidden - dense).abs().max() < tolerance * dense.abs().max()
            assert_same_lists(hidden, dense, places=20)


def assert_same_lists(scores, other, places):
    """The best items in the same order, but for those whose scores the number type can't tell apart."""
    lists, others = scores.topk(places).indices, other.topk(places).indices
    tie = 4 * torch.finfo(other.dtype).eps * other.abs().max()
    assert ((other.gather(1, lists) - other.gather(1, others)).abs() <= tie).all()
    assert (lists == others).float().mean() > 0.999
