"""RecBole's own DiffRec under a name of its own, for comparison."""

from recbole.data.dataloader import UserDataLoader
from recbole.model.general_recommender.diffrec import DiffRec


class RecBoleDiffRec(DiffRec):
    """``recbole.model.general_recommender.DiffRec``, unchanged; the name ``DiffRec`` is ours."""

    train_loader = UserDataLoader
