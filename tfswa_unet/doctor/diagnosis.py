"""Diagnosis of a data set: all of its songs listed, measured and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

from tfswa_unet.data.sets.layouts import Song
from tfswa_unet.doctor.duplicates import duplicate_findings
from tfswa_unet.doctor.examine import SongFacts, examine, song_files
from tfswa_unet.doctor.findings import SEVERITIES, Finding, Severity, dataset_findings, song_findings
from tfswa_unet.doctor.listing import list_dataset
from tfswa_unet.errors import ConfigError
from tfswa_unet.processes import in_processes, processors

WORTH = 100_000_000  # bytes of audio that make starting one more process worth its while


@dataclass(frozen=True)
class Diagnosis:
    """Findings about a data set, errors first, and what was examined: `seconds` of audio, summed over the files."""

    root: Path
    kind: str
    songs: int
    files: int
    seconds: float
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def paths(self, severity: Severity) -> list[Path]:
        """Files and folders of the findings of a severity, each once, sorted."""
        return sorted({path for finding in self.findings if finding.severity == severity for path in finding.paths})

    def as_dict(self) -> dict[str, object]:
        """The diagnosis as values that JSON can hold."""
        findings = [{**asdict(each), "paths": [str(path) for path in each.paths]} for each in self.findings]
        counts = {f"{severity}s": self.count(severity) for severity in SEVERITIES}
        return {**asdict(self), "root": str(self.root), **counts, "findings": findings}


def diagnose(
    root: str | Path,
    kind: str = "auto",
    *,
    options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Check a data set: every file of every song, each decoded once.

    `options` are those of the data set's kind, as in data.sets.NAME.options. `workers` are processes; by default as
    many as there are processors, if the data set is worth starting them. `on_progress` is told how many songs are done,
    and of how many. Files that cannot be read are findings.

    Raises:
        ConfigError: an unknown kind or option, or fewer than one worker.
        DataError: the root is missing or holds no songs.
    """
    root = Path(root).expanduser()
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers is {workers}: expected 1 or more, or none to use every processor")
    listing = list_dataset(kind, root, options or {})
    report = on_progress or (lambda done, total: None)
    total = len(listing.songs)
    report(0, total)
    workers = workers or min(processors(), ceil(_bytes(listing.songs) / WORTH))
    found: dict[int, SongFacts] = {}
    for number, facts in in_processes(_examine, list(enumerate(listing.songs)), workers):
        found[number] = facts
        report(len(found), total)
    songs = [found[number] for number in range(total)]
    findings = [*listing.findings, *dataset_findings(songs, listing.expected), *duplicate_findings(songs)]
    findings += [finding for facts in songs for finding in song_findings(facts)]
    findings.sort(key=lambda each: (SEVERITIES.index(each.severity), each.split, each.track))
    audio = [file for facts in songs for file in facts.files.values()]
    count = sum(len(facts.files) + len(facts.unreadable) for facts in songs)
    seconds = sum(file.length / file.rate for file in audio)
    return Diagnosis(root, listing.kind, total, count, seconds, tuple(findings))


def _examine(number: int, song: Song) -> tuple[int, SongFacts]:
    return number, examine(song)


def _bytes(songs: tuple[Song, ...]) -> int:
    paths = {source.path for song in songs for source in song_files(song).values()}
    return sum(path.stat().st_size for path in paths if path.is_file())
