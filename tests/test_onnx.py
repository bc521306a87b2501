"""The graph gives torch's scores, in another runtime."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from untrained import an_untrained

from recbole_cfgdiff.diffusion.encoders import RawGuidance
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender import onnx_export
from recbole_cfgdiff.recommender.onnx_export import ONNX, card_section, write_onnx

pytest.importorskip("onnxscript", reason="onnxscript is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

SCALES = [0.0, 1.0, 2.0]


def torchs_scores(recommender, users, scale):
    source, known = recommender.source, recommender.users
    rows = source.taken(known.histories).select(users)
    return source.of_histories(rows, scale)[:, 1:].numpy()


def places(recommender, users):
    """The histories as the graph takes them."""
    rows = recommender.users.histories.select(users)
    history = torch.zeros(len(users), len(recommender.items))
    history[rows.row, rows.items - 1] = (rows.counts()[rows.row] - rows.places()).float()
    return history.numpy()


def onnx_scores(path, history, scale, is_guided=True):
    inputs = {"history": history} | ({"guidance_scale": np.array(scale, dtype=np.float32)} if is_guided else {})
    return onnxruntime.InferenceSession(path).run(["scores"], inputs)[0]


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("DiffRec", {"norm": True, "time-aware": True}),
        ("DiffRec", {"mean_type": "eps", "output_scale": 1, "dims_dnn": [7], "mlp_act_func": "relu"}),
        ("CFGDiffRec", {"norm": True, "sampler": "ddim", "sampling_timesteps": 2}),
        ("CFGDiffRec", {"guidance_encoder": "raw", "time-aware": True, "time_embedding": False, "steps": 1}),
        ("ForwardCFGDiffRec", {}),
        ("ForwardCFGDiffRec", {"norm": True, "guidance_encoder": "embedding", "recency_powers": [0.7]}),
    ],
)
def test_scores_are_torchs(model, options, tmp_path, capfd):
    recommender = an_untrained(model, **options)
    write_onnx(recommender, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == [ONNX]
    for users in (torch.tensor([6]), torch.arange(1, 8)):  # the first has no history
        for scale in SCALES if model != "DiffRec" else [1.0]:
            expected = torchs_scores(recommender, users, scale)
            got = onnx_scores(tmp_path / ONNX, places(recommender, users), scale, model != "DiffRec")
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    """A model and the folder that it is exported to."""
    folder = tmp_path_factory.mktemp("models") / "guided"
    recommender = an_untrained("ForwardCFGDiffRec", guidance_scale=2.0)
    recommender.save_pretrained(folder)
    write_onnx(recommender, folder)
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
    text = card_section(an_untrained(model, **options))
    assert told in text
    assert ("guidance_scale" in text) == (model == "CFGDiffRec")


def test_the_file_has_no_path_of_this_machine(guided):
    content = (guided[1] / ONNX).read_bytes()
    assert b".py" not in content and b"site-packages" not in content


def test_large_weights_stand_beside_the_file(guided, tmp_path, monkeypatch):
    recommender, folder = guided
    monkeypatch.setattr(onnx_export, "_MOST_BYTES", 1000)
    write_onnx(recommender, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {ONNX, f"{ONNX}.data"}
    arguments = places(recommender, torch.arange(1, 8)), 2.0
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
        write_onnx(an_untrained("CFGDiffRec", **options), tmp_path)


def test_an_encoder_of_ones_own_is_refused(tmp_path):
    recommender = an_untrained("CFGDiffRec")
    recommender.source.scorer.denoiser.guidance_encoder = OwnGuidance(41, 5, 12)
    with pytest.raises(ConfigError, match="format onnx: guidance_encoder: expected raw or embedding, got OwnGuidance"):
        write_onnx(recommender, tmp_path)


def test_a_missing_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r'format onnx: .*onnxscript.*pip install "recbole-cfgdiff\[onnx\]"'):
        write_onnx(an_untrained("CFGDiffRec"), tmp_path)
