"""Hyper-parameter search on Optuna, over processes and machines."""
