"""Imports run one way, and each library has its rooms."""

import ast
from pathlib import Path

import pytest

import tfswa_unet

PACKAGE = Path(tfswa_unet.__file__).parent
# A room may import itself and what stands above it.
ROOMS = [
    ["errors"],
    ["config", "processes", "files"],
    ["types"],
    ["pages"],
    ["audio"],
    ["dsp"],
    ["nn"],
    ["models"],
    ["losses"],
    ["data"],
    ["songs", "doctor"],
    ["bundles"],
    ["bundle"],
    ["catalogue"],
    ["inference"],
    ["evaluation"],
    ["export"],
    ["training"],
    ["bench"],
    ["service"],
    ["entry"],
    ["cli"],
]
LIBRARIES = {
    "lightning": {"training"},
    "hydra": {"config", "entry"},
    "omegaconf": {"config", "training", "entry", "bench"},
    "av": {"audio"},
    "soundfile": {"audio", "data"},
    "torchaudio": {"audio", "data"},
    "safetensors": {"bundle"},
    "einops": {"nn"},
    "mido": {"songs"},
    "museval": {"evaluation"},
    "musdb": {"bench"},
    "stempeg": set(),
    "wandb": {"training"},
    "optuna": {"training"},
    "pytorch_optimizer": {"training"},
    "matplotlib": {"evaluation", "training", "pages"},
    "jinja2": {"pages"},
    "fastapi": {"service"},
    "starlette": {"service"},
    "uvicorn": {"service"},
    "httpcore": {"service"},
    "sqlalchemy": {"service", "training"},
    "prometheus_client": {"service"},
    "onnx": {"export"},
    "onnxscript": {"export"},
    "onnxruntime": {"inference", "export"},
    "huggingface_hub": {"bundles"},
    "ray": {"inference"},
    "fsspec": {"inference"},
}
# Names under which anything could lie.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
MOST_LINES = 400
# What makes an import slow or fail must wait until it is needed.
LATE = {
    "onnx",
    "onnxruntime",
    "jinja2",
    "mido",
    "museval",
    "musdb",
    "wandb",
    "optuna",
    "matplotlib",
    "av",
    "soundfile",
} | {
    "pytorch_optimizer",
    "huggingface_hub",
    "ray",
    "fsspec",
}


def _room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(path):
    """(module, whether it is imported when the file is) of every import but those for type checkers."""
    tree = ast.parse(path.read_text())
    checking = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for node in ast.walk(branch)
    }
    late = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if node in checking:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in late
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module, node not in late
            for alias in node.names:
                if node.module == "tfswa_unet":
                    yield f"tfswa_unet.{alias.name}", node not in late


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or "__" not in path.name)
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    room = _room(path)
    assert room in RANK, f"the room {room} has no place among {ROOMS}"
    for module, _ in _imports(path):
        if module.startswith("tfswa_unet."):
            other = module.split(".")[1]
            if other.startswith("__"):
                continue
            assert other == room or RANK[other] < RANK[room], f"{room} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_has_its_rooms(path):
    for module, at_once in _imports(path):
        library = module.split(".")[0]
        if library in LIBRARIES:
            assert _room(path) in LIBRARIES[library], f"{path} imports {module}"
        if library in LATE:
            assert not at_once, f"{path} imports {module} before it is needed"


def test_no_file_is_too_long():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= MOST_LINES, path


def test_names_of_rooms_say_what_is_in_them():
    for path in FILES:
        assert not EMPTY_NAMES & set(path.relative_to(PACKAGE).with_suffix("").parts), path


def test_the_reading_of_imports_sees_what_is_there(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("import av\ndef f():\n    from lightning import Trainer\n")
    assert list(_imports(file)) == [("av", True), ("lightning", False)]
