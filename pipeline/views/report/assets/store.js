"use strict";
/* The histograms of a store. */
(() => {
  const { plot, layout, axis, color, at } = window.facer;
  for (const [id, { edges, counts, above }] of Object.entries(window.facerData.charts)) {
    const what = { duration: "duration", fps: "frame rate", face: "height", score: "score" }[id];
    const unit = { duration: "s", fps: "Hz", face: "px", score: "" }[id];
    const last = edges[edges.length - 1];
    const beyond = above ? `; ${above} above ${last.toFixed(0)} ${unit} are not drawn` : "";
    plot(at(id), () => ({
      data: [{
        type: "bar", y: counts, x: counts.map((_, i) => (edges[i] + edges[i + 1]) / 2),
        width: counts.map((_, i) => 0.94 * (edges[i + 1] - edges[i])),
        customdata: counts.map((_, i) => [edges[i], edges[i + 1]]),
        hovertemplate: `%{customdata[0]:.4~g} to %{customdata[1]:.4~g} ${unit}: %{y:,}<extra></extra>`,
        marker: { color: color("blue") },
      }],
      layout: layout({
        xaxis: axis({ range: [edges[0], last], title: { text: what + (unit && ` (${unit})`) + beyond } }),
        yaxis: axis({ title: { text: id === "duration" || id === "fps" ? "clips" : "frames" }, rangemode: "tozero", nticks: 5, tickformat: "~s", dtick: Math.max(...counts) < 5 ? 1 : undefined }),
      }),
    }));
  }
})();
