// The frame of every chart: size, keys, legend, table, CSV and PNG.

import { header, make, rows, save, say } from "../dom.js";
import * as format from "../format.js";
import { css, powers, ratio } from "./draw.js";

export class Chart {
  constructor(figure) {
    this.figure = figure;
    this.name = figure.dataset.name;
    this.host = make("div", "canvas", figure);
    this.host.tabIndex = 0;
    this.host.setAttribute("role", "application");
    this.host.setAttribute("aria-roledescription", "chart");
    this.legend = make("ul", "legend", figure);
    const tools = make("p", "tools", figure);
    for (const [text, act] of [["PNG", () => this.png()], ["CSV", () => this.csv()],
      ["Table", (button) => this.toggleTable(button)]]) {
      const button = make("button", "", tools);
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-label", `${text} of ${figure.querySelector("h3").textContent}`);
      button.addEventListener("click", () => act(button));
    }
    this.table = make("div", "table scroll", figure);
    this.table.hidden = true;
    this.seen = false;
    this.late = null; // what the plot lacks: "draw" or only "update"
    this.host.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.resize()).observe(this.host);
    // Nothing is painted that nobody sees: a chart off the screen catches up when it comes into view.
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      if (this.seen) this.catchUp();
    }).observe(this.host);
  }

  width() {
    return Math.max(240, Math.floor(this.host.clientWidth));
  }

  height() {
    return Math.round(Math.min(340, Math.max(220, this.width() * 0.62)));
  }

  resize() {
    if (this.plot && this.width() !== this.plot.width) {
      this.plot.setSize({ width: this.width(), height: this.height() });
    }
  }

  draw(data, context) {
    this.data = data;
    this.context = context;
    this.late = "draw";
    if (this.seen || !this.plot) this.catchUp();
    this.tell();
    if (!this.table.hidden) this.fillTable();
  }

  // Moving "you are here" needs no new plot.
  update(context) {
    if (!this.plot) return;
    this.context = context;
    this.late ??= "update";
    if (this.seen) this.catchUp();
    this.tell();
  }

  catchUp() {
    if (this.late === "draw") this.paint();
    else if (this.late === "update") this.plot.redraw(false);
    this.late = null;
  }

  paint() {
    const { options, columns } = this.build();
    this.plot?.destroy();
    this.plot = new uPlot(
      { width: this.width(), height: this.height(), legend: { show: false }, ...options },
      columns, this.host,
    );
  }

  tell() {
    this.host.setAttribute("aria-label", `${this.summary()} Arrow keys read values.`);
    this.showLegend(null);
  }

  // The same in other colours.
  redraw() {
    if (!this.plot) return;
    this.late = "draw";
    this.catchUp();
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.plot) return;
    event.preventDefault();
    const xs = this.plot.data[0];
    const now = this.plot.cursor.idx ?? this.nearest(xs, this.hereX());
    const next = Math.min(xs.length - 1, Math.max(0, now + step));
    this.plot.setCursor({
      left: this.plot.valToPos(xs[next], "x"),
      top: this.plot.cursor.top > 0 ? this.plot.cursor.top : this.startTop(),
    });
    this.speak(next);
  }

  startTop() {
    return 40;
  }

  speak(index) {
    say(this.legendItems(index).map((each) => `${each.text} ${each.value ?? ""}`).join(", "));
  }

  nearest(xs, x) {
    let best = 0;
    xs.forEach((each, i) => {
      if (Math.abs(Math.log(each / x)) < Math.abs(Math.log(xs[best] / x))) best = i;
    });
    return best;
  }

  showLegend(index) {
    this.legend.replaceChildren();
    for (const each of index === null ? this.hereItems() : this.legendItems(index)) {
      const item = make("li", "", this.legend);
      if (each.colour) {
        const swatch = make("i", each.kind ?? "swatch", item);
        swatch.style.color = each.colour;
      }
      make("span", each.strong ? "strong" : "", item).textContent = each.text;
      if (each.value !== undefined) make("b", "", item).textContent = each.value;
    }
  }

  baseOptions() {
    return {
      cursor: {
        drag: { x: false, y: false },
        points: { size: 7 },
        y: false,
      },
      hooks: {
        setCursor: [(u) => this.showLegend(u.cursor.left < 0 ? null : u.cursor.idx)],
      },
      padding: [14, 14, 0, 4],
    };
  }

  axis(more) {
    return {
      stroke: css("--muted"),
      grid: { stroke: css("--grid"), width: 1 },
      ticks: { stroke: css("--grid"), width: 1, size: 5 },
      font: `11px ${css("--sans")}`,
      labelFont: `11px ${css("--sans")}`,
      labelSize: 18,
      labelGap: 2,
      ...more,
    };
  }

  budgetAxis() {
    return this.axis({
      label: "budget, FLOPs",
      size: 30,
      splits: (_, __, low, high) => powers(low, high),
      filter: (_, splits) => splits, // uPlot would leave out every second power
      values: (_, splits) => splits.map(format.power),
    });
  }

  logScale(values) {
    return { distr: 3, range: () => [values[0], values[values.length - 1]], time: false };
  }

  toggleTable(button) {
    this.table.hidden = !this.table.hidden;
    button.setAttribute("aria-expanded", String(!this.table.hidden));
    if (!this.table.hidden) this.fillTable();
  }

  fillTable() {
    const columns = this.columns();
    const table = make("table", "numbers");
    header(table, columns.map((each) => each.title));
    rows(table, columns[0].values.map((_, i) => columns.map(({ values, show }) =>
      (values[i] === null || values[i] === "" ? "–" : show(values[i])))));
    this.table.replaceChildren(table);
  }

  // Column heads as in the command line's files, then a row for every value.
  records() {
    const columns = this.columns();
    return [columns.map((each) => each.key),
      ...columns[0].values.map((_, i) => columns.map((each) => each.values[i]))];
  }

  csv() {
    const text = this.records().map((row) => row.map(csvCell).join(",")).join("\n");
    save(new Blob([`${text}\n`], { type: "text/csv" }), `${this.name}.csv`);
  }

  // The chart with its title and legend, so that it can stand in a document by itself.
  png() {
    const source = this.plot.ctx.canvas;
    const scale = ratio();
    const items = this.hereItems();
    const [top, step] = [52 * scale, 20 * scale];
    const canvas = document.createElement("canvas");
    canvas.width = source.width;
    canvas.height = source.height + top + (items.length * step) + 16 * scale;
    const pen = canvas.getContext("2d");
    pen.fillStyle = css("--paper");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = css("--ink");
    pen.font = `600 ${15 * scale}px ${css("--sans")}`;
    pen.fillText(this.figure.querySelector("h3").textContent, 14 * scale, 22 * scale);
    pen.fillStyle = css("--muted");
    pen.font = `${11 * scale}px ${css("--sans")}`;
    pen.fillText(`${this.context.view.title}. Hatched: outside the measured range. ${location.href}`, 14 * scale, 40 * scale);
    pen.drawImage(source, 0, top);
    items.forEach((each, i) => {
      const y = top + source.height + (i + 0.7) * step;
      if (each.colour) {
        pen.fillStyle = each.colour;
        pen.fillRect(14 * scale, y - 7 * scale, 14 * scale, 5 * scale);
      }
      pen.fillStyle = css("--ink");
      pen.fillText(`${each.text}  ${each.value ?? ""}`, 36 * scale, y);
    });
    canvas.toBlob((blob) => save(blob, `${this.name}.png`), "image/png");
  }
}

// A text that a spreadsheet would run as a formula is quoted as text.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+@-]/.test(value) ? `'${value}` : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// A column of a chart's table: its name in files, its title with the unit, how a value is written.
export const column = (key, title, values, show = String) => ({ key, title, values, show });
