// Elements, and the little that several modules do with them.

export const $ = (id) => document.getElementById(id);

export function make(tag, className = "", parent = null) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  parent?.append(element);
  return element;
}

export function item(tag, text, className = "") {
  const element = make(tag, className);
  element.textContent = text;
  return element;
}

export function header(table, cells) {
  const row = make("tr", "", make("thead", "", table));
  for (const cell of cells) {
    const th = make("th", "", row);
    th.scope = "col";
    th.textContent = cell;
  }
}

export function rows(table, all) {
  const body = make("tbody", "", table);
  for (const [first, ...cells] of all) {
    const row = make("tr", "", body);
    const th = make("th", "", row);
    th.scope = "row";
    th.textContent = first;
    for (const cell of cells) make("td", "", row).textContent = cell;
  }
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function scrollTo(element) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "center" });
}

// One polite region for everything that is said aloud; of many changes in a row only the last.
let saying = 0;
export function say(text, delay = 0) {
  clearTimeout(saying);
  saying = setTimeout(() => { $("live").textContent = text; }, delay);
}
