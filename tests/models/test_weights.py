"""Weights from files in the layouts in which torchvision and the authors publish them; the files are written here."""

import json
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from torchvision.models.resnet import Bottleneck, ResNet

from tada.base import TadaError
from tada.base.files import DamagedFile, sha256
from tada.models import build_model, load_backbone, load_imagenet, load_released, weights
from tada.models.weights import read_released

SHALLOW = {"depth": [1, 1, 1, 1]}


def randomise(network, seed):
    """Values that no layer starts with, in the calibrations' last layers too; statistics that fit them."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.named_parameters():
        if name.endswith("emit.weight"):
            value.data.normal_(std=0.05, generator=generator)
        elif value.dim() == 1:
            value.data.uniform_(0.5, 1.5, generator=generator)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(2, 3, network.frames, 32, 32, generator=generator))
    return network.eval()


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A torchvision ResNet of full width and one block a stage, and its file."""
    torch.manual_seed(0)
    network = ResNet(Bottleneck, [1, 1, 1, 1])
    for name, value in network.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("imagenet") / "resnet.pth"
    torch.save(network.state_dict(), path)
    return network.eval(), path


def test_imagenet_weights_compute_what_torchvision_computes(imagenet):
    network, path = imagenet
    # With SlowFast's stem and without its temporal convolutions, SlowOnly is torchvision's network on every frame.
    ours = build_model("slowonly", 5, **SHALLOW, temporal_stages=[]).eval()
    loaded = load_imagenet(ours, path)
    x = torch.randn(1, 3, 8, 64, 64)
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        expected = network(x[0].transpose(0, 1)).mean(0, keepdim=True)
        torch.testing.assert_close(ours.features(x), expected, rtol=1e-4, atol=1e-5)
    assert loaded.sha256 == sha256(path)
    assert loaded.file == "resnet.pth"
    assert loaded.fresh == ("head.linear.weight", "head.linear.bias")


@pytest.mark.parametrize("name", ["tsn", "tada2d", "tsm", "r2plus1d+tada-2d-1d"])
def test_imagenet_weights_fill_all_2d_layers(imagenet, name):
    source = imagenet[0].state_dict()
    ours = build_model(name, 5, **SHALLOW)
    loaded = load_imagenet(ours, imagenet[1])
    own = ours.state_dict()
    assert torch.equal(own["stem.conv1.weight"].squeeze(2), source["conv1.weight"])
    assert torch.equal(own["res3.0.conv2.weight"].squeeze(2), source["layer2.0.conv2.weight"])
    assert torch.equal(own["res5.0.downsample.1.running_var"], source["layer4.0.downsample.1.running_var"])
    others = re.compile(r"head|calibration|pooled|temporal")
    assert all(others.search(key) for key in loaded.fresh)


def test_imagenet_weights_are_spread_over_three_frames(imagenet):
    source = imagenet[0].state_dict()
    ours = build_model("r3d+tada", 5, **SHALLOW)
    load_imagenet(ours, imagenet[1])
    for own, key in ((ours.stem.conv1, "conv1"), (ours.res4[0].conv2, "layer3.0.conv2")):
        for frame in range(3):
            torch.testing.assert_close(own.weight[:, :, frame], source[f"{key}.weight"] / 3)


def test_imagenet_weights_fill_slowfast_where_channels_allow(imagenet):
    source = imagenet[0].state_dict()
    ours = build_model("slowfast-4x16", 5, **SHALLOW)
    loaded = load_imagenet(ours, imagenet[1])
    own = ours.state_dict()
    assert torch.equal(own["slow.res3.0.conv2.weight"].squeeze(2), source["layer2.0.conv2.weight"])
    torch.testing.assert_close(own["slow.res2.0.bn3.running_mean"], source["layer1.0.bn3.running_mean"])
    assert torch.equal(own["slow.res2.0.bn3.weight"], source["layer1.0.bn3.weight"])
    assert not own["fast.res2.0.bn3.weight"].any()  # ImageNet has nothing for it, and it starts at zero
    after_fusion = {f"slow.res{n}.0.{part}.weight" for n in (2, 3, 4, 5) for part in ("conv1", "downsample.0")}
    rest = {name for name in loaded.fresh if not name.startswith(("fast.", "fuse.", "head."))}
    assert rest == after_fusion
    assert "fast.stem.conv1.weight" in loaded.fresh


def test_older_files_without_batch_counters_are_read(imagenet, tmp_path):
    path = tmp_path / "old.pth"
    state = {key: value for key, value in imagenet[0].state_dict().items() if "num_batches" not in key}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert load_imagenet(build_model("tsn", 5, **SHALLOW), path).sha256 == sha256(path)


def test_every_name_and_shape_that_differs_is_named(imagenet, tmp_path):
    state = dict(imagenet[0].state_dict())
    state["layer9.0.conv1.weight"] = state.pop("layer1.0.conv1.weight")
    state["layer2.0.bn1.bias"] = torch.zeros(7)
    path = tmp_path / "other.pth"
    torch.save(state, path)
    network = build_model("tsn", 5, **SHALLOW)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(TadaError) as caught:
        load_imagenet(network, path)
    assert str(caught.value).splitlines() == [
        f"{path} does not fit ResNet:",
        "  missing: res2.0.conv1.weight [64, 64, 1, 1, 1]",
        "  unexpected: layer9.0.conv1.weight",
        "  shape of res3.0.bn1.bias: [7] in the file, [128] in the network",
    ]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", fail)
    with pytest.raises(TadaError, match=r"no route.*resnet50-0676ba61.pth.*imagenet_weights"):
        load_imagenet(build_model("tsn", 5, **SHALLOW))


def test_backbone_of_a_run_is_loaded_without_its_head(tmp_path):
    small = {**SHALLOW, "width": 16}
    source, path = randomise(build_model("tada2d", 7, **small), 0), tmp_path / "checkpoint.pt"
    torch.save({"identity": {"seed": 0}, "model": source.state_dict(), "optimizer": {}}, path)
    ours = build_model("tada2d", {"verb": 3, "noun": 4}, **small).eval()
    loaded = load_backbone(ours, path)
    x = torch.randn(1, 3, 8, 32, 32)
    assert torch.equal(ours.features(x), source.features(x))
    assert all(name.startswith("head.") for name in loaded.fresh)
    with pytest.raises(TadaError, match=r"unexpected: res2\.0\.bn2\.pooled\.bias"):
        load_backbone(build_model("tsn+tada", 7, **small), path)


PARTS = {
    "downsample.0": "short_cut",
    "downsample.1": "short_cut_bn",
    "conv1": "conv_branch.a",
    "bn1": "conv_branch.a_bn",
    "conv2": "conv_branch.b",
    "conv2.calibration.global_fc": "conv_branch.b_rf.g",
    "conv2.calibration.reduce": "conv_branch.b_rf.a",
    "conv2.calibration.norm": "conv_branch.b_rf.bn",
    "conv2.calibration.emit": "conv_branch.b_rf.b",
    "bn2": "conv_branch.b_bn",
    "bn2.pooled": "conv_branch.b_avgpool_bn",
    "conv3": "conv_branch.c",
    "bn3": "conv_branch.c_bn",
}
OUTSIDE = {"stem.conv1": "backbone.conv1.a", "stem.bn1": "backbone.conv1.a_bn", "head.linear": "head.out"}


def released_state(network):
    """The network's weights under the names and in the shapes of the authors' checkpoints."""
    state = {}
    for name, value in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if layer in OUTSIDE:
            state[f"{OUTSIDE[layer]}.{kind}"] = value
            continue
        stage, block, part = re.fullmatch(r"res(\d)\.(\d)\.(.+)", layer).groups()
        key = f"backbone.conv{stage}.res_{int(block) + 1}.{PARTS[part]}.{kind}"
        if part == "conv2":
            state[key] = value.squeeze(2)[None, None]
        elif "calibration" in part and value.dim() > 1:
            state[key] = value.reshape(*value.shape, *[1] * (5 - value.dim()))
        else:
            state[key] = value
    return state


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A network with weights set by hand, and the file in which the authors would have published it."""
    network = randomise(build_model("tada2d", 11), 0)
    path = tmp_path_factory.mktemp("released") / "tada2d.pyth"
    config = json.dumps({"DATA": {"NUM_INPUT_FRAMES": 16}}, indent=2)
    state = released_state(network)
    torch.save({"epoch": 63, "model_state": state, "optimizer_state": {"state": {}}, "cfg": config}, path)
    return network, path, state


def test_released_layout_is_the_published_one(released):
    state = released[2]
    assert len(state) == 560
    shapes = {key: list(value.shape) for key, value in state.items()}
    assert shapes["backbone.conv1.a.weight"] == [64, 3, 1, 7, 7]
    assert shapes["backbone.conv3.res_4.conv_branch.b.weight"] == [1, 1, 128, 128, 3, 3]
    assert shapes["backbone.conv3.res_4.conv_branch.b_rf.g.weight"] == [128, 128, 1, 1, 1]
    assert shapes["backbone.conv3.res_4.conv_branch.b_rf.a.weight"] == [32, 128, 3, 1, 1]
    assert shapes["backbone.conv3.res_4.conv_branch.b_rf.b.weight"] == [128, 32, 3, 1, 1]


def test_released_checkpoint_gives_the_logits_of_weights_set_by_hand(released):
    network, path, _ = released
    found = read_released(path)
    assert found.network.frames == found.frames == 16
    assert found.loaded.sha256 == sha256(path)
    assert found.loaded.fresh == ()
    assert not found.network.training
    eight = load_released(path, frames=8)
    x = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        logits = network(x)
        assert torch.equal(eight(x), logits)
    assert logits.isfinite().all()
    assert logits.std() > 0.01


def test_released_checkpoint_of_another_architecture(released, tmp_path):
    state = dict(released[2])
    state["backbone.conv2.res_1.conv_branch.b2.weight"] = state.pop("backbone.conv2.res_1.conv_branch.b_rf.b.weight")
    state["backbone.conv5.res_3.conv_branch.c_bn.bias"] = torch.zeros(1024)
    path = tmp_path / "other.pyth"
    torch.save({"model_state": state}, path)
    with pytest.raises(TadaError) as caught:
        load_released(path)
    assert str(caught.value).splitlines()[1:] == [
        "  missing: res2.0.conv2.calibration.emit.weight [64, 16, 3]",
        "  unexpected: backbone.conv2.res_1.conv_branch.b2.weight",
        "  shape of res5.2.bn3.bias: [1024] in the file, [2048] in the network",
    ]


def test_released_epic_kitchens_heads():
    names = ["head.linear1.weight", "head.linear2.bias", "head.out.weight", "backbone.conv2.res_1.conv_branch.q.weight"]
    ours = ["head.linear.verb.weight", "head.linear.noun.bias", "head.linear.weight", None]
    assert [weights._released_name(name) for name in names] == ours
    heads = {"head.linear.verb.weight": torch.zeros(97, 2), "head.linear.noun.weight": torch.zeros(300, 2)}
    assert weights._classes(heads) == {"verb": 97, "noun": 300}


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_execute_code_is_refused(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "malicious.pyth"
    torch.save({"model_state": {}, "cfg": Malicious()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(TadaError, match=r"refused. Loading it would execute code \(posix.system\)"):
        load_released(path)
    assert not (tmp_path / "executed").exists()


def test_files_that_are_no_checkpoints(tmp_path):
    with pytest.raises(TadaError, match="no such file of weights"):
        load_released(tmp_path / "absent.pyth")
    path = tmp_path / "text.pyth"
    path.write_text("Not found")
    with pytest.raises(TadaError, match="not a file of weights"):
        load_released(path)
    torch.save({"weights": torch.zeros(100_000)}, path)
    with pytest.raises(TadaError, match="expected named tensors under the key 'model_state', found: weights"):
        load_released(path)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(TadaError, match="not a file of weights, or cut short"):
        load_released(path)
    path.write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(TadaError, match="not a file of weights") as error:
        load_released(path)
    assert "weights_only" not in str(error.value), "advice to load a file that could run code"


def test_no_wrong_bit_is_taken_for_weights(tmp_path):
    """Flipped anywhere, a bit is noticed or changes nothing: names, lengths and padding of the archive included."""
    path = tmp_path / "weights.pyth"
    torch.save({"model": {"a": torch.arange(24.0), "b": torch.ones(3, dtype=torch.int64)}, "step": 3}, path)
    whole, expected = path.read_bytes(), weights.read_checkpoint(path)
    refused = 0
    for place in np.random.default_rng(0).permutation(8 * len(whole))[:600]:
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            found = weights.read_checkpoint(path)
        except TadaError as error:
            assert str(path) in str(error)
            refused += 1
            continue
        assert found["step"] == expected["step"] and found["model"].keys() == expected["model"].keys()
        assert all(torch.equal(value, expected["model"][name]) for name, value in found["model"].items())
    assert refused > 100


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_part_that_seems_to_be_compressed_is_damage_and_no_fault_of_the_disk(method, tmp_path):
    path = tmp_path / "weights.pyth"
    torch.save({"model": {"a": torch.arange(24.0)}}, path)
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\1\2") + 10] = method
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"not a file of weights, or cut short|damaged, the checksum"):
        weights.read_checkpoint(path)


def test_a_tensor_that_one_bit_makes_a_directory_is_noticed(tmp_path):
    path = tmp_path / "weights.pyth"
    torch.save({"a": torch.ones(24)}, path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"weights/data/0") - 8] ^= 0x10  # of the directory's entry, the external attributes
    path.write_bytes(content)
    with pytest.raises(TadaError, match="the checksum of its part weights/data/0 is wrong"):
        weights.read_checkpoint(path)
