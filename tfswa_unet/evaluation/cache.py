"""Scores of a track are kept and taken again while everything they depend on is the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tfswa_unet.evaluation.files import file_name
from tfswa_unet.evaluation.provenance import source_hash, versions
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.song import Song
from tfswa_unet.evaluation.track_scores import TrackScores
from tfswa_unet.files import write_text


@dataclass(frozen=True)
class ScoreCache:
    """A JSON file a track and method in `folder`.

    A model's scores depend on its checkpoint, on how it was applied and on this package's code. Those of a reference
    method depend on the data and the metric only, so every checkpoint shares them.
    """

    folder: Path
    settings: EvaluationSettings
    checkpoint_hash: str | None

    def load(self, song: Song, method: str) -> TrackScores | None:
        """Scores of an earlier run, or None where there are none that still hold."""
        try:
            stored = json.loads(self._path(song, method).read_text(encoding="utf-8"))
            fingerprint = self._fingerprint(song, method)
            if fingerprint is None or stored["fingerprint"] != fingerprint:
                return None
            return TrackScores.from_dict(stored["scores"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def save(self, song: Song, method: str, scores: TrackScores) -> None:
        """Keep scores for later runs."""
        stored = {"fingerprint": self._fingerprint(song, method), "scores": scores.to_dict()}
        write_text(self._path(song, method), json.dumps(stored))

    def _path(self, song: Song, method: str) -> Path:
        return self.folder / method / f"{file_name(song.track.name)}.json"

    def _fingerprint(self, song: Song, method: str) -> str | None:
        """None where nothing identifies the model: such scores are never taken again."""
        settings = self.settings
        parts = [
            method,
            song.track.name,
            song.length,
            song.track.rate,
            [[stem, list(sources)] for stem, sources in song.plan.items()],
            [
                [name, str(part.path), part.stream, part.start, part.length, *_state(part.path)]
                for name, source in song.track.sources.items()
                for part in source.parts
            ],
            [settings.metrics, settings.window_seconds, settings.hop_seconds],
            versions()["museval"],
        ]
        if method not in settings.references:
            if self.checkpoint_hash is None:
                return None
            parts += [self.checkpoint_hash, source_hash(), settings.model]
            parts += [settings.overlap, settings.segment_seconds, settings.seed, settings.precision]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns
