"""A stack of linear layers, trained together by Adam on cross entropy.

N: rows. B: rows of a batch. D: features. C: classes. S: settings. K: seeds. P: S * C layer rows of one seed.
L: layers, S * K, the seeds of a setting side by side.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch

# torch.optim.Adam's defaults, from Kingma and Ba 2015.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

# Steps of an epoch up to which it is captured as one graph; a longer one would take long to build.
CAPTURED_STEPS = 2000


def train_stack(
    x_ND: torch.Tensor,
    y_N: torch.Tensor,
    n_classes: int,
    *,
    lr_S: Sequence[float],
    weight_decay_S: Sequence[float],
    epochs: int,
    batch_size: int,
    seed: int,
    n_seeds: int = 1,
    class_weight_C: torch.Tensor | None = None,
    over: Callable[[torch.Tensor, torch.Tensor], bool] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights `(L, C, D)` and biases `(L, C)` of S * K layers, each as `torch.optim.Adam` would leave it alone.

    `x_ND` float32 and `y_N` int64 lie on the device that does the work. K is `n_seeds`: each setting is trained
    from `seed`, `seed + 1`, … `over` is shown weights and biases after every epoch and ends the training by True.
    """
    stack = Stack(
        x_ND,
        y_N,
        n_classes,
        lr_S=lr_S,
        weight_decay_S=weight_decay_S,
        batch_size=batch_size,
        seeds=range(seed, seed + n_seeds),
        class_weight_C=class_weight_C,
    )
    for epoch in range(epochs):
        if epoch == 1 and x_ND.is_cuda and len(x_ND) <= CAPTURED_STEPS * batch_size:
            stack.capture()
        stack.epoch()
        if over is not None and over(*stack.layers()):
            break
    return stack.layers()


class Stack:
    """S settings from each of K seeds: weights `(K, P, D)`, all buffers and the state of Adam.

    Settings of one seed start from the same draw (that of `torch.nn.Linear`) and see the same batches, so one
    product with the batch serves the forward passes of all, and one the gradients. The cross entropy is that of
    `torch.nn.CrossEntropyLoss(weight=class_weight_C)`: a mean over the batch, weighted by the rows' classes.
    """

    def __init__(
        self,
        x_ND: torch.Tensor,
        y_N: torch.Tensor,
        n_classes: int,
        *,
        lr_S: Sequence[float],
        weight_decay_S: Sequence[float],
        batch_size: int,
        seeds: Sequence[int],
        class_weight_C: torch.Tensor | None = None,
    ) -> None:
        (n_rows, width), n_seeds, device = x_ND.shape, len(seeds), x_ND.device
        self._x_ND = x_ND
        self._truth_NC = torch.nn.functional.one_hot(y_N, n_classes).to(x_ND.dtype)
        self._cost_N = None if class_weight_C is None else class_weight_C[y_N]
        # On the processor: the same draws for every device.
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._order_KN = torch.empty(n_seeds, n_rows, dtype=torch.int64, device=device)
        self._batch_size = batch_size
        self._x_RD = x_ND.new_empty(n_seeds * min(batch_size, n_rows), width)
        self._shape = (n_seeds, len(lr_S), n_classes)

        bound = width**-0.5
        starts = [
            torch.empty(width + 1, n_classes).uniform_(-bound, bound, generator=g) for g in self._generators
        ]
        start_KCD = torch.stack(starts).to(device).transpose(1, 2).repeat(1, len(lr_S), 1)
        self._w_KPD, self._b_KP = start_KCD[:, :, :-1].contiguous(), start_KCD[:, :, -1].contiguous()
        self._slope_KPD, self._slope_KP = torch.zeros_like(self._w_KPD), torch.zeros_like(self._b_KP)
        state = [(torch.zeros_like(self._w_KPD), torch.zeros_like(self._b_KP)) for _ in range(2)]
        self._step_1 = torch.zeros((), device=device)
        # Adam's kernel takes one learning rate a call: a setting's gets that setting's rows of every tensor.
        self._adam = []
        for s, (lr, weight_decay) in enumerate(zip(lr_S, weight_decay_S, strict=True)):
            own = slice(s * n_classes, (s + 1) * n_classes)
            lists = [
                [part for tensor in pair for part in tensor[:, own].unbind()]
                for pair in ((self._w_KPD, self._b_KP), (self._slope_KPD, self._slope_KP), *state)
            ]
            self._adam.append((lr, weight_decay, lists))
        self._run: Callable[[], None] = self._steps

    def epoch(self) -> None:
        """Train on every row once, in an order drawn for each seed."""
        n_rows = len(self._x_ND)
        orders = [torch.randperm(n_rows, generator=generator) for generator in self._generators]
        self._order_KN.copy_(torch.stack(orders))
        self._run()

    def capture(self) -> None:
        """Let every later epoch be the replay of one CUDA graph; one that can't be captured stays as it is.

        To be called after the first epoch: what libraries set up in their first call can't be captured.
        """
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._steps()
        except RuntimeError as failure:
            warnings.warn(f"epochs are not captured as a CUDA graph: {failure}", stacklevel=2)
        else:
            self._run = graph.replay

    def layers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (L, C, D) and biases (L, C), as they are now."""
        n_seeds, n_settings, n_classes = self._shape
        w_KSCD = self._w_KPD.view(n_seeds, n_settings, n_classes, -1)
        b_KSC = self._b_KP.view(n_seeds, n_settings, n_classes)
        return w_KSCD.transpose(0, 1).flatten(0, 1), b_KSC.transpose(0, 1).flatten(0, 1)

    def _steps(self) -> None:
        batches = torch.split(self._order_KN, self._batch_size, 1)
        truths = torch.split(self._truth_NC[self._order_KN], self._batch_size, 1)
        for rows_KB, truth_KBC in zip(batches, truths, strict=True):
            self._step(rows_KB, truth_KBC)

    def _step(self, rows_KB: torch.Tensor, truth_KBC: torch.Tensor) -> None:
        n_seeds, n_settings, n_classes = self._shape
        n_rows = rows_KB.shape[1]
        x_KBD = self._x_RD[: rows_KB.numel()].view(n_seeds, n_rows, -1)
        torch.index_select(self._x_ND, 0, rows_KB.flatten(), out=x_KBD.flatten(0, 1))
        logits_KBP = torch.baddbmm(self._b_KP[:, None], x_KBD, self._w_KPD.transpose(1, 2))
        # The gradient of the mean cross entropy by its logits.
        slope_KBSC = logits_KBP.view(n_seeds, n_rows, n_settings, n_classes).softmax(3)
        slope_KBSC.sub_(truth_KBC[:, :, None])
        if self._cost_N is None:
            slope_KBSC.div_(n_rows)
        else:
            cost_KB = self._cost_N[rows_KB]
            # Where no row of the batch has a weight, torch's loss is 0 / 0; here nothing is learned from it.
            total_K1 = cost_KB.sum(1, keepdim=True).clamp_min_(torch.finfo(cost_KB.dtype).tiny)
            slope_KBSC.mul_((cost_KB / total_K1)[:, :, None, None])
        slope_KBP = slope_KBSC.flatten(2)
        torch.bmm(slope_KBP.transpose(1, 2), x_KBD, out=self._slope_KPD)
        torch.sum(slope_KBP, 1, out=self._slope_KP)
        self._step_1.add_(1)
        for lr, weight_decay, (weights, slopes, means, squares) in self._adam:
            # What torch.optim.Adam(fused=True) calls; its own bookkeeping takes a seventh of the step besides.
            torch._fused_adam_(
                weights,
                slopes,
                means,
                squares,
                [],
                [self._step_1] * len(weights),
                lr=lr,
                beta1=BETA1,
                beta2=BETA2,
                weight_decay=weight_decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )
