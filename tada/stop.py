"""A process that is asked to stop finishes its step, saves its state and ends."""

import signal
from collections.abc import Callable
from typing import Any


class StopFlag:
    """True once one of the signals (by default SIGTERM and Ctrl-C) has come; `number` is the last one's."""

    def __init__(self, *signals: int, on_signal: Callable[[int], None] | None = None) -> None:
        """Listen to `signals`; `on_signal` is called with the number of each that comes."""
        self.number: int | None = None
        self._on_signal = on_signal
        for number in signals or (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.number is not None

    def _note(self, number: int, _frame: Any) -> None:
        self.number = number
        if self._on_signal:
            self._on_signal(number)
