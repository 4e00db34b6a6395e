"""A test pass, alone and shared, undisturbed and disturbed: always the same scores, every video once."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from tada.base import TadaError
from tada.base.compilation import Compiler
from tada.base.devices import ProcessGroup
from tada.base.processes import Interrupted
from tada.base.progress import Silent
from tada.classification import evaluation
from tada.classification.evaluation import accuracies, compare_precisions, evaluate
from tada.data.views import normalise

CPU = torch.device("cpu")
VIDEOS = 11


class Noise(torch.utils.data.Dataset):
    """Videos of 4 views; counts how often each is asked for."""

    def __init__(self, tasks=False):
        self.tasks, self.asked = tasks, []

    def __len__(self):
        return VIDEOS

    def __getitem__(self, index):
        self.asked.append(index)
        views = np.random.default_rng(index).integers(0, 256, (4, 3, 2, 6, 6), dtype=np.uint8)
        return torch.from_numpy(views), {"verb": index % 3, "noun": index % 2} if self.tasks else index % 3


class Net(nn.Module):
    def __init__(self, tasks=False):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv3d(3, 8, (1, 3, 3))
        sizes = {"verb": 3, "noun": 2} if tasks else {"only": 3}
        self.heads = nn.ModuleDict({task: nn.Linear(8, size) for task, size in sizes.items()})

    def forward(self, x):
        features = self.body(x).relu().mean((2, 3, 4))
        logits = {task: 3 * head(features) for task, head in self.heads.items()}
        return logits.get("only", logits)


def run(dataset=None, model=None, **options):
    options = {"batch": 2, "progress": Silent(), "group": ProcessGroup(0, 1, CPU), **options}
    return evaluate(model or Net(), dataset or Noise(), videos=[f"v{n}" for n in range(VIDEOS)], **options)


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


def same(found, expected, tolerance=0.0):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if tolerance and values.dtype.kind == "f":  # videos in other company in a batch may be summed in another order
            np.testing.assert_allclose(found[name], values, atol=tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def after(batches):
    """Says stop after that many batches."""
    asked = iter([False] * (batches - 1) + [True] * 100)
    return lambda: next(asked)


def test_scores_are_the_mean_of_the_views_probabilities():
    found = run()
    assert found["videos"].tolist() == [f"v{n}" for n in range(VIDEOS)]
    assert found["labels"].tolist() == [n % 3 for n in range(VIDEOS)]
    assert (found["scores"].shape, found["views"].shape) == ((VIDEOS, 3), (VIDEOS, 4, 3))
    with torch.no_grad():
        views = Net()(normalise(Noise()[5][0])).softmax(1).numpy()
    np.testing.assert_allclose(found["scores"][5], views.mean(0), atol=1e-6)
    np.testing.assert_allclose(found["views"][5], views, atol=1e-3)


@pytest.mark.parametrize("tasks", [False, True], ids=["one task", "verbs and nouns"])
@pytest.mark.parametrize("batches", [1, 3, 5])
def test_an_interrupted_pass_continues_to_the_same_scores(tmp_path, batches, tasks):
    expected = run(Noise(tasks), Net(tasks))
    partial, data = tmp_path / "scores.partial.npz", Noise(tasks)
    with pytest.raises(Interrupted, match=f"after {2 * batches} of {VIDEOS} videos"):
        run(data, Net(tasks), partial=partial, identity="a", stop=after(batches))
    assert partial.exists()
    same(run(data, Net(tasks), partial=partial, identity="a"), expected)
    assert sorted(data.asked) == list(range(VIDEOS)), "a finished video was tested again"
    assert not list(tmp_path.iterdir())


def test_a_crash_costs_only_what_was_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr("tada.classification.evaluation.SAVE_SECONDS", -1.0)
    partial, calls = tmp_path / "scores.partial.npz", iter(range(100))

    def crash():
        if next(calls) == 3:
            raise RuntimeError
        return False

    with pytest.raises(RuntimeError):
        run(partial=partial, identity="a", stop=crash)
    data = Noise()
    same(run(data, partial=partial, identity="a"), run())
    assert data.asked == [6, 7, 8, 9, 10]


def rewritten(path, **changes):
    """A whole file of other arrays."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **arrays)


DAMAGE = {
    "empty": lambda path: os.truncate(path, 0),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "foreign": lambda path: path.write_text("nonsense"),
    "one array": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "objects": lambda path: rewritten(path, scores=np.array([{"a": 1}], object)),
    "NaN": lambda path: rewritten(path, scores=np.full((4, 3), np.nan, np.float32)),
    "other videos": lambda path: rewritten(path, indices=np.arange(4) + 3),
    "other shapes": lambda path: rewritten(path, labels=np.zeros(1)),
    "without scores": lambda path: np.savez(path, identity=np.array("a")),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_kept_scores_are_dropped_and_said(tmp_path, kind):
    partial, data = tmp_path / "scores.partial.npz", Noise()
    with pytest.raises(Interrupted):
        run(partial=partial, identity="a", stop=after(2))
    DAMAGE[kind](partial)
    progress = Lines()
    same(run(data, partial=partial, identity="a", progress=progress), run())
    (said,) = progress.said
    assert str(partial) in said and said.endswith("its videos are tested again")
    assert len(data.asked) == VIDEOS and not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"identity": "b"}, {"precision": "bfloat16"}], ids=["checkpoint", "precision"])
def test_kept_scores_of_another_network_or_precision_are_not_used(tmp_path, change):
    partial, data = tmp_path / "scores.partial.npz", Noise()
    with pytest.raises(Interrupted):
        run(partial=partial, identity="a", stop=after(2))
    same(run(data, partial=partial, **{"identity": "a", **change}), run(**change))
    assert len(data.asked) == VIDEOS


@dataclass(frozen=True)
class Thread(ProcessGroup):
    """A process of several, played by a thread."""

    meeting: threading.Barrier = None
    table: dict = None

    def exchange(self, value):
        self.table[self.rank] = value
        self.meeting.wait(20)
        values = [self.table[rank] for rank in range(self.size)]
        self.meeting.wait(20)
        return values

    def sum(self, values):
        return {key: sum(part[key] for part in self.exchange(values)) for key in values}

    def gather(self, value):
        values = self.exchange(value)
        return values if self.is_main else None

    def broadcast_buffers(self, model):
        pass

    def barrier(self):
        self.meeting.wait(20)


def shared(size, data, stops=None, **options):
    """What every process returns, or the exception that it ends with."""
    meeting, table, model = threading.Barrier(size), {}, Net()  # seeding is no work for several threads

    def process(rank):
        stop = {"stop": stops[rank]} if stops else {}
        try:
            return run(data, model, group=Thread(rank, size, CPU, meeting, table), **stop, **options)
        except Interrupted as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(process, range(size)))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_processes_share_the_videos_and_none_counts_twice(size):
    data = Noise()
    first, *others = shared(size, data)
    same(first, run(), 1e-3)
    assert others == [{}] * (size - 1)
    assert sorted(data.asked) == list(range(VIDEOS))


@pytest.mark.parametrize("later", [1, 2, 3])
def test_a_shared_pass_goes_on_with_whatever_number_of_processes(tmp_path, later):
    partial, data = tmp_path / "scores.partial.npz", Noise()
    ended = shared(2, data, [after(2), lambda: False], partial=partial, identity="a")
    assert all(isinstance(one, Interrupted) for one in ended)
    done = len(data.asked)
    assert len(list(tmp_path.iterdir())) == 2
    same(shared(later, data, partial=partial, identity="a")[0], run(), 1e-3)
    assert len(data.asked) == VIDEOS > done
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tasks", [False, True], ids=["one task", "verbs and nouns"])
def test_half_precision_is_near_float32_and_the_difference_is_found(tasks):
    full, half = (run(Noise(tasks), Net(tasks), precision=name) for name in ("float32", "bfloat16"))
    found = evaluation.compare_precisions(
        Net(tasks),
        Noise(tasks),
        precision="bfloat16",
        batch=4,
        progress=Silent(),
        group=ProcessGroup(0, 1, CPU),
        videos=VIDEOS,
    )
    suffixes = [name.removeprefix("views") for name in full if name.startswith("views")]
    differences = [np.abs(full[f"views{s}"].astype(float) - half[f"views{s}"]).max() for s in suffixes]
    assert 1e-4 < found.largest_difference < 0.05
    assert found.largest_difference == pytest.approx(max(differences), abs=1e-3)  # views are kept in float16
    moved = [full[f"scores{s}"].argmax(1) != half[f"scores{s}"].argmax(1) for s in suffixes]
    assert found.changed_top1 == np.any(moved, axis=0).sum()
    assert (found.precision, found.videos) == ("bfloat16", VIDEOS)
    words = evaluation.describe_comparison(found)
    assert words.startswith("testing in bfloat16: on 11 videos the scores are within 0.0")
    assert words.endswith("top-1 changes for 0")
    assert accuracies(half)


def test_changed_videos_are_counted():
    class Fragile(nn.Module):
        """Prefers class 0 in float32 and class 1 in half precision."""

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 2, bias=False)
            self.linear.weight.data[:] = torch.tensor([[1.001], [1.0]])

        def forward(self, x):
            values = self.linear(torch.ones(len(x), 1))
            return 100 * values.float() + torch.tensor([0.0, 0.05])

    found = evaluation.compare_precisions(
        Fragile(), Noise(), precision="bfloat16", batch=4, progress=Silent(), group=ProcessGroup(0, 1, CPU), videos=5
    )
    assert (found.videos, found.changed_top1) == (5, 5)


def test_scores_beyond_the_range_of_float16_are_an_error():
    class Large(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 3)

        def forward(self, x):
            return self.linear(torch.full((len(x), 1), 1e30))

    with pytest.raises(TadaError, match=r"test\.precision float16 gives scores that are not finite"):
        evaluation.compare_precisions(Large(), Noise(), precision="float16", batch=4, progress=Silent())


def test_a_network_that_has_left_the_range_of_numbers_is_refused():
    model = Net()
    with torch.no_grad():
        model.heads["only"].bias[1] = float("nan")
    with pytest.raises(TadaError, match=r"the scores of all 11 videos are not finite: .* lower train\.base_lr"):
        run(model=model)


@pytest.mark.parametrize("tasks", [False, True])
def test_a_video_that_leaves_the_range_of_numbers_counts_as_wrong(tasks):
    """And not as absent, which would flatter the network."""

    class Rising(Net):
        def forward(self, x):
            found = super().forward(x)
            self.seen = getattr(self, "seen", 0) + len(x)
            if self.seen == 16:  # the fourth video's last view is in this batch
                (found["noun"] if tasks else found)[-1] = float("inf")
            return found

    whole, part = run(Noise(tasks), Net(tasks)), run(Noise(tasks), Rising(tasks))
    assert evaluation.not_finite(whole) == [] and evaluation.not_finite(part) == ["v3"]
    for name, figure in accuracies(part).items():
        others = {key: np.delete(values, 3, axis=0) for key, values in whole.items()}
        if name.endswith("_verb"):
            assert figure == accuracies(whole)[name]
        else:
            assert figure == pytest.approx(accuracies(others)[name] * 10 / 11), name


def test_a_killed_worker_is_one_line():
    class Deadly(Noise):
        def __getitem__(self, index):
            if index == 5 and torch.utils.data.get_worker_info():
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__getitem__(index)

    with pytest.raises(TadaError, match=r"one of 2 processes that prepare clips was ended .* lower data\.workers"):
        run(Deadly(), workers=2)
    with pytest.raises(TadaError, match=r"one of 2 processes that prepare clips was ended"):
        compare_precisions(Net(), Deadly(), precision="bfloat16", batch=2, progress=Silent(), workers=2)


@pytest.mark.parametrize("tasks", [False, True])
def test_compiled_scores_are_those_of_eager_ones(tmp_path, compiling, tasks):
    """The last batch, 3 of 4 videos, is filled up, so that one piece of code serves all."""
    said: list[str] = []
    group = ProcessGroup(0, 1, CPU, compiler=Compiler.of(True, CPU, tmp_path, said.append))
    torch._dynamo.utils.counters.clear()
    found = run(Noise(tasks), Net(tasks), batch=4, group=group)
    assert group.compiler.active and not said
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    same(found, run(Noise(tasks), Net(tasks), batch=4), tolerance=1e-3)


class Busy:
    """A GPU as `read_behind` sees it: what it has computed may be read once somebody has waited for it."""

    def __init__(self, waited):
        self.waited = waited

    def synchronize(self):
        self.waited.append(self)


def test_scores_of_a_batch_are_read_when_the_next_has_been_started(monkeypatch):
    started, waited = [], []
    monkeypatch.setattr(ProcessGroup, "mark", lambda _: Busy(waited))

    def batches():
        for number in range(3):
            started.append(number)
            yield number, {"": torch.tensor(number)}

    read = []
    for number, tensors in ProcessGroup(0, 1, torch.device("cuda")).read_behind(batches()):
        read.append((number, int(tensors[""]), len(started), len(waited)))
    assert read == [(0, 0, 2, 1), (1, 1, 3, 2), (2, 2, 3, 3)]
