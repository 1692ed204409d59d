from __future__ import annotations

import argparse
import importlib
import re
import runpy
import shlex
import subprocess
import sys

import pytest

import tfswa_unet
from tfswa_unet import cli, models
from tfswa_unet.bundle import load_model
from tfswa_unet.cli import main, separate
from tfswa_unet.errors import UserError
from tfswa_unet.inference import Separator


@pytest.mark.parametrize("use", ["import tfswa_unet", "from tfswa_unet.cli import main; main([])"])
def test_import_and_help_need_none_of_the_heavy_packages(use):
    code = f"import sys; {use}; print([name for name in ('torch', 'numpy', 'rich') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_the_public_names_are_there():
    assert tfswa_unet.Separator is Separator
    assert tfswa_unet.load is load_model
    assert tfswa_unet.models is models
    assert re.fullmatch(r"\d+\.\d+\.\d+", tfswa_unet.__version__)
    assert set(tfswa_unet.__all__) <= set(dir(tfswa_unet))
    with pytest.raises(AttributeError, match="no attribute 'separate'"):
        _ = tfswa_unet.separate


def test_the_table_names_what_exists_and_nothing_else(capsys, monkeypatch):
    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, "imaginary"))
    assert main([]) == 0
    listed = re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert {"separate", "bundle", "info"} <= set(listed) <= set(cli.COMMANDS)
    assert "imaginary" not in listed


@pytest.mark.parametrize("name", ["separate", "bundle", "info"])
def test_every_flag_has_help_and_an_example(name, capsys):
    module = importlib.import_module(f"tfswa_unet.cli.{name}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    for action in parser._actions[1:]:
        assert action.help
        assert not action.option_strings or any(f" {flag}" in module.EXAMPLES for flag in action.option_strings), action
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert module.EXAMPLES.rstrip() in shown
    assert "(default: None)" not in shown


def test_every_example_parses():
    for name in ("separate", "bundle", "info"):
        for line in importlib.import_module(f"tfswa_unet.cli.{name}").EXAMPLES.splitlines():
            command = re.split(r"\s{3,}| > |  (?=[a-z]+ and )", line.strip())[0]
            args = cli.parser().parse_args(shlex.split(command)[1:])
            assert args.run.__module__.endswith(name)


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
        main(["separate"])
    assert left.value.code == 2
    assert "the following arguments are required: SONG, --model" in capsys.readouterr().err
    assert main(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_the_module_is_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tfswa", "bundle", "gone.ckpt"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("tfswa_unet.cli", run_name="__main__")
    assert left.value.code == 1
    assert capsys.readouterr().err == "error: gone.ckpt: no such bundle or checkpoint: check the path\n"
