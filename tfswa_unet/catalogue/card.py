"""The model card: what a model is, how it was made and what it is good for, as Markdown, from its facts alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfswa_unet.bundle import find_model, fingerprint, load_model, model_name, read_facts
from tfswa_unet.catalogue.origin import AVERAGE, MODEL, Evaluation, Origin, Row, total
from tfswa_unet.types import MIXTURE

NOT_RECORDED = "not recorded"
NONE = "–"
HUB_TAGS = ("music", "source-separation")
# In this order where a row has them; others come behind.
PIECE_COLUMNS = ("started", "seconds", "steps", "device", "devices", "threads", "precision", "energy_joules")
SOURCE_COLUMNS = ("folder", "source", "version", "licence", "stem", "seconds", "files")
HEADINGS = {"seconds": "duration", "energy_joules": "energy"}


def model_card(path_or_name: str | Path) -> str:
    """Model card of a bundle or checkpoint, or of any model that `bundle.load_model` takes, as Markdown.

    Raises:
        ModelError: as `bundle.load_model` does.
    """
    path = find_model(path_or_name)
    model, facts = load_model(path), read_facts(path)
    origin = Origin.from_facts(facts)
    sections = {
        "Model": _model(path, model, facts),
        "Training": _training(origin),
        "Scores": _scores(origin),
        "Data and attributions": _data(origin),
        "Intended use and limits": _limits(model.stems, model.rate, model.config.get("sums_to_mixture"), origin),
    }
    return _document(model_name(path_or_name), path, model.stems, sections)


def hub_card(path: Path, name: str) -> str:
    """Model card of a bundle for its repository on the Hugging Face Hub, `name`: with the Hub's header, and its use."""
    tags = "\n".join(f"- {tag}" for tag in HUB_TAGS)
    header = f"---\nlibrary_name: tfswa-unet\npipeline_tag: audio-to-audio\ntags:\n{tags}\n---\n"
    use = f"## Use\n\n```\npip install 'tfswa-unet[hub]'\ntfswa separate song.mp3 --model hf://{name}\n```\n"
    return f"{header}\n{model_card(path)}\n{use}"


def exported_card(path: Path, facts: Mapping[str, Any]) -> str:
    """Model card of a file of `tfswa export`, as Markdown, from what its metadata says (`ExportedModel.facts`)."""
    stems, rate, channels = facts["stems"], int(facts["rate"]), int(facts["channels"])
    source = facts.get("source") or {}
    made_from = f"{source['file']}, SHA-256 {source['sha256'][:16]}…" if source else "random weights of a preset"
    held = f"{facts.get('target', path.suffix)}, {facts.get('precision', 'fp32')}"
    lengths = (facts.get(f"{name}_seconds", NOT_RECORDED) for name in ("segment", "overlap"))
    rows = {
        "network": facts.get("name") or NOT_RECORDED,
        "stems": ", ".join(stems),
        "sound": _sound(rate, channels),
        "file": f"{path.stat().st_size / 1e6:.1f} MB, {held}",
        "SHA-256": f"{fingerprint(path)}…",
        "exported from": made_from,
        "segments, overlap": " s, ".join(map(str, lengths)) + " s",
        "exported by": f"tfswa-unet {facts.get('version', NOT_RECORDED)}",
    }
    licences = ", ".join(f"{licence} ({count})" for licence, count in (facts.get("licences") or {}).items())
    data = f"Licences of what it was trained on: {licences or NOT_RECORDED}."
    if source:
        data += f" Training, attributions and scores are in the card of {source['file']}."
    sections = {
        "Model": _table(["", ""], rows.items()),
        "Data and attributions": data,
        "Intended use and limits": _limits(stems, rate, facts.get("sums_to_mixture"), None),
    }
    return _document(path.stem, path, stems, sections)


def _document(name: str, path: Path, stems: Sequence[str], sections: Mapping[str, str]) -> str:
    opening = f"Separates recorded music into {_all(stems)}. Made from what {path.name} says of itself."
    parts = [f"# {name}", opening, *(f"## {title}\n\n{text}" for title, text in sections.items())]
    return "\n\n".join(parts) + "\n"


def _sound(rate: int, channels: int) -> str:
    return f"{rate:,} Hz, {channels} {'channel' if channels == 1 else 'channels'}"


def _model(path: Path, model: Any, facts: Mapping[str, Any]) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    rows = {
        "network": model.config.get("name", NOT_RECORDED),
        "parameters": f"{parameters:,}",
        "stems": ", ".join(model.stems),
        "sound": _sound(model.rate, model.channels),
        "file": f"{path.stat().st_size / 1e6:.1f} MB, weights in {facts.get('precision', 'fp32')}",
        "SHA-256": f"{fingerprint(path)}…",
        "made": facts.get("created", NOT_RECORDED),
    }
    return _table(["", ""], rows.items())


def _training(origin: Origin) -> str:
    reached = {"step": origin.step, "epoch": origin.epoch}
    told = [f"{name} {count:,}" for name, count in reached.items() if count is not None]
    parts = [f"Trained to {', '.join(told)}." if told else f"Steps: {NOT_RECORDED}."]
    if origin.averaged:
        parts[0] += " The weights are a running average over training."
    if origin.averaged_with:
        count = origin.averaged_with
        others = "another model" if count == 1 else f"{count} other models"
        parts[0] += f" They were averaged with those of {others} afterwards."
    if origin.temperature is not None:
        parts[0] += f" The logits of its masks were divided by {origin.temperature:g}."
    if origin.pieces:
        seconds, timed = total(origin.pieces, "seconds")
        joules, metered = total(origin.pieces, "energy_joules")
        number = len(origin.pieces)
        told = [
            f"{number} {'piece' if number == 1 else 'pieces'}",
            f"{_duration(seconds)} together{_share(timed, number)}" if timed else f"time {NOT_RECORDED}",
            f"energy {_energy(joules)}{_share(metered, number)}" if metered else f"energy {NOT_RECORDED}",
        ]
        parts += [f"Pieces, one after the other: {', '.join(told)}.", _rows_table(origin.pieces, PIECE_COLUMNS)]
    else:
        parts.append(f"Pieces, with their time, device and energy: {NOT_RECORDED}.")
    recipe = [[key, json.dumps(value, ensure_ascii=False)] for key, value in _leaves(origin.recipe)]
    parts += ["Recipe:", _table(["key", "value"], recipe)] if recipe else [f"Recipe: {NOT_RECORDED}."]
    return "\n\n".join(parts)


def _leaves(values: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by the dotted keys under which a command line sets them."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{under}{name}.")
        else:
            yield f"{under}{name}", value


def _scores(origin: Origin) -> str:
    named = ", ".join(f"{name} {value:.2f}" for name, value in origin.validation.items())
    validation = f"Validation during training: {named or NOT_RECORDED}."
    evaluation = origin.evaluation
    if evaluation is None:
        return f"{validation}\n\nEvaluation on a data set: {NOT_RECORDED}."
    tracks = f", {evaluation.tracks} {'track' if evaluation.tracks == 1 else 'tracks'}" if evaluation.tracks else ""
    told = f"Evaluation on {evaluation.data or 'data that is not recorded'}{tracks}; dB, {evaluation.metric}:"
    scores = evaluation.scores
    rows = [[stem, *(_decibels(scores[method].get(stem)) for method in scores)] for stem in evaluation.stems]
    return "\n\n".join([validation, told, _table(["stem", *scores], rows)])


def _data(origin: Origin) -> str:
    if not origin.sources:
        return f"What it was trained on: {NOT_RECORDED}."
    number = len(origin.sources)
    seconds, timed = total(origin.sources, "seconds")
    licences = ", ".join(f"{licence} ({count})" for licence, count in origin.licences.items())
    licensed = sum(origin.licences.values())
    told = [
        f"Trained on {number} {'source' if number == 1 else 'sources'}",
        f"{_duration(seconds)} of sound{_share(timed, number)}" if timed else f"duration {NOT_RECORDED}",
        f"licences: {licences}{_share(licensed, number)}" if licences else f"licences {NOT_RECORDED}",
    ]
    return f"{'; '.join(told)}.\n\n{_rows_table(origin.sources, SOURCE_COLUMNS)}"


def _limits(stems: Sequence[str], rate: int, complete: bool | None, origin: Origin | None) -> str:
    elsewhere = "goes into one of these stems or is spread over them" if complete else "is left out or leaks into them"
    limits = [
        "Stems are estimates. Instruments leak into each other's stems, and what is taken away leaves audible traces.",
        f"It knows {_all(stems)} only: any other sound {elsewhere}. It parts no two voices or instruments of one "
        "stem, and does not tell who or what is playing.",
        "Music unlike the data it was trained on is separated worse; scores of one data set say little of another.",
        f"It hears and gives nothing above {rate // 2:,} Hz, whatever the song's rate.",
        "The stems of a song stay under the song's rights.",
    ]
    use = (
        f"For taking music apart into {_all(stems)}, to practise, remix, transcribe or analyse, where somebody "
        "listens to the result."
    )
    worth = f" {_worth(origin)}" if origin else ""
    return "\n".join([f"{use}{worth}", "", *(f"- {limit}" for limit in limits)])


def _worth(origin: Origin) -> str:
    """How well it separates, as far as its scores say."""
    evaluation = origin.evaluation
    if evaluation is None or not evaluation.of_stems:
        if origin.validation_sdr is None:
            return "How well it separates is not recorded: listen before you rely on it."
        return (
            f"In validation during its training its SDR was {origin.validation_sdr:.1f} dB; scores on other data are "
            f"{NOT_RECORDED}."
        )
    scores = evaluation.of_stems
    best, worst = max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__)
    told = f"{scores[worst]:.1f} dB for {worst}"
    if best != worst:
        told = f"best for {best} ({scores[best]:.1f} dB) and worst for {worst} ({scores[worst]:.1f} dB)"
    level = f"{abs(scores[worst]):.1f} dB {'below' if scores[worst] >= 0 else 'above'} the stem itself"
    gain = _gain(evaluation)
    return f"On {evaluation.data or 'the data above'} its SDR is {told}: what is wrong in {worst} is {level}" + (
        f". On average it gains {gain:.1f} dB over the mixture itself." if gain is not None else "."
    )


def _gain(evaluation: Evaluation) -> float | None:
    """dB that the model's average lies above that of the mixture as the estimate."""
    averages = [evaluation.scores.get(method, {}).get(AVERAGE) for method in (MODEL, MIXTURE)]
    return None if None in averages else averages[0] - averages[1]  # type: ignore[operator]


def _rows_table(rows: Sequence[Row], order: Sequence[str]) -> str:
    """Every row, with a column for every key that any of them has."""
    present = dict.fromkeys(key for row in rows for key in row)
    columns = [*(key for key in order if key in present), *(key for key in present if key not in order)]
    headings = [HEADINGS.get(key, key.replace("_", " ")) for key in columns]
    return _table(headings, [[_written(key, row.get(key)) for key in columns] for row in rows])


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", r"\|")


def _written(key: str, value: Any) -> str:
    """A value as the column of that key shows it."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and key in ("seconds", "energy_joules"):
        return _duration(value) if key == "seconds" else _energy(value)
    if key == "steps" and isinstance(value, list):
        return " – ".join(_written("", each) for each in value)
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        return ", ".join(_written("", each) for each in value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _decibels(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def _energy(joules: float) -> str:
    return f"{joules / 3.6e6:,.2f} kWh" if joules >= 3.6e4 else f"{joules / 1e3:,.2f} kJ"


def _share(count: int, whole: int) -> str:
    return "" if count == whole else f" (recorded for {count} of {whole})"


def _all(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
