"""The graph gives torch's scores, in another runtime."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recommending import N_ITEMS, make_recommender

from recbole_cfgdiff.diffusion.encoders import RawGuidance
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender import onnx_export
from recbole_cfgdiff.recommender.onnx_export import ONNX, card_section, write_onnx
from recbole_cfgdiff.scoring.histories import Histories

pytest.importorskip("onnxscript", reason="onnxscript is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

ROOT = str(Path(__file__).resolve().parents[1])
SCALES = [0.0, 1.0, 2.0]


def some_histories(n):
    """Numbers of items, in order; the first history is empty."""
    random = np.random.default_rng(0)
    return [random.permutation(N_ITEMS)[: 2 * length] + 1 for length in range(n)]


def torchs_scores(recommender, histories, scale):
    people = np.repeat(np.arange(len(histories)), list(map(len, histories)))
    pairs = Histories.of_pairs(people, np.concatenate(histories), len(histories), N_ITEMS + 1)
    rows = recommender.source.rows(pairs, torch.arange(len(histories)))
    return recommender.source.of_histories(rows, scale)[:, 1:].numpy()


def places(histories):
    """The histories as the graph takes them."""
    history = np.zeros((len(histories), N_ITEMS), dtype=np.float32)
    for row, numbers in zip(history, histories):
        row[numbers - 1] = np.arange(len(numbers), 0, -1)
    return history


def onnx_scores(path, history, scale, is_guided=True):
    inputs = {"history": history} | ({"guidance_scale": np.array(scale, dtype=np.float32)} if is_guided else {})
    return onnxruntime.InferenceSession(path).run(["scores"], inputs)[0]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("DiffRec", {"norm": True, "time-aware": True, "dims_dnn": [12, 9]}),
        ("DiffRec", {"mean_type": "eps", "output_scale": 1, "dims_dnn": [7], "mlp_act_func": "relu"}),
        (
            "CFGDiffRec",
            {"norm": True, "sampler": "ddim", "sampling_timesteps": 2, "output_scale": 2},
        ),
        ("CFGDiffRec", {"guidance_encoder": "raw", "time-aware": True, "time_embedding": False, "steps": 1}),
        ("ForwardCFGDiffRec", {}),
        ("ForwardCFGDiffRec", {"norm": True, "guidance_encoder": "embedding", "recency_powers": [0.7]}),
        ("SeqCFGDiffRec", {}),
        ("SeqCFGDiffRec", {"linear_weight": 0}),
        ("NextItemRidge", {"MAX_ITEM_LIST_LENGTH": 5}),
        ("SeqCFGDiffRec", {"MAX_ITEM_LIST_LENGTH": 4, "n_next": 2, "steps": 2}),
    ],
)
def test_scores_are_torchs(model, options, tmp_path):
    recommender = make_recommender(model, **options)
    is_guided = recommender.source.is_guided
    write_onnx(recommender, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [ONNX]
    for histories in (some_histories(7), some_histories(7)[3:4]):
        for scale in SCALES if is_guided else [1.0]:
            expected = torchs_scores(recommender, histories, scale)
            got = onnx_scores(tmp_path / ONNX, places(histories), scale, is_guided)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


_EXPORT = """
import sys
from pathlib import Path
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.recommender.onnx_export import write_onnx
write_onnx(Recommender.load(sys.argv[1]), Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    """A model and the folder that it is exported to, by a process that says nothing of it."""
    folder = tmp_path_factory.mktemp("models") / "guided"
    recommender = replace(make_recommender("ForwardCFGDiffRec"), guidance_scale=2.0)
    recommender.save_pretrained(folder)
    outcome = subprocess.run(
        [sys.executable, "-c", _EXPORT, folder], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    return recommender, folder


def test_what_the_card_says_works(guided, monkeypatch):
    recommender, folder = guided
    text = card_section(recommender)
    assert "once d^-0.5 and once d^-1.5" in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    line = "histories = [['i1', 'i2'], []]"
    assert line in code
    code = code.replace(line, "histories = [['i5', 'i2', 'i9', 'i2'], []]")
    monkeypatch.chdir(folder)
    names = {}
    exec(code, names)
    for scores, history in zip(names["scores"], names["histories"]):
        table = recommender.recommend(histories=[history], topk=40, include_seen=True).set_index("item")["score"]
        got = pd.Series(scores, index=recommender.items.ids.ids)
        np.testing.assert_allclose(got[table.index], table, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        ("DiffRec", {"time-aware": True}, "at place d of m by 0.1 + 0.9 (m - d) / max(m - 1, 1)"),
        ("CFGDiffRec", {}, "the order does not count"),
    ],
)
def test_the_card_says_what_order_means_to_the_model(model, options, told):
    text = card_section(make_recommender(model, **options))
    assert told in text
    assert ("guidance_scale" in text) == (model == "CFGDiffRec")


def test_the_file_has_no_path_of_this_machine(guided):
    content = (guided[1] / ONNX).read_bytes()
    assert b".py" not in content and b"site-packages" not in content


def test_large_weights_stand_beside_the_file(guided, tmp_path, monkeypatch):
    recommender, folder = guided
    arguments = places(some_histories(7)), 2.0
    monkeypatch.setattr(onnx_export, "_MOST_BYTES", 1000)
    write_onnx(recommender, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {ONNX, f"{ONNX}.data"}
    np.testing.assert_array_equal(onnx_scores(tmp_path / ONNX, *arguments), onnx_scores(folder / ONNX, *arguments))


class OwnGuidance(RawGuidance):
    """Of somebody else."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling_noise": True}, "format onnx: sampling_noise makes the scores random"),
        ({"sampling_steps": 1}, "format onnx: sampling_steps makes the scores random"),
    ],
)
def test_scores_that_are_random_are_refused(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        write_onnx(make_recommender(**options), tmp_path)


def test_an_encoder_of_ones_own_is_refused(tmp_path):
    recommender = make_recommender()
    recommender.source.scorer.denoiser.guidance_encoder = OwnGuidance(N_ITEMS + 1, 5, 16)
    with pytest.raises(ConfigError, match="format onnx: guidance_encoder: expected raw or embedding, got OwnGuidance"):
        write_onnx(recommender, tmp_path)


def test_a_missing_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r'format onnx: .*onnxscript.*pip install "recbole-cfgdiff\[onnx\]"'):
        write_onnx(make_recommender(), tmp_path)
