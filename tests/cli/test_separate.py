from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import MISSING, fields

import numpy as np
import pytest
import soundfile
import torch

from tfswa_unet import audio
from tfswa_unet.bundle import load_model
from tfswa_unet.cli import main, parser
from tfswa_unet.errors import UserError
from tfswa_unet.inference import Request, Separator, precision
from tfswa_unet.inference.presets import DEFAULT_PRESET, SEGMENT_SECONDS
from tfswa_unet.models.spectral import SpectralModel

FAST = ["--segment", "1", "--overlap", "0.2", "--device", "cpu", "--precision", "fp32", "--threads", "1"]


def wavs(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def test_a_song_becomes_its_stems(bundle, song, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["separate", str(song), "-o", str(out), "--model", str(bundle), *FAST]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"song\.wav: 2\.0 s in \d+\.\d s \(RTF \d+\.\d{3}\), mixture − Σ stems -\d+\.\d dB\n", shown)
    assert f"→ {out / 'song'}: vocals.wav, drums.wav, bass.wav, other.wav" in shown
    separator = Separator(load_model(bundle), "cpu", 1.0, 0.2, precision="fp32")
    for name, stem in separator.separate(audio.read(song), 44100).items():
        np.testing.assert_allclose(audio.read(out / "song" / f"{name}.wav"), stem, atol=1e-6)


def test_without_a_model_the_packaged_one_separates_and_is_named(bundle, default, song, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["separate", str(song), "-o", str(out), *FAST]) == 0
    told, *lines = capsys.readouterr().out.splitlines()
    assert told == "with tfswa_open_small, the model that comes with the package; --model takes another"
    assert [line.startswith((f"{song}: ", "  → ")) for line in lines] == [True, True]
    assert main(["separate", str(song), "-o", str(tmp_path / "named"), "--model", str(bundle), *FAST]) == 0
    assert "comes with the package" not in capsys.readouterr().out
    for path in (tmp_path / "named" / "song").iterdir():
        np.testing.assert_array_equal(audio.read(path), audio.read(out / "song" / path.name))


@pytest.mark.parametrize("flag", ["--json", "--quiet"])
def test_the_packaged_model_is_not_named_where_lines_are_unwanted(default, song, tmp_path, capsys, flag):
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), *FAST, flag]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["done"] == 1 if flag == "--json" else printed == ""


def test_an_installation_without_a_model_says_how_to_give_one(folder, song, tmp_path, capsys):
    for more in ([], ["--model", "tfswa_open_small"]):
        assert main(["separate", str(song), "-o", str(tmp_path / "out"), *FAST, *more]) == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err == (
            "error: this installation has no default model (tfswa_open_small did not come with it): name a model, as "
            "--model FILE.safetensors does, the path of a bundle or of a checkpoint (.ckpt)\n"
        )
    assert wavs(tmp_path) == ["song.wav"]


def test_what_auto_precision_does_is_told(bundle, song, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(precision, "fast_bf16", lambda device: True)
    fast = [word for word in FAST if word not in ("--precision", "fp32")]
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--model", str(bundle), *fast]) == 0
    assert re.match(r"bf16 keeps \d\d\.\d dB to fp32: taken\n", capsys.readouterr().out)


def test_every_option_reaches_the_separation(checkpoint, song, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--two-stems", "bass", "--format", "flac16", "--template", "{stem}-{track}.{ext}", "--clip", "clamp"]
    more = ["--batch", "2", "--no-tags", "--stream", "0", "--quiet"]
    assert main(["separate", str(song), "--out", str(out), "--model", str(checkpoint), *FAST, *options, *more]) == 0
    assert wavs(out) == ["bass-song.flac", "no_bass-song.flac"]
    assert audio.probe(out / "bass-song.flac").codec == "flac"
    assert capsys.readouterr().out == ""
    assert torch.get_num_threads() == 1
    total = sum(audio.read(out / name) for name in wavs(out))
    np.testing.assert_allclose(total, audio.read(song), atol=1e-4)


def test_a_set_reports_as_json_and_fails_with_1_if_any_song_does(bundle, song, tmp_path, capsys):
    (tmp_path / "album").mkdir()
    song.rename(tmp_path / "album" / "a.wav")
    (tmp_path / "album" / "broken.mp3").write_bytes(b"nothing to hear")
    out = tmp_path / "out"
    command = [
        "separate",
        str(tmp_path / "album"),
        "-o",
        str(out),
        "--model",
        str(bundle),
        *FAST,
        "--stems",
        "vocals,bass",
    ]
    assert main([*command, "--residual", "stem", "--json"]) == 1
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["done"], summary["skipped"], summary["failed"]) == (1, 0, 1)
    assert sorted(summary["songs"][0]["files"]) == ["bass", "residual", "vocals"]
    assert summary["songs"][0]["null_db"] < -100
    assert summary["songs"][1]["error"] in captured.err
    assert "error: 1 of 2 songs failed" in captured.err
    assert wavs(out) == ["a/bass.wav", "a/residual.wav", "a/vocals.wav"]

    assert main([*command, "--skip-existing"]) == 1
    assert "a.wav: skipped, its stems exist" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--format", "flac"], r"unknown format 'flac' \(did you mean flac"),
        (["--stems", "vocal"], r"no stem 'vocal' \(did you mean vocals\?\)"),
        (["--stems", ","], "no stem is asked for"),
        (["--two-stems", "piano"], "the model gives no stem 'piano'"),
        (["--residual", "sum"], "unknown residual 'sum': expected one of stem, spread"),
        (["--clip", "soft"], "unknown clip 'soft'"),
        (["--template", "../{stem}.{ext}"], "outside"),
        (["--template", "{stm}.{ext}"], r"unknown field \{stm\}"),
        (["--device", "cuda:77"], "device cuda:77 is not there"),
        (["--precision", "int8"], "unknown precision 'int8'"),
        (["--segment", "0"], "a segment of 0 samples is empty"),
        (["--overlap", "0.9"], "must lie between 0 and half of the segment's"),
        (["--batch", "0"], "batch=0: at least one segment"),
        (["--threads", "0"], "--threads 0: at least one thread"),
        (["--stream", "2"], "stream 2 does not exist"),
        (["--model", "tfswa_tiny"], "tfswa_tiny is a preset, which has no trained weights"),
        (["--model", ""], "is a folder: give a bundle"),
        (["--model", "gone.ckpt"], r"gone\.ckpt: no such bundle or checkpoint"),
    ],
)
def test_what_cannot_work_is_one_sentence_and_leaves_nothing(bundle, song, tmp_path, capsys, options, sentence):
    out = tmp_path / "out"
    assert main(["separate", str(song), "-o", str(out), "--model", str(bundle), *FAST, *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search(sentence, line)
    assert wavs(tmp_path) == ["song.wav"]


def test_a_terminal_shows_from_the_start_what_goes_on_and_a_file_gets_the_lines(
    bundle, song, tmp_path, capsys, monkeypatch
):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--model", str(bundle), *FAST]) == 0
    assert capsys.readouterr().out.startswith(f"{song}: ")
    shown = terminal.getvalue()
    assert 0 <= shown.find("loading the model") < shown.find("song.wav")
    assert "  → " not in shown


def test_a_song_that_is_not_there_is_refused_before_the_model_is_loaded(tmp_path, capsys):
    assert main(["separate", str(tmp_path / "gone.wav"), "--model", "gone.ckpt", "-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'gone.wav'}: no such file or folder\n"


def test_the_defaults_are_those_of_a_request_and_of_a_separator(capsys):
    args = parser(["separate"]).parse_args(["separate", "song.wav", "--model", "m"])
    defaults = {field.name: field.default for field in fields(Request) if field.default is not MISSING}
    assert {name: value for name, value in vars(args).items() if name in defaults} == {
        name: value for name, value in defaults.items() if name not in ("tags", "stdout", "store", "prefix")
    }
    assert (args.segment, args.preset, args.overlap, args.shifts) == (SEGMENT_SECONDS, DEFAULT_PRESET, None, None)
    with pytest.raises(SystemExit):
        main(["separate", "--help"])
    told = capsys.readouterr().out.rpartition("--format FORMAT")[2].partition("(default")[0]
    assert re.findall(r"\w*\d\w*|ogg|opus", told) == list(audio.FORMATS)


def test_an_interrupted_run_leaves_nothing(bundle, song, tmp_path, capsys, monkeypatch):
    run, calls = SpectralModel.forward, []

    def interrupted(self, mixture):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(self, mixture)

    monkeypatch.setattr(SpectralModel, "forward", interrupted)
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--model", str(bundle), *FAST]) == 130
    assert wavs(tmp_path) == ["song.wav"]


def test_a_picture_of_the_song_and_its_stems(bundle, song, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["separate", str(song), "-o", str(out), "--model", str(bundle), *FAST, "--picture", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 1
    (picture,) = out.rglob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000


def test_a_picture_that_cannot_be_drawn_is_told_and_the_summary_still_printed(
    bundle, song, tmp_path, capsys, monkeypatch
):
    def undrawn(*_):
        raise OSError("no ink")

    monkeypatch.setattr("tfswa_unet.evaluation.plots.spectrograms", undrawn)
    out = tmp_path / "out"
    assert main(["separate", str(song), "-o", str(out), "--model", str(bundle), *FAST, "--picture", "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["done"] == 1
    assert told.err == f"error: {song}: its picture cannot be drawn: no ink\n"
    assert len(wavs(out)) == 4


def test_the_name_of_a_picture_is_refused_before_the_work(bundle, song, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(SpectralModel, "forward", None)  # nothing is separated
    long = song.rename(tmp_path / f"{'s' * 240}.wav")
    command = ["separate", str(long), "-o", str(tmp_path / "out"), "--model", str(bundle), *FAST, "--json"]
    assert main([*command, "--picture"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["failed"] == 1
    assert "spectrograms.png' has 261 bytes, the file system takes 255: shorten the template" in told.err
    assert wavs(tmp_path) == [long.name]


def test_an_output_that_is_latin_1_shows_what_it_can(bundle, song, tmp_path):
    command = [sys.executable, "-m", "tfswa_unet", "separate", str(song), "-o", "out", "--model", str(bundle), *FAST]
    latin = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, cwd=tmp_path, env=latin, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u2192 out/song: vocals.wav" in done.stdout


def test_too_many_channels_name_the_song(bundle, tmp_path, capsys):
    soundfile.write(tmp_path / "six.wav", np.full((44_100, 6), 0.1), 44_100)
    command = ["separate", str(tmp_path / "six.wav"), "-o", str(tmp_path / "out"), "--model", str(bundle), *FAST]
    assert main(command) == 1
    assert capsys.readouterr().err.startswith(
        f"error: {tmp_path / 'six.wav'}: the audio has 6 channels, the model separates 2 (or 1): mix it down first"
    )


def _bad_files(folder):
    """Files that are no song, each with a part of the sentence that says so."""
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((2, 88_200)).astype(np.float32)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("dear diary\n" * 50)
    audio.write(folder / "whole.mp3", noise, 44_100, "mp3")
    whole = (folder / "whole.mp3").read_bytes()
    (folder / "whole.mp3").unlink()
    (folder / "cut.mp3").write_bytes(whole[: len(whole) // 3])
    soundfile.write(folder / "nothing.wav", np.zeros((0, 2), np.float32), 44_100)
    noise[0, 44_100] = np.nan
    soundfile.write(folder / "nan.wav", noise.T, 44_100, subtype="FLOAT")
    return {
        "gone.wav": "no such file",
        "empty.wav": "empty",
        "text.wav": "text.wav",
        "cut.mp3": " s of ",
        "nothing.wav": "holds 0 samples",
        "nan.wav": "1.000 s",
    }


@pytest.mark.parametrize("name", ["gone.wav", "empty.wav", "text.wav", "cut.mp3", "nothing.wav", "nan.wav"])
def test_what_is_no_song_is_one_sentence_and_leaves_nothing(bundle, tmp_path, capsys, name):
    sentences = _bad_files(tmp_path)
    out = tmp_path / "out"
    assert main(["separate", str(tmp_path / name), "-o", str(out), "--model", str(bundle), *FAST]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert name in line
    assert sentences[name] in line
    assert not out.exists() or not list(out.rglob("*"))


def test_a_pipe_in_and_a_pipe_out(bundle, song, tmp_path, monkeypatch):
    def piped(given, *options):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
        assert main(["separate", "-", "-o", "-", "--model", str(bundle), *FAST, *options]) == 0
        return _heard(sys.stdout.buffer.getvalue())

    stem = Separator(load_model(bundle), "cpu", 1.0, 0.2, precision="fp32").separate(song)["bass"]
    np.testing.assert_allclose(piped(song.read_bytes(), "--stems", "bass"), stem, atol=1e-6)
    raw = np.ascontiguousarray(audio.read(song).T, "<f4").tobytes()
    rest = piped(raw, "--two-stems", "bass", "--raw", "44100,2,f32le", "--format", "wav16")
    np.testing.assert_allclose(rest, audio.read(song) - stem, atol=2e-5)
    assert wavs(tmp_path) == ["song.wav"]


def _heard(sound):
    """What a pipe's wav holds, as our own reader of pipes takes it."""
    return np.concatenate(list(audio.PipeReader(io.BytesIO(sound)).blocks()), axis=1)


def test_a_reader_that_leaves_ends_the_pipe_quietly(bundle, tmp_path):
    words = ["separate", "-", "-o", "-", "--raw", "44100,2,s16le", "--stems", "bass", "--model", str(bundle), *FAST]
    with open("/dev/zero", "rb") as endless:
        command = [sys.executable, "-m", "tfswa_unet", *words]
        process = subprocess.Popen(command, stdin=endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(1 << 20)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "standard output takes one stem, 4 are asked for"),
        (["--stems", "bass", "--format", "mp3"], "mp3 cannot be written to standard output: choose one of wav16"),
        (["--stems", "bass", "--clip", "shared"], "choose --clip none or clamp"),
        (["--stems", "bass", "--picture"], "need files: name a folder"),
        (["--stems", "bass", "--json"], "--json and -o - both write to standard output"),
        (["--stems", "bass", "--raw", "44100"], "raw audio '44100': expected RATE,CHANNELS,FORMAT"),
    ],
)
def test_what_a_pipe_cannot_do_is_one_sentence(bundle, tmp_path, capsys, options, sentence):
    assert main(["separate", "-", "-o", "-", "--model", str(bundle), *FAST, *options]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert sentence in line


def test_effort_reaches_the_separator(bundle, song, tmp_path, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(Separator, "load", classmethod(lambda cls, *_, **options: made.append(options) or _stop()))
    command = ["separate", str(song), "-o", str(tmp_path / "out"), "--model", str(bundle), "--device", "cpu"]
    for more in (["--preset", "best", "--shifts", "3", "--batch", "4"], ["--batch", "auto", "--wiener"]):
        assert main([*command, *more]) == 1
    assert [(each["preset"], each["shifts"], each["batch"], each["wiener"]) for each in made] == [
        ("best", 3, 4, False),
        ("balanced", None, None, True),
    ]


def _stop():
    raise UserError("that is enough")


def test_a_song_that_fails_can_end_the_set(bundle, song, tmp_path, capsys):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    command = ["separate", f"{tmp_path}/*.wav", "-o", str(tmp_path / "out"), "--model", str(bundle), *FAST]
    assert main([*command, "--on-error", "stop"]) == 1
    assert capsys.readouterr().err.endswith("error: 1 of 2 songs failed, 1 was not begun\n")
    assert not (tmp_path / "out").exists()
