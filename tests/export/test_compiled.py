"""Machine code: by AOTInductor of a small module, by a TensorRT that is made up; refused where neither can be had."""

import json
import shutil
import sys
import types

import pytest
import torch
from torch import nn

from tests.export.conftest import small
from tfswa_unet.bundle import save_bundle
from tfswa_unet.cli import main
from tfswa_unet.errors import ModelError
from tfswa_unet.export import compiled
from tfswa_unet.export.exporter import Request, describe
from tfswa_unet.export.parity import check_parity, snr
from tfswa_unet.inference.exported import load_exported


class Halves(nn.Module):
    """Two stems that are each half of the mixture, as a model for writers."""

    channels, rate = 2, 8_000

    def in_real_numbers(self):
        return self

    def forward(self, mixture):
        return torch.stack([mixture, mixture], 1) * 0.5


FACTS = {"samples": 4_001, "stems": ["a", "b"]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return save_bundle(tmp_path_factory.mktemp("bundle") / "small.safetensors", small(), {})


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
def test_machine_code_gives_the_stems_and_the_facts(tmp_path):
    path = tmp_path / "halves.aoti.pt2"
    compiled.write_aoti(path, Halves(), FACTS)
    run = compiled.load_aoti(path)
    mixture = 0.1 * torch.randn(1, 2, FACTS["samples"])
    assert snr(Halves()(mixture), run(mixture)) > 100
    assert json.loads(run.get_metadata()["tfswa"]) == FACTS
    with pytest.raises(ModelError, match="it holds machine code, which is not run here"):
        load_exported(path)


def test_without_a_compiler_it_is_refused(bundle, tmp_path, monkeypatch, capsys):
    def none():
        raise RuntimeError("no compiler")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none)
    assert main(["export", str(bundle), "-o", str(tmp_path / "out"), "--to", "aoti"]) == 1
    error = capsys.readouterr().err
    assert "no C++ compiler is installed, and --to aoti needs one: install g++ or clang++" in error
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_compiled_is_compared_at_its_one_length(tmp_path):
    model = small()
    facts = describe(Request("tfswa_base", tmp_path, "aoti"), model)
    assert (facts["batch"], facts["samples"]) == (1, 6 * model.rate)
    shapes = []

    def run(mixture):
        shapes.append(tuple(mixture.shape))
        return model(mixture)

    parity = check_parity(model, run, length=3_000)
    assert shapes == [(1, 2, 3_000)] * 3
    assert [(each.signal, each.batch, each.length) for each in parity] == [("noise", 1, 3_000), ("music", 1, 3_000)]


@pytest.mark.parametrize(("package", "sentence"), [(None, "tensorrt is not installed"), (object(), "there is none")])
def test_tensorrt_is_refused_where_it_cannot_be_had(bundle, package, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorrt", package)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["export", str(bundle), "-o", str(tmp_path / "out"), "--to", "tensorrt"]) == 1
    error = capsys.readouterr().err
    assert sentence in error.splitlines()[-1]
    assert "use --to onnx" in error
    assert not (tmp_path / "out").exists()


class FakeTensorRT(types.ModuleType):
    """Notes what it is asked for, and computes `Halves`."""

    def __init__(self, reads=True):
        super().__init__("tensorrt")
        self.asked, self.addresses = [], {}
        self.BuilderFlag = types.SimpleNamespace(TF32="tf32")
        self.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda own, level: None})
        note = self.asked.append
        profile = types.SimpleNamespace(set_shape=lambda *shapes: note(shapes))
        config = types.SimpleNamespace(clear_flag=note, add_optimization_profile=lambda profile: None)
        self.Builder = lambda logger: types.SimpleNamespace(
            create_network=lambda flags: "network",
            create_builder_config=lambda: config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda network, config: b"engine",
        )
        self.OnnxParser = lambda network, logger: types.SimpleNamespace(
            parse=lambda text: note(text) or reads, get_error=lambda index: "no such operator"
        )
        context = types.SimpleNamespace(
            set_input_shape=lambda name, shape: self.addresses.update(shape=shape),
            get_tensor_shape=lambda name: (1, 2, *self.addresses["shape"][1:]),
            set_tensor_address=lambda name, address: self.addresses.update({name: address}),
            execute_async_v3=note,
        )
        engine = types.SimpleNamespace(create_execution_context=lambda: context)
        self.Runtime = lambda logger: types.SimpleNamespace(deserialize_cuda_engine=lambda data: note(data) or engine)


@pytest.fixture
def tensorrt(monkeypatch):
    def install(**options):
        fake = FakeTensorRT(**options)
        monkeypatch.setitem(sys.modules, "tensorrt", fake)
        return fake

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    stream = types.SimpleNamespace(cuda_stream=7, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(compiled, "require_onnx", lambda: None)
    monkeypatch.setattr(compiled, "write_onnx", lambda path, model, facts: path.write_text("graph"))
    return install


def test_an_engine_is_built_of_the_onnx_file_for_one_segment(tensorrt, tmp_path):
    fake = tensorrt()
    compiled.write_engine(tmp_path / "x.engine", Halves(), FACTS)
    assert (tmp_path / "x.engine").read_bytes() == b"engine"
    assert fake.asked == [b"graph", "tf32", ("mixture", *[(1, 2, 4_001)] * 3)]
    run = compiled.load_engine(tmp_path / "x.engine")
    mixture = torch.randn(1, 2, 4_001)
    assert run(mixture).shape == (1, 2, 2, 4_001)
    assert fake.asked[3:] == [b"engine", 7]
    assert fake.addresses["mixture"] == mixture.data_ptr()


def test_a_graph_that_tensorrt_cannot_read_is_told(tensorrt, tmp_path):
    tensorrt(reads=False)
    with pytest.raises(ModelError, match=r"TensorRT cannot read the model's graph \(no such operator\): use --to onnx"):
        compiled.write_engine(tmp_path / "x.engine", Halves(), FACTS)
    assert not (tmp_path / "x.engine").exists()
