"use strict";
/* The table of clips: searched, filtered and sorted in memory, drawn a page at a time. */
(() => {
  const { table, headFrames, sound } = window.facerData;
  const { element, at, shown, percent } = window.facer;
  const ROWS = 50;
  const STATUS = sound ? ["sound", "no sound", "failed"] : ["face", "no face", "failed"];
  const show = (digits) => (value) => shown(value, digits);
  const COLUMNS = [
    { key: "clip", title: "clip" },
    { key: "status", title: "status", text: (code) => STATUS[code] },
    { key: "quality", title: "quality", text: show(2) },
    { key: "faces", title: `frames with ${sound ? "sound" : "a face"}`, text: (share) => percent(share, 1) },
    { key: "score", title: "detection score", text: show(2) },
    { key: "size", title: "face height, px", text: show(0) },
    { key: "most", title: "most faces", text: show(0) },
    { key: "frames", title: "frames", text: String },
    { key: "duration", title: "duration, s", text: show(1) },
    { key: "fps", title: "rate, Hz", text: show(2) },
    { key: "participant", title: "participant" },
    { key: "condition", title: "condition" },
    { key: "switches", title: "switches of the track", text: String },
    { key: "marks", title: "marks", text: (n) => (n ? String(n) : "") },
    { key: "out", title: "left out" },
    { key: "note", title: "note" },
  ].filter(({ key }) => table[key] && !(sound && ["quality", "score", "size", "most"].includes(key)));
  const FILTERS = {
    all: () => true,
    page: (i) => table.url[i] !== "",
    ok: (i) => table.status[i] === 0,
    no_face: (i) => table.status[i] === 1,
    failed: (i) => table.status[i] === 2,
    several: (i) => table.most[i] > 1,
    long: (i) => table.frames[i] > headFrames,
    note: (i) => table.note[i] !== "",
    marked: (i) => table.marks[i] > 0,
    out: (i) => table.out[i] !== "",
    fresh: (i) => table.marks[i] === 0 && table.url[i] !== "",
  };
  const search = at("search"), filter = at("filter"), head = at("table").tHead;
  const body = at("table").tBodies[0];
  const words = [table.clip, table.note, table.participant, table.condition, table.out].filter((values) => values);
  const folded = table.clip.map((_, i) => words.map((values) => values[i]).join("\n").toLowerCase());
  let order = table.clip.map((_, i) => i); // worst first
  let found = order, page = 0, sorted = null, down = false;

  function compare(values) {
    return (a, b) => {
      const x = values[a], y = values[b];
      if (x === y) return a - b;
      if (x === null || y === null) return x === null ? 1 : -1; // nothing measured: always last
      return (x < y ? -1 : 1) * (down ? -1 : 1);
    };
  }

  function select() {
    const wanted = search.value.trim().toLowerCase(), keep = FILTERS[filter.value];
    found = order.filter((i) => keep(i) && folded[i].includes(wanted));
    page = 0;
    draw();
  }

  function sort(key) {
    down = sorted === key ? !down : false;
    sorted = key;
    order = table.clip.map((_, i) => i).sort(compare(table[key]));
    select();
  }

  function cell(column, i) {
    const value = table[column.key][i];
    if (column.key === "clip") {
      const name = element("th", "", { scope: "row" });
      name.append(table.url[i] ? element("a", value, { href: table.url[i] }) : value);
      return name;
    }
    const kind = typeof column.text === "function" && column.key !== "status" ? "number" : column.key;
    return element("td", column.text ? column.text(value) : value,
      { class: value === null ? `${kind} none` : kind, "data-title": column.title });
  }

  function draw() {
    const first = page * ROWS, rows = found.slice(first, first + ROWS);
    body.replaceChildren(...rows.map((i) => {
      const row = element("tr");
      row.append(...COLUMNS.map((column) => cell(column, i)));
      return row;
    }));
    at("count").textContent = `${found.length.toLocaleString("en")} of ${order.length.toLocaleString("en")} clips`;
    at("place").textContent = found.length ? `${first + 1} to ${first + rows.length}` : "none";
    at("previous").disabled = page === 0;
    at("next").disabled = first + ROWS >= found.length;
    for (const title of head.rows[0].cells) {
      const mine = title.dataset.key === sorted;
      title.setAttribute("aria-sort", mine ? (down ? "descending" : "ascending") : "none");
      title.querySelector("span").textContent = mine ? (down ? " ↓" : " ↑") : "";
    }
  }

  const titles = element("tr");
  titles.append(...COLUMNS.map(({ key, title, text }) => {
    const kind = text && key !== "status" ? "number" : "";
    const made = element("th", "", { scope: "col", "data-key": key, class: kind });
    const button = element("button", title, { type: "button" });
    button.append(element("span"));
    button.addEventListener("click", () => sort(key));
    made.append(button);
    return made;
  }));
  head.append(titles);
  search.addEventListener("input", select);
  filter.addEventListener("change", select);
  at("previous").addEventListener("click", () => { page -= 1; draw(); });
  at("next").addEventListener("click", () => { page += 1; draw(); });
  select();
  performance.mark("usable");
})();
