"""Which tasks should a neural network learn together? Estimators of task affinity and groupers of tasks."""

__version__ = "0.1.0"
