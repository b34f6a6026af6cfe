// Adds to pages that work without it: local times, live rows, keys, ranges by dragging, and copying.
"use strict";
(() => {
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const one = (selector, within = document) => within.querySelector(selector);

  // Times: the reader's zone, and ages that grow.
  const sameDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const otherDay = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  const otherYear = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const dayName = new Intl.DateTimeFormat(undefined, { weekday: "long", month: "long", day: "numeric" });

  function age(milliseconds) {
    const seconds = Math.max(0, Math.floor(milliseconds / 1000));
    if (seconds < 120) return `${seconds}s`;
    if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)}h`;
    return `${Math.floor(seconds / 86400)}d`;
  }

  function showTimes(within = document) {
    const now = new Date();
    for (const time of all("time[datetime]", within)) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      time.title = whole.format(at);
      if ("age" in time.dataset) time.textContent = `${age(now - at)} ago`;
      else {
        const form = at.toDateString() === now.toDateString() ? sameDay : at.getFullYear() === now.getFullYear() ? otherDay : otherYear;
        time.textContent = form.format(at);
      }
    }
  }

  function showDays(list) {
    for (const heading of all(".day", list)) heading.remove();
    let before = new Date().toDateString();
    for (const entry of all(".entry", list)) {
      const at = new Date(one(".at time", entry).dateTime);
      if (at.toDateString() !== before) {
        const heading = document.createElement("li");
        heading.className = "day";
        heading.textContent = dayName.format(at);
        entry.before(heading);
      }
      before = at.toDateString();
    }
  }

  // Live: the stream says that something came, the server renders what.
  function live(list) {
    const button = one("[data-live]");
    if (!button || !("EventSource" in window)) return;
    const fresh = one("[data-fresh]");
    const said = one("[data-said]");
    let source = null, waiting = 0, asking = false, again = false, position = button.dataset.position;
    button.hidden = false;

    const isReading = () => window.scrollY > 240 || list.contains(document.activeElement);

    async function fetchRows() {
      if (asking) { again = true; return; }
      asking = true;
      try {
        const separator = button.dataset.rows.includes("?") ? "&" : "?";
        const answer = await fetch(`${button.dataset.rows}${separator}after=${encodeURIComponent(position)}`);
        if (answer.status === 401) location.reload(); // the session has ended: the way in leads back here
        if (answer.ok) {
          insert(await answer.text());
          position = answer.headers.get("X-Kubewitness-Position") ?? position;
        }
      } catch { /* the stream comes again, and with it the rows */ }
      asking = false;
      if (again) { again = false; fetchRows(); }
    }

    function insert(text) {
      const known = new Set(all(".entry", list).map((row) => row.dataset.id));
      const rows = all(".entry", new DOMParser().parseFromString(text, "text/html")).filter((row) => !known.has(row.dataset.id));
      if (!rows.length) return;
      for (const row of rows) place(row);
      for (const row of all(".entry", list).slice(500)) row.remove();
      list.hidden = false;
      one("[data-empty]")?.remove();
      showTimes(list);
      showDays(list);
      document.dispatchEvent(new Event("rows"));
      said.textContent = rows.length === 1 ? "1 new change" : `${rows.length} new changes`;
    }

    // Ids are in the order of time. Another replica may tell of a change after newer ones of this one.
    function place(row) {
      const fresh = document.importNode(row, true);
      fresh.classList.add("new");
      const older = all(".entry", list).find((each) => each.dataset.id < fresh.dataset.id);
      if (older) older.before(fresh);
      else list.append(fresh);
    }

    function came() {
      waiting += 1;
      if (isReading()) {
        fresh.textContent = waiting === 1 ? "1 new change" : `${waiting} new changes`;
        fresh.hidden = false;
      } else show();
    }

    function show() {
      waiting = 0;
      fresh.hidden = true;
      fetchRows();
    }

    function open() {
      if (source || button.getAttribute("aria-pressed") !== "true" || document.hidden) return;
      source = new EventSource(`${button.dataset.live}&after=${encodeURIComponent(position)}`);
      source.addEventListener("entry", came);
      source.onopen = () => button.classList.remove("broken");
      source.onerror = () => {
        button.classList.add("broken");
        if (source.readyState === EventSource.CLOSED) { close(); setTimeout(() => { fetchRows(); open(); }, 5000); }
      };
    }

    function close() { source?.close(); source = null; }

    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      if (on) open(); else close();
    });
    fresh.addEventListener("click", () => { window.scrollTo(0, 0); show(); });
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    window.addEventListener("pagehide", close);
    window.addEventListener("pageshow", open);
    open();
  }

  // Histogram: counting may take longer than listing, so it comes by itself.
  function chart(place) {
    let figure = place, asked = 0;
    place.textContent = "Counting …";
    async function load() {
      asked = Date.now();
      try {
        const answer = await fetch(place.dataset.chart);
        const drawn = answer.ok ? one(".histogram", new DOMParser().parseFromString(await answer.text(), "text/html")) : null;
        if (!drawn) { figure.hidden = true; return; }
        const next = document.importNode(drawn, true);
        figure.replaceWith(next);
        figure = next;
        showTimes(figure);
        histogram(figure);
      } catch { figure.hidden = true; }
    }
    load();
    document.addEventListener("rows", () => { if (Date.now() - asked > 15000) load(); });
  }

  // A drag from bar to bar selects the time between them.
  function histogram(figure) {
    const bars = all("a[data-since]", figure);
    let from = -1, to = -1;
    const at = (event) => {
      const box = one("svg", figure).getBoundingClientRect();
      const place = Math.floor(((event.clientX - box.left) / box.width) * bars.length);
      return Math.min(bars.length - 1, Math.max(0, place));
    };
    const mark = () => bars.forEach((bar, index) => bar.classList.toggle("in", from >= 0 && index >= Math.min(from, to) && index <= Math.max(from, to)));
    figure.addEventListener("dragstart", (event) => event.preventDefault());
    figure.addEventListener("pointerdown", (event) => {
      if (event.button || !event.target.closest("svg")) return;
      from = to = at(event);
      mark();
    });
    window.addEventListener("pointermove", (event) => { if (from >= 0) { to = at(event); mark(); } });
    window.addEventListener("pointerup", () => {
      if (from < 0) return;
      const [first, last] = [Math.min(from, to), Math.max(from, to)];
      from = -1;
      if (first === last) { mark(); return; }
      const wanted = new URL(figure.dataset.address, location.href);
      wanted.searchParams.set("since", bars[first].dataset.since);
      wanted.searchParams.set("until", bars[last].dataset.until);
      location.assign(wanted);
    });
    window.addEventListener("pointercancel", () => { from = -1; mark(); });
  }

  // Keys: single ones, which can be switched off.
  function keys() {
    const dialog = one("#keys"), box = one("#keys-on"), help = one("[data-keys]");
    const wanted = () => { try { return localStorage.getItem("keys") !== "off"; } catch { return true; } };
    help.hidden = false;
    help.addEventListener("click", () => dialog.showModal());
    box.checked = wanted();
    box.addEventListener("change", () => { try { localStorage.setItem("keys", box.checked ? "on" : "off"); } catch { /* not kept */ } });

    function step(by) {
      const rows = all(".entry", document);
      if (!rows.length) return;
      const now = rows.findIndex((row) => row.classList.contains("at-cursor"));
      const next = Math.min(rows.length - 1, Math.max(0, now < 0 ? 0 : now + by));
      rows[now]?.classList.remove("at-cursor");
      rows[next].classList.add("at-cursor");
      one("a.to", rows[next]).focus({ preventScroll: true });
      rows[next].scrollIntoView({ block: "nearest" });
    }

    const acts = {
      j: () => step(1),
      k: () => step(-1),
      o: () => {
        const object = one(".entry.at-cursor")?.dataset.object ?? one("[data-object-link]")?.href;
        if (object) location.assign(object);
      },
      "/": () => one("[data-search]")?.focus(),
      "[": () => one("[data-newer]")?.click(),
      "]": () => one("[data-older]")?.click(),
      l: () => one("[data-live]")?.click(),
      "?": () => dialog.showModal(),
    };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || !wanted()) return;
      if (event.target.closest("input, select, textarea, [contenteditable]")) {
        if (event.key === "Escape") event.target.blur();
        return;
      }
      const act = acts[event.key];
      if (act) { event.preventDefault(); act(); }
    });
  }

  function copying() {
    if (!navigator.clipboard) return;
    for (const button of all("[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
    }
  }

  // The object's page: choose where to compare from, then where to.
  function points() {
    const from = one("[data-from]"), to = one("[data-to]");
    let chosen = "";
    for (const button of all("[data-point]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        if (chosen) {
          from.value = chosen;
          to.value = button.dataset.point;
          from.form.requestSubmit();
          return;
        }
        chosen = from.value = button.dataset.point;
        for (const other of all("[data-point]")) other.textContent = other === button ? "From here" : "Compare to here";
      });
    }
  }

  // A form's empty fields need not stand in the address.
  function tidy(form) {
    form.addEventListener("submit", () => {
      for (const field of all("input, select", form)) field.disabled = !field.value;
    });
    window.addEventListener("pageshow", () => { for (const field of all("input, select", form)) field.disabled = false; });
  }

  const list = one("[data-entries]");
  showTimes();
  setInterval(() => showTimes(), 15000);
  if (list) { showDays(list); live(list); }
  all("[data-histogram]").forEach(histogram);
  all("[data-chart]").forEach(chart);
  all(".filters").forEach(tidy);
  all("[data-end]").forEach((log) => { log.scrollTop = log.scrollHeight; });
  keys();
  copying();
  points();
})();
