"""Ways to turn an affinity into groups of tasks."""
