"""Own data: a file of who took what and when, and scores for users whom it does not know.

python examples/own_data.py
"""

from __future__ import annotations

from pathlib import Path

import torch

from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.quick_start import load_data_and_model, run

HEADER = "user_id:token\titem_id:token\ttimestamp:float"


def write_data(folder: Path, n_users: int = 50) -> None:
    """Every user walks round a circle of 20 items: ``folder/walks/walks.inter``, an atomic file of RecBole's."""
    rows = [f"u{user}\ti{(3 * user + step) % 20}\t{step}" for user in range(n_users) for step in range(12)]
    (folder / "walks").mkdir(parents=True, exist_ok=True)
    (folder / "walks" / "walks.inter").write_text("\n".join([HEADER, *rows]) + "\n")


def main(epochs: int = 30) -> list[str]:
    """Train, load, and recommend to somebody new who took i4, i5 and i6, in this order."""
    write_data(Path("dataset"))
    trained = run("ForwardCFGDiffRec", "walks", config_dict={"epochs": epochs, "topk": [5], "valid_metric": "NDCG@5"})
    _, model, dataset, *_ = load_data_and_model(trained["run_dir"])
    items = torch.as_tensor(dataset.token2id("item_id", ["i4", "i5", "i6"]), device=model.device)
    history = SparseRows(torch.zeros_like(items), items, torch.ones(3, device=model.device), 1, model.n_items)
    best = model.score(history)[0, 1:].topk(3).indices + 1  # item 0 is RecBole's padding
    return dataset.id2token("item_id", best.cpu().numpy()).tolist()


if __name__ == "__main__":
    print(main())
