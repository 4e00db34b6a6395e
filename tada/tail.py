"""The end of a text file, and what is added to it."""

from pathlib import Path


class Tail:
    """Reads on from the last `lines` lines of `file`, which may not be there yet."""

    def __init__(self, file: Path, lines: int) -> None:
        """Nothing is read yet."""
        self.file, self.lines = file, lines
        self._read: int | None = None

    def read(self) -> str:
        """What was not read before."""
        try:
            with self.file.open("rb") as file:
                if self._read is not None:
                    file.seek(self._read)
                text = file.read()
                first, self._read = self._read is None, file.tell()
        except OSError:
            return ""
        shown = text.decode("utf-8", errors="replace")
        return "".join(shown.splitlines(keepends=True)[-self.lines :] if first else shown)
