"""Stopping, and processes that others start.

Stopping: a signal sets a `StopFlag`. The work looks at it after every step, saves its state and raises `Interrupted`;
the command then ends with the status `INTERRUPTED`.

Worker processes: `ordered_map` calls one function on many items. No process outlives the one that started it, be that
killed: workers end, and work that can be continued is asked to stop.
"""

import errno
import gc
import math
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import Any, TypeVar

from tada.base import TadaError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Interrupted(Exception):
    """Training was asked to stop (Ctrl-C, SIGTERM, preemption); its state is saved."""


PARENT_SECONDS = 1.0
"""Pause between two looks at whether the parent process is still there."""


WORKER_DEATHS = 3
"""Deaths of processes that prepare batches, in one call, of which the last ends the work."""


INTERRUPTED = 130
"""Exit status of a run that was asked to stop and saved its state."""


class StopFlag:
    """True once a signal has come (by default SIGTERM or Ctrl-C); `number` is the last one's."""

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


def ordered_map(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Results in the order of the items; with one worker they are computed in this process.

    Args:
        function: importable by name, since workers are fresh processes (forked ones may hang in threaded libraries).
        items: what it is called with, one at a time.
        workers: number of processes.

    Raises:
        TadaError: one of them was ended from outside.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)
    try:
        # Small enough that the last chunks even out, large enough that handing them over costs little.
        yield from executor.map(function, items, chunksize=max(1, min(16, len(items) // (4 * workers))))
    except BrokenProcessPool:
        raise TadaError(
            f"one of {workers} processes was ended, often since memory ran out: lower --workers; the same command, "
            "with more memory where it has no such option, goes on"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it even where it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in workers alone

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def stop_without_parent() -> None:
    """Send SIGTERM to this process when the one that started it has ended, even where that was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def prepared_batches(
    loader: Callable[[int, int], Iterable[Item]], workers: int, section: str, say: Callable[[str], None]
) -> Iterator[Item]:
    """The batches of torch's DataLoaders; where a process that prepares them dies, others go on at the same one.

    Where shared memory, in which they are handed over, is too small, this process prepares the rest itself, says so and
    asks for none again.

    Args:
        loader: makes one that leaves so many batches out, and has so many workers.
        workers: processes that prepare batches.
        section: of the recipe with their number, e.g. "data".
        say: takes a line for whoever watches.

    Raises:
        TadaError: processes have died `WORKER_DEATHS` times.
    """
    done = deaths = 0
    while True:
        if workers and not _refused and _shared_bytes() < LEAST_SHARED:
            _refuse(workers, section, say)
        if _refused:
            workers = 0
        try:
            for batch in _asked_for(loader(done, workers)):
                done += 1
                yield batch
            return
        except (RuntimeError, OSError) as error:
            if workers and _without_shared_memory(error):
                _refuse(workers, section, say)
                continue
            fault = loader_fault(error, workers, section)
            deaths += 1
            if fault is None:
                raise
            if deaths == WORKER_DEATHS:
                raise fault from None
            say(f"{fault}; {workers} new ones go on")


LEAST_SHARED = 1 << 20
"""Bytes of shared memory with which processes that prepare batches are tried; the queues to them take some already."""


_refused: list[str] = []  # what was said when there was too little shared memory


def _refuse(workers: int, section: str, say: Callable[[str], None]) -> None:
    _refused.append(f"{_SHARED_MEMORY.format(workers=workers, section=section)}; until then this process prepares them")
    say(_refused[-1])


def _shared_bytes() -> float:
    """Free shared memory; without bound where the system has no folder for it."""
    try:
        disk = os.statvfs("/dev/shm")
    except OSError:
        return math.inf
    return disk.f_bavail * disk.f_frsize


_SHARED_MEMORY = (
    "the shared memory in /dev/shm is too small for {workers} processes that prepare clips: give the container more "
    "(--shm-size) or lower {section}.workers"
)


def _without_shared_memory(error: Exception) -> bool:
    """Whether torch's DataLoader, or a worker of it, got no shared memory; one that is full ends a worker by SIGBUS."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC  # a semaphore; a worker's own errors come without their number
    return any(sign in str(error) for sign in ("shared memory", "</torch_", "Bus error"))


def loader_fault(error: Exception, workers: int, section: str) -> TadaError | None:
    """What it means that a process which prepares batches has died; None for any other error.

    Args:
        error: as raised by torch's DataLoader.
        workers: how many such processes there are.
        section: of the recipe with their number, e.g. "data".
    """
    if _without_shared_memory(error):
        return TadaError(_SHARED_MEMORY.format(workers=workers, section=section))
    message = " ".join(str(error).split())
    if not isinstance(error, RuntimeError) or not message.startswith("DataLoader worker"):
        return None
    return TadaError(
        f"one of {workers} processes that prepare clips was ended ({message}); often memory ran out: lower "
        f"{section}.workers, or give the job or container more of it; the next call goes on from what is saved"
    )


def watched(loader: Iterable[Item], workers: int, section: str) -> Iterator[Item]:
    """The batches of a DataLoader that can leave none out; raises the TadaError of `loader_fault` where it has one."""
    try:
        yield from _asked_for(loader)
    except (RuntimeError, OSError) as error:
        raise loader_fault(error, workers, section) or error from None


def _asked_for(loader: Iterable[Item]) -> Iterator[Item]:
    """The batches of a DataLoader, where the death of a worker is an error of the batch that is asked for next.

    torch raises it wherever this process happens to be: in the middle of a step that nobody could take again, or after
    the last batch, as long as its loader is not shut down. And the connection of a dying worker may break before its
    death is told: then that error is raised which says why.
    """
    batches, fault, asked = iter(loader), list[RuntimeError](), True
    handler = signal.getsignal(signal.SIGCHLD)
    tell = getattr(handler, "tell", handler)  # torch's own, also beneath that of another loader in use
    if not callable(tell) or threading.current_thread() is not threading.main_thread():
        yield from batches
        return

    def hear(number: int, frame: FrameType | None) -> None:
        try:
            tell(number, frame)
        except RuntimeError as error:
            if asked:
                raise
            fault.append(error)

    hear.tell = tell  # type: ignore[attr-defined]
    signal.signal(signal.SIGCHLD, hear)
    try:
        while True:
            asked = True
            if fault:
                raise fault.pop()
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (OSError, EOFError):
                asked = False
                until = time.monotonic() + DEATH_SECONDS
                while not fault and time.monotonic() < until:
                    time.sleep(0.01)
                if fault:
                    raise fault.pop() from None
                raise
            asked = False
            yield batch
    finally:
        asked = False
        if shut_down := getattr(batches, "_shutdown_workers", None):
            shut_down()  # now: an error that is kept somewhere keeps its loader, too
        signal.signal(signal.SIGCHLD, handler)


DEATH_SECONDS = 1.0
"""How long after a broken connection the death of the process at its other end may be told."""


COLLECTED_OBJECTS = 20_000
"""New objects after which a process of this suite looks for garbage."""


MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""Environment in which glibc keeps a process's freed memory, up to 1 GiB, for its next tensors.

By default it gives large blocks back to the system, which has to fill them with zeros when they come again: on a CPU
a seventh of the time of a mini training step. Other systems ignore this. It changes no number.
"""


def collect_rarely() -> None:
    """Let this process look for garbage every `COLLECTED_OBJECTS` new objects instead of Python's 700.

    Importing torch makes hundreds of thousands of objects that all stay; to look at them again and again takes a fifth
    of the time. To be called before that import, by commands alone: the collector belongs to the program.
    """
    gc.set_threshold(COLLECTED_OBJECTS, *gc.get_threshold()[1:])


def free_port() -> int:
    """A TCP port that nothing on this machine listens to."""
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]
