"""What a configuration comes to on this machine: decided once, before any image is read, and handed down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from transfer.backbones.choice import Maps, WeightsChoice, choose_weights
from transfer.cache.store import Store
from transfer.config import LOCAL, REDUCED, RunConfig
from transfer.data.known_files import KnownFiles
from transfer.data.resize import Resizing
from transfer.engines import Plan
from transfer.engines.autotune import AGREES, SANE
from transfer.engines.options import check_names, list_options
from transfer.system.errors import UserError, check_installed

# In the store: the database of the files that were read before.
KNOWN_FILES = "known-files.sqlite"


@dataclass(frozen=True, kw_only=True)
class ClusterRequest:
    """A cluster that is to compute features, and what was asked of its engines: its machines say what they can do."""

    on: str
    """`ray`, or `ray://HOST:PORT`."""
    workers: int | None
    engine: str
    precision: str
    device: str


@dataclass(frozen=True, kw_only=True)
class MapsRequest:
    """The maps of blocks that are trained, and what they may take in the store."""

    blocks: tuple[str, ...]
    dtype: str
    """`bfloat16` or `float32`."""
    views: int
    """Of each training image, itself included."""
    views_of_all: bool
    """Whether any image may be a training image: on other splits, that repeats are made on."""
    seed: int
    """Of the views."""
    max_bytes: int | None

    def of(self, blocks: Iterable[str]) -> tuple[Maps, ...]:
        """Return the maps of some of the blocks."""
        return tuple(Maps(block=block, dtype=self.dtype) for block in blocks)


@dataclass(frozen=True, kw_only=True)
class ExtractionPlan:
    """Everything that is needed to compute features but the images."""

    weights: WeightsChoice
    options: tuple[Plan, ...]
    """Engines and precisions that may be taken, all on one device; the plainest first. Those of a cluster are known
    once it is connected to."""
    least_cosine: float
    """Of features with those of plain fp32; what is below is not used."""
    may_change_precision: bool
    """Whether a precision in which features overflow may be replaced by another."""
    size: tuple[int, int] | None
    """Height and width in pixels that the network is to see; None: decided from the images."""
    decoder: str
    store: Store
    known: KnownFiles
    """Image files that were read before."""
    on_bad_image: str
    from_disk: bool
    """Whether features are held on disk even where they fit into memory."""
    cluster: ClusterRequest | None = None
    """Where features are computed; None: in this process."""
    maps: MapsRequest | None = None
    """What blocks are trained on; None where none are."""

    @property
    def device(self) -> str:
        """The device that all options run on."""
        return self.options[0].device

    @property
    def resizing(self) -> Resizing:
        """How images are brought to the input size."""
        return replace(self.weights.preprocessing.resizing, reduced=self.decoder == REDUCED)

    @property
    def threads(self) -> int:
        """Threads for decoding and for the forward pass."""
        return self.options[0].threads


def plan_extraction(config: RunConfig) -> ExtractionPlan:
    """Resolve a configuration on this machine.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    ExtractionPlan

    Raises
    ------
    UserError
        For all that can be known to be wrong before an image is read.
    """
    chosen = choose_weights(config)
    asked = {"engine": config.engine, "precision": config.precision, "device": config.device}
    if config.on == LOCAL:
        cluster, options = None, list_options(**asked)
        check_decoder(config.decoder, options[0].device)
    else:
        check_installed("ray", f"`on='{config.on}'`", "ray[client]")
        check_names(config.engine, config.precision)
        cluster, options = ClusterRequest(on=config.on, workers=config.workers, **asked), ()
    return ExtractionPlan(
        weights=chosen,
        options=options,
        least_cosine=SANE if config.precision in ("bf16", "fp16") else AGREES,
        may_change_precision=config.precision == "auto",
        size=config.size,
        decoder=config.decoder,
        store=Store(config.store),
        known=known_files(config),
        on_bad_image=config.on_bad_image,
        from_disk=config.from_disk,
        cluster=cluster,
        maps=_request_maps(config) if config.unfreeze else None,
    )


def _request_maps(config: RunConfig) -> MapsRequest:
    return MapsRequest(
        blocks=config.unfreeze,
        dtype="float32" if config.precision == "fp32" else "bfloat16",
        views=config.views,
        views_of_all=bool(config.repeats) and not config.from_disk,
        seed=config.seed,
        max_bytes=config.max_cache,
    )


def check_decoder(decoder: str, device: str) -> None:
    """Raise `UserError` for a decoder that does not run on the device."""
    if decoder == "nvjpeg" and device != "cuda":
        raise UserError("`decoder='nvjpeg'` runs on a CUDA device; use `decoder='pillow'`")


def known_files(config: RunConfig) -> KnownFiles:
    """Return the image files that were read before, as the store knows them."""
    return KnownFiles(Store(config.store).root / KNOWN_FILES, rehash=config.rehash)


def check_size(plan: ExtractionPlan) -> None:
    """Raise `UserError` for a size that the network does not take, as far as that is known without its weights."""
    if plan.size is None:
        return
    import torch

    from transfer.backbones import networks

    chosen = plan.weights
    try:
        with torch.device("meta"):  # no values: neither memory nor time
            network, _ = networks.cut(chosen.backbone, chosen.normalisation, chosen.settings)
    except (NotImplementedError, RuntimeError):  # it reads values while it is built: checked with its weights
        return
    own = chosen.preprocessing.size
    networks.measure_at_size(
        networks.at_size(network, chosen.backbone, plan.size, own), chosen.backbone, plan.size, own
    )
