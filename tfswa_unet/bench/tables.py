"""What benchmarks measured, as tables: plain values in, as they are printed as JSON otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from tfswa_unet.bench.networks import PUBLISHED
from tfswa_unet.bench.peers import BASELINES
from tfswa_unet.bench.results import MEASURED
from tfswa_unet.types import STEMS

WIDTH = 180  # characters, where there is no terminal: what goes into a file or a pipe keeps its columns whole
SHARES = "shares"  # printed as percentages
NONE = "–"


def show(benchmark: str, values: Any) -> None:
    """Print what one of the sub-commands of `tfswa bench` measured."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH
    views = {"data": _data, "peers": _peers, "contest": _contest, "options": _options, "exports": _exports}
    for view in views.get(benchmark, _models)(values):
        console.print(view, soft_wrap=isinstance(view, str))


def _models(records: Any) -> Iterable[RenderableType]:
    """One column a model, one row a number; what nothing was measured for is left out."""
    columns = [dict(_rows(record)) for record in ([records] if isinstance(records, Mapping) else records)]
    table = Table(show_header=False, box=None)
    for label in dict.fromkeys(label for column in columns for label in column):
        table.add_row(label, *(column.get(label, NONE) for column in columns))
    yield table


def _rows(record: Mapping[str, Any], under: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in record.items():
        label = f"{under}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += _rows(value, f"{label}: ")
        elif value not in (None, MEASURED):
            rows.append((label, f"{value:.1%}" if under.startswith(SHARES) else _written(value)))
    return rows


def _data(record: Mapping[str, Any]) -> Iterable[RenderableType]:
    """One row a reader, then one an augmentation."""
    settings = record["settings"]
    readers = _numbers(Table("reader", "augmentation", box=None), "samples/s", "× musdb")
    for row in record["rows"]:
        numbers = (_number(row[name], ",") for name in ("samples_per_second", "ratio_to_musdb"))
        readers.add_row(row["reader"], row["augmentation"], *numbers)
    augmentations = _numbers(Table("augmentation at p = 1", box=None), "ms a sample")
    augmentations.add_column("runs in")
    for cost in record["augmentations"]:
        place = "workers" if cost["in_workers"] else "training"
        augmentations.add_row(cost["augmentation"], _number(cost["milliseconds"], ","), place)
    yield (
        f"samples of 4 stems × {settings['seconds']:g} s, batches of {settings['batch']}, "
        f"{settings['workers']} workers, {settings['threads']} threads"
    )
    for table in (readers, augmentations):
        yield ""
        yield table


def _peers(record: Mapping[str, Any]) -> Iterable[RenderableType]:
    """One row a system and precision."""
    training = record["measured"] == "training"
    speed = "segments/s" if training else "real-time factor"
    ratios = [f"time / {name}" for name in BASELINES]
    table = _numbers(Table("system"), "parameters", "precision", speed, *ratios)
    if training:
        _numbers(table, "TFLOP a step", "MFU")
    for row in record["systems"]:
        cells = [_number(row["parameters"], ".1f", 1e6, " M"), row["precision"], _number(row["rate"], ".3g")]
        cells += [_number(row["ratios"].get(name), ".2f") for name in BASELINES]
        if training:
            cells += [_number(row["flops"], ".3f", 1e12), _number(row["utilisation"], ".1%")]
        table.add_row(row["system"], *_or_status(row, cells), style="dim" if row["system"] in PUBLISHED else "bold")
    yield table
    yield from _reasons((f"{row['system']} {row['precision']}", row) for row in record["systems"])
    yield ", ".join(f"{name} {value}" for name, value in record.items() if name != "systems")


def _contest(found: Mapping[str, Any]) -> Iterable[RenderableType]:
    """Two rows a network: museval's SDR, and uSDR, which is another metric."""
    table = _numbers(Table("network"), "parameters", "steps", "audio", "dB", *STEMS, "average")
    for name, record in found["results"].items():
        if "scores" not in record:
            table.add_row(name, *_or_status(record, [NONE] * 9))
        else:
            size, steps = _number(record.get("parameters"), ".1f", 1e6, " M"), _number(record.get("steps"), ",.0f")
            audio = _number(record.get("audio_seconds"), ".1f", 60, " min")
            for metric, cells in (("SDR", (name, size, steps, audio)), ("uSDR", [""] * 4)):
                values = (record["scores"][stem][metric] for stem in (*STEMS, "average"))
                table.add_row(*cells, metric, *(_number(value, ".2f") for value in values))
        table.add_section()
    yield table
    yield from _reasons(found["results"].items())


def _options(found: Mapping[str, Any]) -> Iterable[RenderableType]:
    """One line a row: sizes, speeds, SDR."""
    if "rows" in found:
        yield from (f"{name}: {' '.join(overrides)}" for name, overrides in found["rows"].items())
        return
    headings = ("parameters", "GFLOP/s of audio", "forward RTF", "segments/s", *STEMS, "average SDR", "uSDR")
    table = _numbers(Table("row"), *headings)
    for name, record in found["results"].items():
        scores = record.get("scores", {key: {} for key in (*STEMS, "average")})
        values = [scores[stem].get("SDR") for stem in (*STEMS, "average")] + [scores["average"].get("uSDR")]
        cells = [
            _number(record.get("parameters"), ".2f", 1e6, " M"),
            _number(record.get("flops_per_second"), ".2f", 1e9),
            _number(record.get("real_time_factor"), ".3f"),
            *(_number(value, ".2f") for value in (record.get("segments_per_second"), *values)),
        ]
        table.add_row(name, *_or_status(record, cells))
    yield table
    yield from _reasons(found["results"].items())


def _exports(found: Mapping[str, Any]) -> Iterable[RenderableType]:
    """One row a file; parity in dB by batch × samples."""
    records = found["results"].values()
    sizes = dict.fromkeys(size for record in records for size in record.get("db", ()))
    table = _numbers(Table("model", "target", box=None), "MB", "processor time", *sizes)
    for record in records:
        parity = (_number(record.get("db", {}).get(size), ".1f") for size in sizes)
        cells = [_number(record.get("bytes"), ".1f", 1e6), _number(record.get("processor_seconds"), ".0f", 1, " s")]
        table.add_row(record["model"], record["target"], *_or_status(record, [*cells, *parity]))
    yield table
    yield from _reasons(found["results"].items())


def _numbers(table: Table, *headings: str) -> Table:
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _or_status(record: Mapping[str, Any], cells: Sequence[str]) -> list[str]:
    """The cells, the first of which says what has become of a system that has no numbers."""
    return [record["status"], *cells[1:]] if record.get("reason") else list(cells)


def _reasons(records: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterable[str]:
    return (f"{name}: {record['status']}: {record['reason']}" for name, record in records if record.get("reason"))


def _number(value: float | None, form: str, unit: float = 1, sign: str = "") -> str:
    return NONE if value is None else f"{value / unit:{form}}{sign}"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
