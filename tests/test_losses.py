import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recbole_cfgdiff.diffusion import SparseRows, squared_errors
from recbole_cfgdiff.diffusion.fast import squared_errors as losses_module
from recbole_cfgdiff.diffusion.fast.squared_errors import direct_squared_errors, expanded_squared_errors

sizes = st.integers(1, 12)


def a_case(n_items, width, batch_size, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch_size, width, generator=generator, dtype=dtype).requires_grad_()
    output_layer = nn.Linear(width, n_items).to(dtype)
    target = torch.randn(batch_size, n_items, generator=generator, dtype=dtype)
    target *= torch.rand(batch_size, n_items, generator=generator) < 0.4
    weights = torch.rand(batch_size, generator=generator, dtype=dtype) * 1e4
    return features, output_layer, target, weights


def value_and_gradients(errors, features, output_layer, weights):
    inputs = [features, output_layer.weight, output_layer.bias]
    return [errors.detach(), *torch.autograd.grad((weights * errors).mean(), inputs)]


@given(sizes, sizes, sizes, st.integers(0, 2**32 - 1))
def test_every_form_is_the_squared_error_and_has_its_gradient(n_items, width, batch_size, seed):
    features, output_layer, target, weights = a_case(n_items, width, batch_size, seed)
    plain = (output_layer(features) - target).square().sum(dim=1)
    expected = value_and_gradients(plain, features, output_layer, weights)
    rows = SparseRows.of_dense(target)
    for errors in (
        direct_squared_errors(features, output_layer.weight, output_layer.bias, target),
        direct_squared_errors(features, output_layer.weight, output_layer.bias, rows),
        expanded_squared_errors(features, output_layer.weight, output_layer.bias, rows),
    ):
        for got, wanted in zip(value_and_gradients(errors, features, output_layer, weights), expected):
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-9 * max(1, wanted.abs().max()))


def test_the_expanded_square_is_accurate_in_float32():
    features, output_layer, target, weights = a_case(400, 30, 50, seed=0, dtype=torch.float32)
    expanded = expanded_squared_errors(features, output_layer.weight, output_layer.bias, SparseRows.of_dense(target))
    direct = direct_squared_errors(features, output_layer.weight, output_layer.bias, target)
    for got, wanted in zip(
        value_and_gradients(expanded, features, output_layer, weights),
        value_and_gradients(direct, features, output_layer, weights),
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max())


@pytest.mark.parametrize(("n_items", "width", "form"), [(4000, 40, "expanded"), (4000, 400, "direct")])
def test_the_form_with_fewer_multiplications_is_taken(n_items, width, form, monkeypatch):
    features, output_layer, _, _ = a_case(n_items, width, batch_size=200, seed=0, dtype=torch.float32)
    taken = []
    for name in ("direct", "expanded"):
        monkeypatch.setattr(losses_module, f"{name}_squared_errors", lambda *_, name=name: taken.append(name))
    squared_errors(features, output_layer.weight, output_layer.bias, SparseRows.of_dense(torch.eye(200, n_items)))
    assert taken == [form]
