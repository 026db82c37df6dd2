"""Marking in a real browser: keys, mouse, reload; skipped where there is none."""

import csv
import time

import numpy as np
import pytest

import facer
from facer.pipeline.views.report.folder import page_name
from facer.storage import ClipFeatures, FeatureStore, Record
from tests.pipeline.views.browsing import times_of, until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium's sockets

BAR = """
  const video = document.getElementById("video"), canvas = document.createElement("canvas");
  canvas.width = 96; canvas.height = 64;
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0, 96, 64);
  const row = pen.getImageData(0, 32, 96, 1).data;
  return [...Array(96).keys()].map((x) => row[4 * x]);
"""


@pytest.fixture
def opened(make_store, clip_of, hostile_id, make_video, tmp_path):
    """A view of three clips; the worst has a video that the browser must get a copy of."""
    clip = clip_of(20, ((8, 11),))
    clip.timestamp_s[:] = times_of(make_video("videos/clip.avi", 20, codec="MJPG"))
    clips = {"P1_calm": clip, "P1_joke": clip_of(30, ((3, 4),)), hostile_id: clip_of(15)}
    store = make_store(clips, {"P1_calm": "clip.avi"})
    with facer.view(
        store, videos=tmp_path / "videos", design="{participant}_{condition}", who="anna",
        windows={"after": (0.2, 0.6)}, baseline=(0, 0.2),
    ) as view:  # fmt: skip
        yield view


def go(browser, view, clip_id):
    browser.get(f"{view.url}clips/{page_name(clip_id)}.html")
    ready(browser)


def ready(browser):
    until(browser, "document.querySelector('#lane svg') && document.querySelector('#numbers td')")


def test_cells_of_action_units_do_not_run_into_one_another(browser, opened):
    """Seen: the policy of a view refuses Plotly's own style, and a browser smooths the picture."""
    go(browser, opened, "P1_joke")
    drawn = "document.querySelector('#curves .hm image')"
    until(browser, drawn)
    kept = browser.execute_script(f"return getComputedStyle({drawn}).imageRendering")
    assert kept == "pixelated"


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def rows(view):
    if not view.marks.exists():
        return []
    with view.marks.open(newline="") as file:
        return list(csv.DictReader(file))


def said(browser, text):
    until(browser, "document.getElementById('said').textContent.includes(arguments[0])", text)


def test_a_frame_alone_is_a_dot(browser, make_store, clip_of):
    """A line of one point is nothing."""
    with facer.view(make_store({"a": clip_of(5, ((0, 2), (3, 5)))})) as view:
        go(browser, view, "a")
        drawn = browser.execute_script("""
          const [line] = document.querySelectorAll("#lane path.curve:not(.uncounted)");
          return [line.getAttribute("d"), getComputedStyle(line).strokeLinecap];
        """)
    assert (drawn[0].count("L"), drawn[1]) == (1, "round")


def test_a_stretch_is_marked_kept_over_a_reload_and_undone(browser, opened):
    go(browser, opened, "P1_calm")
    press(browser, "m")
    assert rows(opened) == []  # there is no stretch yet
    from selenium.webdriver.common.keys import Keys

    press(browser, "[", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, "]", "m")
    said(browser, "Say why")
    assert rows(opened) == []
    browser.switch_to.active_element.send_keys("hand over face", Keys.ENTER)
    said(browser, "Marked")
    (row,) = rows(opened)
    assert (row["clip_id"], row["mark"], row["who"]) == ("P1_calm", "hand over face", "anna")
    assert float(row["start_s"]) == 0
    assert float(row["stop_s"]) == pytest.approx(0.12, abs=1e-3)
    assert until(browser, "document.querySelectorAll('#lane rect.marked').length") == 1

    browser.refresh()
    ready(browser)
    assert "hand over face" in until(browser, "document.getElementById('mark-rows').textContent")
    until(browser, "!document.getElementById('undo').disabled")
    press(browser, "u")
    said(browser, "Undone")
    assert rows(opened) == []
    until(browser, "document.querySelectorAll('#lane rect.marked').length === 0")


def test_a_drag_chooses_a_stretch_and_the_threshold(browser, opened):
    from selenium.webdriver.common.action_chains import ActionChains

    go(browser, opened, "P1_calm")
    svg = browser.find_element("css selector", "#lane svg")
    width = svg.size["width"]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
    actions = ActionChains(browser, duration=50)
    actions.move_to_element_with_offset(svg, -width // 4, 20).click_and_hold()
    actions.move_by_offset(width // 4, 0).move_by_offset(10, 0).release().perform()
    assert "frames" in until(browser, "document.getElementById('stretch').textContent")
    assert until(browser, "!document.getElementById('mark').disabled")
    before = browser.find_element("css selector", "#numbers td:nth-of-type(2)").text
    actions = ActionChains(browser, duration=50)
    handle = browser.find_element("css selector", "#lane line.handle")
    actions.move_to_element(handle).click_and_hold().move_by_offset(0, -20)
    actions.move_by_offset(0, -20).release().perform()
    until(browser, "Number(document.getElementById('threshold').value) > 0.6")
    shown = "document.querySelector('#numbers td:nth-of-type(2)').textContent"
    until(browser, f"{shown} !== arguments[0]", before)


def test_a_stretch_of_a_store_with_fewer_frames_is_the_same_time(browser, opened, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains

    ours = FeatureStore.open(tmp_path / "s.zarr")
    clip = ours.read("P1_joke")
    fewer = ClipFeatures(*(value[::3] for value in vars(clip).values() if value is not None))
    other = FeatureStore.create(tmp_path / "other.zarr", ours.provenance)
    other.write_part([(Record("P1_joke", "ok", 10, n_valid=int(fewer.valid.sum())), fewer)])
    with facer.view(ours, against=other.path, marks=tmp_path / "m.csv") as view:
        go(browser, view, "P1_joke")
        svg = browser.find_element("css selector", "#lane-theirs svg")
        width = svg.size["width"]
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
        actions = ActionChains(browser, duration=50)
        actions.move_to_element_with_offset(svg, 0, 20).click_and_hold()
        actions.move_by_offset(width // 8, 0).move_by_offset(width // 8, 0).release().perform()
        text = until(browser, "document.getElementById('stretch').textContent")
    first, last = (float(word) for word in text.replace(" to ", " ").split()[:2])
    length = clip.timestamp_s[-1]
    assert first == pytest.approx(length / 2, abs=0.08)
    assert last == pytest.approx(0.76 * length, abs=0.08)


def test_a_clip_is_left_out_and_is_no_longer_next(browser, opened, hostile_id):
    go(browser, opened, "P1_joke")
    browser.find_element("id", "reason").send_keys("poor picture")
    browser.find_element("id", "leave-out").click()
    said(browser, "Left out")
    (row,) = rows(opened)
    assert (row["clip_id"], row["start_s"], row["mark"]) == ("P1_joke", "", "poor picture")
    assert "poor picture" in browser.find_element("id", "out-badge").text
    until(browser, "document.getElementById('person-lanes').textContent.includes('excluded')")
    go(browser, opened, "P1_calm")
    press(browser, "n")
    until(browser, "document.title.startsWith('a/')")  # the hostile one
    assert browser.execute_script("return window.hit") is None
    browser.get(opened.url)
    browser.execute_script("""
      const filter = document.getElementById("filter");
      filter.value = "out"; filter.dispatchEvent(new Event("change"));
    """)
    assert "P1_joke" in until(browser, "document.querySelector('#table tbody').textContent")
    assert browser.find_element("id", "count").text == "1 of 3 clips"


def test_arrows_show_each_frame_with_its_box_also_of_a_copy(browser, opened):
    from selenium.webdriver.common.keys import Keys

    go(browser, opened, "P1_calm")
    until(browser, "document.getElementById('video').readyState >= 2")
    assert browser.execute_script("return video.currentSrc").endswith(".mp4")
    for frame in (1, 2, 3):
        press(browser, Keys.ARROW_RIGHT)
        until(browser, "!video.seeking")
        for _ in range(100):  # what is painted comes a little later than the event
            bar = np.argmax(np.convolve(browser.execute_script(BAR), np.ones(4), "valid"))
            if abs(bar - 4 * frame) <= 1:
                break
            time.sleep(0.05)
        assert abs(bar - 4 * frame) <= 1
        assert browser.execute_script("return document.getElementById('frame').textContent") == str(
            frame
        )
    box = browser.execute_script("return boxes.dataset.box").split()
    scale = browser.execute_script(
        "return Math.min(video.clientWidth / 96, video.clientHeight / 64)"
    )
    assert float(box[2]) == pytest.approx(35 * scale, abs=1)
    assert float(box[3]) == pytest.approx(50 * scale, abs=1)
    browser.execute_script("facer.seek(arguments[0])", 9 / 25)
    assert until(browser, "boxes.dataset.box === ''")  # no face there


def test_a_click_says_which_face_is_meant(browser, opened):
    go(browser, opened, "P1_calm")
    until(browser, "document.getElementById('video').readyState >= 2")
    press(browser, "f")
    said(browser, "Click on the face")
    browser.execute_script("""
      const { left, top, width, height } = boxes.getBoundingClientRect();
      const scale = Math.min(width / 96, height / 64);
      const clientX = left + (width - 96 * scale) / 2 + 60 * scale;
      const clientY = top + (height - 64 * scale) / 2 + 30 * scale;
      boxes.dispatchEvent(new MouseEvent("click", { clientX, clientY }));
    """)
    said(browser, "Noted")
    with opened.faces.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["clip_id"] == "P1_calm"
    assert [float(row[name]) for name in ("time_s", "x_px", "y_px")] == pytest.approx(
        [0, 60, 30], abs=1
    )
    assert "pointed at" in browser.find_element("id", "points").text
    press(browser, "u")
    said(browser, "Undone")
    until(browser, "document.getElementById('points').hidden")


def test_a_view_that_was_closed_is_told(browser, opened):
    go(browser, opened, "P1_joke")
    opened.close()
    browser.find_element("id", "reason").send_keys("x")
    browser.find_element("id", "leave-out").click()
    said(browser, "was it closed")


def test_another_view_at_the_same_port_shows_its_own_windows(browser, opened):
    port = int(opened.url.split(":")[2].split("/")[0])
    go(browser, opened, "P1_joke")
    browser.execute_script("""
      windows.value = "early=0:0.1"; windows.dispatchEvent(new Event("change"));
    """)
    browser.refresh()
    ready(browser)
    assert browser.find_element("id", "windows").get_attribute("value") == "early=0:0.1"
    opened.close()
    with facer.view(opened.marks.with_name("s.zarr"), port=port, windows={"late": (1, 2)}) as view:
        go(browser, view, "P1_joke")
        assert browser.find_element("id", "windows").get_attribute("value") == "late=1:2"


def test_nothing_complains_but_the_plotting_library(browser, opened, hostile_id):
    browser.get_log("browser")
    for path in ("", *(f"clips/{page_name(c)}.html" for c in ("P1_joke", hostile_id))):
        browser.get(opened.url + path)
        if path:
            until(browser, "performance.getEntriesByName('drawn').length")
    found = [entry["message"] for entry in browser.get_log("browser") if entry["level"] != "INFO"]
    assert [text for text in found if "plotly.min.js" not in text] == []
