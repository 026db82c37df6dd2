"""Low-level descriptors of the eGeMAPS, by openSMILE."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from facer.stages.features.audio.config import EGEMAPS
from facer.stages.features.audio.rows import ChunkedRun
from facer.storage.errors import named
from facer.storage.optional import optional
from facer.storage.schema import F32

RATE_HZ, HOP, WINDOW = 16000, 160, 320
_LONGEST = 960  # samples: the window of the pitch, without which it gives no row
_CHUNK_S, _CONTEXT_S = 60, 5  # the smoothing of the pitch looks less than a second around


class Egemaps:
    """The 25 low-level descriptors of eGeMAPSv02, one row every 10 ms, by openSMILE's names.

    Loudness, pitch, jitter, shimmer, formants, spectral slopes and MFCC 1 to 4 (Eyben et al. 2016,
    "The Geneva Minimalistic Acoustic Parameter Set"); pitch and what follows from it are 0 where
    there is no voice. Their windows are 60 ms, with their middle 20 ms after the row's time; those
    of the others 20 ms, around it. openSMILE's licence allows research and no commercial use: it
    is an extra.
    ``FacerError`` where it is not installed.
    """

    name, sha256 = EGEMAPS, ""
    rate_hz, hop, window = RATE_HZ, HOP, WINDOW

    def __init__(self) -> None:
        opensmile = optional(
            "opensmile", "egemaps", f"{named('features')} {EGEMAPS}",
            " (its licence allows research and no commercial use)",
        )  # fmt: skip
        self._smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.LowLevelDescriptors,
        )
        self.columns = tuple(self._smile.feature_names)
        self.settings: Mapping[str, str | int | float] = {"opensmile": opensmile.__version__}

    def run(self) -> ChunkedRun:
        """See :class:`~facer.stages.features.audio.rows.AudioFeatures`."""
        rows = RATE_HZ // HOP
        return ChunkedRun(self._measure, HOP, WINDOW, _CHUNK_S * rows, _CONTEXT_S * rows)

    def _measure(self, samples: F32) -> F32:
        if len(samples) < _LONGEST:
            return np.empty((0, len(self.columns)), np.float32)
        rows: F32 = self._smile.process_signal(samples, RATE_HZ).to_numpy(np.float32)
        return rows
