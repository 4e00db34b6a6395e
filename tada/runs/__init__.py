"""A run: its recipe, its record, its training and its checkpoints."""
