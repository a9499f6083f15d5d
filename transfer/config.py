"""What a user may set, checked in one place before any work begins."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transfer.system.errors import UserError, check_choice
from transfer.system.remote import RemotePath, path_of
from transfer.system.user_folders import default_store

SCORE_NAMES = ("accuracy", "macro_f1")
# Where features are computed: in this process, or by workers of a Ray cluster, `ray://HOST:PORT` that one.
LOCAL, RAY = "local", "ray"
REDUCED = "pillow-reduced"
# Settings of which one of these is chosen.
CHOICES = {
    "select": SCORE_NAMES,
    "device": ("auto", "cpu", "cuda"),
    "decoder": ("pillow", REDUCED, "nvjpeg"),
    "channel_order": ("rgb", "bgr"),
    "bn": ("eval", "train"),
    "resize": ("stretch", "letterbox", "crop"),
    "on_bad_image": ("error", "skip"),
}
MIN_SIDE, MAX_SIDE = 32, 8192
SIZE = f"height and width in pixels, {MIN_SIDE} to {MAX_SIDE} each, such as (240, 800)"
EXAMPLES = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
EXPORT_FORMATS = ("onnx", "openvino", "torch")
# What of unfrozen blocks is trained in place of all of their parameters; `lora` has a rank.
ADAPTATIONS = ("lora", "bitfit")
# The method that batch norm in train mode adds.
UNCACHED = "fc-lab-uncached"
BUILT_IN = "lagoon"
REPEAT_GROUPS = "groups"
# Files of data by their suffixes: tables of image files, labels and maybe groups; the last three may hold the images.
TABLES = (".csv", ".tsv", ".parquet", ".arrow", ".tar")
# Arrays of features and labels.
ARRAYS = ".npz"
# What the columns of a table are for, and their names unless others are given.
COLUMNS = ("file", "label", "split", "group", "weight", "features")
LEAST_DRAWS, MOST_DRAWS = 2, 1000
NAMED_WEIGHTS = ("pretrained", "imagenet", "package", "embedded", "random")
# The backbones whose weights come with the package, and whose ImageNet weights come in one of the package index.
BUNDLED_BACKBONE, PACKAGED_BACKBONE = "resnet50", "efficientnet_lite0"


def n_components(step: str) -> int:
    """Return the number of components of a step `pca:N` of `--transform`; 0 of any other."""
    match = re.fullmatch(r"pca:([1-9]\d{0,5})", step)
    return int(match[1]) if match else 0


def check_transform(steps: Sequence[str]) -> None:
    """Raise `UserError` for what is no step of `--transform`, and for `whiten` without components before it."""
    for before, step in itertools.pairwise(("", *steps)):
        if step not in ("l2", "whiten") and not n_components(step):
            raise UserError(f"`transform` has {step!r}; give l2, pca:N or whiten, such as l2,pca:256,whiten")
        if step == "whiten" and not n_components(before):
            raise UserError("`transform` has whiten, which follows pca:N, such as pca:256,whiten")


def check_adapt(adapt: Sequence[str], blocks: Sequence[str]) -> None:
    """Raise `UserError` for what can't be trained in place of all parameters, and where no block is named."""
    kinds = [one.partition(":")[0] for one in adapt]
    if len(set(kinds)) < len(kinds) or not all(
        re.fullmatch(r"lora:[1-9]\d{0,3}|bitfit", one) for one in adapt
    ):
        raise UserError(
            f"`adapt` is {','.join(adapt)!r}; give lora:RANK, bitfit or both, such as lora:8,bitfit"
        )
    if adapt and not blocks:
        raise UserError("`adapt` needs `unfreeze`; name a block, such as layer4")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile the regular expression of `--groups`; raise `UserError` where it is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"`groups` is '{pattern}': {error}; give a regular expression, such as '^\\d{{8}}'"
        ) from None


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of one run; `None` means: decided from the data.

    Examples
    --------
    >>> from transfer import RunConfig
    >>> RunConfig(data="photos", methods=("fc", "svm"), repeats=0).select
    'macro_f1'
    """

    data: str = BUILT_IN
    """A folder of labelled images, a table of their files and labels, files that hold images, a file of features and
    labels, the URL of one of these (`s3://bucket/photos`), or `lagoon`."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of the columns of a table where they are not `file`, `label`, `split` and `group`; an empty one is of no
    column."""
    methods: tuple[str, ...] = ()
    """Names from `transfer.heads.registry.METHODS`; empty means those that are run by default."""
    backbone: str = "resnet50"
    """A network of torchvision, `timm:NAME`, `hf:NAME`, `hf:./FOLDER` or `efficientnet_lite0`."""
    weights: str | None = None
    """`pretrained`, `embedded`, `random`, or the path of a `.safetensors`, `.pth`, `.pt` or `.bin` file; also
    `imagenet` (what `pretrained` is for torchvision's networks) and `package` (for `efficientnet_lite0`)."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel, of pixels from 0 to 1, that the weights were trained with; None: the network's own."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel, likewise."""
    channel_order: str = "rgb"
    """Order of the channels that the weights were trained with, and in which `mean` and `std` are: `rgb` or `bgr`."""
    size: tuple[int, int] | None = None
    """Input height and width in pixels; None: the images' own within bounds if all agree, else the network's."""
    transform: tuple[str, ...] = ()
    """Steps that features take before every head, fitted on training rows: `l2`, `pca:N`, `whiten`."""
    resize: str = "stretch"
    """How images of another size are brought to it: `stretch`, `letterbox` (whole, in their own ratio, centred on
    black) or `crop` (scaled until they cover it, the centre)."""
    layers: tuple[str, ...] = ()
    """Modules whose outputs, averaged over space, are joined to the features; none: what its classifier takes."""
    unfreeze: tuple[str, ...] = ()
    """Blocks of the network: for each a method `unfreeze:BLOCK` that trains it, what follows it and the last layer."""
    adapt: tuple[str, ...] = ()
    """`lora:RANK`, `bitfit`: for each block of `unfreeze` a method more, which trains low-rank updates of its weights
    or its biases alone."""
    views: int = 1
    """Views of each training image that blocks are trained on: the image itself and augmented ones, so many in all."""
    max_cache: int | None = None
    """Bytes of the store that the maps of blocks and views may take; None: what the disk has room for."""
    bn: str = "eval"
    """`train` adds the method `fc-lab-uncached`: batch norm by batch statistics while the last layer is trained."""
    lr: tuple[float, ...] | None = None
    """Learning rates of fine-tuning; None: each method's own."""
    lr_blocks: tuple[float, ...] | None = None
    """Learning rates of blocks, each a training; None: 1e-4 and 1e-3, with `adapt` 1e-3 and 1e-2."""
    epochs: int | None = None
    """Epochs of fine-tuning: so many of `fc-lab` and of what trains with the network, at least so many of `fc`, which
    takes 500 steps where that is more; None: 10."""
    batch_size: int = 128
    """Rows of features in a step of fine-tuning, of blocks at most 32 images (extraction has its own)."""
    seed: int = 0
    groups: str | None = None
    """Regular expression on file names, or a column of the table; images that agree in its first group, the whole
    match or the column stay together."""
    repeats: int | str | None = None
    """On how many other splits the comparison is made again; `groups`: each group is the test split once.
    None: 10 where the data has no test split and at most 300 classes, else 0; not of what `unfreeze` or `bn` adds."""
    select: str = "macro_f1"
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    decoder: str = "pillow"
    """`pillow-reduced` decodes JPEGs at a half, a quarter or an eighth of their size, never to less than twice the size
    that they are scaled to; `nvjpeg` decodes them on a CUDA device."""
    on: str = LOCAL
    """Where features are computed: `local` (in this process), `ray` (by the Ray cluster of RAY_ADDRESS, else by one
    started on this machine for the run) or `ray://HOST:PORT` (by that cluster)."""
    workers: int | None = None
    """Processes of the cluster; None: one on each GPU, or on each machine if there is no GPU."""
    store: Path = field(default_factory=default_store)
    """A folder, or the URL of one (`s3://bucket/cache`)."""
    on_bad_image: str = "error"
    rehash: bool = False
    """Whether files are read again that have not changed since they were last read, as their times and sizes say."""
    from_disk: bool = False
    """Whether features are read from a file on disk, as those are that do not fit into memory."""

    def __post_init__(self) -> None:
        if not self.data:
            raise UserError("`data` is empty; give a folder of labelled images, or lagoon")
        data = path_of(self.data)  # a URL of a kind that is not read is refused at once
        if isinstance(data, RemotePath):  # without a password or a query, which `path_of` knows
            object.__setattr__(self, "data", str(data))
        object.__setattr__(self, "store", path_of(self.store))
        _check_collections(self)
        _convert_numbers(self)
        for name, allowed in CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        check_on(self.on)
        if self.workers is not None and (self.on == LOCAL or self.workers < 1):
            raise UserError(f"`workers` is {self.workers}; give how many of a cluster, and `on='{RAY}'`")
        check_adapt(self.adapt, self.unfreeze)
        for name, is_given in (("unfreeze", self.unfreeze), ("bn", self.bn == "train")):
            if is_given and self.on != LOCAL:
                raise UserError(f"`{name}` computes and trains in this process; leave out `on`")
        _check_maps(self)
        for name, values, least in (("mean", self.mean, 0.0), ("std", self.std, 1 / 256)):
            if values is not None and not (len(values) == 3 and all(least <= one <= 1 for one in values)):
                raise UserError(
                    f"`{name}` is {','.join(f'{one:g}' for one in values)}; give three numbers, one a channel, for "
                    f"pixels from 0 to 1 (those for 0 to 255 divided by 255), such as {EXAMPLES[name]}"
                )
        check_transform(self.transform)
        for name, names in (("layers", self.layers), ("unfreeze", self.unfreeze)):
            if not all(names) or len(set(names)) < len(names):
                raise UserError(f"`{name}` is {','.join(names)!r}; give each once, such as layer3,layer4")
        for name, rates in (("lr", self.lr), ("lr_blocks", self.lr_blocks)):
            if rates is not None and not (rates and all(0 < lr < 10 for lr in rates)):
                raise UserError(
                    f"`{name}` is {rates}; give learning rates between 0 and 10, such as 1e-4,1e-3"
                )
            if rates is not None and len(set(rates)) < len(rates):
                raise UserError(f"`{name}` is {rates}; give every learning rate once")
        if self.groups is not None:
            compile_pattern(self.groups)
        if isinstance(self.repeats, str):
            check_choice("repeats", self.repeats, (REPEAT_GROUPS,))
            path = path_of(self.data)  # a table, or files with images in them, may have a column of groups
            if self.groups is None and path.suffix.lower() not in (*TABLES, ARRAYS) and not path.is_dir():
                raise UserError(
                    "`repeats='groups'` needs `groups`; give a regular expression, such as '^\\d{8}'"
                )
        elif self.repeats is not None and self.repeats < 0:
            raise UserError(f"`repeats` is {self.repeats}; give a whole number from 0 up, or {REPEAT_GROUPS}")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"`seed` is {self.seed}; give a whole number from 0 to {2**32 - 1}")

    @property
    def pretrained_weights(self) -> str:
        """What `pretrained` weights of the backbone are recorded as."""
        if self.backbone == PACKAGED_BACKBONE:
            return "package"
        return "pretrained" if ":" in self.backbone else "imagenet"

    @property
    def weights_or_default(self) -> str:
        """The weights asked for; else the pre-trained ones.

        The built-in images need no network: the default is `embedded` for the bundled backbone, and `random` for
        torchvision's others.
        """
        own = self.pretrained_weights
        if self.weights or self.data != BUILT_IN or own != "imagenet":
            return own if self.weights in (None, "pretrained") else self.weights
        return "embedded" if self.backbone == BUNDLED_BACKBONE else "random"


def _check_collections(config: RunConfig) -> None:
    """Raise `UserError` for lists and columns that are none; None stands for the default of a list."""
    for name in ("methods", "layers", "unfreeze", "adapt", "transform", "lr", "lr_blocks", "mean", "std"):
        value = getattr(config, name)
        if value is None:
            object.__setattr__(config, name, getattr(RunConfig, name))
        elif isinstance(value, str) or not isinstance(value, Iterable):  # text would be taken apart
            example = value.split(",") if isinstance(value, str) else [value]
            raise UserError(f"`{name}` is {value!r}; give a list, such as {example}")
    if not isinstance(config.columns, Mapping):
        raise UserError(f"`columns` is {config.columns!r}; give names by role, such as {{'file': 'path'}}")
    for role in config.columns:
        check_choice("columns", role, COLUMNS)


def _convert_numbers(config: RunConfig) -> None:
    """Convert NumPy numbers to Python's; raise `UserError` for anything else, and for counts below 1."""
    for name in ("workers", "max_cache", "epochs", "batch_size", "views", "seed", "repeats"):
        value = getattr(config, name)
        if value is None or (name == "repeats" and isinstance(value, str)):
            continue
        try:
            object.__setattr__(config, name, operator.index(value))
        except TypeError:
            raise UserError(f"`{name}` is {value!r}; give a whole number") from None
        if name in ("epochs", "batch_size", "views") and value < 1:
            raise UserError(f"`{name}` is {value}; give a whole number from 1 up")
    for name in ("lr", "lr_blocks", "mean", "std", "size"):
        if (values := getattr(config, name)) is not None:
            convert, wanted = (operator.index, SIZE) if name == "size" else (float, "numbers")
            try:
                object.__setattr__(config, name, tuple(map(convert, values)))
            except (TypeError, ValueError):
                raise UserError(f"`{name}` is {values!r}; give {wanted}") from None
    size = config.size
    if size is not None and (len(size) != 2 or min(size) < MIN_SIDE or max(size) > MAX_SIDE):
        raise UserError(f"`size` is {size}; give {SIZE}")


def _check_maps(config: RunConfig) -> None:
    """Raise `UserError` for settings of maps where there are none, and for what has no views."""
    for name in ("views", "max_cache", "lr_blocks"):
        if getattr(config, name) != getattr(RunConfig, name) and not config.unfreeze:
            raise UserError(f"`{name}` concerns blocks that are trained; give `unfreeze` too, such as layer4")
    if config.max_cache is not None and config.max_cache < 1:
        raise UserError(f"`max_cache` is {config.max_cache}; give a number of bytes, such as 20_000_000_000")
    if config.views > 1 and config.decoder == "nvjpeg":
        raise UserError("`views` are made of what Pillow decodes; use `decoder='pillow'`")


def check_on(on: str) -> None:
    """Raise `UserError` unless `on` says where features are to be computed."""
    if on not in (LOCAL, RAY) and not re.fullmatch(r"ray://(\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):\d{1,5}", on):
        raise UserError(f"`on` is {on!r}; choose one of {LOCAL}, {RAY}, {RAY}://HOST:PORT")
