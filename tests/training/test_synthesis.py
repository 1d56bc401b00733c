import numpy as np
import pytest

from deploy.board.radioml import CLASSES, FRAME
from models.errors import BadInput
from training.synthesis import BLOCK, block, synthesise
from training.synthesis.modulations import (
    MODULATIONS,
    SPS,
    Signal,
    _linear_moments,
    _pulse_response,
    apsk,
    ask,
    noise_like_audio,
    psk,
    pulse_train,
    qam,
    random_delays,
)

LINEAR = [name for name in CLASSES if "AM-" not in name and name not in ("FM", "GMSK")]
LINEAR_RAILS = [name for name in LINEAR if name != "OQPSK"]


def rng(seed=0):
    return np.random.default_rng(seed)


def signal(name, count=64, seed=0) -> Signal:
    return MODULATIONS[name](rng(seed), count)


def complex_frames(name, snr, count=64, seed=0):
    frames = synthesise(name, snr, count, rng(seed)).astype(np.float64)
    return frames[..., 0] + 1j * frames[..., 1]


@pytest.mark.parametrize("name", CLASSES)
def test_frames_have_the_type_and_shape_of_the_file(name):
    frames = synthesise(name, -20, 3, rng())
    assert frames.dtype == np.float32
    assert frames.shape == (3, 1024, 2)
    assert np.isfinite(frames).all()
    assert np.isfinite(synthesise(name, 30, 200, rng())).all()


def test_unknown_modulation():
    with pytest.raises(BadInput, match="OQPSK"):
        synthesise("QPKS", 0, 1, rng())


def test_constellations():
    assert [len(qam(4)), len(qam(6, 1)), len(qam(8)), len(qam(12, 2)), len(qam(16))] == [
        *(16, 32, 64, 128, 256)
    ]
    cross = {complex(point) for point in qam(12, 2)}
    assert 11 + 7j in cross
    assert 7 + 11j in cross
    assert 9 + 9j not in cross
    assert 11 + 9j not in cross
    assert {complex(p) for p in qam(4)} == {
        x + 1j * y for x in (-3, -1, 1, 3) for y in (-3, -1, 1, 3)
    }
    rings = apsk((4, 1), (12, 2.607))
    assert np.allclose(np.abs(rings), [1] * 4 + [2.607] * 12)
    assert np.allclose(rings[[0, 4]], [1, 2.607])
    assert np.allclose(psk(4), [1, 1j, -1, -1j], atol=1e-6)
    assert ask(4).tolist() == [0, 1, 2, 3]
    sizes = [len(MODULATIONS[name].args[0]) for name in LINEAR_RAILS]
    assert sizes == [2, 4, 8, 2, 4, 8, 16, 32, 16, 32, 64, 128, 16, 32, 64, 128, 256]


def test_pulse_is_the_root_raised_cosine_cubed():
    # The recipe's formula, written once more with its cases.
    def raised_cosine(f, a=0.48):
        if 8 * abs(f) <= (1 - a) / 2:
            return 1.0
        if 8 * abs(f) <= (1 + a) / 2:
            return 0.5 * (1 + np.cos(np.pi / a * (8 * abs(f) - (1 - a) / 2)))
        return 0.0

    response = _pulse_response(FRAME // SPS + 16)
    half = len(response) // 2
    length = FRAME + 2 * 8 * SPS
    wanted = np.array([raised_cosine(k / length) ** 1.5 for k in range(-half - 2, half + 3)])
    assert np.allclose(response / response[half], wanted[2:-2], atol=1e-6)
    assert wanted[[0, 1, -2, -1]].max() < 1e-6  # nothing of the pulse is left out
    assert np.isclose((np.abs(response) ** 2).sum() / length, SPS)


def test_pulses_against_the_sum_in_the_time_domain():
    random = rng(3)
    points = qam(16)
    length = FRAME + 2 * 8 * SPS
    symbols = points[random.integers(0, 256, (2, length // SPS))]
    delays = random_delays(random, 2)
    found = pulse_train(symbols, _pulse_response(FRAME // SPS + 16), delays)
    half = len(_pulse_response(FRAME // SPS + 16)) // 2
    bins = np.arange(-half, half + 1)
    n = np.arange(0, length, 31)
    for i in range(2):
        slow = np.zeros(len(n), complex)
        for k, symbol in enumerate(symbols[i]):
            t = n - SPS * k - delays[i, 0]
            slow += symbol * (
                _pulse_response(FRAME // SPS + 16) * np.exp(2j * np.pi * bins * t[:, None] / length)
            ).sum(axis=1)
        assert np.allclose(found[i, n], slow / length, atol=2e-5 * np.abs(slow / length).max())


def test_delays_fill_one_symbol():
    delays = random_delays(rng(), 10000)
    assert 0 <= delays.min() < 0.01
    assert 7.99 < delays.max() < 8
    assert np.isclose(delays.mean(), 4, atol=0.1)


@pytest.mark.parametrize("name", LINEAR)
def test_moments_of_the_ensemble_are_what_the_frames_have(name):
    drawn = signal(name, 2000)
    samples = drawn.samples.astype(np.complex128)
    power = (np.abs(samples) ** 2).mean()
    assert np.isclose(power, drawn.power, rtol=0.02)
    assert np.isclose(power - abs(samples.mean()) ** 2, drawn.variance, rtol=0.02)


def test_amplitude_shift_keying_is_unipolar():
    power, variance = _linear_moments(ask(2))
    assert variance == 0.25
    assert power > 2 * variance


def test_offset_qpsk_staggers_its_rails():
    samples = signal("OQPSK", 500).samples
    # The symbols' energy peaks once a symbol; on Q half a symbol later than on I.
    spectra = np.stack([samples.real**2, samples.imag**2]).astype(np.float64) @ np.exp(
        -2j * np.pi * np.arange(FRAME) / SPS
    )
    turned = np.angle(spectra[1] * np.conj(spectra[0]))
    assert np.abs(np.angle(np.mean(np.exp(1j * (turned - np.pi))))) < 0.2
    assert abs(np.mean(np.exp(1j * turned))) > 0.8


def test_gmsk_has_a_constant_envelope_and_the_index():
    samples = signal("GMSK", 300).samples
    assert np.allclose(np.abs(samples), 1, atol=1e-5)
    steps = np.angle(samples[:, 1:] * np.conj(samples[:, :-1]))
    # A run of equal symbols turns the phase by pi h each: 0.6 pi / 8 a sample.
    assert np.isclose(np.abs(steps).max(), 0.6 * np.pi / 8, rtol=0.01)
    assert abs(steps.mean()) < 0.005


def test_fm_lies_on_its_carrier():
    samples = signal("FM", 300).samples
    assert np.allclose(np.abs(samples), 1, atol=1e-5)
    steps = np.angle(samples[:, 1:] * np.conj(samples[:, :-1])) / 2 / np.pi
    assert np.isclose(steps.mean(), 1 / 32, atol=1e-4)
    assert np.isclose(steps.std(), 0.0008, rtol=0.1)


@pytest.mark.parametrize("name", ["AM-DSB-WC", "AM-DSB-SC"])
def test_double_sidebands_are_real_and_on_their_carrier(name):
    samples = signal(name, 50).samples
    assert not samples.imag.any()
    spectrum = np.abs(np.fft.rfft(samples.real * np.hanning(FRAME), axis=1))
    assert (np.abs(spectrum.argmax(axis=1) - FRAME // 32) <= 1).all()


def test_single_sidebands_are_a_constant_with_some_audio():
    for name in ("AM-SSB-WC", "AM-SSB-SC"):
        drawn = signal(name, 3000)
        samples = drawn.samples.real.astype(np.float64)
        assert np.isclose(samples.mean(), 1, atol=0.03)
        assert np.isclose(samples.std(), 0.3, rtol=0.05)
        assert np.allclose(drawn.variance[:, 0], samples.var(axis=1), rtol=1e-3)


def test_audio_is_gaussian_with_the_bandwidth():
    for width in (0.0002, 0.002):
        audio = noise_like_audio(rng(), 5000, width, FRAME)[:, [0, 400, 1023]].astype(np.float64)
        assert np.allclose(audio.std(axis=0), 1, atol=0.04)
        assert np.isclose((audio**4).mean(), 3, rtol=0.1)
        correlation = (audio[:, 0] * audio[:, 1]).mean()
        assert np.isclose(correlation, np.exp(-((np.pi * width * 400) ** 2)), atol=0.04)


@pytest.mark.parametrize("name", ["BPSK", "256QAM", "8ASK", "GMSK"])
@pytest.mark.parametrize("snr", [-10, 0, 10])
def test_noise_follows_the_label_twice(name, snr):
    samples = complex_frames(name, snr, 400)
    drawn = signal(name, 1)
    noise = drawn.power * 10 ** (-(2 * snr + 1.5) / 10)
    total = drawn.variance + noise
    # Far outside the signal's band there is noise alone.
    density = (np.abs(np.fft.fft(samples, axis=1)) ** 2).mean(axis=0) / FRAME
    floor = density[FRAME // 2 - 100 : FRAME // 2 + 100].mean()
    if snr < 10:  # a frame's edges leak into the band
        assert np.isclose(floor, noise / total, rtol=0.05)
    power = (np.abs(samples) ** 2).mean()
    assert np.isclose(power, (drawn.power + noise) / total, rtol=0.03)


def test_power_is_one_without_dc():
    for name in ("QPSK", "64QAM", "FM", "GMSK", "AM-DSB-WC", "AM-DSB-SC", "OQPSK"):
        for snr in (-20, 0, 30):
            power = (np.abs(complex_frames(name, snr, 400)) ** 2).mean()
            assert np.isclose(power, 1, rtol=0.02), (name, snr)


def test_single_sidebands_get_huge():
    # Divided by what a nearly constant frame varies.
    assert (np.abs(complex_frames("AM-SSB-WC", 30, 200)) ** 2).mean() > 100


def test_share_of_clipped_samples_is_the_recipes():
    others = [name for name in CLASSES if not name.startswith("AM-SSB")]
    clipped = [(np.abs(synthesise(name, 30, 400, rng())) > 2).mean() for name in others]
    assert np.isclose(np.mean(clipped), 0.0185, atol=0.001)


def test_frames_start_at_any_phase():
    first = complex_frames("BPSK", 30, 4000)[:, ::SPS]
    angles = np.angle((first**2).sum(axis=1)) / 2  # of the line that BPSK lies on
    assert np.histogram(angles, 8, (-np.pi / 2, np.pi / 2))[0].min() > 400


def test_snr_may_differ_from_frame_to_frame():
    snrs = np.array([-20, 30] * 20)
    frames = synthesise("QPSK", snrs, 40, rng())
    roughness = np.square(np.diff(frames, axis=1)).mean(axis=(1, 2))
    assert roughness[snrs == -20].min() > 5 * roughness[snrs == 30].max()


def test_blocks_are_reproducible_and_independent():
    assert np.array_equal(block(1, 4, -20, 0), block(1, 4, -20, 0))
    assert len(block(1, 4, -20, 0)) == BLOCK
    seen = [(1, 4, -20, 0), (2, 4, -20, 0), (1, 5, -20, 0), (1, 4, -18, 0), (1, 4, -20, 1)]
    first = [block(*which)[0, :8].tobytes() for which in seen]
    assert len(set(first)) == len(seen)
