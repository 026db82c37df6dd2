"use strict";
/* What all pages share: arrays of the store, colours of the theme, plots that follow it. */
window.facer = (() => {
  const TYPES = {
    float32: Float32Array, float64: Float64Array, int16: Int16Array, int32: Int32Array,
    uint8: Uint8Array,
  };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const library = new URL("plotly.min.js", document.currentScript.src).href;
  const PAPER_PX = 660; // what a sheet of A4 or Letter is wide between its margins
  const plots = [];
  let loading = null, waiting = 0, printed = false;

  /* An array of facer.pipeline.views.report.folder.packed, bit by bit. */
  function unpack({ dtype, base64 }) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new TYPES[dtype](bytes.buffer);
  }

  function color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  /* Text as Plotly shows it: it would read tags as markup. */
  function plain(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function axis(more) {
    return { gridcolor: color("line"), zerolinecolor: color("line"), linecolor: color("line"),
      automargin: true, ...more };
  }

  function layout(more) {
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("ink") },
      hoverlabel: { bgcolor: color("sheet"), bordercolor: color("line"), font: { color: color("ink") } },
      margin: { l: 50, r: 12, t: 8, b: 42 }, dragmode: coarse ? false : "zoom", showlegend: false,
      ...more,
    };
  }

  const pause = () => new Promise((done) => setTimeout(done));

  /* The plotting library is large: it is read when the page can be used already. */
  function load() {
    return new Promise((done, fail) => {
      const script = element("script", "", { src: library });
      script.addEventListener("load", done);
      script.addEventListener("error", () => fail(new Error(`not found: ${library}`)));
      document.head.append(script);
    });
  }

  /* Draw what make() returns into an element, and again whenever the theme changes. */
  async function plot(element, make) {
    const draw = () => {
      const { data, layout } = make();
      layout.autosize = !printed;
      if (printed) layout.width = PAPER_PX; // a plot as wide as the screen would be cut off
      return window.Plotly.react(element, data, layout, { displayModeBar: false, responsive: true, showTips: false });
    };
    waiting += 1;
    loading ||= pause().then(load);
    await loading;
    await pause(); // between two plots the page can be used
    await draw();
    plots.push(draw);
    waiting -= 1;
    if (!waiting) performance.mark("drawn");
  }
  const redraw = () => plots.forEach((draw) => draw());
  dark.addEventListener("change", redraw);

  /* On paper all is light. */
  function print(now) {
    printed = now;
    document.documentElement.classList.toggle("printed", now);
    redraw();
  }
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));

  const at = (id) => document.getElementById(id);

  /* Index of the frame that is shown at a time. */
  function frameAt(times, seconds) {
    let low = 0, high = times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (times[middle] <= seconds + 1e-6) low = middle; else high = middle - 1;
    }
    return low;
  }

  /* Numbers as text; a dash where nothing was measured. */
  const shown = (value, digits) => (value === null ? "–" : value.toFixed(digits));
  const percent = (value, digits) => (value === null ? "–" : `${(100 * value).toFixed(digits)} %`);

  function element(tag, text = "", attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    return made;
  }

  return { unpack, color, plain, axis, layout, plot, element, at, frameAt, shown, percent, isDark: () => dark.matches && !printed };
})();
