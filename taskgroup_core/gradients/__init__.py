"""Per-example gradients, their random projection, and linearisation."""
