import pytest

from tests.catalogue.conftest import EVALUATION, TRAINING
from tfswa_unet.catalogue.origin import Evaluation, Origin, total


def test_what_the_facts_record():
    origin = Origin.from_facts({"training": TRAINING, "evaluation": EVALUATION})
    assert (origin.epoch, origin.step, origin.averaged) == (12, 30_000, True)
    assert origin.validation_sdr == 6.543
    assert origin.licences == {"CC0": 2, "CC BY 4.0": 1}
    assert [list(row) for row in (origin.pieces, origin.sources)] == [TRAINING["pieces"], TRAINING["sources"]]
    assert total(origin.pieces, "seconds") == (7290, 2)
    assert total(origin.pieces, "energy_joules") == (7.2e5, 1)


def test_scores_are_sdr_by_method_and_stem():
    found = Evaluation.from_facts(EVALUATION)
    assert found.scores["mixture"] == {"vocals": -5.0, "bass": -6.0, "average": -5.5}
    assert found.stems == ("vocals", "bass", "other", "average")
    assert found.of_stems == {"vocals": 6.0, "bass": 1.04}
    assert (found.metric, found.data, found.tracks) == ("SDR, BSSEval v4, median over windows", "songs, test", 2)
    plain = Evaluation.from_facts({"scores": {"model": {"vocals": 4}}, "metric": "museval", "tracks": 7})
    assert (plain.of_stems, plain.metric, plain.data, plain.tracks) == ({"vocals": 4}, "SDR, museval", None, 7)


def test_an_evaluation_among_the_training_facts_is_found():
    assert Origin.from_facts({"training": {"evaluation": EVALUATION}}).evaluation == Evaluation.from_facts(EVALUATION)


NOTHING = Origin.from_facts({})


@pytest.mark.parametrize("odd", [None, [], "text", 3, True, {}])
def test_what_is_absent_or_of_another_kind_is_not_recorded(odd):
    assert (NOTHING.step, NOTHING.pieces, NOTHING.evaluation, NOTHING.validation_sdr) == (None, (), None, None)
    assert Origin.from_facts({"training": odd, "evaluation": odd}) == NOTHING
    names = ("scores", "pieces", "recipe", "sources", "evaluation", "averaged" if odd is not True else "epoch")
    assert Origin.from_facts({"training": dict.fromkeys(names, odd)}) == NOTHING
    assert Origin.from_facts({"evaluation": {"scores": {"model": odd}}}) == NOTHING


def test_no_entry_of_a_list_is_lost():
    origin = Origin.from_facts({"training": {"sources": ["a text", {"folder": "takes"}], "scores": {"val/sdr": "6"}}})
    assert origin.sources == ({"source": "a text"}, {"folder": "takes"})
    assert origin.validation == {}
