"""Muon: momentum, orthogonalised by Newton–Schulz steps, for hidden weights; AdamW for all other parameters."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from imgcls.precision import pick_precision

Coefficients = Sequence[tuple[float, float, float]]

ORIGINAL = (3.4445, -4.7750, 2.0315)  # Jordan 2024, the same in each step
QUINTIC = (  # one per step, for five steps: closer to orthogonal (modded-nanogpt, 2025)
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
LARGEST_RATIO = 128  # of the sides of a matrix that is orthogonalised


def newton_schulz(matrices: Tensor, coefficients: Coefficients, dtype: torch.dtype = torch.float32) -> Tensor:
    """Move all singular values of matrices towards one, by one polynomial a s + b s³ + c s⁵ after another.

    With the Gram matrix A = X Xᵀ, a step is X → S X with S = a I + b A + c A², and its Gram matrix S A S. So the steps
    multiply small square matrices, and X once at the end. Rounding can make the smallest eigenvalues of A negative and
    then enlarges them, hence at most five steps in float32 and three in 16 bits share a Gram matrix.

    Args:
        matrices: (L, M, N).
        coefficients: (a, b, c) of each step.
        dtype: Of the products and of the result.
    """
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    # No singular value is larger than the Frobenius norm.
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=1e-7)
    together = 5 if dtype == torch.float32 else 3
    first = len(coefficients) % together or together
    for start in (0, *range(first, len(coefficients), together)):
        part = coefficients[start : start + together] if start else coefficients[:first]
        x = _multiplier(x @ x.mT, part) @ x
    return x.mT if tall else x


def _multiplier(gram: Tensor, coefficients: Coefficients) -> Tensor:
    """Matrices (L, M, M) by which some steps multiply X, from its Gram matrices."""
    product = None
    for i, (a, b, c) in enumerate(coefficients):
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal(dim1=1, dim2=2).add_(a)
        product = step if product is None else step @ product
        if i + 1 < len(coefficients):
            gram = step @ gram @ step
    return product


def suits_muon(parameter: Tensor) -> bool:
    """Whether a parameter is a matrix (filters, the rest) worth orthogonalising: no vector, depthwise or thin one."""
    if parameter.ndim < 2 or parameter.shape[1] == 1:
        return False
    small, large = sorted((len(parameter), parameter[0].numel()))
    return small >= 4 and large <= LARGEST_RATIO * small


class Muon(torch.optim.AdamW):
    """Muon (Jordan 2024, "Muon: An optimizer for hidden layers in neural networks") for groups with `muon=True`.

    The other groups are AdamW's, at the same learning rate. A step of Muon has the size of AdamW's: 0.2 per entry, root
    mean square (Liu et al. 2025, arXiv:2502.16982). Layers of one shape are orthogonalised together.

    Args:
        groups: Parameter groups, each with `muon`.
        lr: Learning rate.
        momentum: Share of the running mean of the gradients that each step keeps.
        nesterov: Look one step ahead with the momentum.
        ns_steps: Newton–Schulz steps.
        fused: One kernel for the whole step of AdamW.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        fused: bool | None = None,
    ) -> None:
        super().__init__(groups, lr, betas=(0.9, 0.95), fused=fused)
        self._step_supports_amp_scaling = False  # a scaler must pass over the whole step, not only AdamW's kernel
        self.momentum, self.nesterov = momentum, nesterov
        self.coefficients = (ORIGINAL,) * ns_steps if ns_steps < 5 else QUINTIC + QUINTIC[-1:] * (ns_steps - 5)

    def __setstate__(self, state: dict[str, Any]) -> None:
        torch.optim.Optimizer.__setstate__(self, state)  # AdamW's expects the number of steps of every parameter

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step; the gradients of Muon's parameters are used up by it."""
        for group in self.param_groups:
            if group["muon"]:
                shapes: dict[tuple, list[Tensor]] = {}
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        shapes.setdefault((parameter.shape, parameter.device), []).append(parameter)
                for parameters in shapes.values():
                    self._muon_step(parameters, group["lr"], group["weight_decay"])
        return super().step(closure)

    def _muon_step(self, parameters: list[Tensor], lr: float, weight_decay: float) -> None:
        gradients = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        means = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - self.momentum)
        updates = torch._foreach_lerp(gradients, means, self.momentum) if self.nesterov else means
        # Channels last, as the weights lie in memory: another order of columns only reorders the result's.
        stacked = torch.stack([update.movedim(1, -1) for update in updates])  # (L, filters, …, channels)
        matrices = stacked.flatten(2)
        steps = newton_schulz(matrices, self.coefficients, pick_precision(matrices.device))
        size = 0.2 * max(matrices.shape[-2:]) ** 0.5
        torch._foreach_mul_(parameters, 1 - lr * weight_decay)
        for parameter, change in zip(parameters, steps.view(stacked.shape), strict=True):
            parameter.add_(change.movedim(-1, 1), alpha=-lr * size)
            parameter.grad = None  # AdamW passes over it
