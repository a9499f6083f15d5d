from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models, transforms

from tests.cases import split_cases
from tests.refusals import refusal
from transfer.backbones import networks, torchvision_files
from transfer.backbones.checkpoint import State
from transfer.backbones.pixels import normalise
from transfer.backbones.preprocessing import Normalisation
from transfer.backbones.sources import check_name
from transfer.system.errors import UserError

pytestmark = pytest.mark.slow
# Where each network keeps the layer that turns features into classes, and how many features it takes.
LAST: dict[str, tuple[str, int]] = {
    "alexnet": ("classifier.6", 4096),
    "convnext_tiny": ("classifier.2", 768),
    "densenet121": ("classifier", 1024),
    "efficientnet_b0": ("classifier.1", 1280),
    "googlenet": ("fc", 1024),
    "inception_v3": ("fc", 2048),
    "mnasnet0_5": ("classifier.1", 1280),
    "mobilenet_v2": ("classifier.1", 1280),
    "mobilenet_v3_small": ("classifier.3", 1024),
    "regnet_y_400mf": ("fc", 440),
    "resnet18": ("fc", 512),
    "resnext50_32x4d": ("fc", 2048),
    "shufflenet_v2_x0_5": ("fc", 1024),
    "swin_t": ("head", 768),
    "vgg11": ("classifier.6", 4096),
    "vit_b_16": ("heads.head", 768),
}
WIDTH = {
    "efficientnet_v2_s": 1280,
    "maxvit_t": 512,
    "mobilenet_v3_large": 1280,
    "swin_v2_t": 768,
    "vgg19_bn": 4096,
    "wide_resnet50_2": 2048,
}


@pytest.fixture
def quick_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the initial draw of weights that a test replaces anyway: for VGG11 that is seconds."""
    for name in dir(nn.init):
        if re.fullmatch(r"(kaiming|xavier|trunc)?_?(uniform|normal)_", name):
            monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


def lively(name: str, size: tuple[int, int] = (96, 96)) -> nn.Module:
    """A whole torchvision network in eval mode whose answers hang on its input.

    Untrained networks answer everything with nearly the same, some with zero: any cut would agree with them.
    """
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network = models.get_model(name, weights=None, **options).eval()
    if hasattr(network, "transform_input"):
        network.transform_input = True  # as it is with torchvision's weights
    block = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if parameter.dim() > 1 or key.endswith("bias"):
                count = parameter.numel()
                values = block.repeat(-(-count // len(block)))[:count].view_as(parameter)
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 100
                parameter.copy_(values).mul_((2 / fan_in) ** 0.5)
        norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        if norms:
            network(pictures(4, size, seed=9))
    return network.eval()


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Normalised images `(N, 3, H, W)`."""
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def raw_pictures(count: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """uint8 images `(N, 3, H, W)`, each of a brightness of its own."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (count, 3, *size), generator=generator)
    return (x * torch.linspace(0.2, 1, count).view(-1, 1, 1, 1)).to(torch.uint8)


def size_for(name: str) -> tuple[int, int]:
    return (224, 224) if name.startswith("vit") else (96, 96)


@pytest.fixture
def few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the search for a network that misfitting weights fit among all that torchvision has."""
    monkeypatch.setattr(torchvision_files, "names", lambda: ["resnet18", "resnet34"])


def resnet18_state() -> State:
    return dict(models.resnet18().state_dict())


@pytest.mark.usefixtures("quick_init")
@pytest.mark.parametrize(
    "name", split_cases(LAST, usual=["densenet121", "googlenet", "mobilenet_v3_small", "resnet18"])
)
def test_the_cut_network_and_the_removed_layer_are_the_whole_network(name: str) -> None:
    layer, width = LAST[name]
    whole = lively(name, size_for(name))
    cut = networks.build(name, whole.state_dict())
    x = pictures(2, size_for(name))
    with torch.inference_mode():
        features, answers = cut(x), whole(x)
        rebuilt = whole.get_submodule(layer)(features)
    assert features.shape == (2, width)
    scale = answers.std()
    assert answers.isfinite().all()
    assert (answers[0] - answers[1]).std() > 1e-3 * scale
    torch.testing.assert_close(rebuilt / scale, answers / scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", split_cases(WIDTH, usual=["mobilenet_v3_large", "swin_v2_t"]))
def test_only_a_layer_of_a_thousand_classes_is_removed(name: str) -> None:
    width = WIDTH[name]
    with torch.device("meta"), torch.inference_mode():
        state = models.get_model(name, weights=None).state_dict()
        cut = networks.cut(name)[0].eval()
        assert cut(torch.empty(2, 3, 224, 224)).shape == (2, width)
    removed = state.keys() - cut.state_dict().keys()
    assert len({key.rpartition(".")[0] for key in removed}) == 1
    assert {tuple(state[key].shape) for key in removed} <= {(1000,), (1000, width)}


@pytest.mark.usefixtures("quick_init")
def test_squeezenet_is_cut_before_its_last_convolution() -> None:
    whole = lively("squeezenet1_1")
    cut = networks.build("squeezenet1_1", whole.state_dict())
    x = pictures(2, (96, 96))
    with torch.inference_mode():
        features = cut(x)
        expected = whole.features(x).relu().mean((2, 3))
    assert features.shape == (2, 512)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("quick_init")
def test_resnet50_gives_the_classical_features_of_a_wide_photograph() -> None:
    whole = lively("resnet50", (96, 96))
    classical = nn.Sequential(*list(whole.children())[:-2], nn.AdaptiveAvgPool2d((1, 1)))
    x = pictures(1, (240, 800))
    with torch.inference_mode():
        features = networks.build("resnet50", whole.state_dict())(x)
        expected = classical(x).flatten(1)
    assert features.shape == (1, 2048)
    assert expected.std() > 0.01
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("quick_init")
@pytest.mark.parametrize("classes", [None, 1, 16])
def test_the_removed_layer_may_be_absent_or_of_any_shape(classes: int | None) -> None:
    whole = lively("resnet18")
    state = {key: value for key, value in whole.state_dict().items() if not key.startswith("fc.")}
    if classes:
        state |= {"fc.weight": torch.zeros(classes, 512), "fc.bias": torch.zeros(classes)}
    x = pictures(1, (64, 64))
    whole.fc = nn.Identity()
    with torch.inference_mode():
        torch.testing.assert_close(networks.build("resnet18", state)(x), whole(x), rtol=0, atol=0)


def test_building_leaves_the_given_state_alone() -> None:
    state = resnet18_state()
    before = set(state)
    network = networks.build("resnet18", state)
    assert set(state) == before
    assert network.conv1.weight.data_ptr() != state["conv1.weight"].data_ptr()


@pytest.mark.usefixtures("few_networks", "quick_init")
@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("missing", ["missing", "layer1.0.conv1.weight"]),
        ("unexpected", ["unexpected", "layer1.2.conv1.weight"]),
        ("wrong", ["shape", "conv1.weight"]),
        ("all", ["missing", "layer1.0.conv1.weight", "unexpected", "head.weight", "shape", "conv1.weight"]),
    ],
)
def test_weights_that_do_not_fit_are_reported_by_key(kind: str, parts: list[str]) -> None:
    state = resnet18_state()
    if kind in ("missing", "all"):
        del state["layer1.0.conv1.weight"]
    if kind == "unexpected":
        state["layer1.2.conv1.weight"] = torch.zeros(1)
    if kind == "all":
        state["head.weight"] = torch.zeros(1)
    if kind in ("wrong", "all"):
        state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    message = refusal(networks.build, "resnet18", state)
    for part in ["resnet18", *parts]:
        assert part in message
    for other in {"missing", "unexpected", "shape"} - set(parts):
        assert other not in message


def test_the_weights_of_another_network_are_refused_in_a_short_line() -> None:
    message = refusal(networks.build, "resnet18", dict(models.squeezenet1_1().state_dict()))
    assert "missing" in message
    assert "unexpected" in message
    assert "more" in message
    assert len(message) < 400


def test_an_empty_state_is_refused() -> None:
    assert "missing" in refusal(networks.build, "resnet18", {})


@pytest.mark.usefixtures("quick_init")
def test_batch_norms_without_a_count_of_batches_load() -> None:
    """As in torchvision's own files from before PyTorch 0.4.1."""
    whole = lively("resnet18")
    state = {key: value for key, value in whole.state_dict().items() if "num_batches_tracked" not in key}
    models.resnet18().load_state_dict(state)
    x = pictures(1, (64, 64))
    with torch.inference_mode():
        torch.testing.assert_close(whole.fc(networks.build("resnet18", state)(x)), whole(x))


@pytest.mark.usefixtures("quick_init")
def test_densenets_as_torchvision_publishes_them_load() -> None:
    """Torchvision's DenseNet files name their layers `norm.1`, which its own loader turns into `norm1`."""
    whole = lively("densenet121")
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): value
        for key, value in whole.state_dict().items()
        if "num_batches_tracked" not in key
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    x = pictures(1, (96, 96))
    with torch.inference_mode():
        features = networks.build("densenet121", state)(x)
        torch.testing.assert_close(whole.classifier(features), whole(x), rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures("quick_init")
def test_vision_transformers_as_torchvision_publishes_them_load() -> None:
    """Torchvision's first ViT files name layers `linear_1` and `linear_2`; its modules load them all the same."""
    whole = lively("vit_b_16")
    renamed = {"mlp.0": "mlp.linear_1", "mlp.3": "mlp.linear_2"}
    state = {
        re.sub(r"mlp\.[03]", lambda found: renamed[found[0]], key): value
        for key, value in whole.state_dict().items()
    }
    models.vit_b_16().load_state_dict(state)
    x = pictures(1, (224, 224))
    with torch.inference_mode():
        features = networks.build("vit_b_16", state)(x)
        torch.testing.assert_close(whole.heads(features), whole(x), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_the_network_is_frozen_and_in_eval_mode(name: str) -> None:
    network = networks.build(name, dict(models.get_model(name).state_dict()))
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(part.training for part in network.modules())
    assert not network(pictures(1, (64, 64))).requires_grad


@pytest.mark.usefixtures("quick_init")
def test_vision_transformers_refuse_other_sizes_and_suggest_one() -> None:
    network = models.vit_b_16()
    message = refusal(networks.measure_at_size, network, "vit_b_16", (240, 800))
    for part in ("vit_b_16", "240x800", "224x224"):
        assert part in message
    networks.measure_at_size(network, "vit_b_16", (224, 224))


@pytest.mark.usefixtures("quick_init")
def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(UserError, match="alexnet can't take images of 32x32 .*224x224"):
        networks.measure_at_size(models.alexnet(), "alexnet", (32, 32))


def test_a_network_that_fails_without_a_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(networks, "count_activation_bytes", fails)
    message = refusal(networks.measure_at_size, nn.Identity(), "mine", (32, 32))
    assert "mine can't take images of 32x32 (AssertionError)" in message


def test_a_want_of_memory_says_nothing_about_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(networks, "count_activation_bytes", fails)
    with pytest.raises(MemoryError):
        networks.measure_at_size(nn.Identity(), "resnet18", (64, 64))


def test_convolutional_networks_take_wide_photographs() -> None:
    networks.measure_at_size(models.resnet18().eval(), "resnet18", (240, 800))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet5", "resnet50"),
        ("ResNet50", "resnet50"),
        ("vit-b-16", "vit_b_16"),
        ("mobilenetv2", "mobilenet_v2"),
        ("zzz", "resnet50"),
        ("", "resnet50"),
    ],
)
def test_an_unknown_network_brings_a_suggestion(name: str, hint: str) -> None:
    message = refusal(check_name, name)
    assert repr(name) in message
    assert hint in message.split(";")[1]


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "fcn_resnet50", "r3d_18", "raft_small"])
def test_networks_for_other_tasks_are_unknown(name: str) -> None:
    assert name in models.list_models()
    with pytest.raises(UserError):
        check_name(name)


@pytest.mark.parametrize("name", [*LAST, "squeezenet1_1", "resnet50", "vit_h_14"])
def test_classification_networks_are_known(name: str) -> None:
    check_name(name)
    assert name in torchvision_files.names()


def test_normalising_is_torchvisions() -> None:
    x = raw_pictures(3, (8, 12))
    usual = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    )
    expected = torch.stack([usual(image.permute(1, 2, 0).numpy()) for image in x])
    found = normalise(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_googlenet_scales_again_unless_another_normalisation_is_given() -> None:
    state = dict(models.googlenet(weights=None, init_weights=False, aux_logits=False).state_dict())
    assert networks.build("googlenet", state).transform_input is True
    half = Normalisation((0.5,) * 3, (0.5,) * 3)
    assert networks.build("googlenet", state, half).transform_input is False


def batches_of(*counts: int, size: tuple[int, int] = (64, 64)) -> list[torch.Tensor]:
    return [raw_pictures(count, size, seed=i) for i, count in enumerate(counts)]


def same_bits(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_random_weights_hang_on_the_seed_alone(name: str) -> None:
    batches = batches_of(4)
    torch.manual_seed(1)
    first = networks.random_state(name, seed=5, batches=batches)
    torch.manual_seed(2)
    second = networks.random_state(name, seed=5, batches=batches)
    assert same_bits(first, second)
    other = networks.random_state(name, seed=6, batches=batches)
    assert not any(torch.equal(first[key], other[key]) for key in first if first[key].dim() > 1)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_random_weights_leave_torchs_generator_alone(name: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    networks.random_state(name, seed=5, batches=batches_of(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_random_weights_are_those_that_torchvision_draws() -> None:
    found = networks.random_state("resnet18", seed=5, batches=batches_of(2))
    torch.manual_seed(5)
    drawn = models.resnet18().state_dict()
    assert found.keys() == {key for key in drawn if not key.startswith("fc.")}
    for key, value in found.items():
        if "running" not in key and "num_batches" not in key:
            assert torch.equal(value, drawn[key]), key


def test_batch_norm_statistics_are_those_of_update_bn() -> None:
    batches = batches_of(6, 4, 2)
    found = networks.random_state("resnet18", seed=0, batches=batches)
    usual = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    network = models.resnet18()
    network.load_state_dict(found, strict=False)
    torch.optim.swa_utils.update_bn([usual(x.float() / 255) for x in batches], network)
    expected = network.state_dict()
    statistics = [key for key in found if "running" in key]
    assert len(statistics) == 40
    for key in statistics:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-4, atol=1e-5)
    fresh = models.resnet18().state_dict()
    assert not any(torch.equal(found[key], fresh[key]) for key in statistics)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "convnext_tiny"])
def test_random_features_are_finite_and_tell_images_apart(name: str) -> None:
    batches = batches_of(8)
    network = networks.build(name, networks.random_state(name, seed=0, batches=batches))
    with torch.inference_mode():
        features = network(normalise(batches[0]))
    assert features.isfinite().all()
    distances = torch.cdist(features, features) / features.norm(dim=1).mean()
    assert distances[~torch.eye(8, dtype=torch.bool)].min() > 1e-3


def test_a_network_without_batch_norm_needs_no_images() -> None:
    def refuse() -> Any:
        raise AssertionError("images were asked for")
        yield

    state = networks.random_state("squeezenet1_1", seed=0, batches=refuse())
    torch.manual_seed(0)
    drawn = models.squeezenet1_1().state_dict()
    assert state.keys() == {key for key in drawn if not key.startswith("classifier.")}
    assert all(torch.equal(value, drawn[key]) for key, value in state.items())


def test_random_weights_lie_in_memory_as_files_keep_them() -> None:
    state = networks.random_state("resnet18", seed=0, batches=batches_of(2))
    assert all(value.is_contiguous() for value in state.values())
    assert not any(value.requires_grad for value in state.values())


def test_a_last_batch_of_one_small_image_harms_nothing() -> None:
    state = networks.random_state("resnet18", seed=0, batches=batches_of(4, 1, size=(32, 32)))
    assert all(np.isfinite(value.numpy()).all() for value in state.values())
