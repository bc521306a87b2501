"""L-CFGDiffRec: guided diffusion of a history's code, not of the history (L-DiffRec, Wang et al. 2023, Sec. 3.2).

The items are clustered, a variational autoencoder a cluster turns histories into codes, and the diffusion, its guidance
and its network know the codes alone; what it restores is decoded. Here measured against narrower denoisers of the whole
history; docs/alternatives.md has what came of it.

    python examples/latent_diffusion.py --dataset=ml-100k --seeds=3 --output=docs/alternatives/latent-ml-100k.csv
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from measuring import Variants, measure_all
from scipy.cluster.vq import kmeans2
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds
from torch import nn

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.diffusion import Denoiser, SparseRows
from recbole_cfgdiff.diffusion.fast.sparse import ItemProjection
from recbole_cfgdiff.model import CFGDiffRec
from recbole_cfgdiff.options import Integer
from recbole_cfgdiff.scoring.hyperparameters import CFGDiffRecHyperparameters, hyperparameter

CODE_SIZE = 200  # of all clusters together
FACTORS = 32  # of the item vectors that are clustered; L-DiffRec takes LightGCN's
KL_WEIGHT = 0.05
DIFFUSION_WEIGHT = 0.1  # of the codes' loss beside that of the items


def cluster_items(dataset: Any, n_clusters: int, seed: int) -> np.ndarray:
    """The cluster of each item, shape ``(n,)``: k-means of the items' factors (SVD of the training interactions)."""
    users, items = (dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    shape = (dataset.user_num, dataset.item_num)
    matrix = csr_array((np.ones(len(users)), (users, items)), shape)
    _, strength, factors = svds(matrix, k=min(FACTORS, min(shape) - 1), random_state=seed)
    vectors = factors.T * strength
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    _, clusters = kmeans2(vectors / np.maximum(lengths, 1e-12), n_clusters, minit="++", seed=seed)
    return clusters


class ClusteredAutoencoder(nn.Module):
    """One linear variational autoencoder a cluster, whose codes stand side by side.

    Args:
        clusters: of each item, shape ``(n,)``.
        n_clusters: ``C``.
        code_size: ``L``, a multiple of ``C``.
        dropout_prob: on the items that are encoded.
    """

    clusters: torch.Tensor
    order: torch.Tensor
    place: torch.Tensor

    def __init__(self, clusters: np.ndarray, n_clusters: int, code_size: int, dropout_prob: float) -> None:
        super().__init__()
        self.n_clusters = n_clusters
        self.dropout_prob = dropout_prob
        self.encoder = ItemProjection(len(clusters), 2 * code_size // n_clusters)
        self.decoder = nn.Parameter(nn.init.xavier_normal_(torch.empty(len(clusters), code_size // n_clusters)))
        self.bias = nn.Parameter(torch.zeros(len(clusters)))
        order = np.argsort(clusters, kind="stable")
        self.sizes = np.bincount(clusters, minlength=n_clusters).tolist()
        self.register_buffer("clusters", torch.as_tensor(clusters, dtype=torch.int64))
        self.register_buffer("order", torch.as_tensor(order))
        self.register_buffer("place", torch.as_tensor(np.argsort(order)))  # of each item in that order

    def encode(self, history: SparseRows) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the variance of the codes of histories ``(B, n)``, each of shape ``(B, L)``."""
        kept = history.normalised()
        if self.training:
            kept = replace(kept, values=F.dropout(kept.values, self.dropout_prob))
        row = kept.row * self.n_clusters + self.clusters[kept.items]  # a row a user and a cluster
        order = torch.argsort(row, stable=True)
        by_cluster = SparseRows(
            row[order], kept.items[order], kept.values[order], len(kept) * self.n_clusters, kept.n_items
        )
        mean, log_variance = self.encoder(by_cluster).view(len(kept), self.n_clusters, -1).chunk(2, dim=-1)
        return mean.flatten(1), log_variance.flatten(1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Scores of all items, shape ``(B, n)``, from codes of shape ``(B, L)``."""
        of_cluster = zip(codes.chunk(self.n_clusters, dim=1), self.decoder[self.order].split(self.sizes))
        scores = torch.cat([code @ table.T for code, table in of_cluster], dim=1)
        return scores[:, self.place] + self.bias


@dataclass(frozen=True)
class LCFGDiffRecHyperparameters(CFGDiffRecHyperparameters):
    """Of ``LCFGDiffRec``."""

    n_clusters: int = hyperparameter(1, Integer(1), "Number of clusters of items, each with an autoencoder.")


class LCFGDiffRec(CFGDiffRec):
    """CFGDiffRec in the space of codes."""

    hyperparameters_class = LCFGDiffRecHyperparameters
    hyperparameters: LCFGDiffRecHyperparameters

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        given = self.hyperparameters
        clusters = cluster_items(dataset, given.n_clusters, config["seed"])
        self.autoencoder = ClusteredAutoencoder(clusters, given.n_clusters, CODE_SIZE, given.dropout_prob)

    @staticmethod
    def make_denoiser(given: Any, *_: Any) -> Denoiser:
        """Of codes."""
        encoder = diffusion.make_guidance_encoder("raw", CODE_SIZE, 1, given.dims_dnn[0])
        embedding_size = given.embedding_size if given.time_embedding else 0
        return Denoiser(CODE_SIZE, given.dims_dnn, embedding_size, dropout_prob=0, guidance_encoder=encoder)

    def losses(
        self,
        x_start: SparseRows,
        guidance: SparseRows | None,
        t: torch.Tensor,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Of each user, shape ``(B,)``: of the items that are decoded, of the restored code, and KL."""
        mean, log_variance = self.autoencoder.encode(x_start)
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        alphas_cumprod = self.schedule.alphas_cumprod[t].to(code.dtype)[:, None]
        noise = torch.randn_like(code) if noise is None else noise
        code_t = alphas_cumprod.sqrt() * code + (1 - alphas_cumprod).sqrt() * noise
        is_guided = torch.rand(len(code), 1, device=code.device) >= self.p_uncond
        restored = self.denoiser(code_t, t, self.denoiser.encode(mean * is_guided))
        of_code = self.loss_weights[t].to(code.dtype) * (restored - code.detach()).square().mean(dim=1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        log_likelihood = F.log_softmax(self.autoencoder.decode(restored), dim=1)[x_start.row, x_start.items]
        of_items = -log_likelihood.new_zeros(len(code)).index_add(0, x_start.row, log_likelihood * x_start.values)
        return of_items + KL_WEIGHT * kl + DIFFUSION_WEIGHT * of_code

    @torch.no_grad()
    def guidance_sweep(
        self, history: torch.Tensor | SparseRows, guidance_scales: Iterable[float]
    ) -> Iterator[torch.Tensor]:
        """As of CFGDiffRec; the reverse process starts from the code of the history."""
        if isinstance(history, torch.Tensor):
            history = SparseRows.of_dense(history.to(self.autoencoder.bias))
        code, _ = self.autoencoder.encode(history)
        guidance_code = self.denoiser.encode(code)
        for guidance_scale in guidance_scales:

            def predict(code_t: torch.Tensor, t: torch.Tensor, scale: float = guidance_scale) -> torch.Tensor:
                branches = diffusion.branches(guidance_code, scale)
                return diffusion.guided_prediction([self.denoiser(code_t, t, each) for each in branches], scale)

            restored = diffusion.reverse_process(self.scorer.steps, predict, code, self.scorer.sampling_noise)
            yield self.autoencoder.decode(restored)


RAW = {"guidance_encoder": "raw"}
CODES = {"reweight": False, "learning_rate": 0.003}  # these and the constants above: by validation on ml-100k, one seed
VARIANTS: Variants = {
    "300 hidden units": (CFGDiffRec, RAW),
    "64 hidden units": (CFGDiffRec, {**RAW, "dims_dnn": [64]}),
    "codes, 1 cluster": (LCFGDiffRec, {**CODES, "n_clusters": 1}),
    "codes, 2 clusters": (LCFGDiffRec, {**CODES, "n_clusters": 2}),
    "codes, 4 clusters": (LCFGDiffRec, {**CODES, "n_clusters": 4}),
}

if __name__ == "__main__":
    measure_all(VARIANTS, __doc__.splitlines()[0])
