"""Training in several processes at once, as ``torchrun`` starts them: each learns from its share of every batch.

The gradients of the shares are added up before every step (synchronous data-parallel descent; Goyal et al. 2017,
section 3), so all processes hold the same weights at any time, and what a mean loss without random changes of its clips
comes to is what one process gives on the same batches. Where a loss draws at random every process draws by itself.
Without ``torchrun`` there is one process and nothing here does anything.
"""

import contextlib
import datetime
import importlib
import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import distributed, nn

LONGEST_WAIT = datetime.timedelta(hours=12)


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes that ``torchrun`` started, if any, until the block ends."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    # Its functions keep the group that they are imported under as a default value: imported after the meeting (as
    # the first step of an optimiser does) they would keep its threads alive, which now and then abort the exit.
    importlib.import_module("torch.distributed.nn")
    graphics = device().type == "cuda"
    if graphics:
        torch.cuda.set_device(device())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if graphics else "gloo", timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def device() -> torch.device:
    """Return where this process trains: on its own GPU where the machine has any, else on the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def device_of(network: object) -> torch.device:
    """Return where a network, or the network that a method belongs to, has its weights; the processor without any."""
    owner = getattr(network, "__self__", network)
    first = next(owner.parameters(), None) if isinstance(owner, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


def count() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return this process's place among them; the first, 0, is the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextlib.contextmanager
def first_then_others() -> Iterator[None]:
    """Let the first process do the block alone, then the others, which find what it has stored."""
    if count() > 1 and rank() > 0:
        distributed.barrier()
    yield
    if count() > 1 and rank() == 0:
        distributed.barrier()


def share(batch: np.ndarray) -> np.ndarray:
    """Return the clips of a batch that are this process's; none where there are more processes than clips."""
    return batch[rank() :: count()]


@torch.no_grad()
def begin_alike(model: nn.Module) -> None:
    """Give every process the weights of the first."""
    if count() > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            distributed.broadcast(tensor, 0)


@torch.no_grad()
def add_up(model: nn.Module, loss: float) -> float:
    """Replace each gradient by its sum over the processes, in one exchange; return the sum of the losses."""
    if count() == 1:
        return loss
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
    touched = torch.tensor([float(p.grad is not None) for p in learned] + [loss], device=learned[0].device)
    flat = torch.cat([touched, *(gradient.flatten().float() for gradient in gradients)])
    distributed.all_reduce(flat)
    sums = flat[len(touched) :].split([p.numel() for p in learned])
    for parameter, total, known in zip(learned, sums, flat.tolist()[: len(learned)], strict=True):
        # A parameter that no process has used keeps no gradient, so that the optimiser passes it by.
        parameter.grad = total.view_as(parameter).to(parameter.dtype) if known else None
    return float(flat[len(learned)])
