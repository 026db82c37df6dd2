"""The pages in a real browser, opened from the disk; skipped where there is none."""

import numpy as np
import pytest

from facer.pipeline.views.report.build import build_report
from facer.pipeline.views.report.config import ReportConfig
from facer.pipeline.views.report.folder import CLIPS, page_name
from facer.storage.study.marks import read_marks, unmarked
from tests.pipeline.views.browsing import times_of, until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium's sockets

POINT_IN_PLOT = """
  const box = document.getElementById("curves").getBoundingClientRect();
  const full = document.getElementById("curves")._fullLayout;
  const x = box.left + full._size.l + full.xaxis.l2p(arguments[0]);
  return [x, box.top + full._size.t + arguments[1] * full._size.h];
"""


def opened(browser, path):
    """Open a page and wait for its plots; what the console had to complain about."""
    browser.get_log("browser")
    browser.get(path.as_uri())
    until(browser, "performance.getEntriesByName('drawn').length")
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] != "INFO"]


@pytest.fixture
def clip_report(make_store, clip_of, hostile_id, make_video, tmp_path):
    """A report with one clip of a hostile id, whose video is embedded, and its store."""
    clip = clip_of(50, gaps=((20, 30),))
    clip.timestamp_s[:] = times_of(make_video("videos/clip.avi", 50, codec="MJPG"))
    store = make_store(
        {hostile_id: clip, "b<img src=x onerror=window.hit=3>": "no <script>window.hit=4</script>"},
        {hostile_id: "clip.avi"},
    )
    config = ReportConfig(store.path, tmp_path / "report", tmp_path / "videos", embed=True)
    return build_report(config).index.parent, store


def test_a_click_on_a_curve_seeks_the_video_and_the_cursor_follows(
    browser, clip_report, hostile_id
):
    from selenium.webdriver.common.action_chains import ActionChains

    folder, _ = clip_report
    assert opened(browser, folder / CLIPS / f"{page_name(hostile_id)}.html") == []
    video = "document.getElementById('video')"
    until(browser, f"{video}.readyState >= 2")
    browser.execute_script("document.getElementById('curves').scrollIntoView({block: 'end'})")
    x, y = browser.execute_script(POINT_IN_PLOT, 1.5, 0.95)
    actions = ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(int(x), int(y))
    actions.w3c_actions.pointer_action.click()
    actions.perform()
    assert until(browser, f"{video}.currentTime") == pytest.approx(1.5, abs=0.06)
    assert until(browser, "document.getElementById('now').textContent") in ("1.48", "1.52")
    left = "parseFloat(document.getElementById('cursor').style.left)"
    at_click = browser.execute_script(f"return {left}")
    browser.execute_script(f"{video}.muted = true; {video}.currentTime = 0")
    until(browser, f"{left} < arguments[0] - 50", at_click)
    browser.execute_script(f"{video}.play()")
    until(browser, f"{left} > arguments[0] - 20", at_click)


def test_a_drag_zooms_and_leaves_the_video_where_it_is(browser, clip_report, hostile_id):
    from selenium.webdriver.common.action_chains import ActionChains

    folder, _ = clip_report
    opened(browser, folder / CLIPS / f"{page_name(hostile_id)}.html")
    until(browser, "document.getElementById('video').readyState >= 2")
    browser.execute_script("document.getElementById('curves').scrollIntoView({block: 'end'})")
    actions = ActionChains(browser, duration=100)
    for time_s in (0.5, 1.0, 1.5):
        x, y = browser.execute_script(POINT_IN_PLOT, time_s, 0.95)
        actions.w3c_actions.pointer_action.move_to_location(int(x), int(y))
        if time_s == 0.5:
            actions.w3c_actions.pointer_action.pointer_down()
    actions.w3c_actions.pointer_action.pointer_up()
    actions.perform()
    shown = "document.getElementById('curves')._fullLayout.xaxis.range"
    until(browser, f"{shown}[1] < 1.6")
    assert browser.execute_script(f"return {shown}") == pytest.approx([0.5, 1.5], abs=0.05)
    assert browser.execute_script("return document.getElementById('video').currentTime") == 0


def test_playing_asks_for_one_frame_at_a_time(browser, clip_report, hostile_id):
    folder, _ = clip_report
    opened(browser, folder / CLIPS / f"{page_name(hostile_id)}.html")
    video = "document.getElementById('video')"
    browser.execute_script(f"""
      window.waiting = new Set(); window.most = 0;
      const request = requestAnimationFrame, cancel = cancelAnimationFrame;
      window.requestAnimationFrame = (act) => {{
        const id = request((time) => {{ waiting.delete(id); act(time); }});
        waiting.add(id);
        most = Math.max(most, waiting.size);
        return id;
      }};
      window.cancelAnimationFrame = (id) => {{ waiting.delete(id); cancel(id); }};
      {video}.muted = true; {video}.play();
    """)
    until(browser, f"{video}.ended")
    assert browser.execute_script("return most") == 1


def test_curves_are_the_stores_numbers(browser, clip_report, hostile_id):
    folder, store = clip_report
    opened(browser, folder / CLIPS / f"{page_name(hostile_id)}.html")
    clip = store.read(hostile_id)
    drawn = browser.execute_script("""
      const shown = {};
      for (const trace of document.getElementById("curves").data) {
        const shownAt = (values, i) => Number.isNaN(values[i]) ? null : values[i];
        const row = (values) => arguments[0].map((i) => shownAt(values, i));
        if (trace.type === "heatmap") trace.z.forEach((z, i) => { shown[`au${i}`] = row(z); });
        else if (trace.type !== "bar" && trace.name)
          shown[trace.name.replace("*", "")] = row(trace.y);
      }
      return shown;
    """, [0, 7, 19, 49])  # fmt: skip
    features = dict(zip(store.feature_names, clip.features[[0, 7, 19, 49]].T, strict=True))
    units = [name for name in store.feature_names if name.startswith("au")]
    for name, values in features.items():
        shown = drawn[f"au{units.index(name)}" if name in units else name]
        assert np.array_equal(np.float32(shown), values), name
    browser.execute_script("facer.seek(arguments[0])", clip.timestamp_s[22] + 1e-3)
    assert browser.execute_script("return document.getElementById('frame').textContent") == "22"
    readout = browser.execute_script("return document.getElementById('readout').textContent")
    assert "facenone" in readout


def test_a_click_is_on_the_frame_that_is_drawn_there(browser, make_store, clip_of, tmp_path):
    """Seen: the frame before, in the left half of a cell of the heat map."""
    clip = clip_of(8)
    report = build_report(ReportConfig(make_store({"a": clip}).path, tmp_path / "report"))
    opened(browser, report.index.parent / CLIPS / f"{page_name('a')}.html")
    for seconds in 0.7 * clip.timestamp_s[4:6] + 0.3 * clip.timestamp_s[3:5]:
        x, y = browser.execute_script(POINT_IN_PLOT, float(seconds), 0.5)
        browser.execute_script("""
          for (const kind of [PointerEvent, MouseEvent])
            document.getElementById("curves").dispatchEvent(new kind(
              kind === MouseEvent ? "click" : "pointerdown",
              { clientX: arguments[0], clientY: arguments[1] }));
        """, x, y)  # fmt: skip
        frame = browser.execute_script("return document.getElementById('frame').textContent")
        assert clip.timestamp_s[int(frame)] - seconds == pytest.approx(0, abs=0.02)


def test_a_page_on_paper_is_light_and_whole(phone, make_store, clip_of, tmp_path):
    """Seen: plots as wide as the screen, cut off at the sheet's edge, pale on white."""
    report = build_report(ReportConfig(make_store({"a": clip_of(8)}).path, tmp_path / "report"))
    opened(phone, report.index.parent / CLIPS / f"{page_name('a')}.html")
    shown = """
      const plot = document.getElementById("curves")._fullLayout;
      return [plot.width, plot.font.color, document.getElementById("curves").clientWidth];
    """
    phone.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert phone.execute_script(shown)[:2] == [660, "#1b1f23"]
    phone.execute_script("window.dispatchEvent(new Event('afterprint'))")
    width, ink, room = phone.execute_script(shown)
    assert (round(width), ink) == (room, "#e8eaec")


@pytest.mark.parametrize("n", [1, 5])
def test_a_frame_alone_is_drawn(browser, make_store, clip_of, tmp_path, n):
    """A line of one point is nothing: of a face between frames without, of a clip of one frame."""
    clip = clip_of(n, ((0, 2), (3, 5)) if n > 1 else ())
    report = build_report(ReportConfig(make_store({"a": clip}).path, tmp_path / "report"))
    opened(browser, report.index.parent / CLIPS / f"{page_name('a')}.html")
    lines = browser.execute_script("""
      const boxes = [...document.querySelectorAll(".xy path.js-line, .xy4 path.js-line")];
      return boxes.map((path) => path.getBBox().width).filter((width) => width > 5).length;
    """)
    assert lines == 3  # valence, arousal, faces


def test_a_hostile_id_runs_nothing(browser, clip_report, hostile_id):
    folder, _ = clip_report
    for page in ("index.html", f"{CLIPS}/{page_name(hostile_id)}.html"):
        assert opened(browser, folder / page) == []
        assert browser.execute_script("return window.hit") is None
        text = browser.execute_script("return document.body.textContent.toWellFormed()")
        assert hostile_id in text
    browser.back()
    link = until(browser, "document.querySelector('#table a')")
    browser.execute_script("arguments[0].click()", link)
    assert until(browser, "location.pathname.includes('/clips/')")  # of a failed clip


def test_search_sort_and_pages_of_the_table(browser, make_store, clip_of, tmp_path):
    store = make_store({f"day-{i % 7}/clip-{i:03d}": clip_of(3 + i) for i in range(120)})
    report = build_report(ReportConfig(store.path, tmp_path / "report", clips=("worst:1",)))
    assert opened(browser, report.index) == []

    def rows(column=1):
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return browser.execute_script(script, f"#table tbody tr > :nth-child({column})")

    def press(selector):
        browser.execute_script("document.querySelector(arguments[0]).click()", selector)

    assert len(rows()) == 50
    press("th[data-key=frames] button")
    press("th[data-key=frames] button")
    assert rows(8)[:3] == ["122", "121", "120"]
    press("#next")
    assert rows(8)[0] == "72"
    browser.find_element("id", "search").send_keys("DAY-3/")
    assert {clip[:6] for clip in rows()} == {"day-3/"}
    assert browser.find_element("id", "count").text == "17 of 120 clips"
    browser.execute_script("arguments[0].value = 'failed'", browser.find_element("id", "filter"))
    browser.execute_script("document.getElementById('filter').dispatchEvent(new Event('change'))")
    assert rows() == []


def test_reports_of_a_run_and_an_ablation_draw_without_complaint(browser, run, ablation, tmp_path):
    for source, plots in ((run, 4), (ablation, 1)):
        report = build_report(ReportConfig(str(source), tmp_path / source.name / "report"))
        assert opened(browser, report.index) == []
        drawn = "document.querySelectorAll('.chart .main-svg').length"
        assert browser.execute_script(f"return {drawn}") >= plots


@pytest.mark.parametrize("device", ["browser", "phone"])
def test_no_page_is_wider_than_its_window(
    device, request, clip_report, hostile_id, run, ablation, tmp_path
):
    shown = request.getfixturevalue(device)
    folder, _ = clip_report
    pages = [folder / "index.html", folder / CLIPS / f"{page_name(hostile_id)}.html"]
    for source in (run, ablation):
        made = build_report(ReportConfig(str(source), tmp_path / f"{source.name}-report"))
        pages.append(made.index)
    for page in pages:
        assert opened(shown, page) == []
        wide = shown.execute_script("""
          const width = document.documentElement.clientWidth;
          const outside = (e) => e.getBoundingClientRect().right > width + 1;
          const all = [...document.querySelectorAll("main *")].filter((e) => !e.closest(".strip"));
          return all.filter(outside).map((e) => `${e.tagName} ${e.className}`);
        """)  # fmt: skip
        assert wide == [], page


def test_a_page_without_a_video_moves_by_its_slider(browser, make_store, clip_of, tmp_path):
    report = build_report(ReportConfig(make_store({"a": clip_of(9)}).path, tmp_path / "report"))
    assert opened(browser, report.index.parent / CLIPS / f"{page_name('a')}.html") == []
    browser.execute_script("""
      const slider = document.getElementById("time");
      slider.value = "8";
      slider.dispatchEvent(new Event("input"));
    """)
    assert browser.find_element("id", "frame").text == "8"
    assert "--videos VIDEO_DIR" in browser.find_element("id", "no-video").text


def test_marks_of_a_report_are_downloaded_as_summarise_reads_them(
    browser, make_store, clip_of, tmp_path
):
    store = make_store({"=one, two": clip_of(30), "b": clip_of(20)})
    folder = build_report(ReportConfig(store.path, tmp_path / "report")).index.parent
    opened(browser, folder / CLIPS / f"{page_name('=one, two')}.html")
    browser.execute_script("localStorage.clear(); location.reload()")
    until(browser, "performance.getEntriesByName('drawn').length && !document.hidden")
    browser.find_element("id", "whole").click()
    assert browser.execute_script("return !document.getElementById('mark-list').children.length")
    browser.find_element("id", "why").send_keys('a hand, "there"')
    times = store.read("=one, two").timestamp_s
    browser.execute_script("facer.seek(arguments[0])", times[4])
    browser.find_element("id", "from").click()
    browser.execute_script("facer.seek(arguments[0])", times[9])
    browser.find_element("id", "to").click()
    opened(browser, folder / CLIPS / f"{page_name('b')}.html")
    browser.find_element("id", "why").send_keys("no")
    browser.find_element("id", "whole").click()
    opened(browser, folder / "index.html")
    assert browser.find_element("id", "download").text == "Download marks (2)"
    text = browser.execute_async_script("""
      const done = arguments[0];
      URL.createObjectURL = (blob) => { blob.text().then(done); return "blob:none"; };
      document.getElementById("download").click();
    """)
    (tmp_path / "marks.csv").write_text(text)
    found = read_marks(tmp_path / "marks.csv", store.clip_ids, store.feature_names)
    (mark,) = found["=one, two"]
    assert mark.mark == 'a hand, "there"'
    kept = unmarked([mark], times, ())
    assert np.flatnonzero(~kept).tolist() == [4, 5, 6, 7, 8, 9]
    assert found["b"][0].whole_clip
