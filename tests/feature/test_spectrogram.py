"""Spectrograms beside closed forms, scipy's and torchaudio's."""

import numpy as np
import pytest
from scipy.signal import ShortTimeFFT, get_window
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import FineTunedClassifier, PretrainedFeatureTransformer, SpectrogramTransformer

RATE = 8000
TIME = np.arange(RATE // 2) / RATE  # half a second


def noise(n=3, length=RATE // 2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, length))


def decibels(images, dynamic_range):
    return (images - 1) * dynamic_range


def test_equal_to_torchaudio():
    torch = pytest.importorskip("torch")
    torchaudio = pytest.importorskip("torchaudio")
    # 0.032 s are 256 samples, a power of two; 5 hops of 128 samples behind the first frame
    X = noise(length=256 + 5 * 128)
    ours = SpectrogramTransformer(
        RATE, n_mels=20, frame_length=0.032, hop_length=0.016, f_min=50, f_max=3500, flatten=False
    )
    images = ours.fit_transform(X)
    bands = torchaudio.functional.melscale_fbanks(129, 50.0, 3500.0, 20, RATE)
    np.testing.assert_allclose(ours._bands, bands, atol=1e-5)
    power = torchaudio.transforms.MelSpectrogram(
        RATE, n_fft=256, hop_length=128, f_min=50, f_max=3500, n_mels=20, center=False
    ).double()(torch.tensor(X))
    reference = torch.stack(
        [torchaudio.transforms.AmplitudeToDB("power", top_db=80)(p / p.max()) for p in power]
    )
    assert images.shape == (3, 20, 6) == reference.shape
    np.testing.assert_allclose(decibels(images, 80), reference, atol=1e-3)


def test_power_is_that_of_scipy():
    X = noise(1, 256 + 4 * 128)
    ours = SpectrogramTransformer(RATE, n_mels=9, frame_length=0.032, hop_length=0.016).fit(X)
    stft = ShortTimeFFT(get_window("hann", 256), 128, RATE, fft_mode="onesided")
    power = stft.spectrogram(X[0], p0=1, p1=6)  # a frame of scipy's is centred
    mel = ours._bands.T @ power
    expected = 10 * np.log10(mel / mel.max())
    np.testing.assert_allclose(decibels(ours.transform(X), 80)[0], expected.ravel(), atol=1e-8)


def test_a_tone_is_brightest_in_its_band_and_a_chirp_climbs():
    ours = SpectrogramTransformer(RATE, n_mels=32, flatten=False)
    for frequency in (200.0, 777.0, 3000.0):
        image = ours.fit_transform(np.sin(2 * np.pi * frequency * TIME)[None])[0]
        centre = ours.frequencies_[image.mean(axis=1).argmax()]
        spacing = np.diff(ours.frequencies_).max()
        assert abs(centre - frequency) < spacing
    assert image.max() == 1 and image.min() == 0
    phase = 2 * np.pi * (500 * TIME + 2500 * TIME**2)  # 500 to 3000 Hz
    image = ours.transform(np.sin(phase)[None])[0]
    path = ours.frequencies_[image.argmax(axis=0)]
    inside = ours.times_ < TIME[-1] - 0.02
    np.testing.assert_allclose(path[inside], (500 + 5000 * ours.times_)[inside], rtol=0.1)


def test_mel_scale_and_overlap_of_bands():
    ours = SpectrogramTransformer(RATE, n_mels=30).fit(noise())
    mels = 2595 * np.log10(1 + ours.frequencies_ / 700)
    np.testing.assert_allclose(np.diff(mels), 2595 * np.log10(1 + 4000 / 700) / 31)
    assert abs(2595 * np.log10(1 + 1000 / 700) - 1000) < 0.1  # 1000 Hz are 1000 mel
    frequencies = np.arange(len(ours._bands)) * RATE / ours._n_fft
    inside = (frequencies > ours.frequencies_[0]) & (frequencies < ours.frequencies_[-1])
    np.testing.assert_allclose(ours._bands[inside].sum(axis=1), 1)  # triangles that meet


def test_loudness_and_neighbours_do_not_matter_and_silence_is_black():
    X = np.vstack([noise(40), np.zeros((1, len(TIME)))])
    ours = SpectrogramTransformer(RATE)
    images = ours.fit_transform(X)
    np.testing.assert_allclose(ours.transform(X * 1e-200), images, atol=1e-9)
    np.testing.assert_allclose(ours.transform(X * 1e200), images, atol=1e-9)
    np.testing.assert_allclose(ours.transform(X[7:8]), images[7:8], atol=1e-12)
    assert (images[-1] == 0).all() and images[:-1].max(axis=1).min() == 1
    quiet = np.sin(2 * np.pi * 500 * TIME) + 1e-3 * np.sin(2 * np.pi * 2000 * TIME)  # 60 dB below
    image = SpectrogramTransformer(RATE, n_mels=32, dynamic_range=120, flatten=False)
    column = image.fit_transform(quiet[None])[0, :, 10]
    second = column[image.frequencies_ > 1500].max()
    assert abs(decibels(second, 120) - -60) < 3


def test_blocks_short_waveforms_and_many_bands(monkeypatch):
    X = noise(5)
    whole = SpectrogramTransformer(RATE).fit_transform(X)
    monkeypatch.setattr("skltransfer.feature._spectrogram._BLOCK", 1)
    np.testing.assert_allclose(SpectrogramTransformer(RATE).fit_transform(X), whole, atol=1e-12)
    short = SpectrogramTransformer(RATE).fit(X[:, :3])
    assert short.image_shape_ == (64, 1)
    fine = SpectrogramTransformer(RATE, n_mels=200).fit(X)
    assert fine._n_fft > 256 and fine._bands.any(axis=0).all()
    # 200 samples are one frame, and one more sample begins another
    assert SpectrogramTransformer(RATE).fit(X[:, :200]).image_shape_[1] == 1
    assert SpectrogramTransformer(RATE).fit(X[:, :201]).image_shape_[1] == 2
    assert SpectrogramTransformer(RATE).fit(X[:, :280]).image_shape_[1] == 2


def test_images_for_a_network():
    X = np.vstack([np.sin(2 * np.pi * f * TIME) for f in (300, 310, 320, 1500, 1550, 1600)])
    y = ["low"] * 3 + ["high"] * 3
    straight = make_pipeline(
        SpectrogramTransformer(RATE, n_mels=32, flatten=False),
        PretrainedFeatureTransformer("tiny"),
        LogisticRegression(),
    ).fit(X[1:], y[1:])
    assert straight.predict(X[:1]) == ["low"]
    ours = SpectrogramTransformer(RATE, n_mels=32).fit(X)
    rows = ours.transform(X)
    flat = PretrainedFeatureTransformer("tiny", image_shape=ours.image_shape_).fit_transform(rows)
    np.testing.assert_array_equal(flat, straight[:-1].transform(X))
    images = rows.reshape(len(rows), *ours.image_shape_)
    tuned = FineTunedClassifier("tiny", strategy="linear_probe", max_epochs=5).fit(images, y)
    assert tuned.score(images, y) == 1
    frame = SpectrogramTransformer(RATE, n_mels=2).set_output(transform="pandas").fit_transform(X)
    assert frame.columns[[0, -1]].tolist() == ["band0_frame0", "band1_frame48"]


@pytest.mark.parametrize("settings", [{"f_min": 4000}, {"f_max": 4001}, {"f_min": 9, "f_max": 9}])
def test_impossible_bands(settings):
    with pytest.raises(ValueError, match="ascending order, and at most half of sampling_rate=8000"):
        SpectrogramTransformer(RATE, **settings).fit(noise())
    with pytest.raises(ValueError, match="Take fewer of them, or a wider range"):
        SpectrogramTransformer(RATE, f_min=1000, f_max=1000.001).fit(noise())
