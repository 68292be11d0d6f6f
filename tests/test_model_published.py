"""Published weights: the same numbers, any wrapping, strict keys, no unpickling."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from emrdiff_geo.errors import WeightsError
from emrdiff_geo.model.published import load_published, translate

GOLDEN = np.load(Path(__file__).parent / "data" / "emrdiff_golden.npz")


@pytest.fixture
def weights():
    prefix = "weights/"
    return {
        name.removeprefix(prefix): torch.from_numpy(GOLDEN[name])
        for name in GOLDEN.files
        if name.startswith(prefix)
    }


def golden(name):
    return torch.from_numpy(GOLDEN[f"net/{name}"])


def outputs_of(net):
    guide = torch.cat([golden("hsi_up"), golden("msi")], dim=1)
    with torch.no_grad():
        return net(golden("x_t"), golden("t"), net.encode_guide(guide))


def assert_same_parameters(net, weights):
    loaded, expected = net.state_dict(), load_published(weights).state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_outputs_are_the_published_ones(weights):
    outputs = outputs_of(load_published(weights))
    names = ("residual", "scale2", "scale4", "scale8")
    for output, name in zip(outputs, names, strict=True):
        torch.testing.assert_close(output, golden(name), rtol=0, atol=1e-5)


def test_channels_are_read_off_the_weights(weights):
    config = load_published(weights).config
    assert (config.in_channels, config.guide_channels, config.width, config.levels) == (
        11, 11, 11, 5,
    )  # fmt: skip


def test_unused_published_parameters_are_ignored(weights):
    weights["output_blocks.0.0.in_layers.0.weight"] = torch.zeros(3)
    weights["middle_block.0.LayerNorm2d.weight"] = torch.zeros(3)
    load_published(weights)


@pytest.mark.parametrize(
    ("wrapper", "suffix"),
    [(None, ".pt"), ("state_dict", ".pth"), ("model", ".pt"), ("params", ".pth")],
)
def test_files_of_tensors_load_wrapped_or_not(weights, tmp_path, wrapper, suffix):
    path = tmp_path / f"published{suffix}"
    parallel = {f"module.{name}": value for name, value in weights.items()}
    torch.save({wrapper: parallel, "epoch": 3} if wrapper else parallel, path)
    assert_same_parameters(load_published(path), weights)


def test_safetensors_load(weights, tmp_path):
    save_file(weights, tmp_path / "published.safetensors")
    assert_same_parameters(load_published(str(tmp_path / "published.safetensors")), weights)


def test_missing_and_unknown_parameters_are_named(weights):
    del weights["middle_block.0.mlp.fc1.bias"]
    weights["extra.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"middle_block\.0\.mlp\.fc1\.bias.*extra\.weight"):
        load_published(weights)


def test_a_misshapen_parameter_is_named(weights):
    weights["time_embed.0.weight"] = torch.zeros(44, 12)
    with pytest.raises(WeightsError, match=r"time_embed\.0\.weight"):
        load_published(weights)


def test_another_network_is_refused(weights):
    from emrdiff_geo.model.bafunet import BAFUNet, NetworkConfig

    net = BAFUNet(NetworkConfig(11, 11, 11, 11, pool="none"))
    with pytest.raises(WeightsError, match="gate"):
        translate(weights, net)
    with pytest.raises(WeightsError, match="two-encoder"):
        load_published({"a.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="state dict"):
        load_published({"model": "a name"})


class Payload:
    """Stands for a pickled module: loading it would run code of the file's choice."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_pickled_objects_are_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Payload()}, "module.pth")
    with pytest.raises(WeightsError, match="state_dict"):
        load_published("module.pth")
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_damaged_and_missing_files_are_named(tmp_path, name):
    with pytest.raises(WeightsError, match=name):
        load_published(tmp_path / name)
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=name):
        load_published(tmp_path / name)
