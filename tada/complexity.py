"""Parameters and FLOPs of a network, counted as the paper counts them: `tada.models.cost` under its public name."""

from tada.models.cost import Complexity, measure

__all__ = ["Complexity", "measure"]
