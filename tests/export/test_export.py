"""One small model exported to every target, once; each other test uses these files."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
import torch

from tests.export.conftest import RATE, small
from tests.models.conftest import awake
from tfswa_unet import audio, models
from tfswa_unet.bench.forward import measure
from tfswa_unet.bench.settings import ForwardSetting
from tfswa_unet.bundle import fingerprint, load_model, save_bundle
from tfswa_unet.cli import main
from tfswa_unet.errors import ConfigError, ModelError
from tfswa_unet.export import Request, exporter, graphs, int8
from tfswa_unet.export.exporter import Target
from tfswa_unet.export.graphs import write_script
from tfswa_unet.export.parity import check_parity, snr
from tfswa_unet.inference import Separator
from tfswa_unet.inference.exported import METADATA_KEY, load_exported

pytestmark = pytest.mark.slow  # making a graph of free length takes its time
TARGETS = {"onnx": "small.onnx", "torchscript": "small.pt", "pt2": "small.pt2"}
FACTS = {"sources": [{"source": "x", "licence": "CC0"}, {"source": "y", "licence": "CC0"}]}
# Runs an ONNX file where neither torch nor this package can be imported.
ALONE = """
import sys
import zipfile
sys.modules["torch"] = sys.modules["tfswa_unet"] = None
for name in ("torch", "tfswa_unet"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} was imported")
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(["stems"], {"mixture": numpy.load(sys.argv[2])})[0])
"""


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    return save_bundle(tmp_path_factory.mktemp("bundle") / "small.safetensors", model, FACTS)


@pytest.fixture(scope="module")
def exported(model, bundle, tmp_path_factory):
    """The folder of the files, made by the command line of a graph that is traced once, which takes longest."""
    out, program = tmp_path_factory.mktemp("exported"), graphs.traced(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "traced", lambda model: program)
        for target in TARGETS:
            assert main(["export", str(bundle), "-o", str(out), "--to", target]) == 0
    return out


@pytest.fixture(scope="module")
def runs(exported):
    """The files, loaded."""
    return {target: load_exported(exported / name) for target, name in TARGETS.items()}


@pytest.fixture(scope="module")
def in_onnx(exported):
    return exported / TARGETS["onnx"]


@pytest.mark.parametrize("target", TARGETS)
def test_stems_are_torchs_at_any_length_and_batch(model, runs, target):
    run = runs[target]
    for length in (1, 63, 129, 3_001, 16_384, 30_007):
        for batch in (1, 3):
            mixture = 0.1 * torch.randn(batch, 2, length)
            with torch.inference_mode():
                stems = model(mixture)
            assert run(mixture).shape == stems.shape
            assert snr(stems, run(mixture)) > 100, (length, batch)


@pytest.mark.parametrize("target", TARGETS)
def test_silence_is_silent_and_lets_no_neighbour_in(runs, target):
    run = runs[target]
    mixture = torch.randn(2, 2, 3_001) * torch.tensor([1.0, 0.0])[:, None, None]
    assert not run(mixture)[1].any()


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_says_what_it_is(bundle, runs, target):
    facts = runs[target].facts
    assert facts["target"] == target
    assert facts["stems"] == ["vocals", "bass"]
    assert (facts["rate"], facts["channels"], facts["precision"]) == (RATE, 2, "fp32")
    assert (facts["segment_seconds"], facts["overlap_seconds"]) == (6.0, 1.0)
    assert facts["licences"] == {"CC0": 2}
    assert facts["source"]["sha256"].startswith(fingerprint(bundle))
    assert facts["version"]


@pytest.mark.parametrize(
    ("write", "name", "depth"),
    [
        pytest.param(
            *(graphs.write_onnx, "live.onnx", 1),
            marks=pytest.mark.skipif("FUZZ_FILES" not in os.environ, reason="takes half a minute: make fuzz runs it"),
        ),
        (write_script, "live.pt", 2),
    ],
)
def test_a_causal_network_is_exported_too(write, name, depth, tmp_path):
    values = models.preset("tfswa_realtime", ("vocals", "bass"))
    network = {"convolutions": [4], "width": 16, "depth": depth, "head_width": 8, "past": 5, "window": [3, 3]}
    chain = {"rate": RATE, "n_fft": 128, "hop": 32, "subbands": 4}
    model = awake(models.build({**values, **chain, "network": {**values["network"], **network}})).eval()
    write(tmp_path / name, model, exporter.describe(Request("tfswa_realtime", tmp_path, "onnx"), model))
    run = load_exported(tmp_path / name)
    for batch, length in ((1, 1), (3, 129), (1, 30_007)):
        mixture = 0.1 * torch.randn(batch, 2, length)
        with torch.inference_mode():
            assert snr(model(mixture), run(mixture)) > 100, (batch, length)


def test_rotary_tables_are_as_long_as_the_audio(tmp_path):
    model = small(rotary=True)
    facts = exporter.describe(Request("tfswa_base", tmp_path, "torchscript"), model)
    write_script(tmp_path / "rotary.pt", model, facts)
    run = load_exported(tmp_path / "rotary.pt")
    for length in (129, 90_001):  # more tokens than the table of the model holds
        mixture = 0.1 * torch.randn(1, 2, length)
        with torch.inference_mode():
            assert snr(model(mixture), run(mixture)) > 100, length


def test_onnx_runs_where_there_is_no_torch(model, in_onnx, tmp_path):
    mixture = 0.1 * torch.randn(1, 2, 5_001)
    np.save(tmp_path / "in.npy", mixture.numpy())
    command = [sys.executable, "-c", ALONE, str(in_onnx), str(tmp_path / "in.npy"), str(tmp_path / "out.npy")]
    subprocess.run(command, check=True, timeout=120, cwd=tmp_path)
    with torch.inference_mode():
        assert snr(model(mixture), torch.from_numpy(np.load(tmp_path / "out.npy"))) > 100


def test_onnx_has_standard_operators_and_named_axes(in_onnx):
    file = onnx.load(in_onnx)
    onnx.checker.check_model(file)
    assert not any(node.metadata_props for node in file.graph.node)  # paths of the machine that traced it
    assert in_onnx.stat().st_size < 300_000
    assert {node.domain for node in file.graph.node} == {""}
    assert [(each.domain, each.version) for each in file.opset_import if not each.domain] == [("", 18)]
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*file.graph.input, *file.graph.output)
    }
    assert shapes == {"mixture": ["b", 2, "t"], "stems": ["b", 2, 2, "t"]}


@pytest.mark.parametrize("target", TARGETS)
def test_separate_gives_the_files_that_a_bundle_does(bundle, exported, target, tmp_path):
    song = 0.1 * np.random.default_rng(0).standard_normal((2, 20_001)).astype(np.float32)
    audio.write(tmp_path / "song.wav", song, 2 * RATE)
    options = ["--segment", "0.5", "--overlap", "0.1", "--quiet", "--threads", "1"]
    for name, precision in ((bundle, ["--precision", "fp32"]), (exported / TARGETS[target], [])):
        out = tmp_path / name.suffix
        command = ["separate", str(tmp_path / "song.wav"), "--model", str(name), "-o", str(out), *options, *precision]
        assert main(command) == 0
    for stem in ("vocals", "bass"):
        reference, stems = (audio.read(tmp_path / end / "song" / f"{stem}.wav") for end in (".safetensors", out.name))
        assert stems.shape == song.shape
        assert snr(torch.from_numpy(reference), torch.from_numpy(stems)) > 100


@pytest.mark.parametrize("options", [{"device": "cuda"}, {"precision": "bf16"}, {"compile": True}])
def test_an_exported_model_runs_as_it_is_on_the_cpu(in_onnx, options):
    assert Separator.load(in_onnx, device="auto").precision == "fp32"
    with pytest.raises(ConfigError, match="runs on the CPU with the precision of its file"):
        Separator.load(in_onnx, **options)


def test_bench_measures_an_exported_model(in_onnx):
    record = measure(ForwardSetting(model=str(in_onnx), seconds=0.5, runs=2, threads=1))
    assert record["median_seconds"] > 0
    assert record["parameters"] is record["tflops"] is None
    with pytest.raises(ConfigError, match="no modules"):
        measure(ForwardSetting(model=str(in_onnx), seconds=0.5, runs=1, profile=True))


def test_what_differs_from_torch_is_refused_and_leaves_nothing(bundle, in_onnx, tmp_path, monkeypatch, capsys):
    def wrong(path, model, facts):
        with torch.no_grad():
            model = load_model(bundle)
            model.network.head.project.weight.mul_(1.1)
        write_script(path, model, facts)

    monkeypatch.setitem(exporter.WRITERS, "torchscript", Target(wrong, ".pt"))
    assert main(["export", str(bundle), "-o", str(tmp_path / "out"), "--to", "torchscript"]) == 1
    shown = capsys.readouterr().err
    assert "does not give torch's stems" in shown
    assert "expected 60 or more; nothing was written" in shown
    assert list((tmp_path / "out").iterdir()) == []


def test_noise_out_of_silence_is_refused(model):
    with pytest.raises(ModelError, match="silence for silence"):
        check_parity(model, lambda mixture: model(mixture) + 1e-9)


@pytest.fixture
def quickly(in_onnx, monkeypatch):
    """INT8 from the ONNX file that is there, with less music."""
    copied = Target(lambda path, *_: shutil.copy(in_onnx, path), ".int8.onnx")
    monkeypatch.setitem(exporter.WRITERS, "onnx-int8", copied)
    for name, value in (("PIECES", 3), ("SONGS", 1), ("SONG_SECONDS", 2.0), ("RUNS", 1)):
        monkeypatch.setattr(int8, name, value)


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_int8_tells_its_price(bundle, method, quickly, tmp_path, capsys):
    command = ["export", str(bundle), "-o", str(tmp_path), "--to", "onnx-int8", "--int8", method, "--allow-loss"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    for line in ("SDR on 1 synthetic songs, fp32 → INT8:", "  vocals: ", "  mean loss ", " s on this CPU"):
        assert line in shown
    file = tmp_path / "small.int8.onnx"
    kinds = {node.op_type for node in onnx.load(file).graph.node}
    assert ("QuantizeLinear" in kinds) if method == "static" else ("MatMulInteger" in kinds)
    run = load_exported(file)
    assert run.facts["precision"] == f"int8 {method}"
    mixture = 0.1 * torch.randn(2, 2, 5_001, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        # Weights drawn at random are far harder to keep in 8 bits than trained ones.
        assert 3 < snr(load_model(bundle)(mixture), run(mixture)) < 80


def test_int8_that_costs_too_much_is_refused(bundle, quickly, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exporter, "MOST_LOSS", -99.0)
    assert main(["export", str(bundle), "-o", str(tmp_path / "out"), "--to", "onnx-int8", "--int8", "dynamic"]) == 1
    assert "dB of SDR on synthetic songs, at most -99 are taken" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_ranges_are_taken_from_the_music_in_a_folder(tmp_path):
    for name, samples in (("a/x.wav", 40_000), ("b.flac", 9_000)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        audio.write(
            tmp_path / name, np.full((1, samples), 0.1, np.float32), 16_000, "wav16" if name[0] == "a" else "flac16"
        )
    pieces = int8.calibration(tmp_path, RATE, 2)
    assert [piece.shape for piece in pieces] == [(2, 32_000), (2, 9_000)]
    assert all(np.median(piece) == pytest.approx(0.1, abs=1e-3) for piece in pieces)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "onx"], "did you mean onnx"),
        (["--to", "onnx-int8", "--int8", "both"], "unknown --int8 'both'"),
        (["--to", "pt2", "--allow-loss"], "belong to --to onnx-int8"),
        (["--to", "onnx-int8", "--int8", "dynamic", "--calibrate", "x"], "takes no ranges from music"),
        (["--threads", "0"], "at least one thread"),
    ],
)
def test_wrong_options_are_one_sentence(bundle, options, message, tmp_path, capsys):
    assert main(["export", str(bundle), "-o", str(tmp_path / "out"), *options]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_package_that_is_missing_is_named_with_its_extra(bundle, in_onnx, package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", str(bundle), "-o", str(tmp_path / "out")]) == 1
    assert f"{package} is not installed" in (error := capsys.readouterr().err)
    assert "pip install 'tfswa-unet[onnx]'" in error
    if package == "onnxruntime":
        with pytest.raises(ConfigError, match=r"pip install 'tfswa-unet\[onnx\]'"):
            load_exported(in_onnx)


@pytest.mark.parametrize("name", TARGETS.values())
def test_files_of_other_kinds_are_refused(exported, name, tmp_path):
    (tmp_path / name).write_bytes((exported / name).read_bytes()[:1000])
    with pytest.raises(ModelError, match="damaged or of another kind"):
        load_exported(tmp_path / name)
    with pytest.raises(ModelError, match="no such file"):
        load_exported(tmp_path / f"other{name}")


def test_onnx_of_others_is_refused(in_onnx, tmp_path):
    file = onnx.load(in_onnx)
    onnx.helper.set_model_props(file, {METADATA_KEY: json.dumps({"stems": ["vocals"]})})
    onnx.save(file, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="does not say which stems it gives"):
        load_exported(tmp_path / "other.onnx")


class _Touch:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_program_that_holds_more_than_tensors_runs_nothing(exported, tmp_path):
    touched, harmful = tmp_path / "touched", tmp_path / "harmful.pt2"
    with zipfile.ZipFile(exported / "small.pt2") as whole, zipfile.ZipFile(harmful, "w") as changed:
        for entry in whole.infolist():
            data = whole.read(entry)
            if entry.filename.endswith("model_weights_config.json"):
                config = json.loads(data)
                for payload in config["config"].values():
                    payload["use_pickle"] = True
                data = json.dumps(config).encode()
            elif "/data/weights/" in entry.filename and not entry.filename.endswith(".json"):
                buffer = io.BytesIO()
                torch.save(_Touch(touched), buffer)
                data = buffer.getvalue()
            changed.writestr(entry.filename, data)
    with pytest.raises(ModelError, match=r"harmful\.pt2 cannot be loaded"):
        load_exported(harmful)
    assert not touched.exists()


def test_a_program_with_machine_code_in_it_is_refused(exported, tmp_path):
    with zipfile.ZipFile(exported / "small.pt2") as whole, zipfile.ZipFile(tmp_path / "code.pt2", "w") as changed:
        for entry in whole.infolist():
            changed.writestr(entry.filename, whole.read(entry))
        folder = entry.filename.split("/")[0]
        changed.writestr(f"{folder}/data/aotinductor/model/model.wrapper.so", b"")
    with pytest.raises(ModelError, match=r"code\.pt2 cannot be loaded \(it holds machine code"):
        load_exported(tmp_path / "code.pt2")
