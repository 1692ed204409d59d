"""The `tfswa` command: a table of its sub-commands, of which only the one that is asked for is imported.

A sub-command is a module, or a class in one, with EXAMPLES, `add_arguments(parser)` and `run(args)`.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from tfswa_unet.errors import ConfigError, UserError

# Where each command is, and its line in the help.
COMMANDS = {
    "separate": ("separate", "separate songs into stems"),
    "live": ("live", "separate raw audio from a pipe into a pipe as it comes, with a real-time model"),
    "bundle": (
        "models:Bundle",
        "turn a training checkpoint into a bundle: weights and description in one .safetensors file",
    ),
    "export": ("export", "write a model as ONNX, TorchScript or a PT2 program, and compare that with torch"),
    "info": ("models:Info", "show a model's size, cost, stems, layers and origin"),
    "models": ("catalogue:Models", "list the models that can be named: of the package, of the cache, and presets"),
    "card": ("catalogue:Card", "write a model card in Markdown: training, scores, data with attributions, limits"),
    "pull": ("catalogue:Pull", "fetch a model from a URL or the Hugging Face Hub into the cache"),
    "push": ("catalogue:Push", "put a bundle and its model card on the Hugging Face Hub"),
    "runs": ("runs", "list training runs, what differs between them and what they scored; as a page with curves too"),
    "compare": ("results:Compare", "tell whether one of two evaluations is ahead by more than chance"),
    "results": (
        "results:Results",
        "lay a folder of evaluations out as one page: a table, and quality by cost",
    ),
    "data": ("data", "make, check and prepare data sets to train on"),
    "serve": ("serve", "serve separation to others: a queue of jobs, streams and a page"),
    "bench": (
        "bench",
        "measure speed, memory and learning: of a model, of training, of its data, of whole songs, beside others",
    ),
}

MODEL_KINDS = (
    "a bundle (.safetensors), a checkpoint (.ckpt), a name that `tfswa models` lists, hf://OWNER/NAME[@REVISION], "
    "or https://…/FILE#sha256=…"
)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults beside every option that has one, examples printed as written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; give the exit status: 0 done, 1 the user's to put right, 2 wrong usage, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names and signs that a terminal cannot show
    top = parser(argv)
    args = top.parse_args(argv)
    if args.version:
        from tfswa_unet import __version__

        print(__version__)
        return 0
    if not hasattr(args, "run"):
        top.print_help()
        return 0
    try:
        with _offline(getattr(args, "offline", False)):
            status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # what reads it, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of a command line: it names all commands and has the options of the one that `argv` names."""
    top = argparse.ArgumentParser(
        prog="tfswa", description="Music source separation with the TFSWA-UNet family.", formatter_class=HelpFormatter
    )
    top.add_argument("--version", action="store_true", help="print the version and leave")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    asked = next((word for word in argv if not word.startswith("-")), None)
    for name, (place, about) in COMMANDS.items():
        if name == asked:
            command = resolve_name(f"{__name__}.{place}")
            add_command(commands, name, about, command).set_defaults(run=command.run)
        else:
            commands.add_parser(name, help=about)
    return top


def add_offline(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that take a model by name; `main` acts on it."""
    told = "fetch no model: take what the cache has, as HF_HUB_OFFLINE=1 in the environment does"
    parser.add_argument("--offline", action="store_true", help=told)


@contextmanager
def writing(out: Path, option: str = "-o") -> Iterator[None]:
    """Write a command's file inside; raises ConfigError where that cannot be."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}): give {option} another file") from error


def _offline(wanted: bool) -> AbstractContextManager[None]:
    if not wanted:
        return nullcontext()
    from tfswa_unet.bundles.remote import OFFLINE
    from tfswa_unet.processes import environment

    return environment(**{OFFLINE: "1"})


def add_command(commands: Any, name: str, about: str, command: Any) -> argparse.ArgumentParser:
    """Add a sub-command's parser to those of its parent.

    Args:
        commands: what the parent's `add_subparsers` gave.
        name: of the sub-command.
        about: its line in the parent's help.
        command: has EXAMPLES and `add_arguments`.
    """
    added = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"examples:\n{command.EXAMPLES.rstrip()}",
        formatter_class=HelpFormatter,
    )
    command.add_arguments(added)
    return added
