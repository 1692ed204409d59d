import re

import pytest

from tests.catalogue.conftest import EVALUATION, TRAINING
from tfswa_unet.bundle import fingerprint
from tfswa_unet.catalogue import model_card
from tfswa_unet.errors import ModelError


def sections(card):
    """Title → text of each section."""
    opening, *rest = re.split(r"^## ", card, flags=re.MULTILINE)
    return {"": opening} | {title: text.strip() for title, _, text in (part.partition("\n") for part in rest)}


def rows(text):
    """Cells of every line of the tables in a text, without the lines under their headings."""
    lines = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [line for line in lines if set(line) != {"---"}]


def test_a_card_has_its_sections_and_says_what_the_model_is(write, model):
    path = write(half=True)
    card = model_card("guitars")
    assert card == model_card(path)
    assert card.endswith(".\n")
    found = sections(card)
    assert found[""] == (
        "# guitars\n\nSeparates recorded music into vocals, drums, bass and other. "
        "Made from what guitars.safetensors says of itself.\n\n"
    )
    assert list(found)[1:] == ["Model", "Training", "Scores", "Data and attributions", "Intended use and limits"]
    facts = dict(rows(found["Model"]))
    assert facts["network"] == "small"
    assert facts["parameters"] == f"{sum(parameter.numel() for parameter in model.parameters()):,}"
    assert facts["stems"] == "vocals, drums, bass, other"
    assert facts["sound"] == "44,100 Hz, 2 channels"
    assert facts["file"] == f"{path.stat().st_size / 1e6:.1f} MB, weights in fp16"
    assert facts["SHA-256"] == f"{fingerprint(path)}…"


def test_what_was_done_after_training_is_told(write):
    write(training={**TRAINING, "averaged_with": ["0123456789abcdef"], "temperature": 1.5})
    text = sections(model_card("guitars"))["Training"]
    assert (
        "They were averaged with those of another model afterwards. The logits of its masks were divided by 1.5."
        in text
    )


def test_every_piece_of_training_and_every_setting_is_listed(write):
    write()
    text = sections(model_card("guitars"))["Training"]
    assert text.startswith("Trained to step 30,000, epoch 12. The weights are a running average over training.\n")
    assert "Pieces, one after the other: 2 pieces, 2 h 1 min together, energy 0.20 kWh (recorded for 1 of 2).\n" in text
    headings, first, second, *recipe = rows(text)
    assert headings == ["started", "duration", "steps", "device", "threads", "precision", "energy", "commit"]
    started = "2026-01-02T03:04:05+00:00"
    assert first == [started, "2 h 0 min", "0 – 20,000", "cpu", "2", "fp32", "0.20 kWh", "–"]
    assert second == ["2026-01-03", "1 min 30 s", "20,000 – 30,000", "–", "–", "–", "–", "abc"]
    assert recipe == [
        ["key", "value"],
        ["optimizer.lr", "0.002"],
        ["optimizer.betas", "[0.9, 0.99]"],
        ["augmentation", "{}"],
        ["seed", "0"],
    ]


def test_scores_stand_by_stem_and_method(write):
    write()
    text = sections(model_card("guitars"))["Scores"]
    assert "Validation during training: val/sdr 6.54, val/loss 0.25.\n" in text
    assert "Evaluation on songs, test, 2 tracks; dB, SDR, BSSEval v4, median over windows:\n" in text
    assert rows(text) == [
        ["stem", "model", "mixture"],
        ["vocals", "6.00", "-5.00"],
        ["bass", "1.04", "-6.00"],
        ["other", "–", "–"],
        ["average", "3.50", "-5.50"],
    ]


def test_every_source_is_attributed(write):
    write()
    text = sections(model_card("guitars"))["Data and attributions"]
    counted = "Trained on 3 sources; 1 h 0 min of sound (recorded for 1 of 3); licences: CC0 (2), CC BY 4.0 (1).\n"
    assert text.startswith(counted)
    assert rows(text) == [
        ["folder", "source", "version", "licence", "stem", "duration", "files"],
        ["takes", r"a \| b c", "2", "CC0", "drums", "1 h 0 min", "12"],
        ["hums", "https://example.org/hums", "–", "CC BY 4.0", "vocals", "–", "–"],
        ["more", "–", "–", "CC0", "–", "–", "x.wav, y.wav"],
    ]


def test_hundreds_of_sources_are_hundreds_of_rows(write):
    write(training={"sources": [{"folder": str(number)} for number in range(300)]})
    text = sections(model_card("guitars"))["Data and attributions"]
    assert text.startswith("Trained on 300 sources; duration not recorded; licences not recorded.\n")
    assert rows(text)[1:] == [[str(number)] for number in range(300)]


def test_what_a_bundle_does_not_say_is_not_recorded(write):
    write(training={}, evaluation=None)
    card = model_card("guitars")
    found = sections(card)
    assert found["Training"] == (
        "Steps: not recorded.\n\nPieces, with their time, device and energy: not recorded.\n\nRecipe: not recorded."
    )
    assert found["Scores"] == "Validation during training: not recorded.\n\nEvaluation on a data set: not recorded."
    assert found["Data and attributions"] == "What it was trained on: not recorded."
    assert "How well it separates is not recorded: listen before you rely on it." in found["Intended use and limits"]
    assert not {"None", "nan"} & set(re.findall(r"\w+", card))


SINGLE = {**EVALUATION, "scores": {"model": {"vocals": {"SDR": -2.0}}}, "data": None, "split": None, "tracks": None}


@pytest.mark.parametrize(
    ("evaluation", "sentence"),
    [
        (
            EVALUATION,
            "On songs, test its SDR is best for vocals (6.0 dB) and worst for bass (1.0 dB): what is wrong in bass is "
            "1.0 dB below the stem itself. On average it gains 9.0 dB over the mixture itself.\n",
        ),
        (
            SINGLE,
            "On the data above its SDR is -2.0 dB for vocals: what is wrong in vocals is 2.0 dB above the stem itself.",
        ),
        (None, "In validation during its training its SDR was 6.5 dB; scores on other data are not recorded.\n"),
    ],
)
def test_what_it_is_good_for_follows_from_its_scores(write, evaluation, sentence):
    write(evaluation=evaluation)
    text = sections(model_card("guitars"))["Intended use and limits"]
    assert text.startswith("For taking music apart into vocals, drums, bass and other, ")
    assert sentence in text
    assert "any other sound goes into one of these stems" in text
    assert "nothing above 22,050 Hz" in text


def test_time_and_energy_are_in_units_that_fit(write):
    pieces = [{"seconds": 0.5, "energy_joules": 1200}, {"seconds": 59.0, "lr": 0.002}, {"seconds": 400_000}]
    write(training={**TRAINING, "pieces": pieces})
    _, *found = rows(sections(model_card("guitars"))["Training"])[:4]
    assert found == [["0.5 s", "1.20 kJ", "–"], ["59 s", "–", "0.002"], ["111 h 6 min", "–", "–"]]


def test_a_preset_has_no_card(write):
    with pytest.raises(ModelError, match="tfswa_tiny is a preset, which has no trained weights"):
        model_card("tfswa_tiny")
