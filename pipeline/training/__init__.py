"""The training loop, the optimizer, batch normalization, and a run that can be resumed."""
