"use strict";
/* Marks without a server: kept in this browser, saved as marks.csv, which facer summarise reads. */
(() => {
  const { element, unpack, at, frameAt } = window.facer;
  const box = at("marks"), { clip, report } = box.dataset;
  const KEY = `facer marks ${report}`, HEAD = "clip_id,start_s,stop_s,mark,feature,who,when,note";
  let present = 0, start = null, memory = [];

  function load() {
    try { return JSON.parse(localStorage.getItem(KEY)) || []; } catch { return memory; }
  }
  function save(marks) {
    memory = marks;
    try { localStorage.setItem(KEY, JSON.stringify(marks)); } catch { /* kept for this page alone */ }
    show();
  }

  /* A cell that no spreadsheet runs as a formula, quoted where it must be. */
  function cell(text) {
    const safe = /^'*[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  }

  function show() {
    const all = load(), mine = all.filter((row) => row[0] === clip);
    if (clip) {
      at("mark-list").replaceChildren(...mine.map((row) => {
        const item = element("li", `${row[1] === "" ? "whole clip" : `${row[1]} to ${row[2]} s`}: ${row[3]} `);
        const remove = element("button", "Remove", { type: "button" });
        remove.addEventListener("click", () => save(load().filter((other) => String(other) !== String(row))));
        item.append(remove);
        return item;
      }));
    }
    at("download").disabled = !all.length;
    at("download").textContent = all.length ? `Download marks (${all.length})` : "Download marks";
  }

  at("download").addEventListener("click", () => {
    const text = [HEAD, ...load().map((row) => row.map((value) => cell(String(value))).join(","))].join("\n") + "\n";
    const link = element("a", "", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "marks.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  });

  if (clip) {
    const times = unpack(window.facerData.time), edges = unpack(window.facerData.edges);
    const frame = () => frameAt(times, present);
    /* Rounded down to a millionth, so that frames on the edge stay on their side. */
    const exact = (seconds) => Math.floor(seconds * 1e6 + 1e-3) / 1e6;
    const add = (from, to) => {
      const why = at("why").value.trim();
      at("why").setCustomValidity(why ? "" : "Say why.");
      if (!at("why").reportValidity()) return;
      const when = `${new Date().toISOString().slice(0, 19)}Z`;
      save([...load(), [clip, from, to, why.replace(/\s+/g, " "), "", "", when, ""]]);
      start = null;
      at("from").textContent = "Stretch from here";
    };
    document.addEventListener("moment", ({ detail }) => { present = detail; });
    at("why").addEventListener("input", () => at("why").setCustomValidity(""));
    at("from").addEventListener("click", () => {
      start = frame();
      at("from").textContent = `From ${times[start].toFixed(2)} s`;
      at("to").disabled = false;
    });
    at("to").addEventListener("click", () => {
      const [a, b] = [start, frame()].sort((x, y) => x - y);
      add(exact(times[a]), exact(b + 1 < times.length ? times[b + 1] : Math.max(edges[b + 1], times[b] + 1e-3)));
    });
    at("whole").addEventListener("click", () => add("", ""));
    present = times[0];
  }
  window.addEventListener("storage", show);
  show();
})();
