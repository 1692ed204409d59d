"""The `tfswa` command: each sub-command is a module here with HELP, EXAMPLES, add_arguments and run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from tfswa_unet.errors import UserError

COMMANDS = ("separate", "bundle", "info", "data", "bench")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults beside every option that has one, examples printed as written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def parser() -> argparse.ArgumentParser:
    """The command line with all sub-commands that this installation has."""
    top = argparse.ArgumentParser(
        prog="tfswa", description="Music source separation with the TFSWA-UNet family.", formatter_class=HelpFormatter
    )
    top.add_argument("--version", action="store_true", help="print the version and leave")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    for name in COMMANDS:
        if find_spec(f"{__name__}.{name}") is None:
            continue
        module = import_module(f"{__name__}.{name}")
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=f"examples:\n{module.EXAMPLES.rstrip()}",
            formatter_class=HelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; give the exit status: 0 done, 1 the user's to put right, 2 wrong usage, 130 interrupted."""
    top = parser()
    args = top.parse_args(argv)
    if args.version:
        from tfswa_unet import __version__

        print(__version__)
        return 0
    if not hasattr(args, "run"):
        top.print_help()
        return 0
    try:
        return args.run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
