"""Whether a clip lies on its side or upside down, without a word of it in the file.

A face that is turned is found now and then, with points of one that stands upright, so its
features look measured and are worth little.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from facer.stages.features.decode.frames import Frame
from facer.stages.features.faces import Detector, Faces

_DOUBT = 0.9  # score of an upright face, below which a frame is seen turned as well
_MORE = 0.1  # that the score is higher by when the frame stands right
_FILTERS = {1: "transpose=2", 2: "hflip,vflip", 3: "transpose=1"}  # ffmpeg's, by quarter turns
_IN_WORDS = {1: "90 degrees to the left", 2: "180 degrees", 3: "90 degrees to the right"}


class TurnWatch:
    """Sees the key frames 1, 2, 4, 8 ... of a clip turned, where no face of them is sure."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._n_keys = 0
        self._votes: Counter[int] = Counter()  # quarter turns to the left; 0 for upright

    def add(self, frame: Frame, faces: Faces) -> None:
        """Take the next key frame and its faces."""
        self._n_keys += 1
        if self._n_keys & (self._n_keys - 1):
            return
        best = _best(faces)
        turned = {0: best}
        if best < _DOUBT:
            image = frame.image
            images = [np.ascontiguousarray(np.rot90(image, turns)) for turns in _FILTERS]
            found = map(_best, self._detector.detect(images))
            turned |= dict(zip(_FILTERS, found, strict=True))
        turns = max(turned, key=lambda turns: turned[turns])
        if turned[turns] >= _DOUBT:
            self._votes[turns if turned[turns] >= best + _MORE else 0] += 1

    def note(self) -> str:
        """What to say of the clip: "" unless most of what was seen stands right when turned."""
        turns, count = max(self._votes.items(), key=lambda vote: vote[1], default=(0, 0))
        if not turns or 2 * count <= self._votes.total():
            return ""
        return (
            f"its faces are upright only when it is turned by {_IN_WORDS[turns]}: "
            "features of turned faces are not to be trusted; turn it, as by: "
            f"ffmpeg -i INPUT -vf {_FILTERS[turns]} -c:v libx264 -crf 12 OUTPUT.mp4"
        )


def _best(faces: Faces) -> float:
    return float(faces.score.max(initial=0))
