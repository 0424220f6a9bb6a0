// Where distillation wins, over budgets and student sizes; the mark "you" can be dragged.

import * as format from "../format.js";
import { make } from "../dom.js";
import { Chart, column } from "./chart.js";
import { measured, placed } from "./curves.js";
import { css, dot, edges, hatch, label, line, powers, ratio, rgb, vertical } from "./draw.js";

const FULL_COLOUR = 0.1; // nats at which a side has its full colour

export class MapChart extends Chart {
  build() {
    const { budgets, students } = this.data;
    const base = this.baseOptions();
    return {
      columns: [budgets, budgets.map(() => null)],
      options: {
        ...base,
        cursor: { ...base.cursor, y: true, points: { show: false } },
        series: [{}, { points: { show: false } }],
        scales: {
          x: this.logScale(budgets),
          y: { distr: 3, range: () => [students[0], students[students.length - 1]] },
        },
        axes: [{ ...this.budgetAxis(), grid: { show: false } }, this.axis({
          label: "student, parameters", size: 50, grid: { show: false },
          splits: (_, __, low, high) => powers(low, high),
          filter: (_, splits) => splits,
          values: (_, splits) => splits.map((v) => format.count(v)),
        })],
        hooks: {
          ...base.hooks,
          drawClear: [(u) => this.cells(u)],
          draw: [(u) => this.marks(u)],
        },
      },
    };
  }

  cells(u) {
    const { budgets, students, difference, inside } = this.data;
    const { ctx, bbox } = u;
    const xEdges = edges(budgets).map((v) => u.valToPos(v, "x", true));
    const yEdges = edges(students).map((v) => u.valToPos(v, "y", true));
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const outside = new Path2D();
    const shadeOf = colours();
    students.forEach((_, row) => budgets.forEach((__, column) => {
      const value = difference[row][column];
      const [x0, x1] = [Math.round(xEdges[column]), Math.round(xEdges[column + 1])];
      const [y0, y1] = [Math.round(yEdges[row + 1]), Math.round(yEdges[row])];
      if (value !== null) {
        ctx.fillStyle = shadeOf(value);
        ctx.fillRect(x0, y0, x1 - x0, y1 - y0);
      }
      if (value !== null && !inside[row][column]) outside.rect(x0, y0, x1 - x0, y1 - y0);
    }));
    ctx.fillStyle = hatch(ctx, css("--hatch-map"));
    ctx.fill(outside);
    ctx.restore();
    this.island(u, xEdges, yEdges);
  }

  marks(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const [[x0, y0], [x1, y1]] of this.ties()) {
      line(u, u.valToPos(x0, "x", true), u.valToPos(y0, "y", true),
        u.valToPos(x1, "x", true), u.valToPos(y1, "y", true), css("--ink"), 2);
    }
    ctx.restore();
    const { budget } = this.context.view;
    const student = this.context.view.student.parameters;
    vertical(u, budget, css("--ink"), 1, [3, 3]);
    if (!student) return;
    const { students } = this.data;
    const [least, most] = [students[0], students[students.length - 1]];
    const shown = Math.min(most, Math.max(least, student));
    const top = u.valToPos(shown, "y", true);
    const at = u.valToPos(budget, "x", true);
    const right = at < bbox.left + bbox.width * 0.6;
    if (shown === student) {
      line(u, bbox.left, top, bbox.left + bbox.width, top, css("--ink"), 1, [3, 3]);
      dot(u, budget, student, css("--ink"), "circle", this.context.view.student.measured);
    }
    const off = student < shown ? " ↓ below the map" : student > shown ? " ↑ above the map" : "";
    const low = top - 11 * ratio() < bbox.top + 8 * ratio();
    label(u, `you${off}`, at + (right ? 9 : -9) * ratio(), top + (low ? 11 : -11) * ratio(), right ? "left" : "right");
  }

  // Marching squares along difference = 0, straight in log space.
  ties() {
    const { budgets, students, difference } = this.data;
    const found = [];
    const between = (a, b, va, vb) => Math.exp(Math.log(a) + (va / (va - vb)) * Math.log(b / a));
    for (let r = 0; r + 1 < students.length; r += 1) {
      for (let c = 0; c + 1 < budgets.length; c += 1) {
        const corners = [difference[r][c], difference[r][c + 1], difference[r + 1][c + 1], difference[r + 1][c]];
        if (corners.includes(null)) continue;
        const places = [[c, r], [c + 1, r], [c + 1, r + 1], [c, r + 1]].map(([x, y]) => [budgets[x], students[y]]);
        const points = [];
        for (let k = 0; k < 4; k += 1) {
          const [va, vb] = [corners[k], corners[(k + 1) % 4]];
          if ((va < 0) === (vb < 0)) continue;
          const [a, b] = [places[k], places[(k + 1) % 4]];
          points.push([a[0] === b[0] ? a[0] : between(a[0], b[0], va, vb),
            a[1] === b[1] ? a[1] : between(a[1], b[1], va, vb)]);
        }
        for (let k = 0; k + 1 < points.length; k += 2) found.push([points[k], points[k + 1]]);
      }
    }
    return found;
  }

  // A line around what was measured.
  island(u, xs, ys) {
    const { inside } = this.data;
    const at = (r, c) => Boolean(inside[r]?.[c]);
    const edge = (x0, y0, x1, y1) => line(u, x0, y0, x1, y1, css("--ink"), 1.2);
    inside.forEach((row, r) => row.forEach((here, c) => {
      if (!here) return;
      if (!at(r, c - 1)) edge(xs[c], ys[r], xs[c], ys[r + 1]);
      if (!at(r, c + 1)) edge(xs[c + 1], ys[r], xs[c + 1], ys[r + 1]);
      if (!at(r - 1, c)) edge(xs[c], ys[r], xs[c + 1], ys[r]);
      if (!at(r + 1, c)) edge(xs[c], ys[r + 1], xs[c + 1], ys[r + 1]);
    }));
  }

  // A click or a drag moves "you": the page is told the budget and the student.
  paint() {
    super.paint();
    const { over } = this.plot;
    const pick = (event) => {
      const { left, top, width, height } = over.getBoundingClientRect();
      const within = (value, most) => Math.min(most, Math.max(0, value));
      this.host.dispatchEvent(new CustomEvent("pick", { bubbles: true, detail: {
        budget: this.plot.posToVal(within(event.clientX - left, width), "x"),
        student: this.plot.posToVal(within(event.clientY - top, height), "y"),
      } }));
    };
    over.addEventListener("pointerdown", (event) => {
      over.setPointerCapture(event.pointerId);
      pick(event);
    });
    over.addEventListener("pointermove", (event) => { if (event.buttons) pick(event); });
    this.scale();
  }

  // What the colours mean, below the map.
  scale() {
    this.bar ??= make("div", "scale");
    this.host.after(this.bar);
    const shadeOf = colours();
    const stops = Array.from({ length: 41 }, (_, i) => (i / 20 - 1) * FULL_COLOUR);
    const steps = [[-FULL_COLOUR, `−${FULL_COLOUR} or less`], [0, "0"], [FULL_COLOUR, `+${FULL_COLOUR} or more, nats`]];
    const strip = make("i", "");
    strip.style.background = `linear-gradient(90deg, ${stops.map((v) => shadeOf(v)).join(", ")})`;
    const ends = make("p", "");
    for (const [, text] of steps) make("span", "", ends).textContent = text;
    const sides = make("p", "sides");
    for (const text of ["distillation better", "supervised better"]) make("span", "", sides).textContent = text;
    this.bar.replaceChildren(sides, strip, ends);
  }

  // Whether a student of that size stands on the map.
  holds(size) {
    const students = this.data?.students;
    return Boolean(students) && students[0] <= size && size <= students[students.length - 1];
  }

  hereX() {
    return this.context.view.budget;
  }

  // Up and down go through the students, left and right through the budgets.
  key(event) {
    const step = { ArrowDown: -1, ArrowUp: 1 }[event.key];
    if (!step || !this.plot) {
      super.key(event);
      return;
    }
    event.preventDefault();
    const { students } = this.data;
    const column = this.plot.cursor.idx ?? this.nearest(this.plot.data[0], this.hereX());
    const now = this.plot.cursor.idx === null || this.plot.cursor.idx === undefined
      ? this.nearest(students, this.context.view.student.parameters) : this.row();
    this.read(column, Math.min(students.length - 1, Math.max(0, now + step)));
  }

  startTop() {
    return this.plot.valToPos(this.data.students[this.nearest(this.data.students, this.context.view.student.parameters)], "y");
  }

  read(column, row) {
    const { budgets, students } = this.data;
    this.plot.setCursor({
      left: this.plot.valToPos(budgets[column], "x"), top: this.plot.valToPos(students[row], "y"),
    });
    this.speak(column);
  }

  row() {
    return this.nearest(this.data.students, this.plot.posToVal(this.plot.cursor.top, "y"));
  }

  legendItems(column) {
    const { budgets, students, difference, inside, held } = this.data;
    const row = this.row();
    return this.items(`near ${format.flops(budgets[column])} FLOPs, ${format.count(students[row])} student`,
      difference[row][column], inside[row][column], held[row][column]);
  }

  hereItems() {
    const { budget, student, supervised } = this.context.view;
    return this.items(`your ${format.flops(budget)} FLOPs, ${format.count(student.parameters)} student`,
      student.cross_entropy - supervised.cross_entropy, student.measured);
  }

  items(title, value, inside, held = false) {
    const words = held ? "held by a cap on tokens, not compared" : value === null ? "no plan fits" : value < 0 ? "distillation is better" : "supervised training is better";
    return [
      { text: title, strong: true },
      { text: words + (inside || value === null ? "" : " (extrapolated)"), value: format.signed(value) },
    ];
  }

  columns() {
    const { budgets, students, difference, inside } = this.data;
    const each = (value) => students.flatMap((_, r) => budgets.map((__, c) => value(r, c)));
    return [
      column("student_parameters", "student, parameters", each((r) => students[r]), format.count),
      column("budget_flops", "budget, FLOPs", each((_, c) => budgets[c]), format.flops),
      column("difference", "distilled minus supervised, nats/token", each((r, c) => difference[r][c]), format.signed),
      column("measured", "measured?", each((r, c) => measured(difference[r][c], inside[r][c])), placed),
    ];
  }

  summary() {
    const wins = this.data.difference.flat().filter((v) => v !== null && v < 0).length;
    const all = this.data.difference.flat().filter((v) => v !== null).length;
    return `Map of distillation’s loss minus supervised training’s over budgets and student sizes: distillation is better in ${wins} of ${all} cells.`;
  }
}

// From a difference in nats to its colour.
function colours() {
  const [win, lose, paper] = ["--win", "--lose", "--paper"].map((name) => rgb(css(name)));
  return (value) => {
    const strength = Math.min(1, 0.12 + 0.88 * Math.sqrt(Math.abs(value) / FULL_COLOUR));
    const side = value < 0 ? win : lose;
    return `rgb(${paper.map((p, k) => Math.round(p + strength * (side[k] - p))).join(",")})`;
  };
}
