"""tfswa serve: a service that separates songs, with a queue, streams and a page."""

from __future__ import annotations

import argparse
from typing import Any

EXAMPLES = """\
  tfswa serve                                                   the package's model, at http://127.0.0.1:8000
  tfswa serve --model model.safetensors --data /srv/stems
  tfswa serve --port 9000 separation.preset=fast limits.seconds=600 keep_hours=2
  tfswa serve --data /srv/stems --add-token label               make a token, which is shown once
  tfswa serve --data /srv/stems --host 0.0.0.0 names=[stems.example.org]
  tfswa serve results=s3://BUCKET/stems                         stems are kept there (pip install s3fs)
  tfswa serve url_hosts=[files.example.org]                     songs may be given as URLs of that host
  curl -F file=@song.mp3 http://127.0.0.1:8000/v1/jobs          then /v1/jobs/ID, /v1/jobs/ID/stems/vocals
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa serve`."""
    add = parser.add_argument
    add("--model", help="as for `tfswa separate`; the model that comes with the package if not given")
    add("--data", metavar="DIR", help="folder of uploads, stems and the table of jobs; data/service if not given")
    add("--host", help="address to listen on; 127.0.0.1 if not given. Others need a token, see --add-token")
    add("--port", type=int, help="port to listen on; 8000 if not given")
    add("--add-token", metavar="NAME", help="make a token, print it and end: from then on every request needs one")
    add("--remove-token", metavar="NAME", help="forget a token and end")
    add("settings", nargs="*", metavar="KEY=VALUE", help="other settings; conf/serve.yaml names and explains them all")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it, or make or remove a token."""
    from tfswa_unet.errors import ConfigError

    try:
        from tfswa_unet.service.access import make_token
        from tfswa_unet.service.server import open_table, serve
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed, and the service needs it: pip install 'tfswa-unet[serve]'"
        ) from None
    settings = _settings(args)
    if args.add_token:
        table = open_table(settings)
        print(make_token(table, args.add_token))
        return 0
    if args.remove_token:
        if not open_table(settings).remove_token(args.remove_token):
            raise ConfigError(f"there is no token named {args.remove_token!r} in {settings.folder}")
        return 0
    if settings.model:
        from tfswa_unet.bundle import find_model

        find_model(settings.model)  # refuses one that is not there before anything starts
    serve(settings)
    return 0


def _settings(args: argparse.Namespace) -> Any:
    from tfswa_unet.config import command_values
    from tfswa_unet.service.settings import Settings

    values = command_values("serve", args.settings)
    given = {name: getattr(args, name) for name in ("model", "data", "host", "port")}
    return Settings.from_values({**values, **{name: value for name, value in given.items() if value is not None}})
