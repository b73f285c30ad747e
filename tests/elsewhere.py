"""A device that is not the processor, on a machine without a GPU: it computes alike, but only with what is on it.

A tensor there holds one on the processor and says it is elsewhere. Whatever mixes the two is refused, as a GPU refuses
it: that is what a test of "runs unchanged on a GPU" can find without one. What a GPU alone does (its own draws, half
precision, speed) is not seen here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend


class _Without(_DummyBackendModule):
    """Other tests of this process are told that there is no such device."""

    def device_count(self) -> int:
        return 0


_setup_privateuseone_for_python_backend("elsewhere", _Without())
DEVICE = torch.device("elsewhere", 0)
MAY_MIX = ("aten.index.", "aten.index_put.", "aten.copy_.", "aten._to_copy.")
"""Operations that take tensors of both places on a GPU, too: copies, and indices."""


class There(Tensor):
    """A tensor on ``DEVICE``; ``held`` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "There":
        """Return a tensor that says it is elsewhere."""
        with torch.inference_mode(mode=False):  # a view of a weight is none of inference mode's own tensors
            made: There = torch.Tensor._make_wrapper_subclass(
                *(cls, held.shape, held.stride(), held.storage_offset()), dtype=held.dtype, device=DEVICE
            )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Run an operation on what is held, and leave its results where its tensors are."""
        named = dict(kwargs or {})
        if torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd"):
            with Elsewhere():  # inference mode hands over operations that are made of others
                return operation.decompose(*args, **named)
        tensors = [leaf for leaf in tree_leaves((args, named)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in tensors if isinstance(tensor, There)]
        # Numbers (tensors without axes) may come from anywhere.
        here = [tensor for tensor in tensors if not isinstance(tensor, There) and tensor.dim()]
        if there and here and not str(operation).startswith(MAY_MIX):
            raise RuntimeError(f"{operation}: some tensors are on the processor, some are not")
        stays = bool(there)
        if named.get("device") is not None:
            stays = torch.device(named["device"]) == DEVICE
            named["device"] = torch.device("cpu") if stays else named["device"]
        found = operation(*tree_map(_held, tuple(args)), **tree_map(_held, named))
        if operation is torch.ops.aten._local_scalar_dense.default:
            return found
        changed = {id(tensor.held): tensor for tensor in there}
        return tree_map(lambda leaf: _placed(leaf, changed, stays), found)


class Elsewhere(TorchDispatchMode):
    """While it is entered, ``DEVICE`` can be had."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """See ``There``."""
        return There.__torch_dispatch__(operation, types, args, kwargs)


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, There) else leaf


def _placed(leaf: Any, changed: dict[int, There], stays: bool) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    if id(leaf) in changed:  # what was changed in place is the same tensor afterwards
        return changed[id(leaf)]
    return There(leaf) if stays else leaf
