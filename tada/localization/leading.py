"""What one of several processes does for all."""

from collections.abc import Callable
from typing import TypeVar

from tada.distributed import World
from tada.training import Interrupted

T = TypeVar("T")


def leading(world: World, work: Callable[[], T]) -> T | None:
    """What the first process alone does: its result, in the others None.

    Raises:
        Interrupted: the work was asked to stop; in all processes.
    """
    result, stopped = None, None
    if world.leads:
        try:
            result = work()
        except Interrupted as error:
            stopped = error
    if world.any(stopped is not None)[0]:
        raise stopped or Interrupted("stopped with the first process, which has saved its state")
    return result
