// The page of live events. Rows come as HTML over server-sent events, newest first. New rows are drawn at most once per
// animation frame, and the oldest rows are removed. The browser's EventSource reconnects automatically and continues after
// the last row. If a connection is silent for too long, this script closes it and opens another.
"use strict";
(() => {
  const ROWS_MAX = 200;
  // The server sends a message about every 5 s, or more often.
  const SILENCE_MS = 15_000;
  const AGAIN_MS = 3_000;
  const FULL_MS = 10_000;
  // How long the text after a pause is shown.
  const TOLD_MS = 10_000;

  const start = () => {
    const panel = document.getElementById("live");
    const table = panel.querySelector("table");
    const body = table.tBodies[0];
    const button = document.getElementById("live-pause");
    const stateTag = document.getElementById("live-state");
    const cameText = document.getElementById("live-came");
    const url = new URL(panel.dataset.rows, location.href);

    let source = null;
    let paused = false;
    let came = 0;
    let state = "connecting";
    let drawing = false;
    let timer = 0;
    const waiting = document.createDocumentFragment();

    // The text is set only if it changes, so that a screen reader reads the live region once per state and not with every row.
    const say = () => {
      const word = paused && state === "live" ? "paused" : state;
      const colour = { live: "ok", paused: "note", connecting: "" }[word] ?? "bad";
      if (stateTag.textContent !== word) stateTag.textContent = word;
      stateTag.className = `tag ${colour}`;
      if (paused) cameText.textContent = `${came.toLocaleString("en")} arrived while paused`;
    };

    const draw = () => {
      drawing = false;
      if (paused || !waiting.firstChild) return;
      body.prepend(waiting);
      while (body.rows.length > ROWS_MAX) body.lastElementChild.remove();
      table.hidden = false;
      document.getElementById("live-none").hidden = true;
      document.dispatchEvent(new CustomEvent("rows:added"));
    };

    const later = () => {
      if (drawing || paused) return;
      drawing = true;
      requestAnimationFrame(draw);
    };

    const close = () => {
      clearTimeout(timer);
      if (source) source.close();
      source = null;
    };

    const again = (word, ms) => {
      state = word;
      close();
      timer = setTimeout(open, ms);
      say();
    };

    const awaitNews = () => {
      clearTimeout(timer);
      timer = setTimeout(() => again("connection lost, reconnecting", 0), SILENCE_MS);
    };

    // Each message shows that the connection is alive.
    const heard = (event) => {
      if (event.lastEventId) url.searchParams.set("after", event.lastEventId);
      state = "live";
      awaitNews();
      say();
    };

    const open = () => {
      close();
      source = new EventSource(url);
      awaitNews();
      source.addEventListener("quiet", heard);
      // The stream shows personal data and ends here, so that the server checks the permission again. No row is lost.
      source.addEventListener("again", (event) => {
        heard(event);
        open();
      });
      source.addEventListener("rows", (event) => {
        const part = document.createElement("template");
        part.innerHTML = event.data;
        came += part.content.querySelectorAll("tr:not(.gap)").length;
        waiting.prepend(part.content);
        while (waiting.childElementCount > ROWS_MAX) waiting.lastElementChild.remove();
        heard(event);
        later();
      });
      source.addEventListener("full", (event) => again(`not connected: ${event.data}, retrying`, FULL_MS));
      source.addEventListener("error", () => again("connection lost, reconnecting", AGAIN_MS));
    };

    button.addEventListener("click", () => {
      paused = !paused;
      button.textContent = paused ? "Resume" : "Pause";
      const hidden = came - ROWS_MAX;
      const told = !paused && hidden > 0 ? `the newest ${ROWS_MAX} of ${came.toLocaleString("en")} are shown` : "";
      cameText.textContent = told;
      setTimeout(() => { if (cameText.textContent === told) cameText.textContent = ""; }, TOLD_MS);
      came = 0;
      say();
      later();
    });
    // Browsers limit the connections per host: a hidden page closes its stream, and later continues after the last row.
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));

    panel.querySelector(".state").hidden = false;
    if (!document.hidden) open();
  };
  document.addEventListener("DOMContentLoaded", start);
})();
