"""The short examples run, and what they register keeps to the contract."""

import sys
from pathlib import Path

from contract import check_encoder, check_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
import own_data
import own_encoder
import own_model
import own_sampler

REGISTERS = True


def test_own_data(empty_folder):
    assert "i7" in own_data.main(epochs=40)


def test_own_sampler(tiny):
    assert list(own_sampler.main(tiny, epochs=1)) == ["ddpm", "ddim", "halfway"]


def test_own_encoder(tiny):
    check_encoder(own_encoder.GatedRecurrentGuidance)
    assert 0 < own_encoder.main(tiny, epochs=2) < 1


def test_own_model(tiny):
    assert 0 < own_model.main(tiny, epochs=2) < 1
    check_model("LatestCFGDiffRec", tiny, {"n_latest": 3})
