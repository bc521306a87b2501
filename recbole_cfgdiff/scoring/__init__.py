"""From hyperparameters and weights to scores, without RecBole: what a trained model needs where it is used."""
