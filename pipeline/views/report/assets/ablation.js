"use strict";
/* One plot a table: every seed a dot, mean and deviation, the paper's figure a diamond. */
(() => {
  const { plot, layout, axis, color, plain, at } = window.facer;
  for (const { id, rows } of window.facerData.tables) {
    const target = at(id);
    const names = rows.map((row) => plain(row.title));
    const scored = rows.filter((row) => row.pearson !== null);
    const cited = rows.filter((row) => row.paper !== null);
    const dots = scored.flatMap((row) => row.scores.map((score) => [score, plain(row.title)]));
    target.style.height = `${110 + 26 * rows.length}px`;
    plot(target, () => ({
      data: [
        { x: dots.map(([score]) => score), y: dots.map(([, name]) => name), mode: "markers", name: "one seed",
          marker: { symbol: "line-ns", size: 9, line: { width: 2, color: color("blue") } }, hovertemplate: "%{x:.4f}<extra>one seed</extra>" },
        { x: scored.map((row) => row.pearson), y: scored.map((row) => plain(row.title)), mode: "markers", name: "ours",
          error_x: { array: scored.map((row) => row.std || 0), color: color("blue") },
          marker: { color: color("blue"), size: 9 }, hovertemplate: "%{x:.4f}<extra>ours</extra>" },
        { x: cited.map((row) => row.paper), y: cited.map((row) => plain(row.title)), mode: "markers",
          name: "the paper's, on Hume-Reaction", marker: { symbol: "diamond-open", size: 10, color: color("vermilion"), line: { width: 2 } },
          hovertemplate: "%{x:.3f}<extra>the paper's</extra>" },
      ],
      layout: layout({
        xaxis: axis({ title: { text: "mean Pearson" } }),
        yaxis: axis({ type: "category", categoryorder: "array", categoryarray: names, range: [rows.length - 0.5, -0.5] }),
        showlegend: true, legend: { orientation: "h", y: 1.01, yanchor: "bottom", x: 0 },
        margin: { l: 50, r: 12, t: 34, b: 42 },
      }),
    }));
  }
})();
