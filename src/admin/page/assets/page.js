// With JavaScript, the page shows times in the reader's zone on hover, draws charts from the tables beside them, and says
// when it is old.
"use strict";
(() => {
  const zoned = (root) => {
    for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
      const at = new Date(time.dateTime);
      if (!Number.isNaN(at.getTime())) time.title = at.toLocaleString() + " (your time)";
    }
  };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  // Reads the numbers of a chart from its table: the <time> of a row is x, and each column with data-colour is a line.
  const read = (table) => {
    const heads = [...table.querySelectorAll("thead th[data-colour]")];
    const rows = [...table.querySelectorAll("tbody tr")];
    const xs = rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000);
    const lines = heads.map((head) => rows.map((row) => Number(row.cells[head.cellIndex].dataset.value)));
    return { heads, data: [xs, ...lines] };
  };

  const draw = (box) => {
    const table = document.getElementById(box.dataset.table);
    if (!table || typeof uPlot === "undefined") return;
    const { heads, data } = read(table);
    // A chart of zeros shows no more than the table.
    if (data[0].length < 2 || data.slice(1).flat().every((value) => value === 0)) return;
    box.replaceChildren();
    // A hidden element has no width.
    box.hidden = false;
    const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
    const DAY = 24 * 60 * 60;
    const daily = data[0][1] - data[0][0] >= DAY;
    // Times as on the rest of the page: 24 hours, the month before the day.
    const times = (_chart, splits, _axis, _space, step) => splits.map((at) => {
      const text = new Date(at * 1000).toISOString();
      return step >= DAY || text.slice(11, 16) === "00:00" ? text.slice(5, 10) : text.slice(11, 16);
    });
    const days = daily ? { incrs: [1, 2, 7, 14, 28, 56].map((days) => days * DAY) } : {};
    const whole = (_chart, splits) => splits.map((value) => (Number.isInteger(value) ? value.toLocaleString("en") : ""));
    const chart = new uPlot({
      width: box.clientWidth,
      height: 240,
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
      cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_chart, _low, high) => [0, Math.max(high, 1) * 1.05] } },
      axes: [{ ...axis, ...days, values: times }, { ...axis, size: 60, values: whole }],
      series: [
        { label: "from", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
        ...heads.map((head) => ({
          label: head.textContent.trim(),
          stroke: colour(head.dataset.colour),
          width: 2,
          dash: head.dataset.dash ? [6, 4] : undefined,
          points: { show: data[0].length < 40, size: 5 },
        })),
      ],
    }, data, box);
    box.chart = chart;
  };

  // A part with data-every is replaced each so many seconds. After two misses a bar says that the page is old. Without the
  // bar, a page left open would show a dead receiver as well.
  const watch = () => {
    const bar = document.getElementById("stale");
    let fresh = Date.now();
    document.addEventListener("htmx:after:swap", () => {
      fresh = Date.now();
      bar.hidden = true;
    });
    setInterval(() => {
      const part = document.querySelector("[data-every]");
      if (!part || !bar.hidden || Date.now() - fresh < (2 * Number(part.dataset.every) + 1) * 1_000) return;
      bar.querySelector("span").textContent = part.querySelector(".as-of time").textContent;
      bar.hidden = false;
    }, 1_000);
  };

  const drawAll = () => document.querySelectorAll(".chart[data-table]").forEach(draw);
  const start = () => {
    zoned(document);
    drawAll();
    watch();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    addEventListener("resize", () => {
      for (const box of document.querySelectorAll(".chart")) {
        if (box.chart) box.chart.setSize({ width: box.clientWidth, height: 240 });
      }
    });
    for (const added of ["htmx:after:swap", "rows:added"]) document.addEventListener(added, () => zoned(document));
  };
  // This event comes after all deferred scripts: the charts need uPlot.
  document.addEventListener("DOMContentLoaded", start);
})();
