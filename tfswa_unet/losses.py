"""Losses: named terms on stems, their weighted sum, and the training objective.

stems → mixture → model → estimated stems → weighted sum of terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.config import Registry, converted
from tfswa_unet.dsp import Ratios, auditory_bands, istft, pieces, stft
from tfswa_unet.errors import ConfigError

N_FFT, HOP = 2048, 512  # samples; of spectrograms that losses see of networks which make none of their own
TINY = 1e-10  # added to |X|², so that silence has a gradient

Resolution = tuple[int, int]  # n_fft and hop in samples
# The share of some rows of estimate and target in a distance; writes its gradient to the third argument, where given.
Share = Callable[[Tensor, Tensor, Tensor | None], Tensor]
# Each maps estimated and true stems, and its options, to one number.
TERMS: Registry[Callable[..., Tensor]] = Registry("loss", positional=2)


class Signals:
    """Stems (b, s, c, t) as a waveform and as spectrograms at any resolution.

    Terms that look at the same resolution share its STFT, and a model's own spectrogram is taken as it is: a loss that
    only looks there never pays for an inverse transform.

    Args:
        n_fft, hop: resolution of `spectrum`, in samples.
        length: samples t of the waveform.
        waveform: (b, s, c, t), or None to make it from `spectrum` when asked for.
        spectrum: complex (b, s, c, n, f), or ratios that stand for it; None to make it from `waveform` when asked for.
        step: of training, for terms whose parts take turns.
    """

    def __init__(
        self,
        n_fft: int,
        hop: int,
        length: int,
        waveform: Tensor | None = None,
        spectrum: Tensor | Ratios | None = None,
        step: int = 0,
    ) -> None:
        self.own = (n_fft, hop)
        self.step = step
        self.length = length
        self._waveform = waveform
        self.ratios = spectrum if isinstance(spectrum, Ratios) else None
        self._spectra = {self.own: spectrum} if isinstance(spectrum, Tensor) else {}

    @property
    def waveform(self) -> Tensor:
        """Stems (b, s, c, t)."""
        if self._waveform is None:
            self._waveform = istft(self.spectrum(*self.own), *self.own, self.length)
        return self._waveform

    def spectrum(self, n_fft: int, hop: int) -> Tensor:
        """Complex spectrogram (b, s, c, n, f) at a resolution."""
        if (n_fft, hop) not in self._spectra:
            own = self.ratios if (n_fft, hop) == self.own else None
            self._spectra[n_fft, hop] = own.spectrum() if own else stft(self.waveform, n_fft, hop)
        return self._spectra[n_fft, hop]


@TERMS.register("waveform_l1")
def waveform_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of waveforms."""
    return waveform_distance(estimate.waveform, target.waveform)


@TERMS.register("spectrum_l1")
def spectrum_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of the complex spectrograms' real and imaginary parts, at the model's resolution.

    Divided by √n_fft, so that a sample's error weighs about as much as it does in `waveform_l1`.
    """
    difference = estimate.spectrum(*estimate.own) - target.spectrum(*estimate.own)
    return torch.view_as_real(difference).abs().mean() / estimate.own[0] ** 0.5


@TERMS.register("magnitude_l1")
def magnitude_l1(estimate: Signals, target: Signals) -> Tensor:
    """Mean absolute difference of magnitude spectrograms at the model's resolution, divided by √n_fft."""
    ours, theirs = estimate.spectrum(*estimate.own), target.spectrum(*estimate.own)
    return magnitude_distance(ours, theirs, estimate.own[0] ** -0.5, 0.0, 1.0)


@TERMS.register("loudness_l1")
def loudness_l1(estimate: Signals, target: Signals, rate: int, bands: int, exponent: float) -> Tensor:
    """Mean absolute difference of specific loudness: power in auditory bands, raised to `exponent`.

    What is soft beside what is loud in a band counts as the ear hears it, and what lies below −80 dB hardly does.
    Source: doi:10.1016/0378-5955(90)90170-T (bands), Stevens' power law (exponent).

    Args:
        estimate: stems from the model.
        target: true stems.
        rate: of the stems, Hz.
        bands: number of auditory bands.
        exponent: of power; 0.3 is loudness, 1 power itself.
    """
    ours, theirs = (auditory_bands(x.spectrum(*estimate.own), rate, bands) for x in (estimate, target))
    return ((ours + 1e-8) ** exponent - (theirs + 1e-8) ** exponent).abs().mean()


@TERMS.register("spectrum_snr")
def spectrum_snr(estimate: Signals, target: Signals, limit: float) -> Tensor:
    """Mean over examples and stems of the squared error in dB under the example's energy, at the model's resolution.

    A decibel weighs the same in a loud stem and in a soft one. Errors below −`limit` dB hardly count, so that silent
    stems have finite gradients. Source: the thresholded SNR of MixIT, arXiv 2006.12701.

    Args:
        estimate: stems from the model.
        target: true stems.
        limit: dB below the energy of all stems of an example.
    """
    truth = target.spectrum(*estimate.own)
    if estimate.ratios:
        error = _RatioError.apply(estimate.ratios.ratio, estimate.ratios.mixture, truth)
    else:
        error = _SquaredError.apply(estimate.spectrum(*estimate.own), truth)
    energy = _squares(truth).sum(dim=-1, keepdim=True) + 1e-8
    return 10 * (error / energy + 10 ** (-limit / 10)).log10().mean()


@TERMS.register("si_sdr")
def si_sdr(estimate: Signals, target: Signals, limit: float) -> Tensor:
    """Mean over stems that sound of the squared error in dB under the target, scaled to fit the estimate best.

    The level of an estimate is thereby free: a term beside this has to hold it.
    Source: doi 10.1109/ICASSP.2019.8683855.

    Args:
        estimate: stems from the model.
        target: true stems.
        limit: dB; errors below −`limit` dB hardly count.
    """
    ours, truth = estimate.waveform.flatten(-2), target.waveform.flatten(-2)
    energy = truth.square().sum(dim=-1)
    heard = energy > TINY * truth.shape[-1]
    gain = (ours * truth).sum(dim=-1) / energy.clamp_min(TINY)
    error = (gain[..., None] * truth - ours).square().sum(dim=-1)
    # A gain of nothing would make the ratio, and its gradient, infinite.
    ratio = error / (gain.square() * energy).clamp_min(TINY * truth.shape[-1])
    decibels = 10 * (ratio + 10 ** (-limit / 10)).log10()
    return decibels.where(heard, 0.0).sum() / heard.sum().clamp_min(1)


@TERMS.register("multi_resolution_stft")
def multi_resolution_stft(
    estimate: Signals,
    target: Signals,
    resolutions: tuple[Resolution, ...],
    magnitude: float,
    log_magnitude: float,
    in_turn: bool,
) -> Tensor:
    """Mean over resolutions of the L1 differences of magnitudes (over √n_fft) and of their natural logarithms.

    Source: Parallel WaveGAN, arXiv 1910.11480, with L1 in place of spectral convergence, which silent stems would
    divide by zero.

    Args:
        estimate: stems from the model.
        target: true stems.
        resolutions: (n_fft, hop) in samples.
        magnitude: weight of the magnitude part.
        log_magnitude: weight of the logarithmic part.
        in_turn: one resolution a step instead of all, which costs a fraction and is the same on average.
    """
    chosen = [resolutions[estimate.step % len(resolutions)]] if in_turn else resolutions
    distances = [
        magnitude_distance(
            estimate.spectrum(n_fft, hop),
            target.spectrum(n_fft, hop),
            magnitude / n_fft**0.5,
            log_magnitude,
            # A floor of −80 dB under a full-scale sine keeps near-silence from ruling the logarithm.
            floor=n_fft / 4 * 1e-4,
        )
        for n_fft, hop in chosen
    ]
    return sum(distances[1:], distances[0]) / len(distances)


class WeightedLoss:
    """Sum of terms from `TERMS`, each by its weight, in float32.

    Args:
        terms: name → {"weight": number, …options of the term}; a weight of 0 leaves the term out.

    Raises:
        ConfigError: for an unknown term or option, or when nothing is left to minimise.
    """

    def __init__(self, terms: Mapping[str, Mapping[str, Any]]) -> None:
        self.weights: dict[str, float] = {}
        self.terms: dict[str, Callable[[Signals, Signals], Tensor]] = {}
        for name, given in terms.items():
            options = {key: value for key, value in given.items() if key != "weight"}
            term = TERMS.bind(name, options)
            if "weight" not in given:
                raise ConfigError(f"loss.{name}.weight is missing: give it a value")
            weight = converted(given["weight"], float, f"loss.{name}.weight")
            if weight:
                self.weights[name], self.terms[name] = weight, term
        if not self.terms:
            raise ConfigError("the loss has no term with a weight: set loss.waveform_l1.weight=1, for instance")

    def __call__(self, estimate: Signals, target: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum, and each unweighted term under its name."""
        with torch.autocast(target.waveform.device.type, enabled=False):
            parts = {name: term(estimate, target) for name, term in self.terms.items()}
        first, *others = (self.weights[name] * part for name, part in parts.items())
        total = sum(others, first)
        return total, {name: part.detach() for name, part in parts.items()}


def estimate_stems(model: Any, mixture: Tensor) -> Tensor | Ratios:
    """What a loss wants of a model: its spectrograms (b, s, c, n, f), or its waveforms (b, s, c, t) where it has none.

    A model that has `masked` is spared the inverse transform, which not every loss needs, and may give ratios.
    """
    return model.masked(mixture) if hasattr(model, "masked") else model(mixture)


def compare_stems(
    model: Any, loss: WeightedLoss, estimate: Tensor | Ratios, stems: Tensor, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of what `estimate_stems` gave, and its parts; see `objective`."""
    given: dict[str, Any]
    if isinstance(estimate, Ratios):
        given, count = {"spectrum": estimate}, estimate.ratio.shape[1]
    else:
        given = {"spectrum": estimate} if estimate.is_complex() else {"waveform": estimate.float()}
        count = estimate.shape[1]
    targets = stems[:, :count]
    length = targets.shape[-1]
    config = getattr(model, "model_config", None)
    n_fft, hop = (config.n_fft, config.hop) if config else (N_FFT, HOP)
    return loss(Signals(n_fft, hop, length, step=step, **given), Signals(n_fft, hop, length, waveform=targets))


def objective(model: Any, loss: WeightedLoss, stems: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The training objective: mixture → model → loss.

    Args:
        model: maps mixtures (b, c, t) to stems (b, s, c, t); with `masked`, losses are read off what that gives.
        loss: of estimated and true stems.
        stems: (b, s', c, t), of which the first s are targets and all of which sum to the mixture.
        step: of training, for terms whose parts take turns.

    Returns:
        the loss, and each of its unweighted terms under its name.
    """
    return compare_stems(model, loss, estimate_stems(model, stems.sum(dim=1)), stems, step)


def waveform_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two waveforms.

    Args:
        estimate: (..., t); gets a gradient.
        target: of the same shape; gets none.
    """
    return _Distance.apply(estimate, target, partial(_waveform_share, count=estimate.numel()))


def magnitude_distance(estimate: Tensor, target: Tensor, linear: float, logarithmic: float, floor: float) -> Tensor:
    """Mean of linear · ||E| − |T|| + logarithmic · |ln(|E| + floor) − ln(|T| + floor)| over two complex spectrograms.

    Args:
        estimate: complex (..., n, f); gets a gradient.
        target: complex of the same shape; gets none.
        linear: weight of the difference of magnitudes.
        logarithmic: weight of the difference of their logarithms, which is Δ dB / 8.69.
        floor: what is added to magnitudes under the logarithm.
    """
    count = estimate.numel()
    share = partial(_magnitude_share, linear=linear / count, logarithmic=logarithmic / count, floor=floor)
    return _Distance.apply(estimate, target, share)


class _Distance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, estimate: Tensor, target: Tensor, share: Share) -> Tensor:
        rows, truths = (x.reshape(-1, x.shape[-1]) for x in (estimate, target))
        gradient = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        first, *others = (
            share(rows[piece], truths[piece], None if gradient is None else gradient[piece]) for piece in pieces(rows)
        )
        total = sum(others, first)
        if gradient is not None:
            ctx.save_for_backward(gradient.view(estimate.shape))
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None


class _SquaredError(torch.autograd.Function):
    """Σ |E − T|² over each stem's channels, frames and bins: complex (b, s, c, n, f) → (b, s), in two passes."""

    @staticmethod
    def forward(ctx: Any, estimate: Tensor, target: Tensor) -> Tensor:
        difference = estimate - target
        ctx.save_for_backward(difference)
        return _squares(difference)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        slope = (2 * outputs[0])[..., None, None, None, None]
        return torch.view_as_complex(torch.view_as_real(difference) * slope), None


class _RatioError(torch.autograd.Function):
    """Σ |R · X − T|² over each stem's channels, frames and bins, with its gradient for R.

    Ratios R (b, s, c, n, f), mixture X (b, c, n, f) and stems T (b, s, c, n, f), complex both → (b, s).
    """

    @staticmethod
    def forward(ctx: Any, ratio: Tensor, mixture: Tensor, target: Tensor) -> Tensor:
        error, slope = ratio.new_empty(ratio.shape[:2]), torch.empty_like(ratio)
        every = pieces(mixture)
        stems = [slice(None)] if len(every) == 1 else [slice(k, k + 1) for k in range(ratio.shape[1])]
        for piece in every:
            whole = mixture[piece][:, None]
            real, imaginary = whole.real.contiguous(), whole.imag.contiguous()
            for stem in stems:
                shares, truth = ratio[piece, stem], target[piece, stem]
                along = (shares * real).sub_(truth.real)
                across = (shares * imaginary).sub_(truth.imag)
                error[piece, stem] = _energy(along) + _energy(across)
                slope[piece, stem] = along.mul_(real).addcmul_(across, imaginary)
        ctx.save_for_backward(slope)
        return error

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return slope * (2 * outputs[0])[..., None, None, None], None, None


def _energy(values: Tensor) -> Tensor:
    """Σ x² over the last three axes."""
    return torch.linalg.vector_norm(values.flatten(-3), dim=-1).square()


def _squares(spectrum: Tensor) -> Tensor:
    """Σ |X|² over the last three axes."""
    return torch.linalg.vector_norm(torch.view_as_real(spectrum).flatten(-4), dim=-1).square()


def _waveform_share(estimate: Tensor, target: Tensor, gradient: Tensor | None, count: int) -> Tensor:
    difference = estimate - target
    if gradient is not None:
        torch.sign(difference, out=gradient).div_(count)
    return difference.abs_().sum() / count


def _magnitude_share(
    estimate: Tensor, target: Tensor, gradient: Tensor | None, linear: float, logarithmic: float, floor: float
) -> Tensor:
    ours, theirs = _magnitude(estimate), _magnitude(target)
    difference = ours - theirs
    # d|E| / dE points along E; both parts grow where |E| > |T|, for the logarithm rises with its argument.
    slope = difference.sign()
    total = linear * difference.abs_().sum()
    if logarithmic:
        raised = ours + floor
        slope.mul_((logarithmic / raised).add_(linear))
        total = total + logarithmic * raised.div_(theirs.add_(floor)).log_().abs_().sum()
    else:
        slope.mul_(linear)
    if gradient is not None:
        torch.mul(estimate, slope.div_(ours), out=gradient)
    return total


def _magnitude(spectrum: Tensor) -> Tensor:
    squares = torch.view_as_real(spectrum).square()
    return (squares[..., 0] + squares[..., 1]).add_(TINY).sqrt_()
