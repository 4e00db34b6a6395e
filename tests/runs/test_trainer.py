import hashlib
import math
import os
import signal
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tada.base import TadaError, devices
from tada.base.devices import ProcessGroup
from tada.base.files import DamagedFile
from tada.base.processes import Interrupted
from tada.base.progress import Progress, Silent
from tada.classification.training import ClassificationObjective
from tada.runs import step, trainer
from tada.runs.checkpoints import TrainingState, load_state, trained_checkpoint, weights_sha256
from tada.runs.settings import TrainSettings
from tada.runs.step import WAIT_STEPS, Supply
from tada.runs.trainer import _micro_batches, epoch_batch, learning_rate, train

RECIPE = TrainSettings(
    epochs=3,
    warmup_epochs=1,
    base_lr=0.05,
    warmup_lr=0.005,
    batch=8,
    batch_per_device=4,
    scale=(8, 8),
    crop=8,
    flip=False,
    initial="scratch",
)
IDENTITY = {"signature": "abc", "seed": 0}
ALONE = ProcessGroup(0, 1, torch.device("cpu"))


class Blinks(torch.utils.data.Dataset):
    """Clips whose label is the frame that is bright; noise depends on (epoch, index) only."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, index = key
        noise = np.random.default_rng((epoch, index)).integers(0, 60, (3, 2, 8, 8), dtype=np.uint8)
        noise[:, index % 2] += 150
        return torch.from_numpy(noise), index % 2


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv3d(3, 4, (2, 3, 3)), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(4, 2),
    )  # fmt: skip


def run(tmp_path, model=None, recipe=RECIPE, stop=lambda: False, validate=lambda _: {"val_top1": 1.0}, **options):
    model = model or network()
    state = train(
        model,
        ClassificationObjective(Blinks(), recipe, 0, validate),
        seed=0,
        checkpoint=tmp_path / "checkpoint.pt",
        identity=IDENTITY,
        progress=Progress("test"),
        stop=stop,
        **options,
    )
    return model, state


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def curves(state: TrainingState) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in state.curves]


def test_learning_rate_is_half_a_cosine_entered_by_a_line():
    steps = 10
    peak = 0.05 * 0.5 * (1 + math.cos(math.pi / 3))
    assert learning_rate(0, steps, RECIPE) == pytest.approx(0.005)
    assert learning_rate(5, steps, RECIPE) == pytest.approx((0.005 + peak) / 2)
    assert learning_rate(10, steps, RECIPE) == pytest.approx(peak)
    assert learning_rate(20, steps, RECIPE) == pytest.approx(0.05 * 0.5 * (1 + math.cos(2 * math.pi / 3)))
    assert learning_rate(30, steps, RECIPE) == pytest.approx(0.0)


def micro_batches(group=ALONE, first_step=0):
    objective = ClassificationObjective(Blinks(), RECIPE, 0, lambda _: {})
    return list(_micro_batches(objective, range(first_step, 9), group))


def test_every_video_is_seen_once_an_epoch_but_for_the_incomplete_batch():
    keys = [key for batch in micro_batches() for key in batch]
    for epoch in range(RECIPE.epochs):
        seen = [index for when, index in keys if when == epoch]
        assert len(seen) == 24 == len(set(seen))


def test_an_epoch_visits_its_samples_in_an_order_of_its_own():
    def order(epoch: int) -> list[int]:
        batches = [epoch_batch(10, 4, 3, 0, 3 * epoch + step) for step in range(3)]
        assert [(when, len(indices)) for when, indices in batches] == [(epoch, 4), (epoch, 4), (epoch, 2)]
        return np.concatenate([indices for _, indices in batches]).tolist()

    assert order(0) == np.random.default_rng((0, 0)).permutation(10).tolist()
    assert order(0) != order(1)


def test_processes_share_the_micro_batches_of_a_step():
    pair = [micro_batches(ProcessGroup(rank, 2, torch.device("cpu")), first_step=2) for rank in range(2)]
    assert [batch for step in zip(*pair, strict=True) for batch in step] == micro_batches(first_step=2)


def test_training_learns_and_fills_the_curves(tmp_path):
    _, state = run(tmp_path, recipe=replace(RECIPE, epochs=12))
    assert [row["epoch"] for row in state.curves] == list(range(1, 13))
    assert state.curves[-1]["train_loss"] < state.curves[0]["train_loss"]
    assert state.curves[-1]["val_top1"] == 1.0


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_interrupted_training_ends_like_an_undisturbed_one(tmp_path, steps):
    expected, undisturbed = run(tmp_path / "alone")
    countdown = iter([False] * (steps - 1) + [True])
    with pytest.raises(Interrupted, match=f"step {steps} of 9"):
        run(tmp_path, stop=lambda: next(countdown))
    torch.manual_seed(99)  # the state of the random generator is not part of what is resumed
    resumed, state = run(tmp_path)
    assert same(resumed, expected)
    assert curves(state) == curves(undisturbed)
    assert state.resumes == 1


def test_workers_change_nothing(tmp_path):
    alone, _ = run(tmp_path / "a")
    helped, _ = run(tmp_path / "b", workers=2)
    assert same(alone, helped)


def test_a_crash_goes_on_from_the_last_epoch(tmp_path):
    expected, _ = run(tmp_path / "alone")
    calls = iter([{"val_top1": 1.0}])
    with pytest.raises(StopIteration):  # dies in the second validation, as a killed process would
        run(tmp_path, validate=lambda _: next(calls))
    resumed, state = run(tmp_path)
    assert same(resumed, expected) and len(state.curves) == 3


def test_two_trainings_of_a_seed_have_other_files_and_the_same_weights(tmp_path):
    """The files hold the seconds that each took."""
    found = []
    for name in ("one", "other"):
        model, _ = run(tmp_path / name)
        found.append(trained_checkpoint(tmp_path / name / "checkpoint.pt", model))
    assert found[0].sha256 != found[1].sha256 and found[0].weights == found[1].weights


def test_the_hash_of_weights_is_of_name_type_shape_and_every_bit():
    model = network()
    expected = hashlib.sha256()
    for name in sorted(model.state_dict()):
        array = model.state_dict()[name].numpy()
        kind = {"float32": "torch.float32", "int64": "torch.int64"}[array.dtype.name]
        expected.update(f"{name} {kind} {list(array.shape)}\n".encode() + array.tobytes())
    assert weights_sha256(model) == expected.hexdigest()
    assert weights_sha256(network().to(memory_format=torch.channels_last_3d)) == expected.hexdigest()

    def flip(model):
        model[0].weight.view(torch.int32)[0, 0, 0, 0, 0] ^= 1

    def count(model):
        model[1].num_batches_tracked += 1

    def reshape(model):
        model[6].weight = nn.Parameter(model[6].weight.reshape(4, 2))

    def rename(model):
        model[6].offset = model[6].bias
        model[6].bias = None

    others = [expected.hexdigest()]
    for change in (flip, count, reshape, rename, lambda model: model[6].bfloat16()):
        model = network()
        with torch.no_grad():
            change(model)
        others.append(weights_sha256(model))
    assert len(set(others)) == 6


def test_checkpoint_of_another_run_is_left_alone(tmp_path):
    run(tmp_path)
    model = network()
    assert load_state(tmp_path / "checkpoint.pt", {"signature": "other", "seed": 0}, model) is None
    assert same(model, network())


def flipped(path):
    """One bit of the middle of the weights is wrong; the file still opens."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    path.write_bytes(content)


def rewritten(path, **changes):
    """A whole file of other content; None takes a part away."""
    content = torch.load(path, weights_only=True) | changes
    torch.save({name: part for name, part in content.items() if part is not None}, path)


UNUSABLE = {
    "truncated": (lambda path: os.truncate(path, path.stat().st_size // 2), "cut short"),
    "empty": (lambda path: os.truncate(path, 0), "it is empty"),
    "foreign": (lambda path: path.write_bytes(b"nonsense"), "not a file of training state"),
    "page": (lambda path: path.write_text("<html>no</html>"), "not a file of training state"),
    "zeros": (lambda path: path.write_bytes(bytes(3000)), "not a file of training state"),
    "flipped": (flipped, "the checksum of its part"),
    "no optimizer": (lambda path: rewritten(path, optimizer=None), "no training state, it lacks optimizer"),
    "a list": (lambda path: torch.save([1, 2], path), "no training state, it lacks identity, model, optimizer, state"),
    "other keys": (lambda path: rewritten(path, model={"a": torch.zeros(2)}), "of another network or optimizer"),
    "other state": (lambda path: rewritten(path, state={"epoch": 3}), "of another network or optimizer"),
    "other types": (lambda path: rewritten(path, state={"step": "5"}), "of another network or optimizer"),
    "of another run": (lambda path: rewritten(path, identity={"seed": 1}), "of another configuration or seed"),
}


@pytest.mark.parametrize("before", [True, False], ids=["state before", "alone"])
@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_used_is_said_and_training_ends_with_the_same_numbers(tmp_path, kind, before, capsys):
    expected, undisturbed = run(tmp_path / "alone")
    steps = iter([False] * 6 + [True])
    with pytest.raises(Interrupted):
        run(tmp_path, stop=lambda: next(steps))
    damage, words = UNUSABLE[kind]
    damage(tmp_path / "checkpoint.pt")
    if not before:
        (tmp_path / "checkpoint.previous.pt").unlink()
    capsys.readouterr()
    resumed, state = run(tmp_path)
    said = [line for line in capsys.readouterr().err.splitlines() if str(tmp_path) in line]
    assert len(said) == 1 and "checkpoint.pt: " in said[0] and words in said[0]
    ends = "training goes on from the state before, at step 6" if before else "training starts again"
    assert said[0].endswith(ends) and "weights_only" not in said[0]
    assert same(resumed, expected) and curves(state) == curves(undisturbed)
    assert state.resumes == int(before)


def test_a_damaged_file_does_not_take_the_place_of_the_state_before(tmp_path):
    steps = iter([False] * 6 + [True])
    with pytest.raises(Interrupted):
        run(tmp_path, stop=lambda: next(steps))
    flipped(tmp_path / "checkpoint.pt")
    steps = iter([False, True])
    with pytest.raises(Interrupted):
        run(tmp_path, stop=lambda: next(steps))
    assert load_state(tmp_path / "checkpoint.previous.pt", IDENTITY, network()).step == 6
    assert load_state(tmp_path / "checkpoint.pt", IDENTITY, network()).step == 8


def test_momentum_of_another_shape_is_refused_and_nothing_is_changed(tmp_path):
    run(tmp_path)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    content["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(3)
    torch.save(content, tmp_path / "checkpoint.pt")
    fresh = network()
    optimizer = ClassificationObjective(Blinks(), RECIPE, 0, lambda _: {}).optimizer(fresh)
    with pytest.raises(DamagedFile, match=r"momentum_buffer is of shape \[3\]"):
        load_state(tmp_path / "checkpoint.pt", IDENTITY, fresh, optimizer)
    assert same(fresh, network())


def test_a_file_that_cannot_be_read_from_its_disk_is_not_taken_for_damaged(tmp_path, monkeypatch):
    run(tmp_path)

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(TadaError, match=r"checkpoint\.pt: cannot be read \(Permission denied\)"):
        run(tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()


def test_a_loss_that_is_not_finite_names_the_setting(tmp_path):
    with pytest.raises(TadaError, match=r"the loss is (nan|inf).*train\.base_lr"):
        run(tmp_path, recipe=replace(RECIPE, base_lr=1e30, warmup_epochs=0))


def test_micro_batches_must_fill_the_processes():
    with pytest.raises(TadaError, match=r"2 micro-batches .* over 3 processes"):
        train(
            network(), ClassificationObjective(Blinks(), RECIPE, 0, lambda _: {}), seed=0, checkpoint=None, identity={},
            progress=None, group=ProcessGroup(0, 3, torch.device("cpu")),
        )  # fmt: skip


class Deadly(Blinks):
    """The first `deaths` processes that are asked for a sample of the second step are killed, as for lack of memory."""

    def __init__(self, folder, deaths):
        self.folder, self.deaths = folder, deaths

    def __getitem__(self, key):
        if torch.utils.data.get_worker_info() and key == self.last:
            fallen = len(list(self.folder.iterdir()))
            if fallen < self.deaths:
                (self.folder / str(os.getpid())).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(key)

    last = (0, int(epoch_batch(30, 8, 3, 0, 1)[1][-1]))


def with_deaths(tmp_path, deaths):
    folder = tmp_path / f"fallen{deaths}"
    folder.mkdir()
    model, lines = network(), []
    progress = Progress("test")
    progress.say = lines.append
    state = train(
        model, ClassificationObjective(Deadly(folder, deaths), RECIPE, 0, lambda _: {"val_top1": 1.0}), seed=0,
        checkpoint=tmp_path / f"{deaths}.pt", identity=IDENTITY, progress=progress, workers=2,
    )  # fmt: skip
    return model, state, [line for line in lines if "ended" in line]


def test_a_killed_worker_is_replaced_and_the_numbers_are_the_same(tmp_path):
    model, state, lines = with_deaths(tmp_path, 2)
    undisturbed, expected = run(tmp_path)
    assert len(lines) == 2 and "2 new ones go on" in lines[0] and "data.workers" in lines[0]
    assert same(model, undisturbed) and curves(state) == curves(expected)


def test_workers_that_die_again_and_again_end_the_training_with_one_line(tmp_path):
    with pytest.raises(TadaError, match=r"one of 2 processes that prepare clips was ended .* lower data\.workers"):
        with_deaths(tmp_path, 99)


def test_weights_that_are_not_finite_are_named_although_the_loss_is(tmp_path):
    model = network()
    model.register_buffer("unused", torch.tensor([1.0, float("inf")]))
    with pytest.raises(TadaError, match=r"unused is not finite after step 3, .* lower train\.base_lr"):
        run(tmp_path, model)
    assert not (tmp_path / "checkpoint.pt").exists()


class Clock:
    """Stands still but where somebody lets it go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class SlowBlinks(Blinks):
    """Clips that take a second each to be prepared."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __getitem__(self, key):
        self.clock.now += 1.0
        return super().__getitem__(key)


class SlowObjective(ClassificationObjective):
    """Its loss takes 12 seconds of each micro-batch of 4 clips."""

    def loss(self, model, batch, step):
        self.dataset.clock.now += 12.0
        return super().loss(model, batch, step)


def test_the_share_of_time_that_waits_for_data_is_told_and_kept(tmp_path, monkeypatch):
    clock, told = Clock(), []
    for module in (trainer, step, devices):
        monkeypatch.setattr(module, "time", clock)
    progress = Silent()
    monkeypatch.setattr(progress, "step", lambda done, **facts: told.append(facts["data_wait"]))
    objective = SlowObjective(SlowBlinks(clock), RECIPE, 0, lambda _: {})
    options = {"seed": 0, "checkpoint": tmp_path / "checkpoint.pt", "identity": IDENTITY, "progress": progress}
    state = train(network(), objective, **options)
    # A step waits 2 x 4 s and computes 2 x 12 s; the first of the 9 is not counted.
    assert (state.stepped, state.waited, state.data_wait) == (8 * 32.0, 8 * 8.0, 0.25)
    assert told == [0.0] + [0.25] * 8
    kept = train(network(), objective, **options)  # finished: nothing is added
    assert (kept.stepped, kept.waited, kept.resumes) == (state.stepped, state.waited, 1)


@pytest.mark.parametrize("device, seconds, told", [("cuda", 3, True), ("cuda", 2, False), ("cpu", 3, False)])
def test_a_gpu_that_waits_long_is_told_what_helps(monkeypatch, device, seconds, told):
    clock, said = Clock(), []
    monkeypatch.setattr(step, "time", clock)
    monkeypatch.setattr(ProcessGroup, "mark", lambda _: clock.now)
    monkeypatch.setattr(ProcessGroup, "seconds_between", lambda _, first, second: second - first)
    monkeypatch.setattr(ProcessGroup, "moved", lambda _, batches: batches)

    def batches():
        while True:
            clock.now += seconds
            yield 0

    group = ProcessGroup(0, 1, torch.device(device))
    supply = Supply(batches(), TrainingState(), "raise data.workers", group, said.append)
    for _ in range(2 * WAIT_STEPS):
        begun = clock.now
        next(supply)
        clock.now += 8
        supply.end_step(begun)
    assert said == (["the GPU waits for data in 27% of its time: raise data.workers"] if told else [])


def test_nothing_is_known_of_waiting_before_the_second_step():
    assert TrainingState().data_wait is None


class Reads(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the numbers and arrays that are read from tensors, for which a GPU would have to be waited for."""

    def __init__(self, monkeypatch) -> None:
        super().__init__()
        self.count = 0
        for name in ("tolist", "cpu", "numpy"):
            monkeypatch.setattr(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))

    def _counted(self, method):
        def call(*arguments, **options):
            self.count += 1
            return method(*arguments, **options)

        return call

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        kinds = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        self.count += function in kinds  # float(), int(), bool(), .item(), and selection by a mask
        return function(*arguments, **(options or {}))


def test_a_step_reads_nothing_from_the_device(tmp_path, monkeypatch):
    """An epoch of many steps reads as many numbers, at its end, as one of few."""
    reads = Reads(monkeypatch)
    with reads:
        for read in (float, bool, torch.Tensor.item, torch.Tensor.tolist):
            before = reads.count
            read(torch.ones(()))
            assert reads.count > before  # it sees what it is to see
    counts = []
    for batch in (10, 2):
        recipe = replace(RECIPE, batch=batch, batch_per_device=1, epochs=2)
        learned = ClassificationObjective(Blinks(), recipe, 0, lambda _: {})
        before = reads.count
        with reads:
            train(network(), learned, seed=0, checkpoint=tmp_path / f"{batch}.pt", identity=IDENTITY, progress=Silent())
        counts.append((learned.steps_per_epoch, reads.count - before))
    assert counts[0][0] == 3 and counts[1][0] == 15
    assert 0 < counts[0][1] == counts[1][1]


@pytest.mark.parametrize("bad", [1, 4, 9])
def test_a_loss_that_is_not_finite_is_told_with_its_step_and_nothing_is_saved(tmp_path, bad):
    """It is looked at now and then; the step is that of the first, counted from 1."""

    class Failing(ClassificationObjective):
        def loss(self, model, batch, step):
            loss, figures = super().loss(model, batch, step)
            return (loss * float("inf") if step == bad - 1 else loss * float("nan") if step >= bad else loss), figures

    options = {"seed": 0, "checkpoint": tmp_path / "checkpoint.pt", "identity": IDENTITY, "progress": Silent()}
    with pytest.raises(TadaError, match=rf"the loss is inf at step {bad}; lower train\.base_lr"):
        train(network(), Failing(Blinks(), RECIPE, 0, lambda _: {}), **options)
    state = load_state(tmp_path / "checkpoint.pt", IDENTITY, network())
    assert (state.step if state else 0) == 3 * ((bad - 1) // 3)
