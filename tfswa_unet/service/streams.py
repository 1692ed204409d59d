"""Streams: frames of a mixture in, frames of its stems out, through the worker, which has the model.

A WebSocket at the server is joined to a Unix socket at the worker, over which go messages of a kind, a length and a
body: text ("T", JSON) and samples ("S"). Neither side holds more than the sockets do: who is slow slows the other.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect

from tfswa_unet.audio import RawFormat
from tfswa_unet.errors import ConfigError, UserError
from tfswa_unet.inference.separator import Separator

LOG = logging.getLogger("tfswa.streams")
HEAD = struct.Struct("!cI")
TEXT, SAMPLES = b"T", b"S"
FORMATS = ("f32le", "s16le")  # of those of `RawFormat`
MOST_BYTES = 1 << 20  # of one message of a client
POLICY, TOO_MANY, OVER = 1008, 1013, 1000  # why a WebSocket is closed (RFC 6455 section 7.4.1, and IANA's list)


def samples_of(body: bytes, raw: RawFormat) -> np.ndarray:
    """Interleaved samples as (c, t) float32; raises ConfigError where they are no whole frames."""
    if len(body) % raw.frame_bytes:
        raise ConfigError(
            f"a message of {len(body)} bytes holds no whole frames of {raw.channels} channels of {raw.samples}: "
            f"send multiples of {raw.frame_bytes} bytes"
        )
    return raw.decoded(body)


class StreamServer:
    """The worker's end: a thread for each stream, all of them with one model.

    Args:
        separator: the model at work.
        path: of the Unix socket, which is there as long as the context is entered. Who asks for nothing is told of
            the model.
        most_seconds: of audio in one stream.
    """

    def __init__(self, separator: Separator, path: Path, most_seconds: float) -> None:
        self._separator, self._path, self._most = separator, path, most_seconds
        self._facts = {
            "stems": list(separator.stems),
            "rate": separator.model.rate,
            "channels": separator.model.channels,
            "device": str(separator.device),
            "precision": separator.precision,
        }
        self._socket = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> StreamServer:
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._socket.listen()
        threading.Thread(target=self._accept, name="streams", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as file:
            try:
                self._stream(file)
            except UserError as error:
                _write(file, TEXT, {"error": str(error)})
            except (OSError, EOFError):
                pass  # the client is gone
            except Exception:
                LOG.exception("a stream ended by a defect")
                _write(file, TEXT, {"error": "an unexpected error ended the stream"})

    def _stream(self, file: Any) -> None:
        asked = json.loads(_read(file)[1])
        if not asked:
            _write(file, TEXT, self._facts)
            return
        raw = RawFormat(asked["rate"], asked["channels"], asked["format"])
        sent = 0
        with self._separator.stream(raw.rate, raw.channels, stems=asked["stems"]) as stream:
            hello = {"stems": list(stream.names), "rate": raw.rate, "channels": raw.channels, "format": raw.samples}
            _write(file, TEXT, {**hello, "latency": round(stream.latency, 3)})
            received = 0
            while True:
                kind, body = _read(file)
                ended = kind == TEXT
                block = samples_of(body, raw) if not ended else None
                received += 0 if block is None else block.shape[1]
                if received > self._most * raw.rate:
                    raise ConfigError(f"the stream is longer than {self._most:g} s: begin another")
                stems = stream.finish() if block is None else stream.push(block)
                length = next(iter(stems.values())).shape[1]
                if length:
                    _write(file, SAMPLES, b"".join(map(raw.encoded, stems.values())))
                    sent += length
                if ended:
                    _write(file, TEXT, {"end": True, "samples": sent})
                    return


def _read(file: Any) -> tuple[bytes, bytes]:
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        raise EOFError
    kind, length = HEAD.unpack(head)
    return kind, file.read(length)


def _write(file: Any, kind: bytes, body: bytes | Mapping[str, Any]) -> None:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        file.write(HEAD.pack(kind, len(body)) + body)
        file.flush()
    except OSError:
        raise EOFError from None


def model_facts(path: Path) -> dict[str, Any] | None:
    """What the worker behind a Unix socket says of its model; None where it has none yet, or does not answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(os.fspath(path))
            with connection.makefile("rwb") as file:
                _write(file, TEXT, {})
                return dict(json.loads(_read(file)[1]))
        except (OSError, EOFError):
            return None


async def relay(client: WebSocket, path: Path, asked: Mapping[str, Any], idle_seconds: float) -> None:
    """The server's end: hand messages on in both directions until one side is done, and close the WebSocket.

    Args:
        client: accepted.
        path: of the worker's Unix socket.
        asked: format, rate, channels and stems.
        idle_seconds: without a message of the client after which the stream is over.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        await _close(client, {"error": "no model is loaded yet: try again in a few seconds"}, TOO_MANY)
        return

    async def there() -> None:
        ended = False
        while not ended:
            try:
                message = await asyncio.wait_for(client.receive(), idle_seconds)
            except asyncio.TimeoutError:
                raise ConfigError(f"nothing came for {idle_seconds:g} s: send samples, or the text end") from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", OVER))
            body = message.get("bytes")
            ended = body is None
            if body is None and message.get("text") != "end":
                raise ConfigError("a text came that is not end: send samples as binary messages")
            writer.write(HEAD.pack(TEXT if ended else SAMPLES, len(body or b"")) + (body or b""))
            await writer.drain()

    async def back() -> None:
        while True:
            kind, length = HEAD.unpack(await reader.readexactly(HEAD.size))
            body = await reader.readexactly(length)
            if kind == SAMPLES:
                await client.send_bytes(body)
                continue
            said = json.loads(body)
            if "end" in said or "error" in said:
                await _close(client, said, POLICY if "error" in said else OVER)
                return
            await client.send_text(body.decode())

    writer.write(HEAD.pack(TEXT, len(line := json.dumps(dict(asked)).encode())) + line)
    sending, receiving = asyncio.create_task(there()), asyncio.create_task(back())
    try:
        await asyncio.wait([sending, receiving], return_when=asyncio.FIRST_COMPLETED)
        if not receiving.done():
            with suppress(OSError):  # the worker takes no more: what it said of that comes back
                await sending
        await receiving
    except ConfigError as error:
        await _close(client, {"error": str(error)}, POLICY)
    except asyncio.IncompleteReadError:
        await _close(client, {"error": "the worker ended: begin the stream anew"}, TOO_MANY)
    except (WebSocketDisconnect, OSError):
        pass
    finally:
        sending.cancel()
        receiving.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
        writer.close()


async def _close(client: WebSocket, said: Mapping[str, Any], code: int) -> None:
    with suppress(RuntimeError, WebSocketDisconnect, OSError):  # gone already
        await client.send_text(json.dumps(dict(said)))
        await client.close(code)
