"""Build the page that separates songs in a browser, and serve it with the headers that its threads need.

    python tools/web.py build                    web/dist, with the model that comes with the package
    python tools/web.py build --model FILE       with another bundle, or an ONNX file of `tfswa export`
    python tools/web.py serve --port 8000        http://127.0.0.1:8000, for this machine alone

What lies in web/dist can be put on any host of static files. `make web` does both, and before that
fetches onnxruntime-web by npm.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import shutil
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfswa_unet.errors import ConfigError, UserError
from tfswa_unet.files import content_hash, replacing, write_text

ROOT = Path(__file__).resolve().parents[1] / "web"
DIST = ROOT / "dist"
RUNTIME = ROOT / "node_modules" / "onnxruntime-web" / "dist"
MODEL, BUILD = "model.onnx", "build.js"
PAGE = ("*.html", "*.css", "*.js")
# By WebAssembly; and by WebGPU, which is fetched where a browser has that alone.
WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
HEADERS = {
    # Threads share memory, which browsers allow to isolated pages only.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    # The page can ask nobody but its own host.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:",
}
TYPES = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


def build(model: str, out: Path = DIST) -> None:
    """Put the page, what runs the model, and the model into a folder.

    Raises:
        ConfigError: where onnxruntime-web has not been fetched by npm, or what exports a model is not installed.
        ModelError: where the model cannot be loaded or exported.
    """
    if missing := [name for name in (*WASM, *WEBGPU) if not (RUNTIME / name).is_file()]:
        raise ConfigError(f"{RUNTIME / missing[0]} is missing: run `make web`, or `npm install` in {ROOT}")
    (out / "ort").mkdir(parents=True, exist_ok=True)
    put_model(model, out / MODEL)
    for source in (path for pattern in PAGE for path in sorted(ROOT.glob(pattern))):
        shutil.copyfile(source, out / source.name)
    for name in (*WASM, *WEBGPU):
        shutil.copyfile(RUNTIME / name, out / "ort" / name)
    pages = sorted(path.name for pattern in PAGE for path in ROOT.glob(pattern) if path.name != "sw.js")
    files = ["./", *pages, MODEL, *(f"ort/{name}" for name in WASM)]
    (out / BUILD).unlink(missing_ok=True)  # which names the hash of the others
    facts = {"version": content_hash(out)[:16], "files": files, "headers": HEADERS}
    write_text(out / BUILD, f"const BUILD = {json.dumps(facts)};\n")


def put_model(model: str, path: Path) -> None:
    """Copy an ONNX file, or export a bundle unless the file that is there was made of it."""
    if Path(model).suffix == ".onnx":
        if not Path(model).is_file():
            raise ConfigError(f"{model}: no such file: check the path")
        with replacing(path) as temporary:
            shutil.copyfile(model, temporary)
        return
    from tfswa_unet.bundle import find_model
    from tfswa_unet.export import Request, export
    from tfswa_unet.inference.exported import load_exported

    source = find_model(model)
    if path.is_file() and (load_exported(path).facts["source"] or {}).get("sha256") == content_hash(source):
        return
    print(f"exporting {model}, which takes a minute or two", file=sys.stderr, flush=True)
    with TemporaryDirectory() as folder, replacing(path) as temporary:
        shutil.copyfile(export(Request(model, Path(folder), "onnx")).path, temporary)


class Handler(SimpleHTTPRequestHandler):
    """Files with the page's headers; what was asked for is not logged."""

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        return TYPES.get(Path(path).suffix) or super().guess_type(path)

    def end_headers(self) -> None:
        for name, value in {**HEADERS, "Cache-Control": "no-cache"}.items():
            self.send_header(name, value)
        super().end_headers()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        with contextlib.suppress(ConnectionError):  # a browser that left needs no answer
            super().copyfile(source, outputfile)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(folder: Path, port: int) -> None:
    """Serve a folder to this machine until Ctrl-C; port 0 takes a free one.

    Raises:
        ConfigError: where the folder has not been built, or the port is taken.
    """
    if not (folder / BUILD).is_file():
        raise ConfigError(f"{folder} holds no page: run `make web`, or `python tools/web.py build` before")
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=str(folder)))
    except OSError as error:
        raise ConfigError(
            f"port {port} cannot be used ({error.strerror}): choose another, such as make web PORT=8001"
        ) from error
    with server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="make web/dist")
    command.add_argument("--model", default="tfswa_open_small", help="bundle, packaged model or ONNX file")
    command.add_argument("--out", type=Path, default=DIST, help="folder to build in")
    command = commands.add_parser("serve", help="serve web/dist to this machine")
    command.add_argument("--folder", type=Path, default=DIST, help="folder that was built")
    command.add_argument("--port", type=int, default=8000, help="0 for a free one")
    args = parser.parse_args()
    try:
        if args.command == "build":
            build(args.model, args.out)
        else:
            serve(args.folder, args.port)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
