"""Sequences, cuts, what is hidden, and the network that finds it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.diffusion import (
    NextItemsDenoiser,
    SequenceEncoder,
    SequenceNetwork,
    SequenceScorer,
    latest,
    q_sample,
    training_cuts,
    windows,
)
from recbole_cfgdiff.diffusion.fast import by_length
from recbole_cfgdiff.diffusion.fast.attention import causal_attention
from recbole_cfgdiff.diffusion.next_items import distance_weights
from recbole_cfgdiff.diffusion.slates import _logits, _start, beam_slate, slate
from recbole_cfgdiff.scoring.histories import Histories

N_ITEMS = 9
people = st.lists(st.lists(st.integers(1, N_ITEMS - 1), max_size=8), min_size=1, max_size=5)


def rows_of(histories):
    users = np.repeat(np.arange(len(histories)), list(map(len, histories)))
    items = np.array([item for each in histories for item in each], dtype=np.int64)
    return Histories.of_pairs(users, items, len(histories), N_ITEMS).select(torch.arange(len(histories)))


def without_padding(items):
    return [[item for item in row if item] for row in items.tolist()]


@given(people, st.integers(1, 9))
def test_the_latest_items_stand_in_order_padding_behind(histories, length):
    items = latest(rows_of(histories), length)
    assert without_padding(items) == [history[-length:] for history in histories]
    assert items.shape[1] == max(1, *(min(len(history), length) for history in histories), 1)
    assert all((row[: (row != 0).sum()] != 0).all() for row in items)


@given(people, st.integers(1, 9))
def test_windows_are_items_in_a_row(histories, length):
    for history, window in zip(histories, without_padding(windows(rows_of(histories), length))):
        assert len(window) == min(len(history), length)
        starts = range(len(history) - len(window) + 1)
        assert any(history[start : start + len(window)] == window for start in starts)


def test_every_window_is_drawn():
    drawn = {tuple(windows(rows_of([[1, 2, 3, 4]]), 2)[0].tolist()) for _ in range(100)}
    assert drawn == {(1, 2), (2, 3), (3, 4)}


@given(people, st.integers(1, 4))
def test_a_cut_stands_behind_every_item_but_the_last(histories, n_next):
    items = latest(rows_of(histories), 8)
    inputs, cuts = training_cuts(items, n_next)
    assert torch.equal(inputs, items[:, :-1])
    found = [
        (row, place, [item for item in x_start if item])
        for row, place, x_start in zip(cuts.row.tolist(), cuts.place.tolist(), cuts.x_start.tolist())
    ]
    assert found == [
        (row, place, history[place + 1 : place + 1 + n_next])
        for row, history in enumerate(histories)
        for place in range(len(history) - 1)
    ]


def test_the_share_that_is_hidden_is_that_of_the_step():
    x_start = torch.ones(20_000, 2, dtype=torch.int64)
    for t in range(1, 5):
        shown = q_sample(x_start, torch.full((20_000,), t), 4).float().mean()
        assert shown == pytest.approx(1 - t / 4, abs=0.01)
    assert not q_sample(x_start, torch.full((20_000,), 4), 4).any()
    assert not q_sample(torch.zeros_like(x_start), torch.ones(20_000), 4).any()  # what is not there is not shown


def test_nearer_items_weigh_more():
    torch.testing.assert_close(distance_weights(3, 0.5), torch.tensor([1.0, 0.5, 0.25]))


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    encoder = SequenceEncoder(N_ITEMS, 8, 2, 2, 16, 0.0, initializer_range=0.5)
    return NextItemsDenoiser(encoder, 3, 16, 0.0, 0.5).eval()


def test_a_place_reads_nothing_of_what_comes_after_it(denoiser):
    items = torch.tensor([[1, 2, 3, 4, 5]])
    whole = denoiser.encoder(items)
    for length in range(1, 5):
        torch.testing.assert_close(denoiser.encoder(items[:, :length]), whole[:, :length])
    changed = denoiser.encoder(torch.tensor([[2, 1, 3, 4, 5]]))
    assert not torch.allclose(changed[:, 4], whole[:, 4], atol=1e-3)  # and the order of what comes before


def test_padding_changes_nothing(denoiser):
    alone = denoiser.encoder.last(torch.tensor([[1, 2]]))
    beside = denoiser.encoder.last(torch.tensor([[1, 2, 0, 0], [3, 4, 5, 6], [0, 0, 0, 0]]))
    torch.testing.assert_close(beside[:1], alone)
    assert (beside[2] == 0).all()


def test_the_items_that_are_shown_and_the_step_count(denoiser):
    guidance = denoiser.encoder.last(torch.tensor([[1, 2]]))
    shown = denoiser.embed(torch.tensor([[3, 4, 5]]), torch.tensor([[True, True, False]]))
    torch.testing.assert_close(shown, denoiser.encoder.item_embedding.weight[[3, 4]].sum(0, keepdim=True))
    hidden, seen, earlier = (
        denoiser(guidance, each, torch.tensor([t])) for each, t in ((None, 3), (shown, 3), (None, 2))
    )
    assert not torch.allclose(hidden, seen, atol=1e-3) and not torch.allclose(hidden, earlier, atol=1e-3)


@given(people)
def test_guidance_combines_the_logits_and_the_vectors_give_them(histories):
    torch.manual_seed(0)
    encoder = SequenceEncoder(N_ITEMS, 8, 1, 2, 16, 0.0, initializer_range=0.5)
    network = SequenceNetwork(NextItemsDenoiser(encoder, 2, 16, 0.0, 0.5).double().eval(), None)
    scorer = SequenceScorer(network, 2, 5)
    rows = rows_of(histories)
    unguided, guided, beyond = scorer.sweep(rows, [0.0, 1.0, 2.5])
    torch.testing.assert_close(beyond, unguided + 2.5 * (guided - unguided))
    torch.testing.assert_close(scorer.query_vectors(rows, 2.5) @ scorer.item_vectors().T, beyond)
    for history, one, other in zip(histories, unguided, guided):
        torch.testing.assert_close(one, unguided[0])  # nothing is known of anybody
        assert torch.allclose(one, other) == (not history)


def test_a_tensor_which_tells_no_order_is_refused(denoiser):
    with pytest.raises(ValueError, match="a tensor does not tell their order"):
        next(SequenceScorer(SequenceNetwork(denoiser, None), 3, 5).sweep(torch.zeros(1, N_ITEMS), [1.0]))


def random_scorer(n_next=3):
    torch.manual_seed(0)
    encoder = SequenceEncoder(N_ITEMS, 8, 1, 2, 8, 0.0, initializer_range=0.5)
    return SequenceScorer(SequenceNetwork(NextItemsDenoiser(encoder, n_next, 16, 0.0, 0.5).eval(), None), n_next, 5)


@given(people, st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 3), st.sampled_from([0.0, 1.0, 2.0]))
def test_a_slate_has_different_items_that_the_history_has_not(histories, size, temperature, block, scale):
    histories = [history[:4] for history in histories]  # so that there are enough others
    items = slate(random_scorer(), rows_of(histories), size, temperature, scale, block)
    assert items.shape == (len(histories), size)
    for history, drawn in zip(histories, items.tolist()):
        assert len(set(drawn)) == size and 0 not in drawn
        assert not set(drawn) & set(history)


def test_a_slate_of_one_at_temperature_0_is_the_first_of_the_ranking_and_drawn_items_change_the_next():
    scorer = random_scorer()
    torch.nn.init.normal_(scorer.denoiser.shown.weight, std=3)
    rows = rows_of([[1, 2], [3]])
    scores = next(scorer.sweep(rows, [1.0]))
    scores[rows.row, rows.items] = -torch.inf
    scores[:, 0] = -torch.inf
    first = slate(scorer, rows, 3, temperature=0.0)[:, 0]
    assert torch.equal(first, scores.argmax(1))
    assert torch.equal(slate(scorer, rows, 3, temperature=0.0, block=3), scores.topk(3).indices)
    assert not torch.equal(slate(scorer, rows, 3, temperature=0.0), scores.topk(3).indices)


def test_draws_follow_the_softmax():
    scorer, rows = random_scorer(), rows_of([[1]] * 20_000)
    scores = next(scorer.sweep(rows, [1.0]))[0]
    scores[[0, 1]] = -torch.inf
    drawn = slate(scorer, rows, 1, generator=torch.Generator().manual_seed(0))[:, 0]
    shares = torch.bincount(drawn, minlength=N_ITEMS) / len(drawn)
    torch.testing.assert_close(shares, torch.softmax(scores, 0), atol=0.01, rtol=0)


def test_a_wide_beam_finds_the_likeliest_set():
    scorer, rows = random_scorer(2), rows_of([[1, 2]])
    torch.nn.init.normal_(scorer.denoiser.shown.weight, std=2)
    (found,) = beam_slate(scorer, rows, 2, N_ITEMS).tolist()

    def log_probability(first, second):
        logits = _logits(scorer, _start(scorer, rows), torch.tensor([[first]]), 2, 1.0)[0]
        start = _logits(scorer, _start(scorer, rows), torch.zeros(1, 0, dtype=torch.int64), 2, 1.0)[0]
        logits[[0, 1, 2, first]] = start[[0, 1, 2]] = -torch.inf
        return float(start.log_softmax(0)[first] + logits.log_softmax(0)[second])

    pairs = [(one, other) for one in range(3, N_ITEMS) for other in range(3, N_ITEMS) if one != other]
    assert tuple(found) == max(pairs, key=lambda pair: log_probability(*pair))
    greedy = slate(scorer, rows, 2, temperature=0.0)
    assert beam_slate(scorer, rows, 2, 1).tolist() == greedy.tolist()


@given(people)
def test_groups_of_like_lengths_are_encoded_alike(histories):
    encoder = SequenceEncoder(N_ITEMS, 8, inner_size=8, initializer_range=0.5).double().eval()
    items = latest(rows_of(histories), 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_length, "_GROUP", 2)
        torch.testing.assert_close(by_length.last_states(encoder, items), encoder.last(items))


def test_attention_under_mixed_precision_is_that_of_32_bits():
    heads = [torch.randn(3, 2, 5, 4) for _ in range(3)]
    with torch.autocast("cpu"):
        found = causal_attention(*(each.bfloat16() for each in heads), 0.0)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, causal_attention(*heads, 0.0), rtol=0.05, atol=0.05)
