"""Which engines and precisions may be tried, given the user's choice and this machine."""

from __future__ import annotations

from transfer.engines import ENGINES, Plan
from transfer.system import gpus
from transfer.system.errors import UserError, check_choice
from transfer.system.hardware import has_bf16, installed_version, usable_cores

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
# Images in a forward pass. On a processor 8 fill the cores already, and more do not fit into its caches.
BATCH = {"cpu": 8, "cuda": 128}


def check_names(engine: str, precision: str) -> None:
    """Raise `UserError` for an engine or a precision that is not there."""
    check_choice("engine", engine, ("auto", *ENGINES))
    check_choice("precision", precision, ("auto", *PRECISIONS))


def list_options(engine: str, precision: str, device: str) -> tuple[Plan, ...]:
    """List the plans that a user's choice leaves open on this machine.

    Parameters
    ----------
    engine : str
        Of `ENGINES`, or `auto` for any.
    precision : str
        Of `PRECISIONS`, or `auto` for those that the hardware multiplies fast; never int8, whose error is of another
        size.
    device : str
        `cpu`, `cuda` or `auto`.

    Returns
    -------
    tuple of Plan
        All of one device; the plainest first.

    Raises
    ------
    UserError
        Where none is left.
    """
    check_names(engine, precision)
    device = pick_device(device)
    engines = [name for name in ENGINES if _precisions(name, device) and engine in ("auto", name)]
    if not engines:
        raise UserError(f"`engine='{engine}'` runs on processors only; use `device='cpu'`")
    engines = [name for name in engines if _is_installed(name, engine, precision)]
    precisions = _fast_precisions(device) if precision == "auto" else (precision,)
    found = tuple(
        Plan(engine=name, precision=p, device=device, threads=usable_cores(), batch=BATCH[device])
        for p in precisions
        for name in engines
        if p in _precisions(name, device)
    )
    if not found:
        raise UserError(_impossible(engine, precision, device))
    return found


def version(engine: str) -> str:
    """Return what of an engine, other than the version of torch, its features may depend on."""
    spec = ENGINES[engine]
    packages = [f"{package} {installed_version(package)}" for package in spec.packages]
    return ", ".join(filter(None, [spec.variant, *packages]))


def pick_device(device: str) -> str:
    """Resolve `auto` to `cuda` where there is a CUDA device, else to `cpu`; `UserError` for one that is not there."""
    if device == "cuda" and not gpus.is_available():
        raise UserError("`device` is cuda, but torch sees no CUDA device here; use `device='cpu'`")
    return gpus.resolve_device(device)


def multiplies_bf16(device: str) -> bool:
    """Return whether `cpu` or `cuda` multiplies bf16 in hardware; emulated, it is slower than fp32."""
    if device == "cpu":
        return has_bf16()
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _precisions(engine: str, device: str) -> tuple[str, ...]:
    return ENGINES[engine].precisions.get(device, ())


def _fast_precisions(device: str) -> tuple[str, ...]:
    if multiplies_bf16(device):
        return ("fp32", "bf16")
    # GPUs of before 2020 have tensor cores for fp16 alone.
    return ("fp32", "fp16") if device == "cuda" else ("fp32",)


def _is_installed(name: str, engine: str, precision: str) -> bool:
    """Whether the packages of an engine are there, NNCF too for int8; `UserError` where the user asked for it."""
    spec = ENGINES[name]
    quantises = precision == "int8" and "int8" in spec.precisions.get("cpu", ())
    needed = [*spec.packages, *(["nncf"] if quantises else [])]
    missing = [package for package in needed if not installed_version(package)]
    if missing and (engine == name or precision == "int8"):
        what = "`precision='int8'`" if precision == "int8" else f"`engine='{engine}'`"
        raise UserError(f"{what} needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    return not missing


def _impossible(engine: str, precision: str, device: str) -> str:
    if precision == "fp16" and device == "cpu":
        return "`precision` is fp16, which processors only emulate; choose bf16 or fp32, or a GPU"
    if precision == "int8" and device == "cuda":
        return "`precision='int8'` runs on processors only; choose fp16 or bf16, or `device='cpu'`"
    possible = ", ".join(_precisions(engine, device))
    return f"`engine='{engine}'` can't do `precision='{precision}'` on {device}; it can do {possible}"
