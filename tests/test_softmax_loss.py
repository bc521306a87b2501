"""The cross-entropy over all items, by blocks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.diffusion.fast import softmax_loss as module
from recbole_cfgdiff.diffusion.fast.softmax_loss import sampled_softmax_loss, softmax_loss


def written_out(features, weight, bias, targets, target_weights):
    log_probabilities = torch.log_softmax(features @ weight.T + bias, dim=1)
    return -(target_weights * log_probabilities.gather(1, targets)).sum()


@given(st.integers(1, 7), st.integers(2, 9), st.integers(1, 4), st.integers(0, 100))
def test_loss_and_gradients_are_those_of_the_formula(n_rows, n_items, n_targets, seed):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    parameters = [random(n_rows, 3), random(n_items, 3), random(n_items)]
    targets = torch.randint(n_items, (n_rows, n_targets), generator=generator)  # an item may come twice
    target_weights = random(n_rows, n_targets).clamp(min=0)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LOGITS", 2 * n_items)  # blocks of two rows
        for loss in (softmax_loss, written_out):
            inputs = [each.clone().requires_grad_() for each in parameters]
            value = loss(*inputs, targets, target_weights)
            found.append([value.detach(), *torch.autograd.grad(3 * value, inputs)])
    for ours, expected in zip(*found):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_logits_beyond_the_numbers_of_an_exponential_are_no_fault():
    features = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    loss = softmax_loss(features, torch.eye(2), torch.zeros(2), torch.tensor([[1]]), torch.ones(1, 1))
    loss.backward()
    assert loss.isfinite() and features.grad.tolist() == [[1.0, -1.0]]


def test_sampled_items_stand_for_all():
    torch.manual_seed(0)
    features, weight, bias = torch.randn(40, 4), torch.randn(50, 4), torch.randn(50)
    targets, target_weights = torch.randint(50, (40, 2)), torch.rand(40, 2)
    exact = softmax_loss(features, weight, bias, targets, target_weights)
    few = [sampled_softmax_loss(features, weight, bias, targets, target_weights, 20) for _ in range(200)]
    many = sampled_softmax_loss(features, weight, bias, targets, target_weights, 200_000)
    torch.testing.assert_close(many, exact, rtol=2e-2, atol=0)
    torch.testing.assert_close(torch.stack(few).mean(), exact, rtol=0.1, atol=0)
    assert torch.stack(few).std() > 0


def test_a_target_is_no_negative_of_its_own():
    features, weight = torch.zeros(1, 2), torch.zeros(1, 2)  # a single item
    loss = sampled_softmax_loss(features, weight, torch.zeros(1), torch.tensor([[0]]), torch.ones(1, 1), 5)
    assert loss == 0


def test_in_mixed_precision_loss_and_gradients_are_near():
    torch.manual_seed(0)
    parameters = [torch.randn(30, 8), torch.randn(40, 8), torch.randn(40)]
    targets, target_weights = torch.randint(40, (30, 1)), torch.ones(30, 1)
    found = []
    for is_mixed in (False, True):
        inputs = [each.clone().requires_grad_() for each in parameters]
        with torch.autocast("cpu", enabled=is_mixed):
            loss = softmax_loss(*inputs, targets, target_weights)
        assert loss.dtype == torch.float32
        found.append([loss.detach(), *torch.autograd.grad(loss, inputs)])
    for exact, mixed in zip(*found):
        assert (exact - mixed).norm() < 0.02 * exact.norm()
