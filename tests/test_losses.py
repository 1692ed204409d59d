import numpy as np
import pytest
import torch

from tfswa_unet.dsp import Ratios, stft
from tfswa_unet.errors import ConfigError
from tfswa_unet.losses import TERMS, Signals, WeightedLoss

SMALL = {"resolutions": ((512, 128), (256, 64)), "magnitude": 1.0, "log_magnitude": 1.0, "in_turn": False}
OPTIONS = {
    "spectrum_snr": {"limit": 30.0},
    "si_sdr": {"limit": 30.0},
    "multi_resolution_stft": SMALL,
    "loudness_l1": {"rate": 8000, "bands": 12, "exponent": 0.3},
}


def _term(name, **changes):
    return TERMS.bind(name, {**OPTIONS.get(name, {}), **changes})


def _signals(waveform):
    return Signals(512, 128, waveform.shape[-1], waveform=waveform)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return torch.randn(2, 3, 2, 4_000), torch.randn(2, 3, 2, 4_000)


@pytest.mark.parametrize("name", TERMS)
def test_smallest_for_equal_stems_and_finite_gradient_at_silence(name, pair):
    truth, _ = pair
    smallest = -30.0 if name in ("spectrum_snr", "si_sdr") else 0.0
    term = _term(name)
    assert term(_signals(truth), _signals(truth)).item() == pytest.approx(smallest, abs=1e-5)
    silence = torch.zeros_like(truth, requires_grad=True)
    term(_signals(silence), _signals(truth * 0)).backward()
    assert torch.isfinite(silence.grad).all()


def test_waveform_l1(pair):
    ours, truth = pair
    expected = np.abs(ours.double().numpy() - truth.double().numpy()).mean()
    assert TERMS["waveform_l1"](_signals(ours), _signals(truth)).item() == pytest.approx(expected, rel=1e-6)


def test_spectrum_terms_against_numpy(pair):
    ours, truth = (stft(x.double(), 512, 128).numpy() for x in pair)
    signals = [_signals(x) for x in pair]
    difference = ours - truth
    expected = (np.abs(difference.real).mean() + np.abs(difference.imag).mean()) / 2 / 512**0.5
    assert TERMS["spectrum_l1"](*signals).item() == pytest.approx(expected, rel=1e-5)
    expected = np.abs(np.abs(ours) - np.abs(truth)).mean() / 512**0.5
    assert TERMS["magnitude_l1"](*signals).item() == pytest.approx(expected, rel=1e-5)


def test_snr_against_numpy(pair):
    ours, truth = (stft(x.double(), 512, 128).numpy() for x in pair)
    error = (np.abs(ours - truth) ** 2).sum((2, 3, 4))
    energy = (np.abs(truth) ** 2).sum((1, 2, 3, 4))[:, None]
    expected = 10 * np.log10(error / energy + 1e-2).mean()
    value = TERMS["spectrum_snr"](*[_signals(x) for x in pair], limit=20.0)
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("bins", [33, 4_097])  # all at once, and stem by stem
def test_snr_of_ratios_has_the_value_and_gradient_of_their_spectrogram_in_float64(bins):
    torch.manual_seed(0)
    length = 9 * bins
    mixture, truth = (torch.randn(2, *stems, 2, 40, bins, dtype=torch.complex128) for stems in ((), (3,)))
    ratio = torch.rand(2, 3, 2, 40, bins, dtype=torch.float64, requires_grad=True)
    error = (ratio * mixture[:, None] - truth).abs().square().sum((2, 3, 4))
    energy = truth.abs().square().sum((1, 2, 3, 4))[:, None]
    expected = 10 * (error / energy + 1e-2).log10().mean()
    (slope,) = torch.autograd.grad(expected, ratio)

    ours = ratio.detach().float().requires_grad_()
    estimate = Signals(512, 128, length, spectrum=Ratios(ours, mixture.to(torch.complex64)))
    value = TERMS["spectrum_snr"](estimate, Signals(512, 128, length, spectrum=truth.to(torch.complex64)), limit=20.0)
    value.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    assert torch.allclose(ours.grad.double(), slope, rtol=1e-4, atol=1e-4 * slope.abs().max().item())


def test_si_sdr_against_the_measure_whatever_the_level(pair):
    """The measure of evaluation, without its constants; a silent target is left out."""
    estimate, target = (x.double() for x in pair)
    target[0, 0] = 0
    flat_estimate, flat_target = estimate.flatten(-2), target.flatten(-2)
    gain = (flat_estimate * flat_target).sum(-1) / flat_target.square().sum(-1)
    scaled = gain[..., None] * flat_target
    ratios = scaled.square().sum(-1) / (scaled - flat_estimate).square().sum(-1)
    expected = -10 * (1 / (1 / ratios + 10**-4)).log10().flatten()[1:].mean()
    for level in (0.1, 1.0, 10.0):
        value = TERMS["si_sdr"](_signals(level * estimate.float()), _signals(target.float()), limit=40.0)
        assert value.item() == pytest.approx(expected.item(), abs=1e-3)


def test_multi_resolution_against_numpy(pair):
    signals = [_signals(x) for x in pair]
    resolutions = [(512, 128), (256, 64)]
    expected = 0.0
    for n_fft, hop in resolutions:
        ours, truth = (np.abs(stft(x.double(), n_fft, hop).numpy()) for x in pair)
        floor = n_fft / 4 * 1e-4
        expected += 2.0 * np.abs(ours - truth).mean() / n_fft**0.5
        expected += 0.5 * np.abs(np.log(ours + floor) - np.log(truth + floor)).mean()
    value = _term("multi_resolution_stft", resolutions=resolutions, magnitude=2.0, log_magnitude=0.5)(*signals)
    assert value.item() == pytest.approx(expected / 2, rel=1e-4)


def test_resolutions_in_turn_are_all_of_them_on_average(pair):
    ours, truth = pair
    resolutions = [(512, 128), (256, 64), (128, 32)]
    in_turn = _term("multi_resolution_stft", resolutions=resolutions, in_turn=True)
    turns = [in_turn(Signals(512, 128, 4_000, ours, step=step), _signals(truth)).item() for step in range(6)]
    assert turns[:3] == turns[3:]
    assert len(set(turns)) == 3
    every = _term("multi_resolution_stft", resolutions=resolutions)(_signals(ours), _signals(truth)).item()
    assert sum(turns[:3]) / 3 == pytest.approx(every, rel=1e-6)


def test_loudness_hears_an_error_less_where_something_loud_is():
    seconds = torch.arange(8000) / 8000
    tone, error = (level * torch.sin(6.2832 * 1000 * seconds).expand(1, 1, 1, -1) for level in (0.5, 0.01))
    far = 0.01 * torch.sin(6.2832 * 3000 * seconds).expand(1, 1, 1, -1)
    masked, heard = (_term("loudness_l1")(_signals(tone + wrong), _signals(tone)).item() for wrong in (error, far))
    assert heard > 5 * masked


def test_weighted_sum_and_names(pair):
    signals = [_signals(x) for x in pair]
    loss = WeightedLoss({"waveform_l1": {"weight": 2.0}, "spectrum_l1": {"weight": 0.5}, "magnitude_l1": {"weight": 0}})
    total, parts = loss(*signals)
    assert list(parts) == ["waveform_l1", "spectrum_l1"]
    assert total.item() == pytest.approx(2 * parts["waveform_l1"].item() + 0.5 * parts["spectrum_l1"].item())


def test_every_argument_changes_the_result(pair):
    signals = [_signals(x) for x in pair]
    changes = [{}, {"resolutions": [(512, 128)]}, {"magnitude": 0.0}, {"log_magnitude": 0.0}]
    values = {_term("multi_resolution_stft", **change)(*signals).item() for change in changes}
    assert len(values) == 4
    for name in ("spectrum_snr", "si_sdr"):
        assert _term(name)(*signals).item() != _term(name, limit=0.0)(*signals).item()
    changes = [{}, {"rate": 44100}, {"bands": 13}, {"exponent": 1.0}]
    assert len({_term("loudness_l1", **change)(*signals).item() for change in changes}) == 4


def test_float32_under_autocast(pair):
    ours, truth = pair
    loss = WeightedLoss({name: {"weight": 1.0, **OPTIONS.get(name, {})} for name in TERMS})
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = loss(_signals(ours), _signals(truth))
    outside, _ = loss(_signals(ours), _signals(truth))
    assert torch.equal(inside, outside)


def test_spectrum_of_the_model_needs_no_waveform(pair):
    ours, _ = pair
    own = stft(ours, 512, 128)
    estimate = Signals(512, 128, 4_000, spectrum=own)
    assert estimate.spectrum(512, 128) is own
    assert torch.allclose(estimate.waveform, ours, atol=1e-5)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"l1": {}}, r"unknown loss 'l1' ?.*: expected one of waveform_l1"),
        ({"waveform_l1": {"weight": 1.0, "power": 2}}, r"unknown option loss\.waveform_l1\.power: it takes no options"),
        (
            {"spectrum_snr": {"weight": 1.0, "limits": 2}},
            r"spectrum_snr\.limits \(did you mean limit\?\): it takes",
        ),
        ({"spectrum_snr": {"weight": 1.0}}, r"loss\.spectrum_snr\.limit is missing: give it a value"),
        ({"spectrum_snr": {"weight": 1.0, "limit": "low"}}, r"loss\.spectrum_snr\.limit is 'low', expected a number"),
        ({"waveform_l1": {}}, r"loss\.waveform_l1\.weight is missing: give it a value"),
        ({"waveform_l1": {"weight": 0}}, r"no term with a weight"),
    ],
)
def test_bad_configuration(terms, message):
    with pytest.raises(ConfigError, match=message):
        WeightedLoss(terms)
