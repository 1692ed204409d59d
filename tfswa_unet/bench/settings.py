"""What each benchmark is told: every field is an option of `tfswa bench`, and a class's first line its help.

Imports no torch, so that help is quick.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from tfswa_unet.errors import ConfigError, unknown

# Contestants, and the learning rates that suit them.
RATES = {"tfswa_tiny": 2e-3, "tfswa_base": 2e-3, "openunmix": 1e-2, "htdemucs": 1e-2, "bs_roformer": 3e-3}
REFERENCE = "fp32"
ELSEWHERE = ("data", "workers", "out")  # where songs and results lie and who loads them changes no result


def option(help: str, metavar: str | None = None, default: Any = None, positive: bool = True) -> Any:
    """A field that is an option of the command line; numbers must be above 0 where `positive` does not say otherwise.

    A default of None is left to the benchmark; `help` says what it takes then.
    """
    return field(default=default, metadata={"help": help, "metavar": metavar, "positive": positive})


def check_positive(name: str, value: float) -> None:
    """Refuse a number that leaves nothing to measure; raises ConfigError by the name of its option."""
    if not 0 < value < float("inf"):
        raise ConfigError(f"--{name.replace('_', '-')} {value:g}: expected a number above 0")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every benchmark is told; this and all settings below raise ConfigError for impossible values."""

    threads: int | None = option("CPU threads (default: all cores)", "N")

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.metadata.get("positive") and type(value) in (int, float):  # None is left to the benchmark
                check_positive(each.name, value)
        workers = getattr(self, "workers", None)
        if workers is not None and workers < 0:
            raise ConfigError(f"--workers {workers}: expected 0 (the training process loads) or more")


@dataclass(frozen=True, kw_only=True)
class ModelSetting(Setting):
    """What a benchmark of a model is told; `model` is a preset (random weights), a bundle or a checkpoint.

    `tfswa bench forward` takes a file of `tfswa export` too.
    """

    preset: ClassVar[str] = "tfswa_base"  # that is measured where no model is named

    model: str
    device: str = option("auto, cpu, cuda, cuda:N or mps", default="auto")
    precision: str = option("auto, fp32 or bf16", default="fp32")


@dataclass(frozen=True, kw_only=True)
class ForwardSetting(ModelSetting):
    """The model alone, from waveforms to stems."""

    seconds: float | None = option("length of a segment (default: as in conf/data)", "S")
    batch: int = option("segments at a time", "N", 1)
    runs: int = option("calls counted after a warm-up; the median is given", "N", 5)
    compile: bool = option("compile the network with torch.compile first", default=False)
    profile: bool = option("show the share of the time of each kind of module", default=False)
    compare: str | None = option(
        "fp32: SNR of the output in dB against fp32 without compilation; bf16 always shows it", "fp32"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compare not in (None, REFERENCE):
            raise unknown("precision to --compare with", self.compare, [REFERENCE])
        if self.compile and self.profile:
            raise ConfigError("--compile --profile: compiled modules have no time of their own, leave one of them out")


@dataclass(frozen=True, kw_only=True)
class TrainSetting(ModelSetting):
    """Training steps with their data, loss and optimizer."""

    seconds: float | None = option("length of a segment (default: as in conf/data)", "S")
    batch: int | None = option("segments a step (default: as in conf/data)", "N")
    steps: int = option("steps counted after a warm-up", "N", 8)
    loss: str = option("as in conf/loss: default, fast, waveform", "NAME", "default")
    augmentation: str = option("as in conf/augmentation: none, default, strong", "NAME", "default")
    data: str | None = option("a data set (default: a few synthetic songs, made for the time being)", "ROOT")
    cache: str | None = option("decode the data set to it first, as training does (default: read its files)", "FOLDER")
    workers: int | None = option("loader processes (default: as in conf/data)", "N", positive=False)
    checkpointing: bool = option("also with gradient checkpointing: its price and gain", default=False)
    peak_tflops: float | None = option("the device's best, to tell how much of it is used", "X")


@dataclass(frozen=True, kw_only=True)
class SeparateSetting(ModelSetting):
    """A whole song, from file to files."""

    seconds: float = option("length of the song, in stereo at 44.1 kHz", "S", 60.0)
    runs: int = option("songs counted after a warm-up; the median is given", "N", 3)
    segment: float | None = option("seconds that the model sees at once (default: as tfswa separate)", "S")
    overlap: float | None = option(
        "seconds that neighbouring segments share (default: as tfswa separate)", "S", positive=False
    )
    batch: int | None = option("segments at a time (default: as tfswa separate)", "N")


@dataclass(frozen=True, kw_only=True)
class LiveSetting(ModelSetting):
    """A real-time model hop by hop, as tfswa live runs it."""

    preset: ClassVar[str] = "tfswa_realtime"

    hops: int = option("hops that are counted, after a warm-up of one second", "N", 2000)


@dataclass(frozen=True, kw_only=True)
class ServeSetting(Setting):
    """A service under load, as tfswa serve runs it: how soon it answers while it works, and what memory it keeps."""

    model: str | None = option("as for tfswa serve (default: the model that comes with the package)", "NAME")
    device: str = option("auto, cpu, cuda, cuda:N or mps", default="auto")
    jobs: int = option("songs that are separated", "N", 200)
    clients: int = option("that post songs and ask for them, at the same time", "N", 50)
    queued: int = option("songs that may wait: posts of more are refused, and their clients come back", "N", 25)
    seconds: float = option("length of a song, in stereo at 44.1 kHz", "S", 10.0)


@dataclass(frozen=True, kw_only=True)
class ScoringSetting(Setting):
    """BSSEval of a track of four stereo stems, ours beside museval."""

    seconds: float = option("length of the track that both score in turn, at 44.1 kHz", "S", 30.0)
    long: float | None = option("length of a track that ours scores as well (default: none)", "S")
    runs: int = option("rounds after a warm-up; medians are given", "N", 3)


@dataclass(frozen=True, kw_only=True)
class DataSetting(Setting):
    """The examples that training waits for, by reader of the files."""

    seconds: float | None = option("length of a segment (default: as in conf/data)", "S")
    batch: int | None = option("segments at a time (default: as in conf/data)", "N")
    samples: int = option("segments counted after a warm-up, at least 1 s of them", "N", 48)
    workers: int | None = option(
        "loader processes (default and most: as many as processors; 0: none)", "N", positive=False
    )
    readers: tuple[str, ...] | None = option(
        "some of musdb, musdb_wav (its own), stem_mp4, wav, flac, cached (default: all); of a data set with --data "
        "those that read it, files for layouts other than MUSDB18's",
        "NAME",
    )
    augmentation: str | None = option(
        "as in conf/augmentation: none, default, strong (default: none, and the cache with default as well)", "NAME"
    )
    data: str | None = option("a data set (default: a few synthetic songs, made for the time being)", "ROOT")
    kind: str = option("its layout, as data.kind", default="auto")
    cache: str | None = option("where to decode it to, and to leave it (default: for the time being)", "FOLDER")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data is None and self.kind != "auto":
            raise ConfigError(f"--kind {self.kind} says nothing without --data: give the data set's root as well")


@dataclass(frozen=True, kw_only=True)
class PeersSetting(Setting):
    """Networks side by side, ours and other packages': a whole track, or training steps."""

    models: tuple[str, ...] | None = option("our presets (default: all of conf/model)", "NAME")
    peers: tuple[str, ...] | None = option("of htdemucs, openunmix, bs_roformer (default: all)", "NAME")
    precision: tuple[str, ...] = option("fp32, bf16 or both", "NAME", ("fp32",))
    runs: int = option("rounds over all systems after a warm-up; medians are given", "N", 3)
    device: str = option("auto, cpu, cuda, cuda:N or mps", default="auto")
    no_keep_pages: bool = option("leave glibc's memory settings as they are, for all", default=False)
    seconds: float = option("length of the track, stereo", "S", 60.0)
    train: bool = option("measure training steps instead: waveform L1, Adam", default=False)
    batch: int | None = option("with --train: segments a step (default: as in conf/data)", "N")
    segment: float | None = option("with --train: length of a segment (default: as in conf/data)", "S")
    steps: int = option("with --train: steps of each system in a round", "N", 3)
    peak_tflops: float | None = option("with --train: the device's best, for the utilisation (MFU)", "X")


@dataclass(frozen=True, kw_only=True)
class TrialSetting(Setting):
    """The same for every network that is trained for as long as the others."""

    minutes: float
    loss: str
    out: str
    batch: int = option("segments a step", "N", 3)
    segment: float = option("length of a training segment", "S", 1.5)
    seed: int = option("of songs, batches and weights", default=0, positive=False)
    dataset: str | None = option("train and score on its songs (default: procedural songs, made for it)", "ROOT")
    data: str = option("folder of the procedural songs, made once", "FOLDER", "data/bench")
    songs: int = option("procedural songs to train on", "N", 60)
    test_songs: int = option("songs to score", "N", 8)
    song_seconds: float = option("length of a procedural song", "S", 20.0)
    workers: int = option("loader processes", "N", 1, positive=False)
    device: str = option("auto, cpu, cuda, cuda:N or mps", default="auto")

    def deciding(self) -> dict[str, Any]:
        """Everything above that decides a result, as plain values."""
        return {each.name: getattr(self, each.name) for each in fields(TrialSetting) if each.name not in ELSEWHERE}


@dataclass(frozen=True, kw_only=True)
class ContestSetting(TrialSetting):
    """Who separates best after equal time of training, ours and other packages' networks."""

    minutes: float = option("wall-clock of each training", default=20.0)
    loss: str = option("a file of conf/loss", "NAME", "waveform")
    out: str = option("file of the results, continued where it exists", "FILE", "runs/bench/contest.json")
    lr: tuple[str, ...] | None = option(
        f"learning rates to change (default: {' '.join(f'{name}={rate:g}' for name, rate in RATES.items())})", "NAME=X"
    )
    only: str | None = option(f"train one: {', '.join(RATES)}", "NAME")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.rates  # raises where they cannot be read
        if self.only is not None and self.only not in RATES:
            raise unknown("--only", self.only, RATES)

    @property
    def rates(self) -> dict[str, float]:
        """Learning rate by contestant."""
        given = {}
        for pair in self.lr or ():
            name, _, rate = pair.partition("=")
            if name not in RATES:
                raise unknown("contestant in --lr", name, RATES)
            try:
                given[name] = float(rate)
            except ValueError:
                raise ConfigError(f"--lr {pair}: expected name=number, such as htdemucs=3e-4") from None
            check_positive("lr", given[name])
        return RATES | given


@dataclass(frozen=True, kw_only=True)
class OptionsSetting(TrialSetting):
    """What each option of the network is worth: size, speed, and SDR after equal time of training."""

    minutes: float = option("wall-clock of each training", default=3.0)
    loss: str = option("a file of conf/loss", "NAME", "fast")
    out: str = option("file of the results, continued where it exists", "FILE", "runs/bench/options.json")
    model: str = option("the preset that rows change", "NAME", "tfswa_tiny")
    rows: str | None = option('rows to measure, "A;B" (default: all)', "A;B")
    table: str | None = option("the rows (default: options.yaml of the package)", "FILE")
    lr: float = option("learning rate of all rows", "X", 2e-3)
    list: bool = option("print the rows and leave", default=False)


@dataclass(frozen=True, kw_only=True)
class ExportsSetting(Setting):
    """What `tfswa export` writes: size, time, and how near it is to torch at odd lengths and in batches."""

    models: tuple[str, ...] | None = option("presets (random weights) or bundles (default: all of conf/model)", "NAME")
    targets: tuple[str, ...] | None = option("as --to of tfswa export (default: all but tensorrt)", "TARGET")
    out: str = option("file of the results, continued where it exists", "FILE", "runs/bench/exports.json")
