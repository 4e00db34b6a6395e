import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tada.base import TadaError
from tada.classification.training import ClassificationObjective, loss_and_hits, make_optimizer
from tada.data.clips import IGNORED
from tada.runs.settings import TrainSettings
from tada.runs.step import eager

SETTINGS = TrainSettings(
    epochs=5, warmup_epochs=1, base_lr=0.05, warmup_lr=0.005, batch=8, batch_per_device=4, scale=(8, 8), crop=8,
    flip=False, initial="scratch", weight_decay=0.01, validate_every=2,
)  # fmt: skip


def network() -> nn.Module:
    return nn.Sequential(nn.Conv3d(3, 4, (2, 3, 3)), nn.BatchNorm3d(4), nn.Flatten(), nn.Linear(4, 2))


def objective(settings=SETTINGS, validate=lambda _: {"val_top1": 1.0}):
    return ClassificationObjective(range(30), settings, seed=0, validate=validate)


@pytest.mark.parametrize(("optimizer", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_weight_decay_spares_batch_norm_and_biases(optimizer, kind):
    made = make_optimizer(network(), replace(SETTINGS, optimizer=optimizer))
    decayed, plain = made.param_groups
    assert isinstance(made, kind)
    assert [p.ndim for p in decayed["params"]] == [5, 2] and decayed["weight_decay"] == 0.01
    assert [p.ndim for p in plain["params"]] == [1, 1, 1, 1] and plain["weight_decay"] == 0.0


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_has_nesterovs_momentum_where_it_has_any(momentum):
    group = make_optimizer(network(), replace(SETTINGS, momentum=momentum)).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (momentum, momentum > 0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}), (torch.optim.AdamW, {})],
)
def test_an_eager_optimizer_steps_as_torchs_own_and_takes_over_its_state(kind, options):
    def trained(of):
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimizer = of(layer.parameters(), lr=0.1, **options)
        for step in range(5):
            optimizer.zero_grad()
            layer(torch.linspace(-1, 1, 6).view(2, 3) + step).square().mean().backward()
            optimizer.step()
        return optimizer, layer

    (theirs, expected), (ours, found) = trained(kind), trained(eager(kind))
    exactly = {"rtol": 0, "atol": 0}
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), **exactly)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), **exactly)
    assert found.weight.requires_grad and found.weight.is_leaf
    resumed = eager(kind)(nn.Linear(3, 2).parameters(), lr=0.2, **options)
    resumed.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(resumed.state_dict(), theirs.state_dict(), **exactly)


def test_the_first_step_waits_neither_for_torchs_compiler_nor_for_what_draws_pages():
    code = (
        "import sys, torch, tada.execute; from dataclasses import replace; from tada.runs.run import Run\n"
        "from tada.classification.training import make_optimizer\n"
        "for name in ('sgd', 'adamw'):\n"
        "    layer = torch.nn.Linear(3, 2)\n"
        "    settings = replace(Run('mini', 'ssv2', 'tsn', 0).recipe.train, optimizer=name)\n"
        "    optimizer = make_optimizer(layer, settings)\n"
        "    layer(torch.ones(1, 3)).sum().backward()\n"
        "    optimizer.step(); optimizer.zero_grad(); optimizer.load_state_dict(optimizer.state_dict())\n"
        "print({'torch._dynamo', 'sympy', 'torchvision', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_frozen_parameters_are_not_trained():
    model = network()
    model[0].requires_grad_(False)
    assert [len(group["params"]) for group in make_optimizer(model, SETTINGS).param_groups] == [1, 3]


def test_micro_batches_fill_the_steps_of_an_epoch():
    learned = objective()
    assert (learned.steps_per_epoch, learned.accumulation) == (3, 2)
    for epoch in range(2):
        steps = [learned.micro_batches(3 * epoch + step) for step in range(3)]
        assert [[len(batch) for batch in step] for step in steps] == [[4, 4]] * 3
        keys = [key for step in steps for batch in step for key in batch]
        assert {when for when, _ in keys} == {epoch} and len(set(keys)) == 24  # 6 of 30 videos fill no step


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 64}, r"30 training videos do not fill one batch of 64 \(train\.batch\)"),
        ({"batch_per_device": 3}, r"train\.batch \(8\) is not a multiple of train\.batch_per_device \(3\)"),
    ],
)
def test_impossible_batches_are_explained(changes, message):
    with pytest.raises(TadaError, match=message):
        objective(replace(SETTINGS, **changes))


def test_validation_is_due_every_so_many_epochs_and_after_the_last():
    learned = objective()
    assert [epoch for epoch in range(1, 6) if learned.validate(network(), epoch)] == [2, 4, 5]


def test_curves_are_means_over_the_clips_that_count():
    sums = {"loss": 3.0, "correct": 2.0, "clips": 4.0}
    assert objective().curves(sums) == {"train_loss": 0.75, "train_top1": 50.0}
    assert objective().curves(dict.fromkeys(sums, 0.0)) == {"train_loss": 0.0, "train_top1": 0.0}


def cross_entropy(logits, labels):
    """By its definition, of the clips that count, one by one."""
    return [-np.log(np.exp(row)[label] / np.exp(row).sum()) for row, label in zip(logits, labels, strict=True)]


def test_loss_and_hits_of_one_task():
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.5], [0.0, 3.0, 1.0], [9.0, 0.0, 0.0]])
    loss, hits, counted = loss_and_hits(logits, torch.tensor([0, 2, 1, IGNORED]))
    assert float(loss) == pytest.approx(np.mean(cross_entropy(logits[:3].numpy(), [0, 2, 1])))
    assert (int(hits), int(counted)) == (2, 3)


def test_losses_of_tasks_are_summed_and_a_hit_is_right_in_all():
    verb = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    noun = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    labels = {"verb": torch.tensor([0, 1, IGNORED]), "noun": torch.tensor([1, 2, IGNORED])}
    loss, hits, counted = loss_and_hits({"verb": verb, "noun": noun}, labels)
    both = cross_entropy(verb[:2].numpy(), [0, 1]) + cross_entropy(noun[:2].numpy(), [1, 2])
    assert float(loss) == pytest.approx(sum(both) / 2)
    assert (int(hits), int(counted)) == (1, 2)


def test_a_batch_without_any_clip_that_counts_has_no_loss():
    loss, hits, counted = loss_and_hits(torch.ones(2, 3), torch.tensor([IGNORED, IGNORED]))
    assert (float(loss), int(hits), int(counted)) == (0.0, 0, 0)
