"""The bench's numbers fit each other; how large they are is for benchmarks, not for tests."""

from dataclasses import replace

import pytest
import torch

from facer.pipeline.features.config import BenchConfig
from facer.pipeline.features.timing.bench import ASSUMPTIONS, bench
from facer.pipeline.features.timing.bench_model import FrameCost, Rate, predict, predict_gpus
from facer.pipeline.features.timing.bench_steps import STEPS, measure_steps
from facer.stages.common.cores import cpu_count
from facer.stages.features.precision import usual_precision
from facer.storage import FacerError

LIMIT_S = 0.5


def test_every_step_of_a_face_takes_time(make_video, face_frames):
    video = make_video(frames=face_frames(6))
    threads = torch.get_num_threads()
    found = measure_steps(video, LIMIT_S, "auto")
    assert tuple(found.ms_per_frame) == STEPS
    assert all(ms > 0 for ms in found.ms_per_frame.values())
    assert found.frames >= 6
    assert found.clip.n_frames == 6
    assert (found.width_px, found.height_px) == (320, 240)
    assert torch.get_num_threads() == threads


def test_without_a_face_rec_and_align_take_none(make_video):
    found = measure_steps(make_video(frames=4), LIMIT_S, "auto")
    assert found.ms_per_frame["rec"] == found.ms_per_frame["align"] == 0
    assert found.ms_per_frame["detect"] > 0
    assert not found.clip.valid.any()


def test_the_estimate_is_frames_times_time_over_workers(make_video, face_frames):
    video = make_video(frames=face_frames(5), fps=10.0)
    found = bench(BenchConfig(video, clips=250, seconds_per_clip=6.0, limit_s=LIMIT_S))
    estimate = found.estimate
    assert found.fps == pytest.approx(10.0)
    assert estimate.frames == pytest.approx(250 * 6 * 10, abs=1)
    assert estimate.workers == min(cpu_count(), 250)
    rate = predict(found.cost, estimate.workers, cpu_count()).frames_per_s
    assert estimate.seconds == pytest.approx(estimate.frames / rate)
    assert found.cost.decode_s + found.cost.work_s == pytest.approx(found.total_ms / 1e3)
    as_json = found.to_json()
    assert sum(s["ms_per_frame"] for s in as_json["steps"].values()) == pytest.approx(
        as_json["ms_per_frame"]
    )
    assert as_json["frames_per_s"] == pytest.approx(1e3 / as_json["ms_per_frame"])
    assert as_json["face_share"] == 1.0
    assert as_json["precision"] == usual_precision("cpu")
    text = found.as_text()
    assert "250 clips, 15 k frames: " in text
    assert f"on this machine with {estimate.workers} worker(s)" in text
    assert "predicted frames/s, a worker a core: 1: " in text
    assert as_json["scaling"]["cores"]["2"]["limit"] == "cores"
    assert set(as_json["scaling"]["gpus"]) == {"1", "8"}
    assert all(line in text for line in ("detect, follow", "REC", "write", *ASSUMPTIONS))


COST = FrameCost(decode_s=0.001, work_s=0.004, networks_s=0.003, driver_s=1e-6)


def test_the_slowest_process_is_the_rate():
    for cores in (1, 2, 64):  # a worker a core: what a frame costs is shared out
        assert predict(COST, cores, cores).frames_per_s == pytest.approx(cores / 0.005)
    assert predict(COST, 1, 8) == Rate(1 / 0.004, "workers")
    assert predict(replace(COST, decode_s=0.01), 1, 8) == Rate(100, "workers")  # the decoder
    assert predict(COST, 10**5, 10**5) == Rate(1e6, "driver")
    assert predict_gpus(COST, 8, 128) == Rate(8 / 0.001, "workers")
    assert predict_gpus(replace(COST, decode_s=0.02), 8, 128).limit == "cores"


def test_a_folder_is_counted_by_its_headers_and_measured_by_its_middle(make_video, tmp_path):
    for name, frames in (("a", 4), ("b/c", 8), ("d", 30)):
        make_video(f"videos/{name}.mp4", frames)
    (tmp_path / "videos" / "broken.mp4").write_text("not a video")
    found = bench(BenchConfig(folder=tmp_path / "videos", limit_s=LIMIT_S))
    assert found.video == str(tmp_path / "videos" / "b" / "c.mp4")
    assert found.estimate.clips == 4
    assert found.estimate.frames == round(4 * (4 + 8 + 30) / 3)
    assert found.estimate.frames_from == "the headers of 3 of 4 videos"


def test_without_a_video_facer_makes_one_with_a_face():
    found = bench(BenchConfig(clips=1, limit_s=LIMIT_S))
    assert found.video == "a clip made by facer"
    assert found.face_share > 0.9
    assert found.estimate.workers == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips": 0}, "clips: found 0, expected > 0"),
        ({"seconds_per_clip": float("nan")}, "seconds_per_clip: found nan"),
        ({"seconds_per_clip": float("inf")}, "seconds_per_clip: found inf"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(FacerError, match=message):
        BenchConfig(**options)


def test_videos_that_cannot_be_measured_are_refused(tmp_path):
    text = tmp_path / "videos" / "text.mp4"
    text.parent.mkdir()
    text.write_text("not a video")
    with pytest.raises(FacerError, match=r"text\.mp4: not a video"):
        bench(BenchConfig(text, limit_s=LIMIT_S))
    with pytest.raises(FacerError, match=r"nothing\.mp4: no such file"):
        bench(BenchConfig(tmp_path / "nothing.mp4", limit_s=LIMIT_S))
    with pytest.raises(FacerError, match="none of 1 of its videos tells how long it is"):
        bench(BenchConfig(folder=text.parent, limit_s=LIMIT_S))
    with pytest.raises(FacerError, match="no such folder"):
        bench(BenchConfig(folder=tmp_path / "nowhere", limit_s=LIMIT_S))
