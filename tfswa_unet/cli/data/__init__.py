"""tfswa data: each action is a module here with HELP, EXAMPLES, add_arguments and run."""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec

ACTIONS = ("synth", "loops", "cache", "doctor")
_MODULES = {
    name: import_module(f"{__name__}.{name}") for name in ACTIONS if find_spec(f"{__name__}.{name}") is not None
}

HELP = "make, check and prepare data sets to train on"
EXAMPLES = "".join(module.EXAMPLES for module in _MODULES.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `tfswa data` and their options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name, module in _MODULES.items():
        action = actions.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=f"examples:\n{module.EXAMPLES.rstrip()}",
            formatter_class=parser.formatter_class,
        )
        module.add_arguments(action)
        action.set_defaults(act=module.run)


def run(args: argparse.Namespace) -> int:
    """Do what the chosen action does."""
    return args.act(args)
