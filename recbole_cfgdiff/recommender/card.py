"""The model card of an exported model, made of what is known of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recbole_cfgdiff.escape import for_markdown, markdown_code

if TYPE_CHECKING:
    from recbole_cfgdiff.recommender.recommender import Recommender

# What a run's facts are called on the card, in this order; a fact that is not known is left out.
_DATA = {
    "dataset": "data set",
    "n_users": "users",
    "n_interactions": "interactions",
    "rows": "rows that are kept",
    "noise_threshold": "noise added below",
}
_TRAINING = {
    "seed": "seed",
    "fit": "trained on",
    "epochs": "epochs",
    "like": "as the run",
    "chosen_by": "hyperparameters",
    "training_seconds": "seconds of training",
    "versions": "versions",
}
_PROTOCOL = {"split": "split", "ranking": "ranked", "valid_metric": "epoch chosen by"}

_TEXT = """---
library_name: recbole-cfgdiff
tags: [recommender-systems, diffusion]
license: other
---

# {model} on {dataset}

{what}

```python
from recbole_cfgdiff.recommender import Recommender

recommender = Recommender.load(".")  # in this folder
recommender.recommend(histories=[[{example}]], topk=10)
```

## Data

{data}

{histories}

## Training and protocol

{training}

## Metrics

{metrics}
{sections}
## Licence

The weights derive from the data set, whose terms hold for what is made of it: add them here before you pass this folder
on. The code is recbole-cfgdiff's, under the MIT licence.
"""

_WHAT = {
    "DiffRec": "A diffusion recommender: it denoises a history, and the denoised history is the ranking (Wang et al., "
    "SIGIR 2023). The input is a set of items; its order counts only if the model is time-aware.",
    "CFGDiffRec": "DiffRec with classifier-free guidance (Buchanan, Gauch & Mai): it denoises a history, guided by it. "
    "The input is a set of items. `guidance_scale` 0 is unguided, 1 guided, above 1 extrapolated.",
    "ForwardCFGDiffRec": "A diffusion recommender that looks forward: the past guides the diffusion of what comes "
    "next. The input is a history in order, the earliest item first: the d-th latest item weighs d^-r for each of its "
    "recency powers r, and each such weighting is brought to length 1. `guidance_scale` 0 is unguided, 1 guided, above "
    "1 extrapolated.",
}


def card(recommender: Recommender, with_histories: bool, sections: Sequence[str] = ()) -> str:
    """Markdown, with the front matter that model hubs read; ``sections`` are those of further files."""
    about, items = recommender.about, recommender.items
    users = recommender.users
    holds = "The folder holds the histories" if with_histories else "The folder holds no history; the data has those"
    return _TEXT.format(
        model=for_markdown(str(about.get("model"))),
        dataset=for_markdown(str(about.get("dataset", "unknown data"))),
        what=_WHAT.get(str(about.get("model")), ""),
        example=", ".join(repr(str(each)) for each in items.ids.ids[:2]),
        data=_facts({**about, "n_items": len(items)}, {**_DATA, "n_items": "items"}),
        histories=f"{holds} of {len(users.ids) if users else 'an unknown number of'} users.",
        training=_facts(about, {**_TRAINING, **_PROTOCOL}),
        metrics=_metrics(about),
        sections="".join(f"\n{section}" for section in sections),
    )


def _facts(about: Mapping[str, Any], names: Mapping[str, str]) -> str:
    known = [f"- {told}: {_cell(about[name])}" for name, told in names.items() if about.get(name) is not None]
    return "\n".join(known) or "Nothing is known of it."


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return markdown_code(str(value)) if isinstance(value, (dict, list)) else for_markdown(str(value))


def _metrics(about: Mapping[str, Any]) -> str:
    valid, test = (about.get(part) or {} for part in ("valid", "test"))
    if about.get("fit") == "all":
        return "This model was not evaluated: no row was left out of its training."
    if not valid and not test:
        return "Nothing is known of them: the run has left no result."
    lines = [f"One run, seed {_cell(about.get('seed'))}.", "", "| metric | validation | test |", "| --- | --- | --- |"]
    for name in dict.fromkeys([*valid, *test]):
        numbers = (f"{part[name]:.4f}" if name in part else "" for part in (valid, test))
        lines.append(f"| {for_markdown(name)} | {' | '.join(numbers)} |")
    return "\n".join(lines)
