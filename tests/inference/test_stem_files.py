from __future__ import annotations

import numpy as np
import pytest

from tfswa_unet.errors import ConfigError
from tfswa_unet.inference.stem_files import NullError, Targets

FOUR = ("vocals", "drums", "bass", "other")


def pieces(noise):
    mixture = noise(2, 1000)
    return mixture, {name: noise(2, 1000, seed) for seed, name in enumerate(FOUR, 1)}


def test_without_wishes_the_model_s_stems_are_written_as_they_are(noise):
    mixture, stems = pieces(noise)
    targets = Targets.choose(FOUR, None, None, None)
    assert targets.names == targets.stems == FOUR
    assert all(value is stems[name] for name, value in targets.mix(mixture, stems).items())


@pytest.mark.parametrize(
    ("chosen", "residual", "names"),
    [
        (None, "stem", FOUR),
        (None, "spread", FOUR),
        (["vocals"], "stem", ("vocals", "residual")),
        (["other", "bass"], "stem", ("bass", "other")),
        (["drums", "vocals"], "spread", ("vocals", "drums")),
    ],
)
def test_residual_makes_the_written_stems_sum_to_the_mixture(noise, chosen, residual, names):
    mixture, stems = pieces(noise)
    targets = Targets.choose(FOUR, chosen, None, residual)
    written = targets.mix(mixture, {name: stems[name] for name in targets.stems})
    assert tuple(written) == targets.names == names
    assert targets.sums
    np.testing.assert_allclose(sum(written.values()), mixture, atol=1e-6)
    changed = [name for name in targets.stems if not np.array_equal(written[name], stems[name])]
    assert changed == ([n for n in names if n == "other"] if residual == "stem" else list(names))


def test_two_stems_are_the_stem_and_the_mixture_without_it(noise):
    mixture, stems = pieces(noise)
    targets = Targets.choose(FOUR, None, "bass", None)
    written = targets.mix(mixture, {"bass": stems["bass"]})
    assert (targets.stems, targets.names) == (("bass",), ("bass", "no_bass"))
    assert written["bass"] is stems["bass"]
    np.testing.assert_allclose(written["no_bass"], mixture - stems["bass"])


def test_a_part_of_the_stems_is_not_meant_to_sum():
    assert Targets.choose(FOUR, None, None, None).sums
    assert not Targets.choose(FOUR, ["bass"], None, None).sums


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ((["drum"], None, None), r"no stem 'drum' \(did you mean drums\?\): it gives vocals, drums, bass, other"),
        ((None, "vocls", None), r"no stem 'vocls' \(did you mean vocals\?\)"),
        ((["bass"], "vocals", None), "stems and two_stems=vocals exclude each other"),
        ((None, None, "sum"), "unknown residual 'sum': expected one of stem, spread, or none"),
    ],
)
def test_impossible_wishes_are_refused(wishes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Targets.choose(FOUR, *wishes)


def test_null_error_is_the_level_of_what_is_missing(noise):
    mixture, null = noise(2, 1000), NullError()
    for half in np.split(mixture, 2, axis=1):
        null.add(half, {"a": 0.5 * half, "b": 0.4 * half})
    assert null.decibels == pytest.approx(-20, abs=1e-4)
    exact = NullError()
    exact.add(mixture, {"a": mixture})
    assert exact.decibels == -200
