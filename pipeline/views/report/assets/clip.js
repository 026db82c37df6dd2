"use strict";
/* A clip's curves, and one moment shared by the video, the slider, the cursor and the readout. */
(() => {
  const data = window.facerData;
  const { unpack, plain, color, axis, layout, plot, element, at, frameAt, isDark } = window.facer;
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
    const instead = { fear: "#e8eaec", neutral: "#4a5157", valence: "#56b4e9" };
    return isDark() && instead[name] ? instead[name] : data.colors[name];
  }

  /* ---- drawing ---- */

  const hover = (name) => `${plain(label(name))} %{y:.3f}<extra></extra>`;

  /* Nothing is drawn of a line of one point: a clip of one frame begins and ends. */
  const steps = time.length > 1 ? time : edges;
  const stepped = (values) => (time.length > 1 ? values : [values[0], values[0]]);

  function lines() {
    return va.flatMap((name) => [{
      x: time, y: columns[name], name: label(name), mode: "lines", line: { color: curveColor(name), width: 2 },
      yaxis: "y", legend: "legend", connectgaps: false, hovertemplate: hover(name),
    }, lone(name)]);
  }

  /* Frames with a face between such without, each as long as it lasts. */
  function lone(name) {
    const values = columns[name], absent = (i) => !(i in values) || Number.isNaN(values[i]);
    const alone = [...values.keys()].filter((i) => !absent(i) && absent(i - 1) && absent(i + 1));
    return {
      x: alone.flatMap((i) => [edges[i], edges[i + 1], null]), y: alone.flatMap((i) => [values[i], values[i], null]),
      mode: "lines", line: { color: curveColor(name), width: 2 }, yaxis: "y", hoverinfo: "skip", showlegend: false,
    };
  }

  /* A frame without a face has no shares: steps down to 0 keep the areas apart. */
  function areas() {
    return stacked.map((name) => ({
      x: steps, y: stepped(columns[name].map((value) => (Number.isNaN(value) ? 0 : value))), name: label(name),
      mode: "lines", line: { shape: "hvh", color: curveColor(name), width: 0 }, fillcolor: curveColor(name),
      stackgroup: "expressions", yaxis: "y2", legend: "legend2", hovertemplate: hover(name),
    }));
  }

  function heat({ narrow, total, domain }) {
    if (!au.length) return [];
    const bar = narrow
      ? { orientation: "h", x: 0, xanchor: "left", y: 1 + 94 / total, yanchor: "bottom", len: 1, ypad: 0 }
      : { x: 1.01, y: domain.au[1], yanchor: "top", ypad: 0, len: Math.max(domain.au[1] - domain.au[0], 110 / total) };
    return [{
      type: "heatmap", x: edges, y: au.map((_, i) => i), z: au.map((name) => columns[name]), yaxis: "y3",
      zmin: 0, zmax: data.auHigh, hoverongaps: false, ygap: narrow ? 13 : 0,
      colorscale: isDark() ? [[0, "#20272d"], [0.5, "#2f7fb3"], [1, "#e8f5fd"]] : [[0, "#f1f5f8"], [0.5, "#4a9ccb"], [1, "#00304f"]],
      customdata: au.map((name) => Array(time.length).fill(plain(name.toUpperCase()))),
      hovertemplate: "%{customdata} %{z:.3f}<extra></extra>",
      colorbar: { title: { text: `AU ${data.auUnit}`, side: narrow ? "top" : "right" }, thickness: 12, outlinewidth: 0,
        xpad: 0, nticks: 6, ...bar },
    }];
  }

  function count() {
    return [{ x: steps, y: stepped(faces), mode: "lines", yaxis: "y4", showlegend: false,
      line: { shape: "hvh", color: color("ink"), width: 1.5 }, hovertemplate: `${data.counted} %{y}<extra></extra>` }];
  }

  /* Hatching over the times without a face, in each panel from the bottom of its range. */
  function gaps({ domain }) {
    const spans = { va: ["y", -1, 2], expr: ["y2", 0, 1], au: ["y3", -1, au.length + 1], faces: ["y4", 0, 1e6] };
    return Object.keys(domain).map((name) => spans[name]).map(([yaxis, base, height]) => ({
      type: "bar", x: data.gaps.map(([a, b]) => (a + b) / 2), width: data.gaps.map(([a, b]) => b - a),
      base, y: data.gaps.map(() => height), yaxis, hoverinfo: "skip", showlegend: false,
      marker: { line: { width: 0 },
        pattern: { shape: "/", fgcolor: color("gap"), bgcolor: color("sheet"), size: 7, solidity: 0.25 } },
    }));
  }

  /* Panels from top to bottom: their height together in px and the share of it that each has.
     Those without columns are left out; a narrow one has the names of AUs above their rows. */
  function panels(narrow) {
    const SPACE = 28, heights = { va: va.length && 130, expr: expr.length && 170, au: (narrow ? 26 : 19) * au.length, faces: 70 };
    const shown = Object.entries(heights).filter(([, height]) => height);
    const total = shown.reduce((sum, [, height]) => sum + height + SPACE, -SPACE);
    let top = 0;
    const domain = Object.fromEntries(shown.map(([name, height]) => {
      const share = [1 - (top + height) / total, 1 - top / total];
      top += height + SPACE;
      return [name, share];
    }));
    return { narrow, total, domain };
  }

  function makeCurves() {
    const view = panels(curves.clientWidth < 620), { narrow, total, domain } = view;
    const above = narrow ? 156 : 8;
    const legend = (name, row) => ({
      orientation: narrow ? "h" : "v", font: { size: narrow ? 11 : 12 }, traceorder: "normal", itemclick: false,
      itemdoubleclick: false, bgcolor: "rgba(0,0,0,0)", xanchor: "left", x: narrow ? 0 : 1.01,
      yanchor: narrow ? "bottom" : "top", y: narrow ? 1 + row / total : (domain[name] || [0, 1])[1],
    });
    const panel = (name, title, more) => axis({ domain: domain[name] || [0, 0.001], fixedrange: true, automargin: false,
      title: { text: title, font: { size: narrow ? 11 : 12 } }, ...more });
    const names = au.map((name) => plain(narrow ? `${label(name).toUpperCase()} ${data.meanings[name]}`
      : `${data.meanings[name]}  ${label(name).toUpperCase()}`));
    const most = Math.max(1, ...faces);
    return {
      data: [...lines(), ...areas(), ...heat(view), ...count(), ...gaps(view)],
      layout: layout({
        height: total + above + 44, margin: { l: narrow ? 44 : 165, r: narrow ? 8 : 120, t: above, b: 44 },
        hovermode: "x", hoverdistance: -1, barmode: "overlay", bargap: 0, showlegend: true,
        annotations: narrow ? names.map((text, i) => ({ text, x: 0, xshift: 3, xref: "paper", xanchor: "left", y: i - 0.25, yref: "y3",
          yanchor: "bottom", showarrow: false, font: { size: 10 }, bgcolor: color("paper"), borderpad: 0 })) : [],
        legend: legend("va", 64), legend2: legend("expr", 2),
        xaxis: axis({ range: [first, last], title: { text: "seconds" }, anchor: "free", position: 0, automargin: false, showgrid: false }),
        yaxis: panel("va", "valence, arousal", { range: [-1, 1], tickvals: [-1, 0, 1] }),
        yaxis2: panel("expr", "expression probability", { range: [0, 1], tickvals: [0, 0.5, 1] }),
        yaxis3: panel("au", "", { range: [au.length - 0.5, narrow ? -0.8 : -0.5], tickvals: au.map((_, i) => i), ticktext: names,
          showticklabels: !narrow, ticks: "", tickfont: { size: 11.5 }, showgrid: false, zeroline: false }),
        yaxis4: panel("faces", data.counted, { range: [0, most + 0.3], dtick: Math.ceil(most / 3) }),
      }),
    };
  }

  /* ---- the moment ---- */

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
    if (!valid[i]) return [[data.measured, "none"]];
    const strongest = [...au].sort((a, b) => columns[b][i] - columns[a][i]).slice(0, 4);
    const shown = (names) => names.map((name) => [
      data.meanings[name] ? label(name).toUpperCase() : label(name), columns[name][i].toFixed(3), data.meanings[name],
    ]);
    return [...shown(expr), ...shown(va), ...shown(strongest), [data.counted, String(faces[i])]];
  }

  /* Index of the frame that is drawn at a time: from half the way from the one before it. */
  const cellAt = (seconds) => Math.min(frameAt(edges, seconds), time.length - 1);

  let current = NaN;
  function show(seconds) {
    current = seconds;
    const i = frameAt(time, seconds);
    moveCursor(seconds);
    at("now").textContent = time[i].toFixed(2);
    at("frame").textContent = String(i * data.step);
    slider.value = String(i);
    slider.setAttribute("aria-valuetext", `${time[i].toFixed(2)} seconds`);
    at("readout").tBodies[0].replaceChildren(...readoutRows(i).map(([name, value, meaning]) => {
      const made = element("tr"), head = element("th", name, { scope: "row" });
      if (meaning) head.append(element("span", ` ${meaning}`));
      made.append(head, element("td", value));
      return made;
    }));
    document.dispatchEvent(new CustomEvent("moment", { detail: seconds }));
  }

  /* Go to a time; the video, if there is one, follows. */
  function seek(seconds) {
    const bounded = Math.min(Math.max(seconds, time[0]), time[time.length - 1]);
    show(bounded);
    // a hair inside the frame, so that rounding does not show the one before
    if (video && !video.error) video.currentTime = Math.max(0, bounded - data.videoStart + 1e-4);
  }

  let awaited = 0;
  function follow() {
    cancelAnimationFrame(awaited); // one at a time, however many events call
    show(video.currentTime + data.videoStart);
    if (!video.paused) awaited = requestAnimationFrame(follow);
  }

  if (video) {
    video.addEventListener("play", follow);
    video.addEventListener("timeupdate", follow);
    video.addEventListener("seeked", follow);
    const unplayable = () => {
      if (!data.copy) { video.hidden = true; at("unplayable").hidden = false; return; }
      video.src = data.copy; // made when it is asked for
      data.videoStart = data.copyStart;
      data.copy = "";
    };
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

  show(time[0]);
  plot(curves, makeCurves).then(() => {
    curves.append(cursor);
    curves.classList.add("drawn"); // it is as high as what is drawn
    let pressed = 0;
    curves.addEventListener("pointerdown", ({ clientX }) => { pressed = clientX; }, true);
    curves.addEventListener("click", ({ clientX, clientY }) => {
      if (Math.abs(clientX - pressed) > 5) return; // the end of a zoom
      const box = curves.getBoundingClientRect(), { xaxis, _size: size } = curves._fullLayout;
      const x = clientX - box.left - size.l, y = clientY - box.top - size.t;
      if (x >= 0 && x <= size.w && y >= 0 && y <= size.h) seek(time[cellAt(xaxis.p2l(x))]);
    });
    curves.on("plotly_afterplot", () => moveCursor(current));
    moveCursor(current);
  });
  window.facer.seek = seek;
})();
