"""facer: cached facial affect features, and light heads trained on them.

The map, top to bottom; imports run in this direction only:

- ``facer.cli``: click commands; each turns options into a config and makes one call.
- ``facer.pipeline``: orchestration: runs over many clips, executors, run folders, reports.
- ``facer.stages``: pure computation, arrays in, arrays out.

  - ``features``: stage one, a file per step: decode, detect, track, align, rec, extract.
  - ``affect`` and ``detection``: how REC and the face detector are trained.
  - ``intensity``: stage two: sequences, heads, losses, metrics, routing, fit.
  - ``synthesis``: the demo's clips.
- ``facer.storage``: the contract between the stages: schema, store, label files, checkpoints.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("facer")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
