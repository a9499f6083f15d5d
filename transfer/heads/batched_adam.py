"""Linear layers of several settings, trained together by AdamW on cross entropy.

N: rows. B: rows of a batch. D: features. C: classes. S: settings. P: S * C, weight rows of all layers.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from transfer.heads.mapped import MappedRows
from transfer.heads.products import multiply_few

# torch.optim.AdamW's defaults.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

# Steps on a GPU before one is captured: what libraries set up in their first calls cannot be captured.
WARM_UP_STEPS = 10
# Batches of mapped rows that are being read while one is trained on.
AHEAD = 4


@dataclass
class _Moments:
    """A tensor that is trained, its gradient, and Adam's running means of the gradient and of its square."""

    value: torch.Tensor
    gradient: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor

    @classmethod
    def begin(cls, value: torch.Tensor) -> _Moments:
        return cls(value, *(torch.zeros_like(value) for _ in range(3)))

    @classmethod
    def join(cls, several: Sequence[_Moments]) -> _Moments:
        return cls(*(torch.cat(tensors) for tensors in zip(*map(_Moments._tensors, several), strict=True)))

    def select(self, rows_P: torch.Tensor) -> _Moments:
        return _Moments(*(tensor[rows_P] for tensor in self._tensors()))

    def _tensors(self) -> tuple[torch.Tensor, ...]:
        return self.value, self.gradient, self.mean, self.square


class LayerStack:
    """Linear layers with softmax, one for each setting, trained on the same batches.

    All layers start from the same draw (that of `torch.nn.Linear`) and see the same batches, so that one product
    serves all their forward passes and one more all their gradients. Each layer ends as `torch.optim.AdamW`
    (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101) with `torch.nn.CrossEntropyLoss(weight=...)`
    leaves it alone.

    Parameters
    ----------
    x_ND : torch.Tensor or MappedRows of shape (N, D), float32
        Training rows, on the device that does the work; mapped ones on the CPU, read batch by batch.
    y_N : torch.Tensor of shape (N,), int64
        Indices of their classes, on the same device.
    n_classes : int
    lr_S, weight_decay_S : sequence of float
        As `torch.optim.AdamW` takes them, one for each setting.
    class_weight_SC : torch.Tensor of shape (S, C), optional
        Weights of the classes in the loss; None weighs all rows alike.
    batch_size : int
    seed : int
        Draws the first weights, then the order of the rows in every epoch: the same on every device.
    cosine_steps : int, optional
        Steps in which the learning rates fall to zero along half a cosine; None keeps them constant.
    """

    def __init__(
        self,
        x_ND: torch.Tensor | MappedRows,
        y_N: torch.Tensor,
        n_classes: int,
        *,
        lr_S: Sequence[float],
        weight_decay_S: Sequence[float],
        class_weight_SC: torch.Tensor | None = None,
        batch_size: int,
        seed: int,
        cosine_steps: int | None = None,
    ) -> None:
        self._x_ND = x_ND
        self._y_N, self._target_CC = y_N, torch.eye(n_classes, device=y_N.device)
        self._row_weight_NS = None if class_weight_SC is None else class_weight_SC.T[y_N]
        self._cosine_steps = cosine_steps
        self._n_classes = n_classes
        self._generator = torch.Generator().manual_seed(seed)
        start_CD = draw_start(x_ND.shape[1], n_classes, self._generator)
        start_PD = start_CD.repeat(len(lr_S), 1).to(y_N.device)
        self._weights = _Moments.begin(start_PD[:, :-1].contiguous())
        self._biases = _Moments.begin(start_PD[:, -1:].contiguous())
        self._lr_S, self._weight_decay_S = list(lr_S), list(weight_decay_S)
        self._rate, self._n_steps, self._count = 1.0, 0, torch.zeros(())
        if self.is_cuda:
            self._lr_P1, decay_P1 = (
                torch.tensor(values_S, dtype=torch.float32)
                .repeat_interleave(n_classes)[:, None]
                .to(y_N.device)
                for values_S in (lr_S, weight_decay_S)
            )
            self._decay_P1 = self._lr_P1 * decay_P1
            # What changes from step to step and is not the batch: tensors, so that a captured step reads them.
            self._change_P1, self._kept_P1 = torch.empty_like(self._lr_P1), torch.empty_like(self._lr_P1)
            self._epsilon = torch.empty((), device=y_N.device)
        self._view_settings()
        self._batches = self._draw_batches(batch_size)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._captured_B = torch.arange(min(batch_size, len(x_ND)), device=y_N.device)

    def train(self, n_steps: int) -> None:
        """Take `n_steps` steps of the optimiser."""
        for rows_B in itertools.islice(self._batches, n_steps):
            self._set_rates()
            if self._graph is not None and len(rows_B) == len(self._captured_B):
                self._captured_B.copy_(rows_B)
                self._graph.replay()
            else:
                self._step(rows_B)
            if self.is_cuda and self._n_steps == WARM_UP_STEPS:
                self.capture()

    def layers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weights (S, C, D) and biases (S, C); views that further training changes."""
        weights_PD, biases_P1 = self._weights.value, self._biases.value
        return weights_PD.view(-1, self._n_classes, weights_PD.shape[1]), biases_P1.view(-1, self._n_classes)

    @property
    def is_cuda(self) -> bool:
        """Whether the layers are trained on a GPU."""
        return self._y_N.is_cuda

    def _row_weights(self) -> torch.Tensor:
        """Return the weights of the rows in the loss (N, S), also if all are equal."""
        if self._row_weight_NS is not None:
            return self._row_weight_NS
        return torch.ones(len(self._y_N), len(self._lr_S), device=self._y_N.device)

    def _view_settings(self) -> None:
        """Keep views of the values and moments of each setting: every step needs them all."""
        n = self._n_classes
        self._views_S = [
            [
                [getattr(own, name)[start : start + n] for own in self._trained]
                for name in ("value", "mean", "square")
            ]
            for start in range(0, len(self._biases.value), n)
        ]

    @property
    def _trained(self) -> tuple[_Moments, _Moments]:
        return self._weights, self._biases

    def capture(self) -> None:
        """Run later steps on full batches as replays of one CUDA graph; warn and continue without it if that fails."""
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._step(self._captured_B)
        except RuntimeError as failure:
            warnings.warn(f"steps are not captured as a CUDA graph: {failure}", stacklevel=2)
        else:
            self._graph = graph

    def _draw_batches(self, batch_size: int) -> Iterator[torch.Tensor]:
        """Yield the row indices (B,) of one batch after the other, epoch after epoch."""
        # Read already by whoever computed the moments; to ask again would take as long as half a step.
        on_disk = self._x_ND if isinstance(self._x_ND, MappedRows) and not self._x_ND.stay_in_memory else None
        while True:
            order_N = torch.randperm(len(self._y_N), generator=self._generator)
            batches = torch.split(order_N.to(self._y_N.device), batch_size)
            for i, rows_B in enumerate(batches):
                if on_disk is not None:
                    for later_B in batches[i + AHEAD : i + AHEAD + 1] if i else batches[: AHEAD + 1]:
                        on_disk.expect(later_B.numpy())
                yield rows_B

    def _set_rates(self) -> None:
        """Prepare the next step's learning rates, with Adam's corrections for means that began at zero."""
        if self._cosine_steps is not None:
            self._rate = 0.5 * (1 + math.cos(math.pi * self._n_steps / self._cosine_steps))
        self._n_steps += 1
        self._count.fill_(self._n_steps)
        if self.is_cuda:
            mean_scale, square_scale = 1 - BETA1**self._n_steps, math.sqrt(1 - BETA2**self._n_steps)
            torch.mul(self._lr_P1, -self._rate * square_scale / mean_scale, out=self._change_P1)
            torch.mul(self._decay_P1, -self._rate, out=self._kept_P1).add_(1)
            self._epsilon.fill_(EPSILON * square_scale)

    def _step(self, rows_B: torch.Tensor) -> None:
        if isinstance(self._x_ND, MappedRows):
            x_BD = torch.from_numpy(self._x_ND[rows_B.numpy()])
        else:
            x_BD = self._x_ND.index_select(0, rows_B)
        gradient_BP = self._logit_gradients(x_BD, rows_B)
        self._weights.gradient = multiply_few(gradient_BP.T, x_BD.T)
        torch.sum(gradient_BP.T, 1, keepdim=True, out=self._biases.gradient)
        if self.is_cuda:
            self._update_captured()
        else:
            self._update()

    def _logit_gradients(self, x_BD: torch.Tensor, rows_B: torch.Tensor) -> torch.Tensor:
        """Return the gradients of the batch's mean cross entropies with respect to the logits (B, P)."""
        logits_BP = multiply_few(x_BD, self._weights.value).add_(self._biases.value[:, 0])
        gradient_BSC = logits_BP.view(len(rows_B), -1, self._n_classes).softmax(2)
        gradient_BSC.sub_(self._target_CC.index_select(0, self._y_N.index_select(0, rows_B))[:, None])
        if self._row_weight_NS is None:
            return gradient_BSC.div_(len(rows_B)).flatten(1)
        weight_BS = self._row_weight_NS.index_select(0, rows_B)
        # Where no row of the batch has a weight, torch's loss is 0 / 0; here nothing is learned from it.
        total_S = weight_BS.sum(0).clamp_min_(torch.finfo(weight_BS.dtype).tiny)
        return gradient_BSC.mul_((weight_BS / total_S)[:, :, None]).flatten(1)

    def _update(self) -> None:
        """Take a step by torch's fused AdamW, which reads and writes everything once, setting by setting."""
        gradients = (torch.split(own.gradient, self._n_classes) for own in self._trained)
        rates = zip(self._lr_S, self._weight_decay_S, strict=True)
        for (values, means, squares), (lr, decay), *gradient in zip(
            self._views_S, rates, *gradients, strict=True
        ):
            torch._fused_adamw_(
                values,
                gradient,
                means,
                squares,
                [],
                [self._count, self._count],
                lr=self._rate * lr,
                beta1=BETA1,
                beta2=BETA2,
                weight_decay=decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _update_captured(self) -> None:
        """Take the same step by tensors alone: all settings at once, with rates that a captured step reads."""
        for own in self._trained:
            if any(self._weight_decay_S):
                own.value.mul_(self._kept_P1)
            own.mean.lerp_(own.gradient, 1 - BETA1)
            own.square.mul_(BETA2).addcmul_(own.gradient, own.gradient, value=1 - BETA2)
            size = torch.sqrt(own.square, out=own.gradient).add_(self._epsilon)
            own.value.addcmul_(torch.div(own.mean, size, out=size), self._change_P1)


def draw_start(width: int, n_classes: int, generator: torch.Generator) -> torch.Tensor:
    """Return what layers begin with (C, D + 1): weights and, last, the bias, distributed as in `torch.nn.Linear`."""
    return torch.empty(width + 1, n_classes).uniform_(-(width**-0.5), width**-0.5, generator=generator).T


def redistribute(stacks: Sequence[LayerStack], kept: Sequence[int]) -> None:
    """Continue with some settings of several stacks only, in equal shares.

    Parameters
    ----------
    stacks : sequence of LayerStack
        Trained on the same batches for the same number of steps, on the CPU.
    kept : sequence of int
        The settings that continue, as indices into the concatenated settings of all stacks. Stack `k` of `n` takes
        `kept[k::n]`; with fewer settings than stacks, the last stacks take none and must not be trained.
    """
    first = stacks[0]
    weights, biases = (
        _Moments.join([getattr(own, name) for own in stacks]) for name in ("_weights", "_biases")
    )
    lr_S, decay_S = (
        [value for own in stacks for value in getattr(own, name)] for name in ("_lr_S", "_weight_decay_S")
    )
    row_weight_NS = None
    if any(own._row_weight_NS is not None for own in stacks):
        row_weight_NS = torch.cat([own._row_weights() for own in stacks], 1)
    for k, own in enumerate(stacks[: len(kept)]):
        settings_S = torch.tensor(kept[k :: len(stacks)])
        own._lr_S, own._weight_decay_S = ([values[i] for i in settings_S] for values in (lr_S, decay_S))
        rows_P = (settings_S[:, None] * first._n_classes + torch.arange(first._n_classes)).flatten()
        own._weights, own._biases = weights.select(rows_P), biases.select(rows_P)
        own._view_settings()
        own._row_weight_NS = None if row_weight_NS is None else row_weight_NS[:, settings_S]
