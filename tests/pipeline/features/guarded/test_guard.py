"""Decoding in a process of its own: the same frames, and no fault that costs more than a clip."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from unittest.mock import Mock

import numpy as np
import pytest

from facer.pipeline.features.guarded import guard, process
from facer.pipeline.features.guarded.child import Ring
from facer.pipeline.features.guarded.guard import GuardedReader
from facer.pipeline.features.guarded.process import DecodeChild
from facer.stages.features.decode.frames import VideoReader
from facer.storage.errors import FacerError, PlaceError
from tests.support import some


@contextmanager
def limited(kind, most):
    """A limit of this process, for a while."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def read(reader):
    """Frames as (index, time, image), what was odd, and how many were decoded."""
    with reader:
        frames = [(f.frame_index, f.timestamp_s, f.image) for f in reader]
    return frames, reader.problem, reader.n_decoded


def assert_same(path, stride=1):
    found, problem, n_decoded = read(GuardedReader(path, stride))
    expected, *rest = read(VideoReader(path, stride))
    assert [problem, n_decoded] == rest
    assert [f[:2] for f in found] == [f[:2] for f in expected]
    for (_, _, a), (_, _, b) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    return len(found)


def test_frames_are_those_of_the_plain_reader(make_video):
    assert assert_same(make_video("a.mp4", 150)) == 150  # more than the ring has slots
    assert assert_same(make_video("b.avi", 10, codec="MJPG", size=(161, 99)), stride=4) == 3
    path = make_video("c.avi", 40, codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 5 < assert_same(path) < 40


@pytest.mark.parametrize("codec", ["FFV1", "MJPG"])
def test_a_frame_says_that_it_repeats_the_one_before(make_video, codec):
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 96, 3), np.uint8)
    path = make_video("a.avi", [image for image in images for _ in range(3)], codec=codec)
    assert assert_same(path) == 12
    for reader in (GuardedReader(path), VideoReader(path)):
        with reader:
            assert [frame.repeats for frame in reader] == [False, True, True] * 4


def test_the_ring_grows_for_large_frames_and_is_small_again_after(make_video):
    large = make_video("large.avi", 3, codec="MJPG", size=(4096, 2304))
    small = make_video("small.avi", 3, codec="MJPG")
    for path in (small, large, small, large):
        assert assert_same(path) == 3
    child = guard.idle[-1]
    assert os.fstat(child.memory).st_size > 2 * 4096 * 2304 * 3 - 1
    assert_same(small)
    assert os.fstat(child.memory).st_size == 32 << 20


@pytest.mark.parametrize("name", ["text.mp4", "empty.mp4", "missing.mp4"])
def test_what_cannot_be_opened_is_refused_in_the_same_words(tmp_path, name):
    path = tmp_path / name
    if name != "missing.mp4":
        path.write_text("not a video" if name == "text.mp4" else "")
    with pytest.raises(FacerError) as expected:
        VideoReader(path)
    with pytest.raises(FacerError) as found:
        read(GuardedReader(path))
    assert str(found.value) == str(expected.value)


def test_one_process_serves_clip_after_clip(make_video):
    path = make_video()
    read(GuardedReader(path))
    child = guard.idle[-1]
    read(GuardedReader(path))
    assert guard.idle[-1] is child


def test_readers_may_be_open_at_once(make_video):
    paths = [make_video(f"{n}.mp4", n) for n in (5, 80, 20)]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(assert_same, paths)) == [5, 80, 20]


def test_a_clip_left_in_the_middle_disturbs_no_other(make_video):
    path = make_video(frames=100)
    with GuardedReader(path) as reader:
        next(iter(reader))
        child = some(reader.child)
    assert not child.alive
    assert assert_same(path) == 100


def test_frames_that_the_stride_skips_are_signs_of_life(make_video):
    child = DecodeChild()
    child.send(f'{{"path": "{make_video(frames=5)}", "stride": 3, "start": 0}}')
    kinds = []
    while "problem" not in kinds:
        kinds.append(next(iter(some(child.read(60)))))
    child.close()
    assert kinds == ["frame", "skipped", "skipped", "frame", "skipped", "problem"]


@pytest.mark.parametrize(("name", "how"), [("crash", "signal 11"), ("killed", "want of memory")])
def test_a_decoder_that_dies_twice_is_the_clips_reason(make_video, faulty_decoder, name, how):
    path = make_video(f"{name}.mp4", 12)
    with pytest.raises(FacerError, match=rf"{name}\.mp4: the decoder crashed twice .*{how}"):
        read(GuardedReader(path))
    assert assert_same(make_video("next.mp4", 12)) == 12


def test_after_one_crash_every_frame_is_given_once(make_video, faulty_decoder, tmp_path):
    assert assert_same(make_video("once.mp4", 90)) == 90
    assert (tmp_path / "once.failed-once").exists()


def test_a_decoder_that_hangs_is_stopped(make_video, faulty_decoder, monkeypatch):
    read(GuardedReader(make_video("warm up.mp4")))
    child = guard.idle[-1]
    with monkeypatch.context() as patch:
        patch.setattr(process, "FRAME_TIMEOUT_S", 0.5)
        with pytest.raises(FacerError, match=r"hang\.mp4: no frame for .* s, given up"):
            read(GuardedReader(make_video("hang.mp4")))
    assert not child.alive
    assert assert_same(make_video("next.mp4", 12)) == 12


def test_a_video_that_takes_too_long_in_all_is_given_up(make_video, monkeypatch):
    fast = DecodeChild.read

    def slow(child, timeout_s):
        time.sleep(min(0.02, timeout_s))
        return fast(child, 60) if timeout_s >= 0.02 else None

    monkeypatch.setattr(DecodeChild, "read", slow)
    monkeypatch.setattr(process, "MEAN_FRAME_S", 0.005)  # so 0.4 s are used up after 27 frames
    monkeypatch.setattr(process, "FRAME_TIMEOUT_S", 0.4)
    with pytest.raises(FacerError, match=r"long\.mp4: \d+ frames in \d+ s of decoding, given up"):
        read(GuardedReader(make_video("long.mp4", 60)))


def test_time_in_which_everything_stood_still_is_not_counted(make_video, monkeypatch):
    fast, stopped = DecodeChild.read, list[float]()

    def after_a_stop(child, timeout_s):
        if stopped:
            return fast(child, timeout_s)
        stopped.append(timeout_s)
        time.sleep(1.5)  # Ctrl-Z: the time is over, and the decoder was stopped as well
        return None

    monkeypatch.setattr(DecodeChild, "read", after_a_stop)
    monkeypatch.setattr(process, "FRAME_TIMEOUT_S", 1.2)
    monkeypatch.setattr(process, "_STEP_S", 0.01)
    assert len(read(GuardedReader(make_video(frames=7)))[0]) == 7


def test_a_decoder_that_wants_too_much_memory_is_refused_it(make_video, faulty_decoder):
    with pytest.raises(FacerError, match=r"greedy\.mp4: its frames need more memory"):
        read(GuardedReader(make_video("greedy.mp4")))


def test_the_limit_of_memory_holds_for_a_real_clip(make_video, monkeypatch):
    path = make_video("large.avi", 2, codec="MJPG", size=(7680, 4320))
    guard.close_idle()
    monkeypatch.setattr(process, "MEMORY_LIMIT_BYTES", 500 << 20)
    with pytest.raises(FacerError, match=r"large\.avi: "):
        read(GuardedReader(path))
    guard.close_idle()
    monkeypatch.undo()
    assert len(read(GuardedReader(path))[0]) == 2


def test_a_frame_beyond_8k_is_refused_with_a_way_out(make_video):
    path = make_video("huge.avi", 1, codec="MJPG", size=(9600, 4320))
    with pytest.raises(FacerError, match=r"huge\.avi: frames of 9600x4320 px, expected at most 35"):
        read(GuardedReader(path))


@pytest.mark.parametrize("kind", ["device", "fifo", "socket", "folder", "link to a folder"])
def test_what_is_no_regular_file_is_refused_at_once(odd_file, kind):
    path = odd_file(kind)
    what = {"fifo": "a pipe (FIFO)", "link to a folder": "a folder"}.get(kind, f"a {kind}")
    for ask in (lambda: read(GuardedReader(path)), lambda: guard.ask("header_frames", path)):
        with pytest.raises(
            FacerError, match=rf"^{kind}\.mp4: {re.escape(what)}, expected a video$"
        ):
            ask()


def test_a_question_about_a_video_has_the_limits_of_decoding(make_video, monkeypatch):
    path = make_video(frames=7)
    assert guard.ask("header_frames", path) == 7
    child = guard.idle[-1]
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # of a terminal: the parent's
        child.process.send_signal(kind)
    assert guard.ask("header_frames", path) == 7
    assert guard.idle[-1] is child
    os.kill(child.process.pid, signal.SIGSTOP)
    monkeypatch.setattr(process, "FRAME_TIMEOUT_S", 0.2)
    with pytest.raises(FacerError, match=r"clip\.mp4: no answer for .* s, given up"):
        guard.ask("header_frames", path)
    assert not child.alive
    monkeypatch.undo()
    assert guard.ask("header_frames", path) == 7


def test_a_decoder_that_dies_while_it_is_asked_is_said(make_video, monkeypatch):
    path = make_video()
    assert guard.ask("clock_start_s", path) == 0
    send = DecodeChild.send

    def kill(child, line):
        child.process.kill()
        child.process.wait()
        send(child, line)

    monkeypatch.setattr(DecodeChild, "send", kill)
    with pytest.raises(FacerError, match=r"clip\.mp4: the decoder crashed \(killed"):
        guard.ask("clock_start_s", path)


def test_decoding_says_how_long_it_was_busy(make_video):
    with GuardedReader(make_video(frames=60)) as reader:
        spent = [reader.cpu_s for _ in reader]
    assert 0 < spent[0] <= spent[-1] <= reader.cpu_s
    assert spent == sorted(spent)


def test_what_a_decoder_prints_is_no_answer(make_video, faulty_decoder):
    assert assert_same(make_video("noisy.mp4", 12)) == 12


def test_a_child_that_died_idle_costs_nothing(make_video):
    path = make_video()
    read(GuardedReader(path))
    guard.idle[-1].process.kill()
    guard.idle[-1].process.wait()
    assert assert_same(path) == 12


def test_a_process_that_cannot_be_started_is_no_fault_of_the_clip(make_video):
    path = make_video()
    guard.close_idle()
    with (
        limited(resource.RLIMIT_NOFILE, 0),
        pytest.raises(PlaceError, match=r"no process .* started: Too many .*ulimit -n"),
    ):
        read(GuardedReader(path))
    assert assert_same(path) == 12


def test_a_process_that_is_refused_a_thread_is_no_fault_of_the_clip(
    make_video, tmp_path, monkeypatch
):
    path = make_video()
    (tmp_path / "sitecustomize.py").write_text("import threading; threading.stack_size(1 << 46)")
    guard.close_idle()
    with monkeypatch.context() as patched:
        patched.syspath_prepend(tmp_path)
        with pytest.raises(PlaceError, match=r"no process .* started: it was refused a thread"):
            read(GuardedReader(path))
    assert assert_same(path) == 12


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_disturb_no_decoding(make_video, closed, tmp_path):
    """Seen: the frames' memory was stdin, over which the child's pipe was put."""
    path, done = make_video(), tmp_path / "done"
    script = (
        "from pathlib import Path\n"
        "from facer.pipeline.features.guarded.guard import GuardedReader\n"
        f"with GuardedReader(Path({str(path)!r})) as reader:\n"
        f"    Path({str(done)!r}).write_text(str(len(list(reader))))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = ["bash", "-c", f'exec "$@" {closed}', "-", sys.executable, "-c", script]
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert done.read_text() == "12"


def test_memory_for_frames_that_cannot_be_had_is_no_fault_of_the_clip(make_video):
    path = make_video()
    guard.close_idle()
    with (
        limited(resource.RLIMIT_FSIZE, 1 << 20),
        pytest.raises(PlaceError, match=r"no process .* started: File too .*ulimit -f"),
    ):
        read(GuardedReader(path))
    assert assert_same(path) == 12


def test_a_ring_works_on_after_memory_was_refused(monkeypatch, tmp_path):
    with (tmp_path / "ring").open("w+b") as file:
        ring = Ring(file.fileno())
        with monkeypatch.context() as patched:
            patched.setattr(os, "ftruncate", Mock(side_effect=OSError(errno.ENOSPC, "full")))
            with pytest.raises(OSError, match="full"):
                ring.place(1000)
        placing = Thread(target=ring.place, args=(1000,), daemon=True)
        placing.start()
        placing.join(10)
        assert not placing.is_alive()


def test_the_child_ends_with_its_parent_even_in_the_middle_of_a_frame(make_video, faulty_decoder):
    path = make_video("hang.mp4")
    script = (
        "import sys; from pathlib import Path\n"
        "from facer.pipeline.features.guarded.guard import GuardedReader\n"
        f"reader = GuardedReader(Path({str(path)!r}))\n"
        "for frame in reader:\n"
        "    if frame.frame_index == 4:\n"
        "        print(reader.child.process.pid, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment
    ) as parent:
        child = int(some(parent.stdout).readline())
        assert _runs(child)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_forked_process_leaves_the_idle_children_to_its_parent(make_video):
    path = make_video("a.mp4", 12)
    assert len(read(GuardedReader(path))[0]) == 12  # leaves an idle child
    (idle,) = guard.idle
    pid = os.fork()
    if pid == 0:
        mine = len(read(GuardedReader(path))[0]) == 12 and guard.idle != [idle]
        os._exit(0 if mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert idle.alive
    assert len(read(GuardedReader(path))[0]) == 12
