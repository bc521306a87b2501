"""A step of training: no waiting for the device, and the same step under compilation and mixed precision."""

import math
import shutil
from itertools import product

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.diffusion.fast import squared_errors as losses_module
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.runs.prepare import load_data, make_trainer
from recbole_cfgdiff.scoring import histories as histories_module

# What reads a result from the device: its size or its value decides how the host goes on.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "item", "is_nonzero", "equal")


class Operations(TorchDispatchMode):
    """Records the operations that would make the host wait for an accelerator."""

    def __init__(self):
        super().__init__()
        self.count, self.waiting = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        self.count += 1
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype is torch.bool for index in args[1]
        )
        of_unknown_size = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None
        if by_mask or of_unknown_size or any(name.startswith(waiting) for waiting in WAITING):
            self.waiting.append(name)
        return func(*args, **(kwargs or {}))


def a_model(dataset, model="CFGDiffRec", **options):
    """A model in training, and a batch of all its users."""
    config = Config(model, dataset, config_dict={"show_progress": False, **options})
    _, train_data, _, _ = load_data(config)
    model = make_trainer(config, train_data).model.train()
    return model, train_data.user_list.to(model.device)


def loss_and_gradients(model, batch):
    torch.manual_seed(0)
    model.zero_grad()
    loss = model.calculate_loss(batch)
    loss.backward()
    return loss.detach(), [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]


@pytest.fixture
def no_anomaly_detection():
    """RecBole 1.2.1 turns it on for the whole process when its SINE is imported; it reads every gradient."""
    with torch.autograd.set_detect_anomaly(False):
        yield


@pytest.mark.usefixtures("no_anomaly_detection")
@pytest.mark.parametrize(
    ("model", "options"),
    [
        *product(["DiffRec", "CFGDiffRec"], [{}, {"mean_type": "eps"}, {"noise_scale": 0.0}, {"norm": True}]),
        ("ForwardCFGDiffRec", {}),
    ],
    ids=str,
)
def test_a_step_never_waits_for_an_accelerator(model, options, tiny, monkeypatch):
    model, batch = a_model(tiny, model, **options)
    monkeypatch.setattr(histories_module, "_may_wait_for", lambda _: True)
    with Operations() as on_cpu:
        expected = loss_and_gradients(model, batch)
    # On the CPU the size of the batch's histories is read; elsewhere an upper bound of it is taken.
    assert on_cpu.waiting == ["_local_scalar_dense"]
    model.timestep_sampler.load_state_dict({k: 0 * v for k, v in model.timestep_sampler.state_dict().items()})
    monkeypatch.setattr(histories_module, "_may_wait_for", lambda _: False)
    padded = model.histories.select(batch["user_id"][:5])
    padding = torch.bincount(padded.row[padded.values == 0], minlength=5)
    assert padding.sum() > 0 and padding.max() - padding.min() <= 1
    with Operations() as operations:
        got = loss_and_gradients(model, batch)
    assert operations.count > 50 and operations.waiting == []
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("options", [{}, {"norm": True, "sampling_noise": True}], ids=["hidden units", "items"])
@pytest.mark.parametrize("model", ["DiffRec", "ForwardCFGDiffRec"])
def test_the_scales_change_nothing_but_the_units(model, options, tiny):
    """Of the loss and of the two layers: with weights divided by their scales the model is the same."""
    scale, input_scale = 0.1, 0.5
    plain, batch = a_model(tiny, model, ema_decay=0, input_scale=1, output_scale=1, **options)
    scaled, _ = a_model(tiny, model, ema_decay=0, output_scale=scale, input_scale=input_scale, **options)
    torch.nn.init.normal_(plain.denoiser.output_layer.bias)
    scaled.denoiser.load_state_dict({**plain.denoiser.state_dict(), "_extra_state": scaled.denoiser.get_extra_state()})
    with torch.no_grad():
        for parameter in scaled.denoiser.output_layer.parameters():
            parameter.div_(scale)
        scaled.denoiser.input_layer.weight.div_(input_scale)
    loss, gradients = loss_and_gradients(plain, batch)
    scaled_loss, scaled_gradients = loss_and_gradients(scaled, batch)
    torch.testing.assert_close(scaled_loss, loss / scale**2)
    names = [name for name, parameter in plain.named_parameters() if parameter.requires_grad]
    for name, got, plain_gradient in zip(names, scaled_gradients, gradients, strict=True):
        layer_scale = {"output_layer": scale, "input_layer": input_scale}.get(name.split(".")[1], 1)
        expected = plain_gradient * layer_scale / scale**2
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    scores = []
    for each in (plain, scaled):
        if hasattr(each, "averaged"):
            each.after_step()  # the average takes over the weights
        torch.manual_seed(0)
        scores.append(each.eval().full_sort_predict(batch))
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("DiffRec", {}),
        ("DiffRec", {"norm": True}),
        ("DiffRec", {"time-aware": True, "w_max": 3.0}),
        ("ForwardCFGDiffRec", {}),
        ("ForwardCFGDiffRec", {"cut_min": 1, "cut_max": 1}),
    ],
    ids=str,
)
@torch.no_grad()  # users occur more than once, which histories on an accelerator allow without gradients only
def test_automatic_scales_give_both_layers_vectors_of_size_1(model, options, tiny):
    model, batch = a_model(tiny, model, input_scale="auto", output_scale="auto", **options)
    users = batch["user_id"].repeat(200)
    t = torch.arange(len(users), device=users.device) % model.schedule.steps
    x_start, _ = model.training_example(users)
    x_t, _ = model._noised(x_start, t, None)
    input_ = x_t.dense() if isinstance(x_t, SparseRows) else x_t
    input_ = torch.nn.functional.normalize(input_) if model.denoiser.norm else input_
    length = (model.denoiser.input_scale * input_).square().sum(dim=1).mean().sqrt()
    assert length.item() == pytest.approx(1, rel=0.01)
    entry = x_start.dense().square().mean().sqrt()
    assert entry.item() == pytest.approx(model.denoiser.output_scale, rel=0.02)


def test_an_automatic_output_scale_is_1_for_noise(tiny):
    model, _ = a_model(tiny, "DiffRec", mean_type="eps", output_scale="auto")
    assert model.denoiser.output_scale == 1


def test_automatic_scales_are_those_of_forward_guidance_by_default(tiny):
    shipped, _ = a_model(tiny, "ForwardCFGDiffRec")
    automatic, _ = a_model(tiny, "ForwardCFGDiffRec", input_scale="auto", output_scale="auto")
    assert torch.equal(shipped.denoiser.get_extra_state(), automatic.denoiser.get_extra_state())
    assert shipped.denoiser.input_scale < 1


@pytest.mark.parametrize("noise_scale", [0.0, 0.1])
def test_histories_of_no_weight_have_finite_automatic_scales(noise_scale, tiny):
    options = {"time-aware": True, "w_min": 0, "w_max": 0, "noise_scale": noise_scale}
    model, batch = a_model(tiny, "DiffRec", input_scale="auto", output_scale="auto", **options)
    assert torch.isfinite(model.calculate_loss(batch))


def test_the_scales_stay_with_the_weights(tiny):
    """A model that is loaded where ``auto`` would be another number scores as the saved one."""
    cpu = {"gpu_id": ""}  # where the same sum is the same number
    saved, batch = a_model(tiny, "ForwardCFGDiffRec", **cpu)
    other, _ = a_model(tiny, "ForwardCFGDiffRec", cut_min=0, **cpu)
    assert other.denoiser.output_scale != saved.denoiser.output_scale
    other.load_state_dict(saved.state_dict())
    scores = [model.eval().full_sort_predict(batch) for model in (saved, other)]
    torch.testing.assert_close(scores[1], scores[0], rtol=0, atol=0)
    assert torch.equal(other.denoiser.get_extra_state(), saved.denoiser.get_extra_state())


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is no g++")
def test_a_compiled_step_is_the_same_step(tiny):
    plain, batch = a_model(tiny)
    compiled, _ = a_model(tiny, torch_compile=True)
    compiled.load_state_dict(plain.state_dict())
    loss, gradients = loss_and_gradients(compiled, batch)
    expected_loss, expected_gradients = loss_and_gradients(plain, batch)
    torch.testing.assert_close(loss, expected_loss)
    # An entry is a sum of n = users x items terms of either sign; in another order it rounds to a value that is, of the
    # largest entry, about sqrt(n) units of float32 away (Higham, Accuracy and Stability of Numerical Algorithms, 2.8).
    rounding = math.sqrt(60 * 41) * torch.finfo(torch.float32).eps
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=rounding * expected.abs().max().item())


def test_mixed_precision_comes_close(tiny, cli):
    model, batch = a_model(tiny)
    expected, _ = loss_and_gradients(model, batch)
    torch.manual_seed(0)
    with torch.autocast(model.device.type):
        loss = model.calculate_loss(batch)
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    arguments = (f"--dataset={tiny}", "--epochs=2", "--show_progress=False", "--state=ERROR")
    assert cli("--model=CFGDiffRec", "--enable_amp=True", *arguments).status == 0


def test_mixed_precision_works_with_a_narrow_last_layer(tiny, monkeypatch):
    """Where the error's square is expanded, and several layers hand on what autocast made of them."""
    monkeypatch.setattr(losses_module, "_expanding_pays", lambda *_: True)
    model, batch = a_model(tiny, dims_dnn=[16, 4])
    expected, _ = loss_and_gradients(model, batch)
    torch.manual_seed(0)
    with torch.autocast(model.device.type):
        loss = model.calculate_loss(batch)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)


def test_adam_is_fused_and_the_same(tiny):
    config = Config("CFGDiffRec", tiny, config_dict={"show_progress": False, "weight_decay": 0.1, "learner": "adamw"})
    _, train_data, _, _ = load_data(config)
    trainer = make_trainer(config, train_data)
    model, batch = trainer.model.train(), train_data.user_list.to(trainer.device)
    assert trainer.optimizer.defaults["fused"]
    weights = [parameter.detach().clone().requires_grad_() for parameter in model.parameters()]
    plain = torch.optim.AdamW(weights, lr=config["learning_rate"], weight_decay=0.1)
    for _ in range(3):
        _, gradients = loss_and_gradients(model, batch)
        for weight, gradient in zip(weights, gradients):
            weight.grad = gradient
        trainer.optimizer.step()
        plain.step()
    torch.testing.assert_close(list(model.parameters()), weights, rtol=1e-5, atol=1e-6)
