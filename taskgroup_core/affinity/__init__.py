"""Estimators of task affinity, and f(S, t) by full training."""
