"""Stage one for sound wired together: decode and place in time -> measure -> a clip's rows.

for result in AudioExtractor(config).run(paths):
    result.sequences[0].clip.features  # (T, F)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np

from facer.stages.common.device import device_name
from facer.stages.features.audio.config import EGEMAPS, LOGMEL, AudioConfig
from facer.stages.features.audio.reader import AudioReader
from facer.stages.features.audio.resampling import Sound
from facer.stages.features.audio.rows import AudioFeatures, Run
from facer.stages.features.decode.container import DECODER, LIBAV
from facer.stages.features.extraction import ClipSequence, Extraction
from facer.storage.errors import FacerError
from facer.storage.schema import AUDIO, F32, ClipFeatures, Provenance


class Audio(Protocol):
    """An open file, as :class:`AudioReader`: blocks of sound in order, then what was odd."""

    problem: str

    def __iter__(self) -> Iterator[Sound]: ...


OpenAudio = Callable[[Path, int], AbstractContextManager[Audio]]
"""Opens (path, rate_hz); ``FacerError`` when it cannot."""


def load_features(config: AudioConfig) -> AudioFeatures:
    """What is to be measured; ``FacerError`` where what it needs is not installed or not there."""
    if config.features == LOGMEL:
        from facer.stages.features.audio.logmel import LogMel

        return LogMel(config.bands)
    if config.features == EGEMAPS:
        from facer.stages.features.audio.egemaps import Egemaps

        return Egemaps()
    from facer.stages.features.audio.encoder import Encoder

    return Encoder(Path(config.features), device_name(config.device))


class AudioExtractor:
    """Files in, features of their sound out, in order; a clip's never depend on other clips.

    Row ``i`` of a clip is over the window of samples that begins ``i`` hops after the time that
    the pictures' frames are counted from, and its time is the middle of that window. Rows whose
    window holds samples that are missing, before the sound starts and in its holes, are NaN and
    not valid; the last row is the last that is measured.
    """

    def __init__(self, config: AudioConfig) -> None:
        self._features = load_features(config)
        self.columns = self._features.columns
        self.weak_features: tuple[str, ...] = ()

    @property
    def provenance(self) -> Provenance:
        """What a store of these features records."""
        f = self._features
        window_ms, hop_ms = (1000 * n / f.rate_hz for n in (f.window, f.hop))
        return Provenance(
            detector="", detector_sha256="", rec=f.name, rec_sha256=f.sha256, alignment="",
            face_policy=AudioConfig.face,
            frame_policy=f"windows of {window_ms:g} ms, one every {hop_ms:g} ms",
            settings={"modality": AUDIO, "rate_hz": f.rate_hz, **f.settings},
            decoder=DECODER, libav_version=LIBAV,
        )  # fmt: skip

    def run(
        self,
        paths: Sequence[Path],
        on_frames: Callable[[int], None] | None = None,
        open_audio: OpenAudio = AudioReader,
        _points: object = None,  # as of video, where somebody pointed at a face
    ) -> Iterator[Extraction]:
        """Extract files, results in their order; ``on_frames`` hears how many rows were done."""
        for path in paths:
            yield self._extract(path, on_frames or (lambda _: None), open_audio)

    def _extract(
        self, path: Path, on_frames: Callable[[int], None], open_audio: OpenAudio
    ) -> Extraction:
        """One file; what goes wrong is its reason, not raised."""
        started, rows = perf_counter(), _ClipRows(self._features)
        try:
            with open_audio(path, self._features.rate_hz) as reader:
                for block in reader:
                    on_frames(rows.add(block))
                reason = reader.problem
            on_frames(rows.close())
        except (FacerError, OSError) as error:
            return Extraction((), str(error).strip(), seconds=perf_counter() - started)
        clip = rows.clip()
        if not clip.n_frames and not reason:
            window_ms = 1000 * self._features.window / self._features.rate_hz
            reason = f"no sound: shorter than a window of {window_ms:g} ms"
        return Extraction((ClipSequence(clip),), reason, seconds=perf_counter() - started)


class _ClipRows:
    """The rows of one clip, from blocks of its sound."""

    def __init__(self, features: AudioFeatures) -> None:
        self._features = features
        self._run: Run | None = None
        self._stop = 0  # the sample that the run goes on with
        self._skip = 0  # samples before the run's first row
        self._row = 0  # the next one of the run
        self._done: list[tuple[int, F32]] = []  # number of the first row, rows

    def add(self, block: Sound) -> int:
        """Add a block; returns how many rows it completed."""
        n_rows = 0
        if self._run is None or block.start != self._stop:
            n_rows = self.close()
            self._row = -(-block.start // self._features.hop)
            self._skip = self._row * self._features.hop - block.start
            self._run = self._features.run()
        self._stop = block.stop
        assert self._run is not None
        samples = block.samples[self._skip :]
        self._skip = max(0, self._skip - len(block.samples))
        return n_rows + (self._keep(self._run.add(samples)) if len(samples) else 0)

    def close(self) -> int:
        """No more samples follow without a hole; returns how many rows that completed."""
        run, self._run = self._run, None
        return 0 if run is None else self._keep(run.end())

    def _keep(self, rows: F32) -> int:
        if len(rows):
            self._done.append((self._row, rows))
            self._row += len(rows)
        return len(rows)

    def clip(self) -> ClipFeatures:
        """All rows, NaN where nothing was measured."""
        f = self._features
        n = max((first + len(rows) for first, rows in self._done), default=0)
        features = np.full((n, len(f.columns)), np.nan, np.float32)
        valid = np.zeros(n, bool)
        for first, rows in self._done:
            features[first : first + len(rows)] = rows
            valid[first : first + len(rows)] = np.isfinite(rows).any(axis=1)
        features[~valid] = np.nan
        return ClipFeatures(
            features=features,
            timestamp_s=(np.arange(n) * f.hop + f.window / 2) / f.rate_hz,
            valid=valid,
            det_score=np.full(n, np.nan, np.float32),
            bbox_px=np.full((n, 4), np.nan, np.float32),
            keypoints_px=np.full((n, 5, 2), np.nan, np.float32),
            n_faces=np.zeros(n, np.int16),
        )
