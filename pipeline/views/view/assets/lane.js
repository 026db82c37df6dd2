"use strict";
/* A lane: one feature of a clip over time, with what a summary makes of it. */
window.facer.lane = (() => {
  const { unpack, frameAt } = window.facer;
  const SVG = "http://www.w3.org/2000/svg";
  const LEFT = 40, RIGHT = 12, TOP = 18, BOTTOM = 22, POINTS = 3000;
  let lanes = 0;

  function shape(tag, attributes, text = "") {
    const made = document.createElementNS(SVG, tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    if (text) made.textContent = text;
    return made;
  }

  /* Times at which an axis has a number. */
  function ticks(start, stop, most) {
    const rough = (stop - start) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const found = [];
    for (let at = Math.ceil(start / step - 1e-9) * step; at <= stop + 1e-9; at += step) found.push(at);
    return found.map((at) => [at, String(Number(at.toFixed(6)))]);
  }

  function bounds(data, values) {
    if (data.low !== null && data.high !== null) return [data.low, data.high];
    const known = Array.from(values).filter((value) => !Number.isNaN(value));
    const low = known.reduce((a, b) => Math.min(a, b), Infinity), high = known.reduce((a, b) => Math.max(a, b), -Infinity);
    return low < high ? [low, high] : [known.length ? low - 1 : 0, known.length ? low + 1 : 1];
  }

  /* Lines over the frames that `keep` lets through; of very many the lowest and highest of each few.
     Each begins with a line of no length, a dot where it is all. */
  function path(times, values, keep, x, y) {
    let text = "", on = false;
    const few = Math.ceil(times.length / POINTS);
    for (let i = 0; i < times.length; i += few) {
      const last = Math.min(i + few, times.length);
      let low = -1, high = -1;
      for (let k = i; k < last; k++) {
        if (!keep(k) || Number.isNaN(values[k])) continue;
        if (low < 0 || values[k] < values[low]) low = k;
        if (high < 0 || values[k] > values[high]) high = k;
      }
      if (low < 0) { on = false; continue; }
      for (const k of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
        const point = `${x(times[k]).toFixed(1)} ${y(values[k]).toFixed(1)}`;
        text += on ? `L${point}` : `M${point}L${point}`;
        on = true;
      }
    }
    return text;
  }

  /* Draw a lane into an element. More: height, span (start and stop of the axis), zero (the time that
     is 0 on it), name (a title), onSeek, onStretch (from and to in seconds), onThreshold. */
  function draw(place, data, more = {}) {
    const width = Math.max(place.clientWidth, 260), height = more.height || 150;
    const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, class: "lane-picture", role: "img",
      "aria-label": `${data.feature} of ${data.clip} over time` });
    const id = `lane-${lanes += 1}`, zero = more.zero || 0;
    if (!data.time) {
      svg.append(shape("text", { x: LEFT, y: height / 2, class: "tick" }, `${data.status}: ${data.reason || "nothing to draw"}`));
      place.replaceChildren(svg);
      return { now() {}, choose() {} };
    }
    const times = unpack(data.time), values = unpack(data.values), counted = unpack(data.counted);
    const span = more.span || [times[0], data.stop];
    const [low, high] = bounds(data, values), right = width - RIGHT, floor = height - BOTTOM;
    const x = (seconds) => LEFT + ((seconds - span[0]) / (span[1] - span[0] || 1)) * (right - LEFT);
    const y = (value) => floor - ((value - low) / (high - low)) * (floor - TOP);
    const inside = (seconds) => Math.min(Math.max(seconds, span[0]), span[1]);
    const band = (start, stop, kind, top = TOP, bottom = floor) => {
      const a = x(inside(start)), b = x(inside(stop));
      return shape("rect", { x: a, width: Math.max(b - a, 1), y: top, height: bottom - top, class: kind });
    };
    const upright = (seconds, kind, top = TOP) => shape("line", { x1: x(seconds), x2: x(seconds), y1: top, y2: floor, class: kind });
    const level = (value, kind, from = span[0], to = span[1]) =>
      shape("line", { x1: x(inside(from)), x2: x(inside(to)), y1: y(value), y2: y(value), class: kind });

    const defs = shape("defs", {}), hatch = shape("pattern", { id: `${id}-hatch`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    hatch.append(shape("line", { x1: 0, x2: 0, y1: 0, y2: 6, class: "hatch" }));
    const clip = shape("clipPath", { id: `${id}-above` });
    const limit = data.threshold === null ? high : Math.min(Math.max(data.threshold, low), high);
    clip.append(shape("rect", { x: LEFT, width: right - LEFT, y: TOP - 4, height: Math.max(y(limit) - TOP + 4, 0) }));
    defs.append(hatch, clip);
    svg.append(defs, shape("rect", { x: LEFT, width: right - LEFT, y: TOP, height: floor - TOP, class: "ground" }));

    for (const one of data.windows) {
      if (one.start === null || (data.windows.length === 1 && one.name === "clip")) continue;
      svg.append(band(one.start, one.stop, "window"));
      svg.append(shape("text", { x: x(inside(one.start)) + 3, y: TOP - 5, class: "name" }, one.name));
    }
    for (const one of data.baselines) {
      svg.append(band(one.start, one.stop, "rest"));
      svg.append(shape("text", { x: x(inside(one.start)) + 3, y: TOP + 12, class: "name" }, one.flag ? `baseline: ${one.flag}` : "baseline"));
    }
    for (const [start, stop] of data.gaps) {
      const gap = band(start, stop, "gap");
      gap.setAttribute("fill", `url(#${id}-hatch)`);
      svg.append(gap);
    }
    for (const [at, text] of ticks(low, high, 2)) {
      svg.append(level(at, "grid"), shape("text", { x: LEFT - 5, y: y(at) + 4, class: "tick end" }, text));
    }
    const seen = (i) => counted[i];
    const line = path(times, values, seen, x, y);
    if (data.threshold !== null && line) {
      const area = line.split("M").filter((part) => part).map((part) => {
        const points = part.split("L"), first = points[0].split(" ")[0], last = points[points.length - 1].split(" ")[0];
        return `M${first} ${floor}L${part}L${last} ${floor}Z`;
      }).join("");
      svg.append(shape("path", { d: area, class: "shown", "clip-path": `url(#${id}-above)` }));
    }
    svg.append(shape("path", { d: path(times, values, (i) => !counted[i], x, y), class: "curve uncounted" }));
    svg.append(shape("path", { d: line, class: "curve" }));
    for (const one of data.baselines) if (one.value !== null) svg.append(level(one.value, "rest-value", one.start, one.stop));
    for (const [start, stop, why] of data.marks) {
      const marked = band(start === null ? span[0] : start, stop === null ? span[1] : stop, "marked");
      marked.append(shape("title", {}, why));
      svg.append(marked);
    }
    for (const [name, at] of data.onsets) {
      if (name === "start" || at < span[0] || at > span[1]) continue;
      svg.append(upright(at, "onset", TOP - 2));
      if (!data.windows.some((one) => one.start === at)) svg.append(shape("text", { x: x(at) + 3, y: TOP - 5, class: "name" }, name));
    }
    for (const [at, text] of ticks(span[0] - zero, span[1] - zero, Math.max(2, Math.floor(width / 110)))) {
      svg.append(shape("text", { x: x(at + zero), y: height - 6, class: "tick middle" }, `${text} s`));
    }
    if (more.name) svg.append(shape("text", { x: right, y: TOP - 5, class: "name end strong" }, more.name));

    const chosen = shape("rect", { y: TOP, height: floor - TOP, class: "chosen", visibility: "hidden" });
    const now = shape("line", { y1: TOP - 2, y2: floor, class: "now", visibility: "hidden" });
    svg.append(chosen, now);

    const secondsAt = (clientX) => {
      const box = svg.getBoundingClientRect();
      return inside(span[0] + ((clientX - box.left - LEFT) / (right - LEFT)) * (span[1] - span[0]));
    };
    if (data.threshold !== null) {
      const limit = level(data.threshold, "threshold");
      svg.append(limit);
      if (more.onThreshold) {
        const handle = shape("line", { x1: LEFT, x2: right, y1: y(data.threshold), y2: y(data.threshold), class: "handle" });
        handle.addEventListener("pointerdown", (event) => { handle.setPointerCapture(event.pointerId); event.stopPropagation(); });
        const valueAt = ({ clientY }) => {
          const value = low + ((floor - (clientY - svg.getBoundingClientRect().top)) / (floor - TOP)) * (high - low);
          return Number(Math.min(Math.max(value, low), high).toFixed(2));
        };
        handle.addEventListener("pointermove", (event) => {
          if (!handle.hasPointerCapture(event.pointerId)) return;
          for (const line of [limit, handle]) ["y1", "y2"].forEach((name) => line.setAttribute(name, y(valueAt(event))));
        });
        handle.addEventListener("pointerup", (event) => more.onThreshold(valueAt(event)));
        svg.append(handle);
      }
    }
    if (more.onStretch) {
      let from = null;
      svg.classList.add("choosable");
      svg.addEventListener("pointerdown", (event) => {
        from = event.clientX;
        svg.setPointerCapture(event.pointerId);
      });
      const ends = (event) => [from, event.clientX].sort((a, b) => a - b).map(secondsAt);
      svg.addEventListener("pointermove", (event) => {
        if (from !== null && Math.abs(event.clientX - from) > 4) more.onStretch(...ends(event));
      });
      svg.addEventListener("pointerup", (event) => {
        if (from === null) return;
        if (Math.abs(event.clientX - from) > 4) more.onStretch(...ends(event));
        else more.onSeek(times[frameAt(times, secondsAt(event.clientX))]);
        from = null;
      });
      svg.addEventListener("pointercancel", () => { from = null; });
    }
    place.replaceChildren(svg);
    return {
      now(seconds) {
        now.setAttribute("visibility", seconds < span[0] || seconds > span[1] ? "hidden" : "visible");
        ["x1", "x2"].forEach((name) => now.setAttribute(name, x(seconds)));
      },
      choose(stretch) {
        chosen.setAttribute("visibility", stretch ? "visible" : "hidden");
        if (!stretch) return;
        const [start, stop] = stretch.map(inside);
        chosen.setAttribute("x", x(start));
        chosen.setAttribute("width", Math.max(x(stop) - x(start), 1));
      },
    };
  }

  return draw;
})();
