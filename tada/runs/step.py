"""The training step: micro-batches forward and backward, gradients exchanged between processes, weights changed.

Nothing in it waits for a GPU. Losses and figures are summed where they are computed, and are read when somebody is told
of them; a loss that is not finite is found then, and the step at which it came is known.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tada.base import TadaError
from tada.base.compilation import reason_of
from tada.base.devices import ProcessGroup
from tada.runs.checkpoints import TrainingState

if TYPE_CHECKING:
    from tada.runs.trainer import Objective

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)

CHECK_SECONDS = 5.0
"""Longest time for which a loss that is not finite goes unnoticed; nothing is saved in the meantime."""


WAIT_SHARE = 0.2
"""Share of its time from which a GPU that waits for data is worth a line."""


WAIT_STEPS = 100
"""Steps after which that share is judged: until then, what was prepared beforehand is used up."""


TRIALS = 3
"""Calls of compiled code before it counts: on a GPU the first warms a graph up, the second records, the third plays."""


class Figures:
    """What a training sums over the micro-batches of an epoch, held on the device that computes it until it is read.

    Attributes:
        loss: mean loss of the last step's micro-batches, a scalar on the device.

    Args:
        names: of the figures.
        sums: their values so far, where a training goes on.
        device: where they are computed.
    """

    def __init__(self, names: Sequence[str], sums: Mapping[str, float], device: torch.device) -> None:
        self._names = names
        self._sums = torch.tensor([sums.get(name, 0.0) for name in names], dtype=torch.float64, device=device)
        self.loss = torch.zeros((), device=device)
        self._fault = torch.zeros((), device=device)  # the first loss that is not finite
        self._fault_step = torch.zeros((), dtype=torch.int64, device=device)  # when it came, from 1
        self._checked = time.monotonic()

    def add(self, figures: Mapping[str, Tensor]) -> None:
        """Add those of a micro-batch (scalars)."""
        self._sums += torch.stack([figures[name].double() for name in self._names])

    def end_step(self, loss: Tensor, step: int) -> None:
        """Step number `step`, from 1, had this mean loss (a scalar)."""
        self.loss = loss
        first = ~loss.isfinite() & (self._fault_step == 0)
        self._fault = torch.where(first, loss, self._fault)
        self._fault_step = torch.where(first, step, self._fault_step)

    def check(self, section: str, at_once: bool) -> None:
        """Raise a TadaError, which names `section` of the recipe, where the loss of any step was not finite.

        A look at it waits for the device: it is taken every few seconds, unless it has to be `at_once`.
        """
        if not at_once and time.monotonic() - self._checked < CHECK_SECONDS:
            return
        self._checked = time.monotonic()
        if step := int(self._fault_step):
            raise TadaError(
                f"the loss is {float(self._fault)} at step {step}; lower {section}.base_lr or lengthen the warm-up"
            )

    def read(self) -> dict[str, float]:
        """The sums."""
        return dict(zip(self._names, self._sums.tolist(), strict=True))

    def clear(self) -> None:
        """Begin anew, as an epoch does."""
        self._sums.zero_()


class Supply(Iterator[Any]):
    """A process's micro-batches on its device; how long these let it wait goes into the training's state.

    A GPU gets the next one while it computes with the last; it waits where that comes too late. The first step is left
    out: nobody could prepare its batches beforehand. A GPU that waits long is worth a line.

    Args:
        batches: micro-batches on the CPU.
        state: receives `stepped` and `waited`.
        advice: what a user can do to have data come faster.
        group: whose device computes.
        say: receives the line.
    """

    def __init__(
        self,
        batches: Iterator[Any],
        state: TrainingState,
        advice: str,
        group: ProcessGroup,
        say: Callable[[str], None],
    ) -> None:
        self._batches, self._state, self._group = group.moved(batches), state, group
        self._advice, self._say = (advice if group.device.type == "cuda" else ""), say
        self._steps, self._waited = 0, 0.0
        self._wait: tuple[Any, Any] | None = None

    def __next__(self) -> Any:
        self._note_wait()  # a GPU is at most one micro-batch behind
        idle = self._group.mark()
        batch = next(self._batches)
        self._wait = (idle, self._group.mark())
        return batch

    def end_step(self, begun: float) -> None:
        """A step is done that began at that time of the monotonic clock."""
        self._note_wait()
        if self._steps:
            self._state.stepped += time.monotonic() - begun
            self._state.waited += self._waited
        self._steps, self._waited = self._steps + 1, 0.0
        if self._steps == WAIT_STEPS and self._advice and (share := self._state.data_wait or 0.0) > WAIT_SHARE:
            self._say(f"the GPU waits for data in {share:.0%} of its time: {self._advice}")

    def _note_wait(self) -> None:
        if self._wait is not None:
            self._waited += self._group.seconds_between(*self._wait)
            self._wait = None


class TrainingStep:
    """Takes the optimizer steps of a training.

    Where networks are compiled and micro-batches are all of one shape, forward and backward pass are compiled. They are
    tried on the first micro-batch, which is then taken anew, so that a failure leaves nothing half done: all processes
    go on eagerly.

    Args:
        model: on the group's device, in training mode.
        objective: its data and loss.
        optimizer: of its parameters.
        supply: this process's micro-batches, in the order of training.
        figures: receives losses and figures.
        seed: of dropout.
        group: the processes that train together.
        say: receives a line on compilation.

    Raises:
        TadaError: the group's GPU lacks the objective's precision.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: "Objective",
        optimizer: torch.optim.Optimizer,
        supply: Supply,
        figures: Figures,
        seed: int,
        group: ProcessGroup,
        say: Callable[[str], None],
    ) -> None:
        group.check_precision(objective.precision, f"{objective.section}.precision")
        self._model, self._objective, self._optimizer, self._group = model, objective, optimizer, group
        self._supply, self._figures, self._seed, self._say = supply, figures, seed, say
        self._turns = objective.accumulation // group.size
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._network: Callable[..., Any] | None = None  # the model as it is called
        self._compiled = False
        self._gradients: list[Tensor] = []

    def __call__(self, step: int, rate: float) -> None:
        """Take step number `step`, from 0, at this learning rate."""
        begun = time.monotonic()
        group = self._group
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = rate
        self._optimizer.zero_grad(set_to_none=not self._compiled)
        total = torch.zeros((), device=group.device)
        for turn in range(self._turns):
            batch = next(self._supply)
            network = self._network = self._begin(batch, step) if self._network is None else self._network
            _seed_dropout(group.device, seed_of(self._seed, step, turn * group.size + group.rank))
            last = turn == self._turns - 1
            with group.synchronised(network, last), group.autocast(self._objective.precision):
                loss, figures = self._objective.loss(network, batch, step)
                self._backward(loss / self._turns)
            total += loss.detach()
            self._figures.add(figures)
        self._optimizer.step()
        self._figures.end_step(total / self._turns, step + 1)
        self._supply.end_step(begun)

    def _begin(self, batch: Any, step: int) -> Callable[..., Any]:
        """The network as this and all later steps call it, compiled if that works on this micro-batch."""
        compiler, group = self._group.compiler, self._group
        network: Callable[..., Any] = self._model
        if compiler.active and self._objective.static:
            begun = time.monotonic()
            if group.size == 1:
                network = compiler.compile(self._model.forward)
            else:
                compiler.compile_stages(self._model)
            self._try(network, batch, step)
            if group.any(not compiler.active)[0]:
                compiler.give_up("it failed in another process of the run")
            self._compiled = compiler.active
            if self._compiled:
                self._say(f"the training step is compiled, which took {time.monotonic() - begun:.0f} s")
        if self._compiled:  # gradients in memory of their own: a GPU's graph writes its results to one place each time
            self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]
            for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
                parameter.grad = gradient
        return network if group.size == 1 else group.wrap(self._model, in_buckets=self._compiled)

    def _try(self, network: Callable[..., Any], batch: Any, step: int) -> None:
        """Compute a micro-batch forward and backward, and leave all as it was, but for the compiler if it fails."""
        before = [buffer.clone() for buffer in self._model.buffers()]
        try:
            for _ in range(TRIALS):
                with self._group.autocast(self._objective.precision):
                    loss, _ = self._objective.loss(network, batch, step)
                    torch.autograd.grad(loss, self._parameters)
        except Exception as error:
            self._group.compiler.give_up(reason_of(error))
        for buffer, value in zip(self._model.buffers(), before, strict=True):
            buffer.copy_(value)

    def _backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss` to those of the parameters."""
        if not self._compiled or self._group.size > 1:  # several processes exchange them as they come
            loss.backward()
            return
        torch._foreach_add_(self._gradients, list(torch.autograd.grad(loss, self._parameters)))  # in a few launches


def eager(kind: type[Kind]) -> type[Kind]:
    """A class of optimizers without the wrappers that keep torch's compiler out of their methods.

    The first call of such a wrapper imports the compiler, which takes as long as importing torch. Steps are not
    compiled here, and give the same numbers without them. Not for `differentiable`.
    """
    names = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(inspect.unwrap(kind.step))})


def fused_on_gpu(parameters: Sequence[nn.Parameter]) -> bool | None:
    """The optimizers' argument `fused`: one kernel for many parameters on a GPU; torch's own choice on a processor."""
    return True if parameters and parameters[0].is_cuda else None


def check_weights(model: nn.Module, step: int, section: str) -> None:
    """Raise a TadaError where a parameter or statistic is not finite after `step` steps, which a loss may hide."""
    values = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    finite = torch.stack([value.isfinite().all() for value in values.values()]).tolist()
    for name, whole in zip(values, finite, strict=True):
        if not whole:
            raise TadaError(
                f"{name} is not finite after step {step}, although the loss is; lower {section}.base_lr or lengthen "
                "the warm-up"
            )


def seed_of(*numbers: int) -> int:
    """A seed for torch's generators that is a function of these numbers, 0 at least."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _seed_dropout(device: torch.device, number: int) -> None:
    """Draw this micro-batch's dropout from a seed of its own, on whatever number of devices it is computed."""
    if device.type == "cpu":  # torch.manual_seed would tell every kind of device, which takes as long as a layer
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)
