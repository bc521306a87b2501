"""The recommenders of this package, by the names that ``--model`` takes."""

from recbole_cfgdiff.model.cfgdiffrec import CFGDiffRec
from recbole_cfgdiff.model.diffrec import DiffRec
from recbole_cfgdiff.model.forward_cfgdiffrec import ForwardCFGDiffRec
from recbole_cfgdiff.model.next_item_ridge import NextItemRidge
from recbole_cfgdiff.model.recbole_diffrec import RecBoleDiffRec
from recbole_cfgdiff.model.seq_cfgdiffrec import SeqCFGDiffRec

_OURS = (CFGDiffRec, DiffRec, ForwardCFGDiffRec, NextItemRidge, RecBoleDiffRec, SeqCFGDiffRec)
MODELS = {model.__name__: model for model in _OURS}

__all__ = ["MODELS", "CFGDiffRec", "DiffRec", "ForwardCFGDiffRec", "NextItemRidge", "RecBoleDiffRec", "SeqCFGDiffRec"]
