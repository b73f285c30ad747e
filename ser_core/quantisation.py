"""Weights of a matrix in 8 bits and one step size a row (as in Jacob et al. 2018, for weights)."""

from torch import Tensor


def in_8_bits(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return whole steps (rows, …) as int8 and the step of each row (rows, 1, …); their product is the matrix."""
    step = matrix.abs().flatten(1).amax(1).clamp(min=1e-12).reshape(-1, *[1] * (matrix.ndim - 1)) / 127
    return (matrix / step).round().char(), step
