"""Log-mel bands, as Kaldi computes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kaldi_native_fbank
import numpy as np

from facer.stages.features.audio.config import LOGMEL
from facer.storage.schema import F32

RATE_HZ, HOP, WINDOW = 16000, 160, 400


class LogMel:
    """Natural logarithms of the energy in mel bands from 20 Hz to 8 kHz: ``mel00``, ``mel01`` ...

    Windows of 25 ms (Povey's, after pre-emphasis with 0.97 and without their mean), one every
    10 ms, of samples at full scale 1; no dither. Digital silence is -15.94, the logarithm of the
    least step of float32. Source: Kaldi's ``compute-fbank-feats``, by kaldi-native-fbank.
    """

    name, sha256 = LOGMEL, ""
    rate_hz, hop, window = RATE_HZ, HOP, WINDOW

    def __init__(self, bands: int) -> None:
        self.columns = tuple(f"mel{band:02d}" for band in range(bands))
        self.settings: Mapping[str, str | int | float] = {"bands": bands}

    def run(self) -> LogMelRun:
        """See :class:`~facer.stages.features.audio.rows.AudioFeatures`."""
        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.samp_freq = RATE_HZ
        options.frame_opts.dither = 0
        options.mel_opts.num_bins = len(self.columns)
        return LogMelRun(kaldi_native_fbank.OnlineFbank(options), len(self.columns))


class LogMelRun:
    """See :class:`~facer.stages.features.audio.rows.Run`."""

    def __init__(self, bank: Any, bands: int) -> None:
        self._bank, self._bands = bank, bands
        self._n_given = 0

    def add(self, samples: F32) -> F32:
        """See :class:`~facer.stages.features.audio.rows.Run`."""
        self._bank.accept_waveform(RATE_HZ, samples)
        first, self._n_given = self._n_given, self._bank.num_frames_ready
        rows = np.empty((self._n_given - first, self._bands), np.float32)
        for place in range(len(rows)):
            rows[place] = self._bank.get_frame(first + place)
        self._bank.pop(len(rows))
        return rows

    def end(self) -> F32:
        """See :class:`~facer.stages.features.audio.rows.Run`."""
        return np.empty((0, self._bands), np.float32)
