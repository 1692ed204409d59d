"""Songs rendered from recordings, and data sets of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tfswa_unet.audio import SUFFIXES
from tfswa_unet.data.sets.layouts import TABLE, read_table
from tfswa_unet.data.tracks import OnError
from tfswa_unet.errors import DataError
from tfswa_unet.files import write_text
from tfswa_unet.songs.bass import BASSES, CENTRE, SUB, bass, bass_line, play
from tfswa_unet.songs.compose import SCALES, compose
from tfswa_unet.songs.drums import hits
from tfswa_unet.songs.instruments import LAYERS
from tfswa_unet.songs.midi import DRUM_NOTES, MidiSong, read_midi
from tfswa_unet.songs.mixdown import (
    Bell,
    Compression,
    apply_strip,
    below_peak,
    compress,
    glue,
    room_spectrum,
    sidechain,
    stereo_width,
)
from tfswa_unet.songs.passages import album_stretches, excerpt_stretches, sung_notes, sung_phrases
from tfswa_unet.songs.recordings import Instrument, Recordings, divide, scan
from tfswa_unet.songs.sampler import Sampler, Touch, drum_track, strum_track
from tfswa_unet.songs.score import Note, Score, Strip
from tfswa_unet.songs.sounds import draw_room, impulse, pan
from tfswa_unet.songs.writing import RATE, SongRecipe, check_song, check_workers, claim, is_whole, write_missing
from tfswa_unet.types import STEMS, Split

RENDERER = 5  # raised whenever the same seed and recordings give other songs
VALID_SHARE = 20  # one song in so many validates
PEAK = 0.9  # full scale
MIDI_SHARE = 0.3  # of songs, where there are MIDI files
ALBUM = {"drums": 0.25, "bass": 0.15, "other": 0.15}  # probability that a stem is stretches of an album
EXCERPTS = 0.1  # of songs are excerpts of recorded ones, where there are any, near to their own mix
REMIXED = 3.0  # dB, up or down, of their stems' levels
NOTES_SUNG = 0.15  # probability that vowels are sung on notes instead of phrases
STABS = 0.4  # probability that a bass line of no MIDI file is short electronic notes, near to a bass drum's
SYNTHESISED = 0.4  # probability that the procedural synthesizer plays a bass line: recordings are seldom electronic
STRUMS = 0.2  # probability of a layer of recorded chords
SPREAD = 5.0  # dB, up or down, of a stem's level
DUCKED = 0.3  # probability that the drums duck bass and other
LEVELS = {"vocals": 0.0, "drums": 0.0, "bass": -1.0, "other": -1.0}  # dB
SENDS = {"vocals": (-26.0, -9.0), "drums": (-32.0, -12.0), "bass": (-60.0, -28.0), "other": (-28.0, -8.0)}
HIGHEST_BASS = 52  # MIDI number of the lowest recording of what plays the bass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderRecipe(SongRecipe):
    """Recipe of rendered songs: their number, s of each, seed, and digest of the recordings and MIDI files."""

    what, manifest, name = "rendered songs", "rendered.json", "render-{:05d}"

    songs: int
    seconds: float
    seed: int
    recordings: str
    renderer: int = RENDERER

    def __post_init__(self) -> None:
        if self.songs < 2:
            raise DataError(f"{self.songs} songs were asked for; ask for 2 or more, one of which validates")
        check_song(self.seed, self.seconds)

    @property
    def count(self) -> int:
        """Number of songs."""
        return self.songs

    def split(self, index: int) -> Split:
        """Split of a song: one in twenty validates, the last ones, and one at least."""
        return "valid" if index >= self.songs - max(1, self.songs // VALID_SHARE) else "train"


def make_render_recipe(
    samples: str | Path, midi: str | Path | None, songs: int, seconds: float, seed: int
) -> RenderRecipe:
    """Recipe of songs rendered from the recordings in `samples` and the MIDI files in `midi`.

    Raises:
        DataError: a number is out of range, or a folder is missing or empty.
    """
    root = Path(samples).expanduser()
    if not root.is_dir():
        raise DataError(f"{root} is not a folder: give one that holds {', '.join(f'{stem}/' for stem in STEMS)}")
    files = [path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES] + _midi_files(midi)
    # Names and sizes: reading every byte would take longer than finding that nothing is to be done.
    listed = sorted(f"{path.parent.name}/{path.name} {path.stat().st_size}" for path in files)
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]
    return RenderRecipe(songs, float(seconds), seed, digest)


def write_rendered(
    samples: str | Path,
    out: str | Path,
    songs: int,
    seconds: float,
    seed: int,
    *,
    midi: str | Path | None = None,
    on_error: OnError = "raise",
    workers: int | None = None,
    on_examined: Callable[[int, int], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render songs from recordings as out/{train,valid}/<song>/{mixture,vocals,drums,bass,other}.wav.

    16-bit stereo at 44.1 kHz; the mixture is exactly the sum of the written stems. `samples` holds recordings as
    `songs.recordings` lists them, `midi` MIDI files, which nearly a third of the songs then follow. Songs that validate
    are made from recordings that none that trains has. A song's bytes depend on the recordings, `seed` and its number.
    Run again after an interruption, it makes what is missing. A table SOURCES.tsv in `samples` or beside it goes with
    the songs, its rows for what is there.

    Args:
        samples: folder of recordings.
        out: folder for the songs: new, empty, or to be completed.
        songs: how many.
        seconds: of each.
        seed: of all that is drawn.
        midi: folder of .mid files.
        on_error: "skip" leaves out recordings that cannot be used, and says so.
        workers: processes; by default as many as there are processors.
        on_examined: is told how many recordings have been listened to, and of how many.
        on_progress: is told how many songs are done, and of how many.

    Raises:
        DataError: a value is out of range, recordings are missing, the table cannot be read, `out` holds anything but
            these very songs, or the disk is too small.
        AudioError: with `on_error="raise"` a recording that cannot be read.
    """
    root, out = Path(samples).expanduser(), Path(out).expanduser()
    recipe, rows = make_render_recipe(root, midi, songs, seconds, seed), list_sources(root, midi)
    check_workers(workers)
    claim(out, recipe, begin=False)  # listening takes a while
    if not all(is_whole(recipe.folder(out, index), STEMS, recipe.frames) for index in range(songs)):
        recordings = scan(root, on_error=on_error, workers=workers, on_progress=on_examined)
        parts = dict(zip(("train", "valid"), divide(recordings, seed), strict=True))
        followed = _midi_files(midi)
        made = [
            partial(render, parts[recipe.split(index)], followed, (seed, index), recipe.seconds, on_error)
            for index in range(songs)
        ]
        write_missing(out, recipe, STEMS, made, workers, on_progress)
    if rows:
        lines = [list(rows[0]), *(row.values() for row in rows)]
        write_text(out / TABLE, "".join("\t".join(fields) + "\n" for fields in lines))


def list_sources(samples: str | Path, midi: str | Path | None) -> list[dict[str, str]]:
    """Rows of the table SOURCES.tsv in `samples` or beside it, by column, those whose folders are there.

    Raises:
        DataError: for a table that cannot be read or lacks columns or fields.
    """
    root = Path(samples).expanduser()
    table = next((folder / TABLE for folder in (root, root.parent) if (folder / TABLE).is_file()), None)
    if table is None:
        return []
    folders = {"midi": Path(midi).expanduser()} if midi else {}
    return [row for row in read_table(table) if (folders.get(row["stem"], root / row["stem"]) / row["folder"]).is_dir()]


def render(
    recordings: Recordings, midi: Sequence[Path], seed: Sequence[int], seconds: float, on_error: OnError = "raise"
) -> dict[str, np.ndarray]:
    """Render a song of `seconds` s from recordings, and a MIDI song in some cases; the seed alone decides.

    Returns vocals, drums, bass and other in this order, float32 (2, t) at 44.1 kHz; neither a stem nor their sum
    exceeds 0.9 of full scale.

    Raises AudioError and DataError for recordings that cannot be read.
    """
    plan, space, mix, *players = (np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(7))
    if recordings.excerpts and plan.random() < EXCERPTS:
        excerpt = recordings.excerpts[int(plan.integers(len(recordings.excerpts)))]
        return below_peak(_remixed(excerpt_stretches(seconds, excerpt, plan), mix), PEAK)
    score, song = compose(plan, seconds), None
    if midi and plan.random() < MIDI_SHARE and (found := _midi_song(midi, plan, on_error)):
        song = _excerpt(found, seconds, plan)
        score = _following(score, song)
    dry = {stem: PLAYERS[stem](score, song, recordings, rng) for stem, rng in zip(STEMS, players, strict=True)}
    return below_peak(_mixed(dry, mix, space), PEAK)


def _vocals(score: Score, song: MidiSong | None, recordings: Recordings, rng: np.random.Generator) -> np.ndarray:
    singers, passages = recordings.instruments.get("vocals", ()), recordings.passages.get("vocals", ())
    if singers and (not passages or rng.random() < NOTES_SUNG):
        return sung_notes(score, singers, rng)
    return sung_phrases(score, passages, rng)


def _drums(score: Score, song: MidiSong | None, recordings: Recordings, rng: np.random.Generator) -> np.ndarray:
    passages = recordings.passages.get("drums", ())
    if passages and (not recordings.kits or rng.random() < ALBUM["drums"]):
        return album_stretches(score, "drums", passages, rng)
    counts = np.array([len(kit.pieces) ** 2 for kit in recordings.kits], float)
    kit = recordings.kits[int(rng.choice(len(counts), p=counts / counts.sum()))]
    parts = [part for part in song.parts if part.stem == "drums"] if song else []
    struck = [
        (DRUM_NOTES.get(round(note.pitch), "shaker"), note.start, note.velocity)
        for part in parts
        for note in part.notes
    ]
    played = struck or hits(score, rng)
    return drum_track(played, score.seconds, kit, recordings.kits, score.looseness, rng)


def _bass(score: Score, song: MidiSong | None, recordings: Recordings, rng: np.random.Generator) -> np.ndarray:
    low = [each for each in recordings.instruments.get("bass", ()) if each.notes[0].pitch <= HIGHEST_BASS]
    passages = recordings.passages.get("bass", ())
    if passages and rng.random() < ALBUM["bass"]:
        return album_stretches(score, "bass", passages, rng)
    parts = [part.notes for part in song.parts if part.stem == "bass"] if song else []
    if not parts and rng.random() < STABS:
        return bass(score, rng, RATE, stabs=1.0)
    notes = list(parts[0]) if parts else bass_line(score, rng, float(rng.choice([SUB, CENTRE])))
    if not low or rng.random() < SYNTHESISED:
        mono = play(notes, BASSES[score.bass], rng, RATE, round(score.seconds * RATE))
        return np.stack([mono, mono])
    touch = Touch(float(rng.uniform(0.03, 0.12)), bool(rng.random() < 0.4), float(rng.choice([0.0, 0.0, 0.05])))
    out = np.zeros((2, round(score.seconds * RATE)), np.float32)
    Sampler(_drawn(low, rng), touch, rng).play(out, notes)
    return out


def _other(score: Score, song: MidiSong | None, recordings: Recordings, rng: np.random.Generator) -> np.ndarray:
    instruments, passages = recordings.instruments.get("other", ()), recordings.passages.get("other", ())
    if passages and (not instruments or rng.random() < ALBUM["other"]):
        return album_stretches(score, "other", passages, rng)
    parts = [part.notes for part in song.parts if part.stem == "other"] if song else []
    parts = parts or [tuple(LAYERS[name].write(score, rng)) for name in score.layers]
    layers = [_layer(notes, score.seconds, _drawn(instruments, rng), rng) for notes in parts]
    if recordings.chords and song is None and rng.random() < STRUMS:
        strummed = strum_track(score, recordings.chords, rng)
        layers += [] if strummed is None else [_levelled(strummed, rng)]
    return np.sum(layers, axis=0)


PLAYERS = {"vocals": _vocals, "drums": _drums, "bass": _bass, "other": _other}


def _layer(notes: Sequence[Note], seconds: float, instrument: Instrument, rng: np.random.Generator) -> np.ndarray:
    out = np.zeros((2, round(seconds * RATE)), np.float32)
    touch = Touch(float(rng.choice([0.04, 0.1, 0.3])), bool(rng.random() < 0.25), float(rng.choice([0.0, 0.0, 0.05])))
    Sampler(instrument, touch, rng).play(out, notes)
    if rng.random() < 0.6:
        out = pan(out.mean(axis=0), rng.uniform(-0.7, 0.7)) + np.float32(0.3) * out
    return _levelled(out, rng)


def _levelled(layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    level = np.sqrt(np.square(layer).mean()) + 1e-9
    return layer * np.float32(10 ** (rng.uniform(-6, 2) / 20) / level)


def _drawn(instruments: Sequence[Instrument], rng: np.random.Generator) -> Instrument:
    """An instrument, by the root of how many notes it has: those of one note sound alike everywhere."""
    weights = np.sqrt([len(each.notes) for each in instruments])
    return instruments[int(rng.choice(len(instruments), p=weights / weights.sum()))]


def _mixed(dry: dict[str, np.ndarray], rng: np.random.Generator, space: np.random.Generator) -> dict[str, np.ndarray]:
    """Stems through their strips, and all through one bus."""
    room = room_spectrum(impulse(draw_room(space), space, RATE))
    stems = {}
    for stem, audio in dry.items():
        if rng.random() < 0.6:
            settings = Compression(rng.uniform(-6, 6), rng.uniform(1.5, 6), rng.uniform(0.05, 0.4))
            audio = compress(audio, settings, RATE)
        drive = rng.uniform(0.2, 1.0) if rng.random() < 0.4 else 0.0
        strip = Strip(LEVELS[stem] + rng.uniform(-SPREAD, SPREAD), rng.uniform(*SENDS[stem]), rng.uniform(-5, 5), drive)
        bells = [
            Bell(float(np.exp(rng.uniform(np.log(80), np.log(12_000)))), rng.uniform(-7, 7), rng.uniform(0.4, 1.5))
            for _ in range(int(rng.integers(0, 4)))
        ]
        stems[stem] = apply_strip(audio, strip, room, RATE, bells)
        if stem != "bass" and rng.random() < 0.3:
            stems[stem] = stereo_width(stems[stem], rng.uniform(0, 1.6))
    if rng.random() < DUCKED:
        for stem in ("bass", "other"):
            stems[stem] = sidechain(stems[stem], stems["drums"], rng.uniform(3, 10), rng.uniform(0.08, 0.25), RATE)
    if rng.random() < 0.5:
        stems = glue(stems, Compression(rng.uniform(0, 6), rng.uniform(1.5, 3), rng.uniform(0.1, 0.4)), RATE)
    return stems


def _remixed(stems: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Stems at other levels, those that an excerpt lacks silent."""
    silence = np.zeros_like(next(iter(stems.values())))
    gains = {stem: np.float32(10 ** (rng.uniform(-REMIXED, REMIXED) / 20)) for stem in STEMS}
    return {stem: gains[stem] * stems.get(stem, silence) for stem in STEMS}


def _excerpt(song: MidiSong, seconds: float, rng: np.random.Generator) -> MidiSong:
    first = min((part.notes[0].start for part in song.parts), default=0.0)
    return song.excerpt(float(rng.uniform(first, max(first, song.seconds - seconds))), seconds)


def _following(score: Score, song: MidiSong) -> Score:
    """Score with the tempo and key of a MIDI song, for what the song does not write."""
    if song.key is None:
        return replace(score, tempo=song.tempo)
    scale = SCALES["minor" if song.key.minor else "major"]
    return replace(score, tempo=song.tempo, root=42.0 + (song.key.tonic - 42) % 12, scale=scale)


def _midi_files(midi: str | Path | None) -> list[Path]:
    if midi is None:
        return []
    root = Path(midi).expanduser()
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    if not files:
        raise DataError(f"{root} holds no MIDI files: give a folder of .mid files, or leave it out")
    return files


def _midi_song(files: Sequence[Path], rng: np.random.Generator, on_error: OnError) -> MidiSong | None:
    """One of the MIDI songs; with `on_error="skip"` another for each that cannot be read, or None."""
    left = list(files)
    while left:
        path = left.pop(int(rng.integers(len(left))))
        try:
            return read_midi(path)
        except DataError as error:
            if on_error == "raise":
                raise
            log.warning("left out: %s", error)
    return None
