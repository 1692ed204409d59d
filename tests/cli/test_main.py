from __future__ import annotations

import argparse
import io
import re
import runpy
import shlex
import subprocess
import sys
from pkgutil import resolve_name

import pytest

import tfswa_unet
from tfswa_unet import cli, models
from tfswa_unet.bundle import load_model
from tfswa_unet.cli import main, separate
from tfswa_unet.errors import UserError
from tfswa_unet.inference import Separator


def imported(code):
    """Which heavy packages some code imports, printed last."""
    code = f"import sys; {code}; print([name for name in ('torch', 'rich', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("use", ["import tfswa_unet", "from tfswa_unet.cli import main; main([])"])
def test_import_and_help_need_none_of_the_heavy_packages(use):
    assert imported(use) == "[]"


def test_no_command_needs_torch_to_tell_its_options():
    helps = "; ".join(f"parser(['{name}'])" for name in cli.COMMANDS)
    assert imported(f"from tfswa_unet.cli import parser; {helps}") in ("[]", "['numpy']")


def test_a_song_that_is_not_there_is_refused_without_torch():
    assert imported("from tfswa_unet.cli import main; assert main(['separate', 'gone.wav']) == 1") == "['numpy']"


def test_a_command_imports_no_other():
    code = "from tfswa_unet.cli import parser; parser(['info'])"
    others = "print([name for name in sys.modules if name.startswith('tfswa_unet.cli.')])"
    done = subprocess.run([sys.executable, "-c", f"import sys; {code}; {others}"], capture_output=True, text=True)
    assert done.stdout == "['tfswa_unet.cli.models']\n"


def test_the_public_names_are_there():
    assert tfswa_unet.Separator is Separator
    assert tfswa_unet.load is load_model
    assert tfswa_unet.models is models
    assert re.fullmatch(r"\d+\.\d+\.\d+", tfswa_unet.__version__)
    assert set(tfswa_unet.__all__) <= set(dir(tfswa_unet))
    with pytest.raises(AttributeError, match="no attribute 'separate'"):
        _ = tfswa_unet.separate


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (None, "got NoneType where a model's file is expected: give the path of a bundle"),
        (3, "got int where"),
        (["a.ckpt"], "got list where"),
        ("", "is a folder: give a bundle"),
        ("m" * 300, "no such bundle or checkpoint"),
        (b"gone.ckpt", r"gone\.ckpt: no such bundle or checkpoint"),
    ],
)
def test_what_is_no_model_file_is_one_sentence(given, sentence):
    with pytest.raises(UserError, match=sentence) as refused:
        tfswa_unet.load(given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", [None, 3, "model.safetensors", ["a.ckpt"]])
def test_a_separator_of_no_model_is_one_sentence(given):
    with pytest.raises(UserError, match=f"got {type(given).__name__} where a model is expected: give what tfswa_unet"):
        Separator(given)


def test_the_help_names_the_commands(capsys):
    assert main([]) == 0
    assert re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE) == list(cli.COMMANDS)


def command(name):
    return resolve_name(f"tfswa_unet.cli.{cli.COMMANDS[name][0]}")


@pytest.mark.parametrize("name", ["separate", "bundle", "info", "models", "card", "pull", "push"])
def test_every_flag_has_help_and_an_example(name, capsys):
    examples, parser = command(name).EXAMPLES, argparse.ArgumentParser()
    command(name).add_arguments(parser)
    for action in parser._actions[1:]:
        assert action.help
        assert not action.option_strings or any(f" {flag}" in examples for flag in action.option_strings), action
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert examples.rstrip() in shown
    assert "(default: None)" not in shown


@pytest.mark.parametrize("name", ["separate", "bundle", "info", "models", "card", "data"])
def test_every_example_parses(name):
    for line in command(name).EXAMPLES.splitlines():
        piped = re.split(r"\s{3,}| > |  (?=[a-z]+ and )", line.strip())[0].split(" | ")
        words = shlex.split(next(part for part in piped if part.startswith("tfswa ")))[1:]
        args = cli.parser(words).parse_args(words)
        assert args.run is command(name).run
        assert name != "data" or args.action == words[1]


def test_errors_become_a_sentence_and_a_status(capsys, monkeypatch):
    def raising(error):
        def run(args):
            raise error

        monkeypatch.setattr(separate, "run", run)
        return main(["separate", "x.wav", "--model", "m"])

    assert raising(UserError("no such thing: name another")) == 1
    assert capsys.readouterr().err == "error: no such thing: name another\n"
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.startswith("interrupted")
    with pytest.raises(RuntimeError, match="a defect"):
        raising(RuntimeError("a defect"))


def test_wrong_usage_is_status_2_and_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as left:
        main(["info"])
    assert left.value.code == 2
    assert "the following arguments are required: model\n" in capsys.readouterr().err
    assert main(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_the_module_is_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tfswa", "bundle", "gone.ckpt"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("tfswa_unet", run_name="__main__")
    assert left.value.code == 1
    assert capsys.readouterr().err == "error: gone.ckpt: no such bundle or checkpoint: check the path\n"


def test_signs_that_an_output_lacks_are_escaped(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", output)
    main(["--version"])
    print("→", flush=True)
    assert output.buffer.getvalue().endswith(b"\\u2192\n")
