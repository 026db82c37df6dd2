"""Written videos are decoded again: every frame, its time, its picture."""

import av
import numpy as np
import pytest

from facer.pipeline.views.video import write_video
from facer.storage import FacerError
from tests.support import some, time_of

RESOLUTION_S = {".mp4": 1 / 90_000, ".webm": 1e-3, ".MP4": 1 / 90_000}


def picture(index, size=(96, 64)):
    """Smooth colours that differ from frame to frame."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    return np.stack([2 * x, 3 * y, np.full_like(x, 8 * index)], -1).clip(0, 255).astype(np.uint8)


def movie(times, size=(96, 64)):
    return [(float(time), picture(index, size)) for index, time in enumerate(times)]


def uneven(start_s=0.0, n=24):
    steps = np.random.default_rng(0).uniform(0.01, 0.2, n - 1)
    return start_s + np.concatenate([[0.0], np.cumsum(steps)])


def decoded(path):
    """Times (n,), RGB frames and the duration in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times = np.array([time_of(frame) for frame in frames])
        images = [frame.to_ndarray(format="rgb24") for frame in frames]
        return times, images, some(container.duration) / av.time_base


def psnr(image, other):
    return 10 * np.log10(255**2 / np.mean((image.astype(float) - other) ** 2))


@pytest.mark.parametrize("suffix", RESOLUTION_S)
@pytest.mark.parametrize("times", [np.arange(12) / 25, uneven(), uneven(2.5)])
def test_every_frame_comes_back_at_its_time(tmp_path, suffix, times):
    path = tmp_path / "new folder" / f"out{suffix}"
    write_video(path, movie(times))
    found, images, _ = decoded(path)
    assert len(found) == len(times)
    np.testing.assert_allclose(found, times, atol=0.51 * RESOLUTION_S[suffix])
    assert all(psnr(image, picture(index)) > 30 for index, image in enumerate(images))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("times", [np.arange(12) / 25, uneven(), np.zeros(1)])
def test_the_last_frame_is_shown_for_the_median_step(tmp_path, suffix, times):
    path = tmp_path / f"out{suffix}"
    write_video(path, movie(times))
    last = np.median(np.diff(times)) if len(times) > 1 else 1 / 25
    assert decoded(path)[2] == pytest.approx(times[-1] + last, abs=2 * RESOLUTION_S[suffix])


@pytest.mark.parametrize(
    ("size", "height_px", "expected"),
    [
        ((97, 63), None, (98, 64)),
        ((1, 1), None, (2, 2)),
        ((96, 64), 32, (48, 32)),
        ((96, 64), 33, (50, 34)),
        ((96, 64), 200, (96, 64)),
        ((64, 640), 8, (2, 8)),
    ],
)
def test_sides_are_even_and_as_high_as_asked(tmp_path, size, height_px, expected):
    write_video(tmp_path / "a.mp4", movie([0, 0.1, 0.2], size), height_px=height_px)
    _, images, _ = decoded(tmp_path / "a.mp4")
    assert [image.shape[1::-1] for image in images] == [expected] * 3


def test_odd_sides_keep_every_pixel_in_its_place(tmp_path):
    write_video(tmp_path / "a.mp4", movie([0.0], (97, 63)))
    (image,) = decoded(tmp_path / "a.mp4")[1]
    assert psnr(image[:63, :97], picture(0, (97, 63))) > 30


def test_frames_that_change_size_get_that_of_the_first(tmp_path):
    frames = [(0.0, picture(0)), (0.1, picture(1, (48, 32))), (0.2, picture(2, (200, 100)))]
    write_video(tmp_path / "a.mp4", frames)
    assert {image.shape for image in decoded(tmp_path / "a.mp4")[1]} == {(64, 96, 3)}


@pytest.mark.parametrize(
    ("name", "frames", "options", "message"),
    [
        ("a.avi", movie([0]), {}, r"found '\.avi', expected a name that ends in \.mp4 or \.webm"),
        ("a", movie([0]), {}, "found 'no suffix'"),
        ("a.mp4", [], {}, "no frames to write"),
        ("a.mp4", movie([0, 0.04, 0.04]), {}, r"0\.0400 s after one at 0\.0400 s, expected rising"),
        ("a.mp4", movie([0]), {"height_px": 1}, "height of 1 px"),
        ("file/a.mp4", movie([0]), {}, "cannot be written"),
        ("folder.mp4", movie([0]), {}, "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    tmp_path, name, frames, options, message
):
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4" / "full").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FacerError, match=message) as raised:
        write_video(tmp_path / name, iter(frames), **options)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_of_the_frames_keeps_the_older_file(tmp_path):
    def frames():
        yield 0.0, picture(0)
        raise FacerError("the source ended")

    path = tmp_path / "a.mp4"
    path.write_bytes(b"older")
    with pytest.raises(FacerError, match="the source ended"):
        write_video(path, frames())
    assert path.read_bytes() == b"older"
    write_video(path, movie([0.0]))
    assert len(decoded(path)[0]) == 1
    assert list(tmp_path.iterdir()) == [path]
