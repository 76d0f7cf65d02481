"use strict";
// The table of checkpoints: one page of it at a time, so that ten thousand stay usable. All text goes in as text.
const PAGE = 100, MOST_PRINTED = 2000, FIXED = ["checkpoint", "verdict", "what was found"];
const data = JSON.parse(document.getElementById("data").textContent);
const titles = [...FIXED, ...data.columns];
const marks = {backdoored: "▲", suspect: "◆", unknown: "?", error: "✕", clean: "●", skipped: "○"};
const severity = Object.keys(marks);
// A row is [href, name, outcome, said, ...columns]; column c of the table is entry c + 1 of it.
const rows = data.rows, shown = {rows, page: 0, size: PAGE, column: null, down: false};
const words = rows.map(row => row.slice(1).join("\n").toLowerCase());
const filters = [];
const element = (name, text, parent) => {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (parent) parent.append(made);
  return made;
};
const isText = title => FIXED.includes(title) || data.texts.includes(title);

function value(row, column) {
  return column === 1 ? severity.indexOf(row[2]) : row[column + 1];
}

function compare(left, right) {
  const a = value(left, shown.column), b = value(right, shown.column);
  // What has no value comes last, whichever way.
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return shown.down ? -order : order;
}

function update() {
  const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = filters.filter(each => each.select.value !== "");
  shown.rows = rows.filter((row, k) =>
    asked.every(word => words[k].includes(word)) && chosen.every(each => String(row[each.entry]) === each.select.value));
  if (shown.column !== null) shown.rows.sort(compare);
  shown.page = 0;
  draw();
}

function cells(row) {
  const line = document.createElement("tr");
  const link = element("a", row[1], element("td", null, line));
  link.href = row[0];
  link.className = "name";
  const badge = element("span", null, element("td", null, line));
  badge.className = `badge ${row[2]}`;
  element("span", marks[row[2]] + " ", badge).setAttribute("aria-hidden", "true");
  badge.append(row[2]);
  const said = element("td", row[3], line);
  said.className = "said name";
  data.columns.forEach((title, k) => {
    const item = row[k + 4];
    const text = title === "clean accuracy" && item !== null ? `${(100 * item).toFixed(1)} %`
      : typeof item === "number" && !Number.isInteger(item) ? item.toPrecision(4) : item;
    element("td", text, line).className = isText(title) ? "text name" : "number";
  });
  return line;
}

function draw() {
  const pages = Math.max(1, Math.ceil(shown.rows.length / shown.size)), start = shown.page * shown.size;
  const body = document.querySelector("#table tbody");
  body.replaceChildren(...shown.rows.slice(start, start + shown.size).map(cells));
  count.textContent = `${shown.rows.length} of ${rows.length} checkpoints`;
  page.textContent = `Page ${shown.page + 1} of ${pages}`;
  previous.disabled = shown.page === 0;
  next.disabled = shown.page + 1 >= pages;
}

function head() {
  const line = element("tr", null, document.querySelector("#table thead"));
  titles.forEach((title, column) => {
    const cell = element("th", null, line);
    cell.scope = "col";
    if (!isText(title)) cell.className = "number";
    const button = element("button", title, cell);
    button.type = "button";
    if (data.hints[title]) button.title = data.hints[title];
    button.addEventListener("click", () => {
      shown.down = shown.column === column && !shown.down;
      shown.column = column;
      for (const other of line.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", shown.down ? "descending" : "ascending");
      update();
    });
  });
}

function filter(title, entry) {
  const counts = new Map();
  for (const row of rows) if (row[entry] !== null) counts.set(row[entry], (counts.get(row[entry]) ?? 0) + 1);
  if (counts.size < 2 && title !== "reason" || counts.size === 0) return;
  const label = element("label", title, document.getElementById("filters"));
  const select = element("select", null, label);
  element("option", "all", select).value = "";
  for (const [name, many] of [...counts].sort((a, b) => b[1] - a[1]).slice(0, 200)) {
    element("option", `${String(name).slice(0, 60)} (${many})`, select).value = name;
  }
  select.addEventListener("change", update);
  filters.push({entry, select});
}

const search = document.getElementById("search"), count = document.getElementById("count");
const page = document.getElementById("page"), previous = document.getElementById("previous");
const next = document.getElementById("next");
search.addEventListener("input", update);
previous.addEventListener("click", () => { shown.page -= 1; draw(); });
next.addEventListener("click", () => { shown.page += 1; draw(); });
addEventListener("beforeprint", () => { shown.size = MOST_PRINTED; shown.page = 0; draw(); });
addEventListener("afterprint", () => { shown.size = PAGE; draw(); });
head();
filter("verdict", 2);
data.columns.forEach((title, k) => { if (data.texts.includes(title)) filter(title, k + 4); });
draw();
