"""Waveforms as pictures: log-mel spectrograms for networks that take images."""

from __future__ import annotations

import math

import numpy as np
from scipy import fft
from scipy.signal import get_window
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import Count, Flag, Number, check_parameters
from skltransfer.domains._refit import fits_anew

# Numbers in one block of spectra, so that memory does not grow with the number of samples.
_BLOCK = 2**22
# A frame is filled up with zeros until each band holds a frequency.
_LONGEST_TRANSFORM = 2**18


class SpectrogramTransformer(TransformerMixin, DocumentedEstimator):
    r"""Turn waveforms into log-mel spectrograms, as images for a pretrained network.

    A waveform is cut into overlapping frames. The power of each frame's spectrum is summed in bands
    of equal width on the mel scale, and taken in decibels below the loudest band of the same
    waveform. Values are from 0, which is `dynamic_range` below the loudest band or less, to 1, the
    loudest band. Loudness as a whole is thereby left out, and each sample depends on itself alone.

    Parameters
    ----------
    sampling_rate : float, default=16000
        Samples of a waveform per second, in hertz.
    n_mels : int, default=64
        Number of bands, the height of the image.
    frame_length : float, default=0.025
        Length of a frame in seconds.
    hop_length : float, default=0.01
        Time from the beginning of a frame to that of the next, in seconds.
    f_min : float, default=0.0
        Lower end of the lowest band, in hertz.
    f_max : float, default=None
        Upper end of the highest band, in hertz. ``None`` is half of `sampling_rate`.
    dynamic_range : float, default=80.0
        Decibels from black to white.
    flatten : bool, default=True
        Whether each image is a row, as scikit-learn's estimators take them. With ``False`` the
        result has three dimensions, which
        :class:`~skltransfer.PretrainedFeatureTransformer` and ``FineTuned*`` take as images.

    Attributes
    ----------
    image_shape_ : tuple of int
        Height `n_mels` and width, the number of frames, of each image: ``image_shape`` of an
        estimator that is given flattened images.
    frequencies_ : ndarray of shape (n_mels,)
        Centres of the bands in hertz, in the order of the image's rows: the lowest first.
    times_ : ndarray of shape (n_frames,)
        Centres of the frames in seconds.
    n_features_in_ : int
        Length of a waveform.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of ``X``, if they are all strings.

    See Also
    --------
    PretrainedFeatureTransformer : Features of a network that takes images.

    Notes
    -----
    The mel scale is :math:`2595 \log_{10}(1 + f / 700)` [1]_. Bands are triangles that overlap by
    half, with a peak of 1, over the squared absolute values of the spectrum behind a periodic Hann
    window. The spectrum is padded with zeros to a power of two, and further until each band holds
    a frequency. A waveform's end is padded with zeros to whole frames. Waveforms of several lengths
    have to be cut or padded to one.

    References
    ----------
    .. [1] D. O'Shaughnessy, "Speech Communication: Human and Machine", 1987, page 150.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import SpectrogramTransformer
    >>> time = np.arange(8000) / 8000
    >>> tones = np.sin(2 * np.pi * np.array([[500.0], [2000.0]]) * time)
    >>> images = SpectrogramTransformer(8000, n_mels=32, flatten=False)
    >>> X = images.fit_transform(tones)
    >>> X.shape
    (2, 32, 99)
    >>> images.frequencies_[X.mean(axis=2).argmax(axis=1)].round()
    array([ 477., 1939.])
    """

    _parameters = {
        "sampling_rate": Number(0, np.inf, low_open=True, high_open=True),
        "n_mels": Count(),
        "frame_length": Number(0, np.inf, low_open=True, high_open=True),
        "hop_length": Number(0, np.inf, low_open=True, high_open=True),
        "f_min": Number(0, np.inf, high_open=True),
        "f_max": Number(0, np.inf, low_open=True, high_open=True, unset=(None,)),
        "dynamic_range": Number(0, np.inf, low_open=True, high_open=True),
        "flatten": Flag(),
    }

    def __init__(
        self,
        sampling_rate: float = 16000,
        *,
        n_mels: int = 64,
        frame_length: float = 0.025,
        hop_length: float = 0.01,
        f_min: float = 0.0,
        f_max: float | None = None,
        dynamic_range: float = 80.0,
        flatten: bool = True,
    ):
        self.sampling_rate = sampling_rate
        self.n_mels = n_mels
        self.frame_length = frame_length
        self.hop_length = hop_length
        self.f_min = f_min
        self.f_max = f_max
        self.dynamic_range = dynamic_range
        self.flatten = flatten

    @fits_anew
    def fit(self, X, y=None):
        """Remember the length of the waveforms, and build the bands; nothing is learned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_times)
            Waveforms, in any unit.
        y : None
            Ignored.

        Returns
        -------
        self : SpectrogramTransformer
        """
        check_parameters(self)
        validate_data(self, X, dtype=(np.float64, np.float32))
        length, hop = self._in_samples()
        f_max = self.sampling_rate / 2 if self.f_max is None else self.f_max
        edges = _hertz(np.linspace(_mel(self.f_min), _mel(f_max), self.n_mels + 2))
        narrowest = np.diff(edges).min()
        if narrowest * _LONGEST_TRANSFORM < self.sampling_rate:
            raise ValueError(
                f"n_mels={self.n_mels} bands from {self.f_min:g} to {f_max:g} Hz are as narrow as "
                f"{narrowest:.1e} Hz. Take fewer of them, or a wider range."
            )
        n_fft = 2 ** math.ceil(math.log2(length))
        bands = mel_bands(edges, n_fft, self.sampling_rate)
        while not bands.any(axis=0).all():
            n_fft *= 2
            bands = mel_bands(edges, n_fft, self.sampling_rate)
        self._bands, self._n_fft = bands, n_fft
        n_frames = 1 + max(0, math.ceil((self.n_features_in_ - length) / hop))
        self.frequencies_ = edges[1:-1]
        self.times_ = (np.arange(n_frames) * hop + length / 2) / self.sampling_rate
        self.image_shape_ = (self.n_mels, n_frames)
        return self

    def transform(self, X):
        """Return the spectrograms.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_times)
            Waveforms, in any unit.

        Returns
        -------
        images : ndarray of shape (n_samples, n_mels * n_frames) or (n_samples, n_mels, n_frames)
            Values from 0 to 1; rows of an image from the lowest band to the highest. Silence is 0.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        images = np.empty((len(X), *self.image_shape_), X.dtype)
        step = max(1, _BLOCK // (self.image_shape_[1] * self._n_fft))
        for start in range(0, len(X), step):
            images[start : start + step] = self._images(X[start : start + step])
        return images.reshape(len(X), -1) if self.flatten else images

    def get_feature_names_out(self, input_features=None):
        """Return the names of the pixels, each a band and a frame.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Ignored.

        Returns
        -------
        names : ndarray of str, shape (n_mels * n_frames,)
        """
        check_is_fitted(self)
        n_bands, n_frames = self.image_shape_
        names = [f"band{band}_frame{frame}" for band in range(n_bands) for frame in range(n_frames)]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _in_samples(self) -> tuple[int, int]:
        """Return the lengths of a frame and of a hop as numbers of samples."""
        return (
            max(1, round(self.frame_length * self.sampling_rate)),
            max(1, round(self.hop_length * self.sampling_rate)),
        )

    def _images(self, X: np.ndarray) -> np.ndarray:
        """Return the images of some waveforms, shape (n, n_mels, n_frames)."""
        length, hop = self._in_samples()
        n_frames = self.image_shape_[1]
        loudest = np.abs(X).max(axis=1, keepdims=True).astype(np.float64)
        X = X / np.where(loudest > 0, loudest, 1)  # squares stay finite
        missing = max(0, (n_frames - 1) * hop + length - X.shape[1])
        X = np.pad(X, ((0, 0), (0, missing)))
        frames = np.lib.stride_tricks.sliding_window_view(X, length, axis=1)[:, ::hop][:, :n_frames]
        spectra = fft.rfft(frames * get_window("hann", length), self._n_fft)
        power = (spectra.real**2 + spectra.imag**2) @ self._bands  # (n, n_frames, n_mels)
        peak = power.max(axis=(1, 2), keepdims=True)
        floor = 10 ** (-self.dynamic_range / 10)
        relative = power / np.where(peak > 0, peak, 1)
        decibels = 10 * np.log10(np.maximum(relative, floor))
        return np.clip(1 + decibels / self.dynamic_range, 0, 1).transpose(0, 2, 1)

    def _check_combinations(self) -> None:
        half = self.sampling_rate / 2
        f_max = half if self.f_max is None else self.f_max
        if not self.f_min < f_max <= half:
            raise ValueError(
                f"f_min={self.f_min!r} and f_max={self.f_max!r} have to be in ascending order, and "
                f"at most half of sampling_rate={self.sampling_rate!r}, {half:g} Hz."
            )


def mel_bands(edges: np.ndarray, n_fft: int, sampling_rate: float) -> np.ndarray:
    """Return the weights of a spectrum's frequencies in bands.

    Parameters
    ----------
    edges : ndarray of shape (n_bands + 2,)
        Beginning, peak and end of band ``i`` are ``edges[i : i + 3]``, in hertz.
    n_fft : int
        Length of the transform, even.
    sampling_rate : float

    Returns
    -------
    weights : ndarray of shape (n_fft // 2 + 1, n_bands)
    """
    frequencies = np.arange(n_fft // 2 + 1)[:, None] * (sampling_rate / n_fft)
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies - low) / (peak - low)
    falling = (high - frequencies) / (high - peak)
    return np.maximum(0, np.minimum(rising, falling))


def _mel(frequency):
    return 2595 * np.log10(1 + np.asarray(frequency) / 700)


def _hertz(mel):
    return 700 * (10 ** (mel / 2595) - 1)
