"use strict";
/* Marking a clip: the stretch that is chosen, the lanes, the boxes over the video, and the keys. */
(() => {
  const data = window.facerData, { name, against, participant } = data.view;
  const { unpack, element, at, frameAt, shown, percent, seek, lane } = window.facer;
  const video = at("video"), times = unpack(data.view.times);
  const boxes = Object.entries(data.view.boxes).map(([whose, found]) => (
    { whose, time: unpack(found.time), box: unpack(found.box), size: found.size }));
  const [from, to, most] = [0, 1, times.length - 1];
  let present = times[0], stretch = null, pictures = [], looping = false, pointing = false, points = [], end = times[most];

  /* ---- what the server knows ---- */

  async function ask(path, body) {
    const answer = await fetch(path, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name, ...body }) });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error || `the server answered ${answer.status}`);
    return found;
  }

  function say(text, wrong = false) {
    at("said").textContent = text;
    at("said").classList.toggle("warning", wrong);
  }

  /* Do something with the server; what went wrong is said. */
  async function doing(act) {
    try {
      return await act();
    } catch (error) {
      say(error instanceof TypeError ? "The view does not answer: was it closed?" : error.message, true);
      return undefined;
    }
  }

  const view = location.pathname.split("/")[1]; // its token: another view at the same port asks anew
  const remembered = (key) => { try { return sessionStorage.getItem(`facer ${view} ${key}`); } catch { return null; } };
  const remember = (key, value) => { try { sessionStorage.setItem(`facer ${view} ${key}`, value); } catch { /* a private window */ } };

  function query() {
    const asked = new URLSearchParams({ feature: at("feature").value, windows: at("windows").value, baseline: at("baseline").value });
    const threshold = remembered(`threshold ${at("feature").value}`);
    if (threshold) asked.set("threshold", threshold);
    return asked;
  }

  /* ---- lanes and their numbers ---- */

  const COLUMNS = [
    ["seen", (w) => percent(w.seen_share, 0)], ["share above", (w) => percent(w.share, 0)], ["mean", (w) => shown(w.mean, 2)],
    ["peak", (w) => shown(w.peak, 2)], ["episodes", (w) => shown(w.episodes, 0)], ["first after, s", (w) => shown(w.latency_s, 2)],
    ["baseline", (w) => shown(w.baseline, 2)], ["against it", (w) => shown(w.mean_bc, 2)], ["flag", (w) => w.flag],
  ];

  function numbers(rows) {
    const head = element("thead"), body = element("tbody"), titles = element("tr");
    const wanted = COLUMNS.filter(([title]) => !["baseline", "against it", "flag"].includes(title) || rows.some(([, w]) => w.baseline !== null || w.flag));
    titles.append(element("th", "window", { scope: "col" }), ...wanted.map(([title]) => element("th", title, { scope: "col", class: "number" })));
    head.append(titles);
    body.append(...rows.map(([title, window]) => {
      const row = element("tr");
      row.append(element("th", title, { scope: "row" }), ...wanted.map(([title, of]) => element("td", of(window), { class: "number", "data-title": title })));
      return row;
    }));
    at("numbers").replaceChildren(head, body);
  }

  const title = (one) => (one.event === "start" || one.event === "onset" ? one.name : `${one.event}: ${one.name}`);

  async function drawLanes() {
    const asked = query();
    const { ours, theirs } = await ask(`${name}.lanes?${asked}`);
    if (String(query()) !== String(asked)) return; // another one was asked for meanwhile
    at("threshold").value = ours.threshold === null ? "" : String(ours.threshold);
    at("threshold").disabled = ours.threshold === null;
    at("only-name").textContent = ours.feature;
    end = ours.stop || times[most];
    const span = [times[0], end];
    const more = { span, onSeek: seek, onStretch: chooseTimes, onThreshold: setThreshold, name: against ? "this store" : "" };
    pictures = [lane(at("lane"), ours, more)];
    if (theirs) pictures.push(lane(at("lane-theirs"), theirs, { span, onSeek: seek, onStretch: chooseTimes, height: 120 }));
    else if (at("lane-theirs")) at("lane-theirs").textContent = "It has no such clip or column.";
    numbers([...ours.windows.map((one) => [title(one), one]), ...(theirs ? theirs.windows.map((one) => [`${title(one)}, the other store`, one]) : [])]);
    pictures.forEach((picture) => { picture.now(present); picture.choose(seconds()); });
  }

  async function drawPerson() {
    if (!participant) return;
    const { lanes, more } = await ask(`${name}.person?${query()}`);
    const zeros = lanes.map((one) => one.onsets[0][1]);
    const drawn = lanes.map((one, i) => (one.time ? [unpack(one.time)[0] - zeros[i], one.stop - zeros[i]] : [0, 0]));
    const span = [Math.min(...drawn.map(([start]) => start)), Math.max(...drawn.map(([, stop]) => stop))];
    at("person").hidden = lanes.length < 2;
    at("person-title").textContent = `${participant}: ${at("feature").value} in ${lanes.length + more} clips, each from its ${lanes.some((one) => one.onsets[0][0] !== "start") ? "onset" : "start"}`;
    at("person-lanes").replaceChildren(...lanes.map((one, i) => {
      const row = element("div", "", { class: "person-row" }), about = element("div", "", { class: "person-name" }), place = element("div", "", { class: "lane" });
      const shares = one.windows.map((w) => `${title(w)} ${percent(w.share, 0)}`).join(", ");
      about.append(one.here ? element("strong", one.condition || one.clip) : element("a", one.condition || one.clip, { href: one.url }),
        element("span", one.status === "ok" ? shares : `${one.status} ${one.reason}`, { class: "quiet" }));
      row.append(about, place);
      requestAnimationFrame(() => lane(place, one, { height: 92, zero: zeros[i], span: [span[0] + zeros[i], span[1] + zeros[i]] }));
      return row;
    }));
  }

  async function drawAll() {
    at("asked").hidden = true;
    try {
      await drawLanes();
      await drawPerson();
    } catch (error) {
      at("asked").hidden = false;
      at("asked").textContent = error instanceof TypeError ? "The view does not answer: was it closed?" : error.message;
    }
  }

  function setThreshold(value) {
    remember(`threshold ${at("feature").value}`, String(value));
    drawAll();
  }

  /* ---- the stretch ---- */

  function choose(first, last) {
    stretch = first === null ? null : [Math.max(0, Math.min(first, last)), Math.min(most, Math.max(first, last))];
    pictures.forEach((picture) => picture.choose(seconds()));
    at("mark").disabled = !stretch;
    at("stretch").textContent = stretch
      ? `${times[stretch[from]].toFixed(2)} to ${times[stretch[to]].toFixed(2)} s, ${stretch[to] - stretch[from] + 1} frames`
      : "Drag over the curve to choose a stretch";
  }

  /* The stretch in seconds: the other store has other frames. */
  const seconds = () => stretch && [times[stretch[from]], stretch[to] < most ? times[stretch[to] + 1] : end];
  const chooseTimes = (start, stop) => choose(frameAt(times, start), frameAt(times, stop));
  const here = () => frameAt(times, present);
  const choosing = (first, last) => choose(first, Math.max(first, last));

  function step(frames) {
    if (video) video.pause();
    seek(times[Math.min(Math.max(here() + frames, 0), most)]);
  }

  document.addEventListener("moment", ({ detail }) => {
    present = detail;
    pictures.forEach((picture) => picture.now(present));
    drawBoxes(present);
    if (looping && video && !video.paused) {
      const [first, last] = stretch || [0, most];
      const stop = last < most ? times[last + 1] : Infinity;
      if (present >= stop - 1e-3 || present < times[first] - 1e-3 || video.ended) seek(times[first]);
    }
  });

  /* ---- marks ---- */

  function showNotes({ marks, points: found, out, undoable, reasons }) {
    const time = (text) => { const value = Number(text.replace(",", ".")); return Number.isNaN(value) ? text : `${value.toFixed(2)} s`; };
    at("no-marks").hidden = marks.length > 0;
    at("mark-rows").replaceChildren(...marks.map((row) => {
      const made = element("tr"), act = element("td"), remove = element("button", "Remove", { type: "button", "aria-label": `Remove the mark ${row.mark}` });
      remove.addEventListener("click", () => change("remove", { row }, "Removed."));
      act.append(remove);
      const span = row.start_s === "" ? "whole clip" : `${time(row.start_s)} to ${time(row.stop_s)}`;
      made.append(element("th", span, { scope: "row" }), element("td", row.mark), element("td", row.feature || "all features"),
        element("td", [row.who, row.when].filter((text) => text).join(", "), { class: "quiet" }), act);
      return made;
    }));
    at("out-badge").hidden = !out;
    at("out-badge").textContent = out ? `left out: ${out}` : "";
    at("leave-out").disabled = Boolean(out);
    at("undo").disabled = !undoable;
    const list = at("reason").list;
    list.replaceChildren(...reasons.map((value) => element("option", "", { value })));
    points = found;
    at("points").hidden = at("faces-file").hidden = !points.length;
    at("points").textContent = `The face that is meant: pointed at ${points.map(([time, x, y]) => `${time.toFixed(2)} s (${x.toFixed(0)}, ${y.toFixed(0)})`).join("; ")}.`;
    drawBoxes(present);
  }

  const change = (path, body, done) => doing(async () => {
    const found = await ask(`../${path}`, body);
    showNotes(found);
    say(done);
    await drawAll();
    return found;
  });

  function reason() {
    const text = at("reason").value.trim();
    if (!text) {
      say("Say why: a reason is written beside every mark.", true);
      at("reason").focus();
    } else remember("reason", text);
    return text;
  }

  async function mark() {
    const why = stretch && reason();
    if (!why) return;
    const [first, last] = stretch;
    const feature = at("only").checked ? at("feature").value : "";
    if (await change("mark", { first, last, frames: times.length, mark: why, feature }, "Marked; u takes it back.")) choose(null);
  }

  const leaveOut = () => { const why = reason(); if (why) change("mark", { first: null, mark: why }, "Left out; u takes it back."); };
  const undo = () => doing(async () => {
    const found = await ask("../undo", {});
    showNotes(found);
    say(found.undone ? `Undone: ${found.undone}` : "Undone.");
    await drawAll();
  });
  at("marking").addEventListener("submit", (event) => { event.preventDefault(); mark(); });
  at("leave-out").addEventListener("click", leaveOut);
  at("undo").addEventListener("click", undo);

  /* ---- boxes over the video ---- */

  const canvas = element("canvas", "", { id: "boxes", "aria-hidden": "true" });
  if (video) video.after(canvas);

  /* Where the picture lies in the element: left, top and px of the screen a px of the frame. */
  function picture(size) {
    const width = video.clientWidth, height = video.clientHeight;
    const [w, h] = size[0] ? size : [video.videoWidth || 1, video.videoHeight || 1];
    const scale = Math.min(width / w, height / h);
    return { left: (width - w * scale) / 2, top: (height - h * scale) / 2, scale };
  }

  function drawBoxes(seconds) {
    if (!video || video.hidden) { canvas.hidden = true; return; }
    const ratio = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
    const size = [Math.round(video.clientWidth * ratio), Math.round(video.clientHeight * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, video.clientWidth, video.clientHeight);
    canvas.dataset.box = "";
    for (const { whose, time, box, size } of boxes) {
      const i = frameAt(time, seconds), [x1, y1, x2, y2] = [0, 1, 2, 3].map((k) => box[4 * i + k]);
      if (Number.isNaN(x1)) continue;
      const { left, top, scale } = picture(size);
      const corner = [left + x1 * scale, top + y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale];
      pen.lineWidth = 2;
      pen.setLineDash(whose === "ours" ? [] : [6, 4]);
      pen.strokeStyle = "rgba(0,0,0,.55)";
      pen.strokeRect(corner[0] - 1, corner[1] - 1, corner[2] + 2, corner[3] + 2);
      pen.strokeStyle = whose === "ours" ? "#56b4e9" : "#e69f00";
      pen.strokeRect(...corner);
      if (whose === "ours") canvas.dataset.box = corner.map((value) => value.toFixed(1)).join(" ");
    }
    pen.setLineDash([]);
    for (const [time, x, y] of points) {
      if (Math.abs(time - seconds) > 0.25) continue;
      const { left, top, scale } = picture(data.view.size), [cx, cy] = [left + x * scale, top + y * scale];
      pen.strokeStyle = "#ff8a3c";
      pen.beginPath();
      pen.arc(cx, cy, 9, 0, 2 * Math.PI);
      pen.moveTo(cx - 14, cy); pen.lineTo(cx + 14, cy);
      pen.moveTo(cx, cy - 14); pen.lineTo(cx, cy + 14);
      pen.stroke();
    }
  }

  function setPointing(on) {
    if (!video || video.hidden) return;
    pointing = on;
    at("other").setAttribute("aria-pressed", String(on));
    canvas.classList.toggle("pointing", on);
    if (on) { video.controls = false; video.pause(); say("Click on the face that is meant."); }
  }

  canvas.addEventListener("click", (event) => {
    if (!pointing) return;
    const size = data.view.size[0] ? data.view.size : [video.videoWidth, video.videoHeight];
    const { left, top, scale } = picture(size), box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left - left) / scale, (event.clientY - box.top - top) / scale];
    if (x < 0 || y < 0 || x > size[0] || y > size[1]) return;
    setPointing(false);
    change("point", { time_s: times[here()], x_px: x, y_px: y }, "Noted; extract again with --faces to follow that face.");
  });

  if (video) {
    const exact = (_, { mediaTime }) => {
      if (!video.paused) drawBoxes(mediaTime + data.videoStart);
      video.requestVideoFrameCallback(exact);
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(exact);
    for (const event of ["play", "pause", "ended"]) {
      video.addEventListener(event, () => { at("play").textContent = video.paused ? "Play" : "Pause"; });
    }
    video.addEventListener("loadedmetadata", () => { video.playbackRate = Number(at("speed").value); drawBoxes(present); });
    video.addEventListener("ended", () => { if (looping) { seek(times[(stretch || [0])[0]]); video.play(); } });
    at("play").addEventListener("click", () => (video.paused ? video.play() : video.pause()));
    at("loop").addEventListener("click", () => {
      looping = !looping;
      at("loop").setAttribute("aria-pressed", String(looping));
      if (looping) { if (stretch) seek(times[stretch[from]]); video.play(); }
    });
    at("speed").addEventListener("change", ({ target }) => { video.playbackRate = Number(target.value); });
    at("other").addEventListener("click", () => setPointing(!pointing));
    new ResizeObserver(() => drawBoxes(present)).observe(video);
    const copying = "The browser does not play this video: a small copy of it is made.";
    video.addEventListener("error", () => { if (!video.hidden) say(copying); });
    if (!data.copy && video.readyState < 2) say(copying);
    video.addEventListener("loadeddata", () => { if (at("said").textContent === copying) say(""); });
    video.controls = false; // they lie over the picture: only where the mouse is
    video.parentElement.addEventListener("pointerenter", () => { video.controls = !pointing; });
    video.parentElement.addEventListener("pointerleave", () => { video.controls = false; });
  }
  at("frame-back").addEventListener("click", () => step(-1));
  at("frame-on").addEventListener("click", () => step(1));

  /* ---- keys ---- */

  const press = (id) => { const button = at(id); if (button && !button.disabled) button.click(); };
  const KEYS = {
    " ": () => press("play"), l: () => press("loop"), m: mark, x: leaveOut, u: () => press("undo"), n: () => press("next-worst"),
    f: () => press("other"), "[": () => choosing(here(), stretch ? stretch[to] : here()),
    "]": () => choose(Math.min(stretch ? stretch[from] : here(), here()), here()),
    Escape: () => { if (pointing) setPointing(false); else choose(null); },
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (event.key === "Escape" && typing) { event.target.blur(); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const frames = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const act = frames ? () => step(frames * (event.shiftKey ? 10 : 1)) : KEYS[event.key];
    if (!act || (event.key === " " && event.target.matches("button, a, summary"))) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }, true);

  /* ---- to begin with ---- */

  at("feature").replaceChildren(...data.view.features.map((feature) => element("option", feature, { value: feature })));
  const before = remembered("feature");
  at("feature").value = data.view.features.includes(before) ? before : data.view.feature;
  for (const id of ["windows", "baseline"]) {
    at(id).value = remembered(id) ?? data.view[id];
    at(id).addEventListener("change", () => { remember(id, at(id).value); drawAll(); });
  }
  at("reason").value = remembered("reason") || "";
  at("feature").addEventListener("change", () => { remember("feature", at("feature").value); drawAll(); });
  at("threshold").addEventListener("change", () => setThreshold(at("threshold").value));
  choose(null);
  drawAll();
  doing(async () => showNotes(await ask(`${name}.notes`)));
  let width = at("lane").clientWidth;
  new ResizeObserver(() => {
    if (at("lane").clientWidth === width) return;
    width = at("lane").clientWidth;
    drawAll();
  }).observe(at("lane"));

  if (video) {
    ask(`${name}.crops`).then(({ crops }) => {
      at("crops-section").hidden = !crops.length;
      at("crop-strip").replaceChildren(...crops.map((crop) => {
        const button = element("button", "", { type: "button" });
        button.append(element("img", "", { src: crop.url, width: 112, height: 112, alt: `Aligned face at ${crop.time_s} seconds` }), `${crop.time_s} s`);
        button.addEventListener("click", () => seek(crop.exact_s));
        return button;
      }));
    }).catch(() => { /* the page says what is wrong with the video */ });
  }
})();
