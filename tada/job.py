"""Where jobs that were queued before the move to `tada.cluster.worker` find their task; goes after one release."""

from tada.cluster.worker import Task

__all__ = ["Task"]
