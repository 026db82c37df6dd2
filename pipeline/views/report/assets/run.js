"use strict";
/* Predicted against labelled, one plot an emotion, and the learning curves of all seeds. */
(() => {
  const { names, labels, urls, pearson, predicted, labelled, curves } = window.facerData;
  const { plot, layout, axis, color, plain, element, at } = window.facer;
  const SEEDS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const ids = labels.map(plain);

  function scatter(name, x, y) {
    const known = [...x, ...y].filter((value) => value !== null);
    const ends = [Math.min(0, ...extremes(known)), Math.max(1, ...extremes(known))];
    const span = ends[1] - ends[0], dtick = span < 1.3 ? 0.25 : span < 3 ? 0.5 : undefined;
    const shared = { range: [ends[0] - 0.03, ends[1] + 0.03], zeroline: false, dtick, constrain: "domain" };
    return () => ({
      data: [
        { x: ends, y: ends, mode: "lines", line: { color: color("gap"), width: 1 }, hoverinfo: "skip" },
        { x, y, text: ids, mode: "markers",
          marker: { color: color("blue"), size: x.length > 500 ? 4 : 6, opacity: x.length > 500 ? 0.35 : 0.75 },
          hovertemplate: "%{text}<br>labelled %{x:.3f}, predicted %{y:.3f}<extra></extra>" },
      ],
      layout: layout({
        xaxis: axis({ ...shared, title: { text: "labelled" } }),
        yaxis: axis({ ...shared, title: { text: "predicted" }, scaleanchor: "x" }),
      }),
    });
  }

  function extremes(values) {
    return values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  }

  const place = at("scatter");
  if (place) {
    names.forEach((name, i) => {
      const figure = element("figure"), chart = element("div", "", {
        class: "chart", role: "img", "aria-label": `${name}: predicted against labelled` });
      const score = pearson[i] === null ? "" : `: Pearson ${pearson[i].toFixed(3)}`;
      figure.append(element("figcaption", name + score), chart);
      place.append(figure);
      plot(chart, scatter(name, labelled[i], predicted[i])).then(() =>
        chart.on("plotly_click", ({ points: [{ pointNumber }] }) => {
          if (urls[pointNumber]) window.location.href = urls[pointNumber];
        }));
    });
  }

  function learning(id, column, title) {
    const target = at(id), seeds = Object.entries(curves);
    if (!target) return;
    const rows = seeds.length > 1 ? Math.ceil(seeds.length / Math.max(1, Math.floor(target.clientWidth / 100))) : 0;
    const last = Math.max(...seeds.flatMap(([, curve]) => curve.epoch));
    target.style.height = `${290 + 20 * rows}px`;
    plot(target, () => ({
      data: seeds.flatMap(([seed, curve], i) => {
        const line = { x: curve.epoch, y: curve[column], name: plain(`seed ${seed}`), mode: "lines",
          line: { color: SEEDS[i % SEEDS.length], dash: DASHES[(i + Math.floor(i / 12)) % DASHES.length], width: 2 },
          hovertemplate: "epoch %{x}: %{y:.4f}" };
        if (column !== "val_pearson") return [line];
        return [line, { x: [curve.epoch[curve.kept]], y: [curve[column][curve.kept]], mode: "markers", showlegend: false,
          marker: { symbol: "circle-open", size: 11, line: { width: 2 }, color: line.line.color }, hoverinfo: "skip" }];
      }),
      layout: layout({
        xaxis: axis({ title: { text: "epoch" }, range: [0, last + 1], zeroline: false, tickformat: "d" }), yaxis: axis({ title: { text: title } }),
        showlegend: seeds.length > 1, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
        margin: { l: 50, r: 12, t: 8 + 20 * rows, b: 42 },
      }),
    }));
  }
  learning("pearson", "val_pearson", "Pearson");
  learning("loss", "train_loss", "loss");
})();
