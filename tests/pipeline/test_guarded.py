"""Users' videos are opened in the decoding process, whatever the command."""

import ast
import os
from collections import defaultdict
from pathlib import Path

from click.testing import CliRunner

import facer.pipeline
from facer.cli import facer as command
from facer.pipeline.features.guarded import guard
from facer.storage.errors import FacerError, PlaceError
from tests.support import told

PACKAGE = Path(facer.pipeline.__file__).parents[1]
CHILD = "pipeline/features/guarded/child.py"
# what opens a file as video: the files that may name it, and why
OPENERS = {
    "VideoReader": {
        "stages/features/decode/frames.py": "it is defined there",
        "stages/features/extractor.py": "the default for Python code; the pipeline gives its own",
        "stages/detection/data/sources.py": "clips that facer's own detector is trained on",
        "pipeline/features/guarded/seen.py": "in libav_view, which is called in the process only",
        CHILD: "the process itself",
    },
    "AudioReader": {
        "pipeline/features/guarded/sound.py": "in copy_sound, which is called in the process only",
        "stages/features/audio/reader.py": "it is defined there",
        "stages/features/audio/extractor.py": "the default for Python code, as above",
        CHILD: "the process itself",
    },
    "open_container": {
        "stages/features/audio/reader.py": "opens for AudioReader",
        "stages/features/decode/container.py": "it is defined there",
        "pipeline/features/guarded/headers.py": "called in the process only, see below",
        "pipeline/features/guarded/seen.py": "called in the process only, see below",
        "pipeline/features/guarded/sound.py": "in copy_sound, which is called in the process only",
    },
    "open_stream": {
        "stages/features/decode/container.py": "it is defined there",
        "stages/features/decode/frames.py": "opens for VideoReader",
    },
    "VideoCapture": {},
    "av.open": {
        "stages/features/decode/container.py": "opens for open_container",
        "pipeline/features/guarded/sound.py": "facer's own new video",
        "pipeline/views/video.py": "writes",
    },
    "copy_sound": {
        "pipeline/features/guarded/sound.py": "it is defined there",
        CHILD: "the process",
    },
    "header_frames": {
        "pipeline/features/guarded/headers.py": "it is defined there",
        CHILD: "the process",
    },
    "clock_start_s": {
        "pipeline/features/guarded/headers.py": "it is defined there",
        CHILD: "the process",
    },
}


def names_in(path):
    """Names and ``module.name`` pairs that a file's code uses or imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
            if isinstance(node.value, ast.Name):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.FunctionDef):
            yield node.name


def test_only_the_decoding_process_opens_users_videos():
    found = defaultdict(set)
    folders = (PACKAGE / name for name in ("pipeline", "stages", "storage"))
    files = [PACKAGE / "cli.py", *(path for folder in folders for path in folder.rglob("*.py"))]
    for path in files:
        for name in OPENERS.keys() & set(names_in(path)):
            found[name].add(path.relative_to(PACKAGE).as_posix())
    assert found == {name: set(reasons) for name, reasons in OPENERS.items() if reasons}


NO_PROCESS = "no process to decode videos can be started: Too many open files"
ASKED = {
    "report": ["report", "s.zarr", "-o", "look", "--videos", "videos"],
    "report --embed": ["report", "s.zarr", "-o", "look", "--videos", "videos", "--embed"],
    "annotate": ["annotate", "s.zarr", "a", "-o", "a-look.mp4", "--videos", "videos"],
    "picture": ["picture", "s.zarr", "a", "-o", "a.png", "--videos", "videos"],
    "bench": ["bench", "videos/a.mp4"],
    "bench --folder": ["bench", "--folder", "videos"],
}


def test_no_command_opens_a_video_by_itself_or_what_is_no_regular_file(
    tmp_path, monkeypatch, make_video, face_frames
):
    monkeypatch.chdir(tmp_path)
    video = make_video("videos/a.mp4", face_frames(9))
    made = CliRunner().invoke(command, ["extract", "videos", "-o", "s.zarr", "--workers", "1"])
    assert made.exit_code == 0, made.output
    with monkeypatch.context() as patch:
        patch.setattr(guard, "take_child", no_process)
        for name, arguments in ASKED.items():
            result = CliRunner().invoke(command, arguments)
            assert isinstance(result.exception, PlaceError), (name, result.output)
    video.unlink()
    os.mkfifo(video)
    for name, arguments in ASKED.items():
        result = CliRunner().invoke(command, arguments)
        assert isinstance(result.exception, FacerError), (name, result.output)
        if name != "bench --folder":  # which looks at many
            assert "a.mp4: a pipe (FIFO), expected a video" in str(result.exception), name


def no_process():
    raise PlaceError(NO_PROCESS)


def test_a_process_that_cannot_be_started_is_one_line(tmp_path, monkeypatch, capsys, make_video):
    monkeypatch.setattr(guard, "take_child", no_process)
    assert told(capsys, "bench", make_video(), code=1)[1] == f"facer: {NO_PROCESS}\n"
