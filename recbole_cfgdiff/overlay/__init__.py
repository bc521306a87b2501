"""What stands between RecBole and its user: options, trainer, checkpoints, and checks of files from others."""
