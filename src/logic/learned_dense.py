"""LearnedLogicLayer: a logic layer that learns which inputs its neurons see, among candidates."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from src.logic.backends import torch_dense as reference
from src.logic.connections import candidate_connections
from src.logic.dense import LogicLayer, functions_of
from src.logic.parametrisation import relaxed_outputs

FIRST_LOGIT = 0.1  # of the first candidates, the others' being 0: they are chosen until others have proved better


class LearnedLogicLayer(LogicLayer):
    """A logic layer in which each input of a neuron is the likeliest of its candidates under softmax(logits).

    So it is in train mode too, and the kernels for fixed connections serve: nothing changes when the network is
    discretised. The logits get the gradient that they would have if the input were the mixture of all candidates
    (straight-through; Bacellar et al. 2024, DWN, of all inputs; Mommen et al. 2025 and Fojcik et al. 2025, LILogicNet,
    of candidates). The layer begins with the connections that a random one has from the same seed.

    Attributes:
        candidates: buffer int32 [2, out_dim, k].
        logits: parameter [2, out_dim, k].
    """

    candidates: torch.Tensor

    def __init__(
        self, in_dim: int, out_dim: int, device: torch.device | str | None = None, candidates: int = 8, **options: Any
    ) -> None:
        """Draw weights and candidates from PyTorch's global generators.

        Args:
            in_dim: number of inputs, at least the candidates.
            out_dim: number of neurons, at least half of in_dim.
            device: where the weights are created.
            candidates: of each input of a neuron.
            options: LogicLayer's, but connections.
        """
        super().__init__(in_dim, out_dim, device, connections=None, **options)
        self.connections = "learned"
        drawn = candidate_connections(in_dim, out_dim, candidates)
        self.register_buffer("candidates", drawn.to(device, torch.int32))
        logits = torch.zeros(drawn.shape, device=device)
        logits[:, :, 0] = FIRST_LOGIT
        self.logits = nn.Parameter(logits)

    @property
    def indices(self) -> torch.Tensor:  # type: ignore[override]
        """int64 [2, out_dim]: the inputs that are chosen now."""
        chosen = self.logits.detach().argmax(-1, keepdim=True)
        return self.candidates.gather(-1, chosen).squeeze(-1).long()

    def _connection_lists(self, functions: Any) -> Any:
        return functions.ConnectionLists(self.indices, self.in_dim)

    def _soft(self, x: torch.Tensor, *groups: int) -> torch.Tensor:
        y = relaxed_outputs(self._forms(x, "numba"), self.gates)
        return y.reshape(*groups, -1, y.shape[-1]).sum(1, dtype=torch.float32) if groups else y

    def _resolve(self, x: torch.Tensor) -> str:
        implementation = super()._resolve(x)
        if implementation == "difflogic":
            raise ValueError("implementation 'difflogic' cannot learn connections; use 'auto', or random connections")
        return implementation

    def _forms(self, x: torch.Tensor, implementation: str) -> torch.Tensor:
        coefficients = self.coefficients()
        y = self._mixture(x, coefficients, implementation)
        if not self.training:
            return y
        functions = reference if implementation == "torch" else functions_of(implementation)
        shares = self.logits.softmax(-1)
        return _Straight.apply(y, shares, x, coefficients, self.indices, self.candidates, functions)


class _Straight(torch.autograd.Function):
    """y as it is; on the way back the shares of the candidates get their gradient, as if they had made y."""

    @staticmethod
    def forward(
        ctx: Any,
        y: torch.Tensor,
        shares: torch.Tensor,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        indices: torch.Tensor,
        candidates: torch.Tensor,
        functions: Any,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, coefficients, indices, candidates)
        ctx.functions, ctx.dtype = functions, shares.dtype
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        slopes = ctx.functions.candidate_slopes(*ctx.saved_tensors, grad)
        return grad, slopes.to(ctx.dtype), None, None, None, None, None
