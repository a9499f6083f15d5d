"""Networks with the blocks of torchvision's and few of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.models import (
    ConvNeXt,
    DenseNet,
    EfficientNet,
    MaxVit,
    MobileNetV3,
    RegNet,
    ResNet,
    ShuffleNetV2,
    SwinTransformer,
    VisionTransformer,
)
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import BasicBlock
from torchvision.models.swin_transformer import (
    PatchMerging,
    PatchMergingV2,
    SwinTransformerBlock,
    SwinTransformerBlockV2,
)


class _Plain(nn.Sequential):
    """Two convolutions with batch norm, for what an engine promises of any network."""

    def __init__(self) -> None:
        layers = [nn.Conv2d(3, 16, 3, stride=4), nn.BatchNorm2d(16), nn.ReLU()]
        layers += [nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1000))


def _shallow_swin(block: type[nn.Module], merging: type[nn.Module], window: int) -> nn.Module:
    return SwinTransformer(
        patch_size=[4, 4],
        embed_dim=96,
        depths=[2, 2],
        num_heads=[3, 6],
        window_size=[window, window],
        block=block,
        downsample_layer=merging,
    )


# The blocks of these networks, few of each: what an engine may get wrong is a kind of block, while its seconds go
# into their number. Settings are those that torchvision gives the networks by these names.
SHALLOW: dict[str, Callable[[], nn.Module]] = {
    "convnext_tiny": lambda: ConvNeXt([CNBlockConfig(96, 192, 2), CNBlockConfig(192, None, 1)]),
    "densenet121": lambda: DenseNet(32, (4, 4, 4)),
    "efficientnet_b0": lambda: EfficientNet(
        [MBConvConfig(1, 3, 1, 32, 16, 1), MBConvConfig(6, 5, 2, 16, 40, 2)], dropout=0.2, last_channel=1280
    ),
    "efficientnet_v2_s": lambda: EfficientNet(
        [
            FusedMBConvConfig(1, 3, 1, 24, 24, 1),
            FusedMBConvConfig(4, 3, 2, 24, 48, 1),
            MBConvConfig(4, 3, 2, 48, 64, 2),
        ],
        dropout=0.2,
        last_channel=1280,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
    ),
    "maxvit_t": lambda: MaxVit((112, 112), 64, 7, [64, 128], [1, 1], 32, 0.2),
    "mobilenet_v3_small": lambda: MobileNetV3(
        [
            InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1),
            InvertedResidualConfig(16, 5, 96, 40, True, "HS", 2, 1, 1),
        ],
        1024,
    ),
    "plain": _Plain,
    "regnet_y_400mf": lambda: RegNet(BlockParams.from_init_params(4, 48, 27.89, 2.09, 8, se_ratio=0.25)),
    "resnet34": lambda: ResNet(BasicBlock, [1, 1, 1, 1]),
    "shufflenet_v2_x0_5": lambda: ShuffleNetV2([2, 1, 1], [24, 48, 96, 192, 1024]),
    "swin_t": lambda: _shallow_swin(SwinTransformerBlock, PatchMerging, 7),
    "swin_v2_t": lambda: _shallow_swin(SwinTransformerBlockV2, PatchMergingV2, 8),
    "vit_b_32": lambda: VisionTransformer(224, 32, 2, 12, 768, 3072),
}
