"""Videos that turn out to be unusable while a run goes on."""

from pathlib import Path

from tada.data import jsonlines
from tada.data.clips import Split, too_many


class SkipLog:
    """Notes unusable clips in a file, from whichever worker process meets them, and says when they are too many.

    Args:
        path: file of JSON lines, kept from one attempt of the run to the next.
        split: the split that the clips belong to.
        max_skipped: share of the split that may be unusable.
    """

    def __init__(self, path: Path, split: Split, max_skipped: float) -> None:
        self.path = path
        self.max_skipped = max_skipped
        self._split, self._listed, self._before = split.name, split.listed, dict(split.skipped)

    def add(self, name: str, reason: str) -> None:
        """Note a clip.

        Raises:
            TadaError: with it, more clips are unusable than may be.
        """
        noted = self.read()
        if name not in noted:
            jsonlines.append(self.path, {"name": name, "reason": reason})
            noted[name] = reason
        too_many(self._split, {**self._before, **noted}, self._listed, self.max_skipped)

    def read(self) -> dict[str, str]:
        """The reason for every clip noted so far, by any process."""
        return {line["name"]: line["reason"] for line in jsonlines.read(self.path)}
