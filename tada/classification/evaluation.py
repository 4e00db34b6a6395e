"""Evaluation: every view of every video once; scores are saved, so that later questions need no second pass.

Where a recipe evaluates in half precision, `compare_precisions` scores the first videos in float32 too.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tada.base import TadaError, counted
from tada.base.compilation import repeated_to
from tada.base.devices import ProcessGroup
from tada.base.files import DamagedFile, read_arrays, remove, write_arrays
from tada.base.processes import Interrupted, prepared_batches
from tada.base.progress import Progress
from tada.data.clips import IGNORED
from tada.data.views import normalise
from tada.metrics.accuracy import action_ranks, topk_accuracy
from tada.runs.record import HalfPrecision

SAVE_SECONDS = 300.0
"""Longest work that a crash can cost."""

COMPARED_VIDEOS = 32
"""Videos that are scored in float32 and in half precision."""


class Views(Protocol):
    """Index of a video -> (uint8 views [views, 3, T, H, W], label), as `tada.data.dataset.TestClips` gives them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, Any]: ...


class _Indexed(torch.utils.data.Dataset):
    """(index, views, label) of some of the videos."""

    def __init__(self, dataset: Views, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[int, Tensor, Any]:
        index = self.indices[place]
        return index, *self.dataset[index]


def _views(
    dataset: Views, indices: Sequence[int], batch: int, workers: int, group: ProcessGroup, progress: Progress
) -> Iterator[tuple[Tensor, Tensor, Any]]:
    """Indices, views and labels of some videos, `batch` at a time."""

    def loader(done: int, workers: int) -> Iterable[Any]:
        left = _Indexed(dataset, indices[done * batch :])
        on_gpu = group.device.type == "cuda"
        return torch.utils.data.DataLoader(left, batch_size=batch, num_workers=workers, pin_memory=on_gpu)

    return prepared_batches(loader, workers, "data", progress.say)


def evaluate(
    model: nn.Module,
    dataset: Views,
    *,
    videos: list[str],
    batch: int,
    progress: Progress,
    group: ProcessGroup | None = None,
    workers: int = 0,
    precision: str = "float32",
    partial: Path | None = None,
    identity: str = "",
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, np.ndarray]:
    """Softmax scores of every video, averaged over its views (section 5), and of every view.

    Args:
        model: maps [N, 3, T, H, W] to logits; used in evaluation mode.
        dataset: views and label of every video.
        videos: identifiers, in the dataset's order.
        batch: videos per forward pass.
        progress: receives every batch.
        group: the processes that share the videos; one alone if None.
        workers: processes that decode; 0 decodes in this one.
        precision: "float32", or what the network computes in where it can: "bfloat16" or "float16". What that changes,
            `compare_precisions` says.
        partial: file of finished videos' scores, from which an interrupted pass goes on, with whatever number of
            processes; all but the main process write files beside it.
        identity: what the partial file must belong to, e.g. the checkpoint's hash.
        stop: asked after every batch; once true, what is done is saved and `Interrupted` raised.

    Returns:
        arrays `videos` [V] of str, `labels` [V], `scores` [V, classes] float32, `views` [V, views, classes] float16;
        with several tasks the last three once per task, as `labels_verb`, ...; empty in other processes than the
        main process. NaN for videos that drive the network beyond the range of its numbers; see `not_finite`.

    Raises:
        Interrupted: `stop` said so, in whichever process.
        TadaError: a process that decodes has died, or no score is finite.
    """
    group = group or ProcessGroup.single()
    identity = identity if precision == "float32" else f"{identity} {precision}"
    group.check_precision(precision, "test.precision")
    group.place(model.eval())
    group.broadcast_buffers(model)
    partials = _load_partial(partial, identity, progress)
    group.barrier()  # everybody has read what is there before anybody writes
    finished = {index for records in partials.values() for index in records}
    share = [index for index in range(len(dataset)) if index not in finished][group.rank :: group.size]
    network = group.compiler.compile(model)
    views = _views(dataset, share, batch, workers, group, progress)
    file = _file_of(partial, group.rank)
    mine = partials.pop(file, {})
    progress.start(total=len(dataset), done=len(finished), unit="video", phase="testing")
    saved, done, stopping = time.monotonic(), 0, False
    with torch.inference_mode():
        for (indices, labels), scores in group.read_behind(_scored(network, views, batch, group, precision)):
            mine.update(zip(indices.tolist(), _records(scores, labels), strict=True))
            done += len(indices)
            progress.step(min(len(finished) + done * group.size, len(dataset)))
            stopping = stop() and done < len(share)
            if file and (stopping or time.monotonic() - saved > SAVE_SECONDS):
                saved = time.monotonic()
                _save_partial(file, identity, mine)
            if stopping:
                break
    if group.any(stopping)[0]:
        if file and mine:
            _save_partial(file, identity, mine)
        raise Interrupted(f"testing stopped after {len(finished) + done} of {len(dataset)} videos; scores are saved")
    gathered = group.gather(mine)
    if gathered is None:
        return {}
    records = {index: record for part in (*partials.values(), *gathered) for index, record in part.items()}
    found = {"videos": np.array(videos)} | {
        name: np.stack([records[index][name] for index in range(len(dataset))]) for name in records[0]
    }
    if len(not_finite(found)) == len(dataset):
        raise TadaError(
            f"the scores of all {len(dataset)} videos are not finite: the network's weights are too large; train with "
            "a lower train.base_lr or a longer warm-up"
        )
    if partial:
        for old in _files(partial):
            remove(old)
    return found


def accuracies(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Top-1 and top-5 in percent of what `evaluate` returned; with several tasks per task, as `top1_verb`, ...

    With verbs and nouns also of their pairs: `top1_action` by the product in each view, which is the paper's way, and
    `top1_action_joint` by the product of what is averaged over views. Videos that turned out to be undecodable (label
    IGNORED) count nowhere.
    """
    figures: dict[str, float] = {}
    for suffix in (name.removeprefix("labels") for name in scores if name.startswith("labels")):
        counted = scores[f"labels{suffix}"] != IGNORED
        for k in (1, 5):
            values, labels = scores[f"scores{suffix}"][counted], scores[f"labels{suffix}"][counted]
            figures[f"top{k}{suffix}"] = topk_accuracy(values, labels, k)
    return figures | (_action_accuracies(scores) if {"views_verb", "views_noun"} <= scores.keys() else {})


def not_finite(scores: dict[str, np.ndarray]) -> list[str]:
    """Names of the videos for which `evaluate` found no finite scores, in any task: they count as wrong everywhere.

    Calibrations multiply from layer to layer, so that a video far from what the batch norms know may leave the range of
    numbers. Leaving such videos out, or the run, would flatter the network.
    """
    tasks = [values for name, values in scores.items() if name.startswith("scores")]
    lost = np.logical_or.reduce([~np.isfinite(values).all(1) for values in tasks])
    return [str(name) for name in scores["videos"][lost]]


def _action_accuracies(scores: dict[str, np.ndarray]) -> dict[str, float]:
    counted = scores["labels_verb"] != IGNORED
    names = ("views_verb", "views_noun", "labels_verb", "labels_noun")
    verbs, nouns, verb, noun = (scores[name][counted] for name in names)
    figures: dict[str, float] = {}
    for name, joint in (("action", False), ("action_joint", True)):
        ranks = action_ranks(verbs, nouns, verb, noun, joint)
        figures |= {f"top{k}_{name}": float(100.0 * (ranks < k).mean()) for k in (1, 5)}
    return figures


def view_scores(
    model: Callable[[Tensor], Any], views: Tensor, group: ProcessGroup, precision: str = "float32"
) -> dict[str, Tensor]:
    """Softmax scores of uint8 views [N, V, 3, T, H, W]: float32 [N, V, classes] on the group's device.

    By the suffix that names carry in what `evaluate` returns: "", or "_verb" and "_noun" where there are several tasks.
    """
    with group.autocast(precision):
        logits = model(normalise(group.move(views).flatten(0, 1)))
    tasks = {f"_{task}": value for task, value in logits.items()} if isinstance(logits, dict) else {"": logits}
    return {suffix: value.float().softmax(1).unflatten(0, (len(views), -1)) for suffix, value in tasks.items()}


def _scored(
    network: Callable[[Tensor], Any],
    batches: Iterator[tuple[Tensor, Tensor, Any]],
    batch: int,
    group: ProcessGroup,
    precision: str,
) -> Iterator[tuple[tuple[Tensor, Any], dict[str, Tensor]]]:
    """Indices and labels of each batch of videos, and the scores of their views on the device."""
    for indices, views, labels in batches:
        whole = repeated_to(batch, views) if group.compiler.active else views  # code is compiled for one shape
        scores = view_scores(network, whole, group, precision)
        yield (indices, labels), {suffix: values[: len(views)] for suffix, values in scores.items()}


def _records(scores: Mapping[str, Tensor], labels: Any) -> list[dict[str, np.ndarray]]:
    """A record per video of a batch, by its views' scores [N, V, classes] of each task."""
    records: list[dict[str, np.ndarray]] = [{} for _ in next(iter(scores.values()))]
    for suffix, shares in scores.items():
        truth = labels[suffix.removeprefix("_")] if suffix else labels
        for record, share, label in zip(records, shares, truth, strict=True):
            record[f"labels{suffix}"] = np.array(int(label))
            record[f"scores{suffix}"] = share.mean(0).numpy()
            record[f"views{suffix}"] = share.half().numpy()
    return records


def _file_of(partial: Path | None, rank: int) -> Path | None:
    return partial.with_suffix(f".{rank}.npz") if partial and rank else partial


def _files(partial: Path) -> list[Path]:
    return sorted(partial.parent.glob(f"{partial.stem}*.npz"))


def _save_partial(path: Path, identity: str, done: dict[int, dict[str, np.ndarray]]) -> None:
    indices = sorted(done)
    arrays = {name: np.stack([done[index][name] for index in indices]) for name in done[indices[0]]}
    arrays |= {"identity": np.array(identity), "indices": np.array(indices)}
    write_arrays(path, {**arrays, "checksum": np.array(_checksum(arrays))})


def _load_partial(
    partial: Path | None, identity: str, progress: Progress
) -> dict[Path | None, dict[int, dict[str, np.ndarray]]]:
    """Records by video, of each file that some process of an interrupted pass left; damaged ones are dropped."""
    partials: dict[Path | None, dict[int, dict[str, np.ndarray]]] = {}
    for path in _files(partial) if partial else []:
        try:
            arrays = read_arrays(path)
            if str(arrays.pop("checksum", None)) != _checksum(arrays):
                raise DamagedFile(f"{path}: its content does not give its checksum")
        except DamagedFile as error:
            progress.say(f"{error}; its videos are tested again")
            continue
        if str(arrays.pop("identity")) != identity:
            continue
        indices = arrays.pop("indices")
        partials[path] = {
            int(index): {name: values[place] for name, values in arrays.items()} for place, index in enumerate(indices)
        }
    return partials


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    content = hashlib.sha256()
    for name in sorted(arrays):
        content.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        content.update(arrays[name].tobytes())
    return content.hexdigest()


def compare_precisions(
    model: nn.Module,
    dataset: Views,
    *,
    precision: str,
    batch: int,
    progress: Progress,
    group: ProcessGroup | None = None,
    workers: int = 0,
    videos: int = COMPARED_VIDEOS,
) -> HalfPrecision:
    """Largest difference of softmax scores and videos of another top-1 between `precision` and float32.

    It always looks at the first videos, so that it is the same however often a test pass is interrupted. Of several
    processes only one has to call it.

    Args:
        model: maps [N, 3, T, H, W] to logits; used in evaluation mode.
        dataset: views and label of every video.
        precision: "bfloat16" or "float16".
        batch: videos per forward pass.
        progress: told where a process that decodes dies.
        group: whose device computes.
        workers: processes that decode; 0 decodes in this one.
        videos: how many are compared, from the first.

    Returns:
        `precision`, `videos` compared, `largest_difference` of any score of any view, and `changed_top1`, the videos
        whose most probable class over all views is another one (with several tasks, in any of them).

    Raises:
        TadaError: scores in half precision that are not finite, or a process that decodes has died.
    """
    group = group or ProcessGroup.single()
    group.place(model.eval())
    first = range(min(videos, len(dataset)))
    largest, changed = 0.0, 0
    with torch.inference_mode():
        for _, views, _ in _views(dataset, first, batch, workers, group, progress):
            full, half = (view_scores(model, views, group, name) for name in ("float32", precision))
            if not all(scores.isfinite().all() for scores in half.values()):
                raise TadaError(f"test.precision {precision} gives scores that are not finite; use bfloat16 or float32")
            largest = max(largest, *(float((full[task] - half[task]).abs().max()) for task in full))
            moved = [full[task].mean(1).argmax(1) != half[task].mean(1).argmax(1) for task in full]
            changed += int(torch.stack(moved).any(0).sum())
    return HalfPrecision(precision, len(first), largest, changed)


def describe_comparison(found: HalfPrecision) -> str:
    """What `compare_precisions` found, as a line of a log."""
    return (
        f"testing in {found.precision}: on {counted(found.videos, 'video')} the scores are within "
        f"{found.largest_difference:.2g} of float32, top-1 changes for {found.changed_top1}"
    )
