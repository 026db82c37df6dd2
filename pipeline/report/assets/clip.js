"use strict";
/* A clip's curves, and one moment shared by the video, the slider, the cursor and the readout. */
(() => {
  const data = window.facerData;
  const { unpack, plain, color, axis, layout, plot, element, isDark } = window.facer;
  const at = (id) => document.getElementById(id);
  const time = unpack(data.time), edges = unpack(data.edges);
  const faces = unpack(data.faces), valid = unpack(data.valid);
  const columns = Object.fromEntries(
    Object.entries(data.columns).map(([name, values]) => [name, unpack(values)]));
  const { va, expr, au } = data.groups;
  const video = at("video"), slider = at("time"), cursor = at("cursor"), curves = at("curves");
  const first = edges[0], last = edges[edges.length - 1];
  const label = (name) => name + (data.weak.includes(name) ? "*" : "");
  const stacked = [...expr.filter((name) => name !== "neutral"), ...expr.filter((name) => name === "neutral")];

  /* Near-black and light grey change places on a dark page. */
  function curveColor(name) {
    const instead = { fear: "#b8bec4", neutral: "#4a5157", valence: "#56b4e9", sadness: "#3d8fc7" };
    return isDark() && instead[name] ? instead[name] : data.colors[name];
  }

  /* ---- drawing ---- */

  function lines() {
    return va.map((name) => ({
      x: time, y: columns[name], name: label(name), mode: "lines", line: { color: curveColor(name), width: 2 },
      yaxis: "y", legend: "legend", connectgaps: false, hovertemplate: "%{y:.3f}",
    }));
  }

  /* A frame without a face has no shares: steps down to 0 keep the areas apart. */
  function areas() {
    return stacked.map((name) => ({
      x: time, y: columns[name].map((value) => (Number.isNaN(value) ? 0 : value)), name: label(name),
      mode: "lines", line: { shape: "hvh", color: curveColor(name), width: 0 }, fillcolor: curveColor(name),
      stackgroup: "expressions", yaxis: "y2", legend: "legend2", hovertemplate: "%{y:.3f}",
    }));
  }

  function heat(narrow) {
    if (!au.length) return [];
    return [{
      type: "heatmap", x: edges, y: au.map((_, i) => i), z: au.map((name) => columns[name]), yaxis: "y3",
      zmin: 0, zmax: 1, hoverongaps: false,
      colorscale: isDark() ? [[0, "#20272d"], [0.5, "#2f7fb3"], [1, "#e8f5fd"]] : [[0, "#f1f5f8"], [0.5, "#4a9ccb"], [1, "#00304f"]],
      customdata: au.map((name) => Array(time.length).fill(plain(name.toUpperCase()))),
      hovertemplate: "%{customdata} %{z:.3f}<extra></extra>",
      colorbar: narrow ? undefined : { title: { text: "probability", side: "right" }, thickness: 12, x: 1.01, xpad: 0,
        y: (place("au")[0] + place("au")[1]) / 2, len: place("au")[1] - place("au")[0], outlinewidth: 0 },
      showscale: !narrow,
    }];
  }

  function count() {
    return [{ x: time, y: faces, mode: "lines", yaxis: "y4", showlegend: false,
      line: { shape: "hvh", color: color("ink"), width: 1.5 }, hovertemplate: "%{y} faces<extra></extra>" }];
  }

  /* Hatching over the times without a face, in each panel from the bottom of its range. */
  function gaps() {
    const spans = { va: ["y", -1, 2], expr: ["y2", 0, 1], au: ["y3", -0.5, au.length], faces: ["y4", 0, 1e6] };
    return PANELS.map(([name]) => spans[name]).map(([yaxis, base, height]) => ({
      type: "bar", x: data.gaps.map(([a, b]) => (a + b) / 2), width: data.gaps.map(([a, b]) => b - a),
      base, y: data.gaps.map(() => height), yaxis, hoverinfo: "skip", showlegend: false,
      marker: { line: { width: 0 },
        pattern: { shape: "/", fgcolor: color("gap"), bgcolor: color("sheet"), size: 7, solidity: 0.25 } },
    }));
  }

  /* Panels from top to bottom with their heights in px; those without columns are left out. */
  const PANELS = [["va", va.length && 130], ["expr", expr.length && 170], ["au", 19 * au.length], ["faces", 70]]
    .filter(([, height]) => height);
  const SPACE = 20, total = PANELS.reduce((sum, [, height]) => sum + height + SPACE, -SPACE);

  function place(wanted) {
    let top = 0;
    for (const [name, height] of PANELS) {
      if (name === wanted) return [1 - (top + height) / total, 1 - top / total];
      top += height + SPACE;
    }
    return [0, 0.001];
  }

  function makeCurves() {
    const narrow = curves.clientWidth < 620;
    const right = narrow ? 8 : 120, above = narrow ? 92 : 8;
    const legend = (panel, row) => ({
      orientation: narrow ? "h" : "v", font: { size: narrow ? 11 : 12 }, traceorder: "normal", itemclick: false,
      itemdoubleclick: false, bgcolor: "rgba(0,0,0,0)", xanchor: "left", x: narrow ? 0 : 1.01,
      yanchor: narrow ? "bottom" : "top", y: narrow ? 1 + row / total : place(panel)[1],
    });
    const panel = (name, more) => axis({ domain: place(name), fixedrange: true, ...more });
    const names = au.map((name) => plain(narrow ? label(name).toUpperCase()
      : `${data.meanings[name]}  ${label(name).toUpperCase()}`));
    return {
      data: [...lines(), ...areas(), ...heat(narrow), ...count(), ...gaps()],
      layout: layout({
        height: total + above + 44, margin: { l: narrow ? 52 : 165, r: right, t: above, b: 44 },
        hovermode: "x", hoverdistance: -1, barmode: "overlay", bargap: 0, showlegend: true,
        legend: legend("va", 64), legend2: legend("expr", 2),
        xaxis: axis({ range: [first, last], title: { text: "seconds" }, anchor: "free", position: 0, automargin: false, showgrid: false }),
        yaxis: panel("va", { range: [-1, 1], tickvals: [-1, 0, 1], automargin: false }),
        yaxis2: panel("expr", { range: [0, 1], tickvals: [0, 0.5, 1], automargin: false,
          title: { text: narrow ? "" : "expression" } }),
        yaxis3: panel("au", { range: [au.length - 0.5, -0.5], tickvals: au.map((_, i) => i), ticktext: names,
          showgrid: false, zeroline: false, automargin: false, tickfont: { size: narrow ? 10 : 11.5 } }),
        yaxis4: panel("faces", { range: [0, Math.max(1, ...faces) + 0.3], dtick: Math.ceil(Math.max(1, ...faces) / 3),
          automargin: false, title: { text: narrow ? "" : "faces" } }),
      }),
    };
  }

  /* ---- the moment ---- */

  /* Index of the drawn frame that is shown at a time. */
  function frameAt(seconds) {
    let low = 0, high = time.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (time[middle] <= seconds + 1e-6) low = middle; else high = middle - 1;
    }
    return low;
  }

  function moveCursor(seconds) {
    const full = curves._fullLayout;
    if (!full || !full.xaxis) return;
    const x = full.xaxis.l2p(seconds);
    cursor.hidden = x < 0 || x > full.xaxis._length;
    cursor.style.left = `${full.margin.l + x}px`;
    cursor.style.top = `${full._size.t}px`;
    cursor.style.height = `${full._size.h}px`;
  }

  function readoutRows(i) {
    if (!valid[i]) return [["face", "none"]];
    const strongest = [...au].sort((a, b) => columns[b][i] - columns[a][i]).slice(0, 4);
    const shown = (names) => names.map((name) => [
      data.meanings[name] ? `${label(name).toUpperCase()} ${data.meanings[name]}` : label(name),
      columns[name][i].toFixed(3),
    ]);
    return [...shown(expr), ...shown(va), ...shown(strongest), ["faces in the frame", String(faces[i])]];
  }

  let current = NaN;
  function show(seconds) {
    current = seconds;
    const i = frameAt(seconds);
    moveCursor(seconds);
    at("now").textContent = time[i].toFixed(2);
    at("frame").textContent = String(i * data.step);
    slider.value = String(i);
    slider.setAttribute("aria-valuetext", `${time[i].toFixed(2)} seconds`);
    at("readout").tBodies[0].replaceChildren(...readoutRows(i).map(([name, value]) => {
      const made = element("tr");
      made.append(element("th", name, { scope: "row" }), element("td", value));
      return made;
    }));
  }

  /* Go to a time; the video, if there is one, follows. */
  function seek(seconds) {
    const bounded = Math.min(Math.max(seconds, time[0]), time[time.length - 1]);
    show(bounded);
    // a hair inside the frame, so that rounding does not show the one before
    if (video && !video.error) video.currentTime = Math.max(0, bounded - data.videoStart + 1e-4);
  }

  function follow() {
    show(video.currentTime + data.videoStart);
    if (!video.paused) requestAnimationFrame(follow);
  }

  if (video) {
    video.addEventListener("play", follow);
    video.addEventListener("timeupdate", follow);
    video.addEventListener("seeked", follow);
    const unplayable = () => { video.hidden = true; at("unplayable").hidden = false; };
    video.addEventListener("error", unplayable);
    const check = () => { if (!video.videoWidth) unplayable(); }; // sound alone
    video.addEventListener("loadedmetadata", check);
    if (video.error) unplayable();
    else if (video.readyState >= HTMLMediaElement.HAVE_METADATA) check();
  }
  slider.max = String(time.length - 1);
  slider.addEventListener("input", () => seek(time[Number(slider.value)]));
  document.querySelectorAll(".strip button").forEach((button) =>
    button.addEventListener("click", () => seek(Number(button.dataset.time))));

  plot(curves, makeCurves).then(() => {
    curves.append(cursor);
    curves.addEventListener("click", ({ clientX, clientY }) => {
      const box = curves.getBoundingClientRect(), { xaxis, _size: size } = curves._fullLayout;
      const x = clientX - box.left - size.l, y = clientY - box.top - size.t;
      if (x >= 0 && x <= size.w && y >= 0 && y <= size.h) seek(time[frameAt(xaxis.p2l(x))]);
    });
    curves.on("plotly_afterplot", () => moveCursor(current));
    show(time[0]);
  });
  window.facer.seek = seek;
})();
