"""`python -m tools.pretrain FOLDER`: train on drawn pictures, resume if interrupted, write the weights at the end."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save

from tools.pretrain.training import Recipe, Step, Training
from transfer.config import CHOICES
from transfer.engines.options import pick_device
from transfer.system import files, signals
from transfer.system.errors import UserError
from transfer.system.timer import now

SHOWN_EVERY_S = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Train for some minutes, or to the end; return 0 when the weights were written, 3 before."""
    parser = argparse.ArgumentParser(prog="python -m tools.pretrain", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the checkpoint, and of weights.safetensors")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after that time; start again to resume"
    )
    parser.add_argument(
        "--device", default="auto", choices=CHOICES["device"], help="(a GPU where there is one)"
    )
    for field in dataclasses.fields(Recipe):
        kind = type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    args = parser.parse_args(argv)
    recipe = Recipe(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Recipe)})
    try:
        with signals.stoppable():
            return _trained(recipe, args.folder, args.device, args.minutes)
    except KeyboardInterrupt:
        print("pretrain: interrupted; give the folder again to resume from its checkpoint", file=sys.stderr)
        return signals.INTERRUPTED
    except UserError as error:
        print(f"pretrain: {error}", file=sys.stderr)
        return 2


def _trained(recipe: Recipe, folder: Path, device: str, minutes: float) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    training = Training(recipe, folder, pick_device(device))
    if not training.run(now() + 60 * minutes, _Shown(recipe.steps)):
        return 3
    state = {
        key: value.half() if value.is_floating_point() else value for key, value in training.weights().items()
    }
    files.write(folder / "weights.safetensors", save(state))
    return 0


class _Shown:
    """A line about every ten seconds, with the means since the last one."""

    def __init__(self, steps: int) -> None:
        self.steps, self.met, self.since = steps, list[Step](), time.monotonic()

    def __call__(self, step: Step) -> None:
        self.met.append(step)
        if time.monotonic() - self.since > SHOWN_EVERY_S or step.step == self.steps:
            mean = {
                name: torch.stack([getattr(one, name) for one in self.met]).mean().item()
                for name in ("loss", "foreground", "background")
            }
            seconds = time.monotonic() - self.since  # the means have waited for the device
            means = ", ".join(f"{name} {value:.3f}" for name, value in mean.items())
            print(
                f"step {step.step} of {self.steps}: {means}, {len(self.met) / seconds:.2f} steps/s",
                flush=True,
            )
            self.met, self.since = [], time.monotonic()


if __name__ == "__main__":
    sys.exit(main())
