// The four charts on uPlot. Every chart shades where the law was never measured, follows the keys,
// tells its values in its legend, and can be had as PNG, CSV and a table.

import * as format from "./format.js";

const METHOD_WORDS = {
  "best-case": "best case: teacher costs nothing",
  "teacher-inference": "pay teacher inference",
  "teacher-pretraining": "pay teacher pretraining",
  full: "pay both (full)",
  custom: "pay your shares (custom)",
};
const TERMS = {
  student_training: "student training",
  teacher_inference: "teacher inference",
  teacher_pretraining: "teacher pretraining",
  serving: "serving",
};

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const ratio = () => window.devicePixelRatio || 1;

// ---------------------------------------------------------------- drawing helpers

function hatch(context, colour = css("--hatch")) {
  const size = Math.round(7 * ratio());
  const tile = document.createElement("canvas");
  tile.width = tile.height = size;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = ratio();
  pen.beginPath();
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

function shade(u, ranges, colour, hatched = true) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const [low, high] of ranges) {
    const left = low === null ? bbox.left : u.valToPos(low, "x", true);
    const right = high === null ? bbox.left + bbox.width : u.valToPos(high, "x", true);
    ctx.fillStyle = css("--shade");
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    if (!hatched) continue;
    ctx.fillStyle = hatch(ctx, colour);
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

// Budgets without a plan are grey, those where the plan leaves what was measured hatched.
function shadeRanges(u, xs, values, inside, colour) {
  shade(u, rangesWithout(xs, values.map((v, i) => v === null || inside[i])), colour);
  const none = rangesWithout(xs, values.map((v) => v !== null));
  shade(u, none, colour, false);
  for (const [low, high] of none) {
    const left = low === null ? u.bbox.left : u.valToPos(low, "x", true);
    const right = high === null ? u.bbox.left + u.bbox.width : u.valToPos(high, "x", true);
    if (right - left > 90 * ratio()) {
      label(u, "no plan fits", (left + right) / 2, u.bbox.top + u.bbox.height / 2, "center", css("--muted"));
    }
  }
}

// Ranges of x where something does not hold, bounded halfway between grid points.
function rangesWithout(xs, inside) {
  const found = [];
  let start = null;
  const middle = (a, b) => Math.sqrt(xs[a] * xs[b]);
  for (let i = 0; i < xs.length; i += 1) {
    if (!inside[i] && start === null) start = i === 0 ? [null] : [middle(i - 1, i)];
    if (inside[i] && start !== null) {
      found.push([start[0], middle(i - 1, i)]);
      start = null;
    }
  }
  if (start !== null) found.push([start[0], null]);
  return found;
}

function line(u, x0, y0, x1, y1, colour, width = 1, dash = []) {
  const { ctx } = u;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = width * ratio();
  ctx.setLineDash(dash.map((each) => each * ratio()));
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
  ctx.restore();
}

function vertical(u, x, colour, width = 1, dash = []) {
  const at = u.valToPos(x, "x", true);
  line(u, at, u.bbox.top, at, u.bbox.top + u.bbox.height, colour, width, dash);
}

// Hollow where the point lies outside what was measured.
function dot(u, x, y, colour, shape = "circle", measured = true) {
  const { ctx, bbox } = u;
  const left = u.valToPos(x, "x", true);
  const top = u.valToPos(y, "y", true);
  if (left < bbox.left - 1 || left > bbox.left + bbox.width + 1) return;
  if (top < bbox.top - 1 || top > bbox.top + bbox.height + 1) return;
  const size = 5 * ratio();
  ctx.save();
  ctx.fillStyle = colour;
  ctx.strokeStyle = css("--paper");
  ctx.lineWidth = 2 * ratio();
  ctx.beginPath();
  if (shape === "circle") ctx.arc(left, top, size, 0, 2 * Math.PI);
  else {
    ctx.moveTo(left, top - size);
    ctx.lineTo(left + size, top);
    ctx.lineTo(left, top + size);
    ctx.lineTo(left - size, top);
    ctx.closePath();
  }
  ctx.stroke();
  ctx.fill();
  if (!measured) {
    ctx.clip();
    ctx.fillStyle = css("--paper");
    ctx.beginPath();
    const inner = size - 2 * ratio();
    ctx.arc(left, top, shape === "circle" ? inner : inner * 0.75, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.restore();
}

function label(u, text, x, y, align = "left", colour = css("--ink")) {
  const { ctx } = u;
  ctx.save();
  ctx.font = `600 ${11 * ratio()}px ${css("--sans")}`;
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  ctx.lineWidth = 4 * ratio();
  ctx.lineJoin = "round";
  ctx.strokeStyle = css("--paper");
  ctx.strokeText(text, x, y);
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
  ctx.restore();
}

// "You are here", on the side of the line that has room.
function here(u, x, text) {
  vertical(u, x, css("--ink"), 1, [3, 3]);
  const at = u.valToPos(x, "x", true);
  const right = at < u.bbox.left + u.bbox.width * 0.6;
  label(u, text, at + (right ? 6 : -6) * ratio(), u.bbox.top + 9 * ratio(), right ? "left" : "right");
}

// ---------------------------------------------------------------- the frame of every chart

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.name = figure.dataset.name;
    this.host = make("div", "canvas", figure);
    this.host.tabIndex = 0;
    this.host.setAttribute("role", "img");
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
    this.host.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.resize()).observe(this.host);
  }

  width() {
    return Math.max(240, Math.floor(this.host.clientWidth));
  }

  height() {
    return Math.round(Math.min(340, Math.max(250, this.width() * 0.62)));
  }

  resize() {
    if (this.plot && this.width() !== this.plot.width) {
      this.plot.setSize({ width: this.width(), height: this.height() });
    }
  }

  draw(data, context) {
    this.data = data;
    this.context = context;
    const { options, columns } = this.build();
    this.plot?.destroy();
    this.plot = new uPlot(
      { width: this.width(), height: this.height(), legend: { show: false }, ...options },
      columns, this.host,
    );
    this.host.setAttribute("aria-label", `${this.summary()} Arrow keys read values.`);
    this.showLegend(null);
    if (!this.table.hidden) this.fillTable();
  }

  // Moving "you are here" needs no new plot.
  update(context) {
    if (!this.plot) return;
    this.context = context;
    this.plot.redraw(false);
    this.host.setAttribute("aria-label", `${this.summary()} Arrow keys read values.`);
    this.showLegend(null);
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
    document.getElementById("live").textContent = this.legendItems(index)
      .map((each) => `${each.text} ${each.value ?? ""}`).join(", ");
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
    const [head, ...rows] = this.rows();
    const table = make("table", "numbers");
    const top = make("tr", "", make("thead", "", table));
    for (const cell of head) make("th", "", top).textContent = cell;
    const body = make("tbody", "", table);
    for (const row of rows) {
      const tr = make("tr", "", body);
      for (const cell of row) {
        make("td", "", tr).textContent = typeof cell === "number" ? Number(cell.toPrecision(6)) : cell ?? "–";
      }
    }
    this.table.replaceChildren(table);
  }

  csv() {
    const text = this.rows().map((row) => row.map(csvCell).join(",")).join("\n");
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
    pen.fillText(`${this.context.title}. Hatched: outside the measured range.`, 14 * scale, 40 * scale);
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

// ---------------------------------------------------------------- loss against budget

export class LossChart extends Chart {
  build() {
    const { budgets, supervised, methods } = this.data;
    const chosen = chosenOf(methods);
    const columns = [budgets];
    const series = [{}];
    const add = (values, inside, colour, width) => {
      columns.push(values.map((v, i) => (inside[i] ? v : null)));
      series.push({ stroke: colour, width, points: { show: false } });
      columns.push(values.map((v, i) => (inside[i] && (inside[i - 1] ?? true) && (inside[i + 1] ?? true) ? null : v)));
      series.push({ stroke: colour, width, dash: [2, 3], points: { show: false } });
    };
    for (const each of methods) {
      add(each.cross_entropy, each.inside, css(`--${each.name}`), each === chosen ? 2.6 : 1.5);
    }
    add(supervised.cross_entropy, supervised.inside, css("--ink"), 2);
    const losses = [supervised.cross_entropy, ...methods.map((m) => m.cross_entropy)];
    const finite = losses.flat().filter((v) => v !== null);
    const low = Math.min(...finite);
    const typical = supervised.cross_entropy.filter((v) => v !== null).sort((a, b) => a - b);
    const usual = typical[Math.floor(0.72 * typical.length)] ?? Math.max(...finite);
    const range = () => {
      const mine = Math.max(this.context.loss ?? 0, this.context.supervised ?? 0);
      const high = Math.max(usual, mine + 0.02, low + 0.2);
      return [low - 0.03 * (high - low), high + 0.06 * (high - low)];
    };
    const base = this.baseOptions();
    return {
      columns,
      options: {
        ...base,
        series,
        scales: { x: this.logScale(budgets), y: { range } },
        axes: [this.budgetAxis(), this.axis({ label: "loss, nats per token", size: 48 })],
        hooks: {
          ...base.hooks,
          drawClear: [(u) => shadeRanges(u, budgets, chosen.cross_entropy, chosen.inside)],
          draw: [(u) => this.marks(u, methods)],
        },
      },
    };
  }

  marks(u, methods) {
    here(u, this.context.budget, "you");
    for (const each of methods) {
      for (const cross of each.crossovers) {
        dot(u, cross.budget, cross.loss ?? this.supervisedAt(cross.budget), css(`--${each.name}`), "diamond", cross.inside);
      }
    }
    const { budget, loss, supervised, outside } = this.context;
    const mine = css(`--${chosenOf(methods).name}`);
    if (supervised) dot(u, budget, supervised, css("--ink"), "circle", !outside.supervised);
    if (loss) dot(u, budget, loss, mine, "circle", !outside.recipe);
  }

  supervisedAt(budget) {
    const { budgets, supervised } = this.data;
    const i = Math.max(1, budgets.findIndex((b) => b >= budget));
    const part = Math.log(budget / budgets[i - 1]) / Math.log(budgets[i] / budgets[i - 1]);
    return (1 - part) * supervised.cross_entropy[i - 1] + part * supervised.cross_entropy[i];
  }

  hereX() {
    return this.context.budget;
  }

  legendItems(i) {
    const { budgets, supervised, methods } = this.data;
    return this.items(
      `at ${format.flops(budgets[i])} FLOPs`,
      marked(supervised.cross_entropy[i], supervised.inside[i]),
      (each) => marked(each.cross_entropy[i], each.inside[i]),
    );
  }

  // At the user's own budget, from the plan itself. A method is found by what the budget pays: an
  // existing teacher's pretraining is paid already, whatever the scenario is called.
  hereItems() {
    const { plan, outside } = this.context;
    const found = (method) => {
      if (method.chosen) return marked(plan.recipe.student.cross_entropy, !outside.recipe);
      const each = plan.scenarios.find((other) => other.name === method.name);
      return each ? marked(each.cross_entropy, !each.outside_domain) : "–";
    };
    return this.items(`at your ${format.flops(plan.problem.budget)} FLOPs`,
      marked(plan.supervised.cross_entropy, !outside.supervised), found);
  }

  items(title, direct, value) {
    return [
      { text: `${title} (✳ extrapolated)`, strong: true },
      { colour: css("--ink"), text: "train directly", kind: "stroke", value: direct },
      ...this.data.methods.map((each) => ({
        colour: css(`--${each.name}`), kind: "stroke", strong: each.chosen,
        text: METHOD_WORDS[each.name] + crossWords(each.crossovers), value: value(each),
      })),
    ];
  }

  rows() {
    const { budgets, supervised, methods } = this.data;
    const head = ["budget_flops", "supervised", "supervised_measured",
      ...methods.flatMap((each) => [each.name, `${each.name}_measured`])];
    return [head, ...budgets.map((budget, i) => [budget,
      ...[supervised, ...methods].flatMap((each) => [each.cross_entropy[i], measured(each.cross_entropy[i], each.inside[i])])])];
  }

  summary() {
    const words = crossWords(chosenOf(this.data.methods).crossovers);
    return `Loss against budget for ${this.data.methods.length} ways to pay and direct training; `
      + `at your budget distilling reaches ${format.loss(this.context.loss ?? null)}, training `
      + `directly ${format.loss(this.context.supervised ?? null)} nats per token${words}.`;
  }
}

function crossWords(crossovers) {
  return crossovers.map(({ starts_to_win, budget, inside }) =>
    `; wins ${starts_to_win ? "above" : "below"} ${format.flops(budget)}${inside ? "" : " ✳"}`).join("");
}

const chosenOf = (methods) => methods.find((each) => each.chosen) ?? methods[0];

// A loss, marked where it is extrapolated.
function marked(value, inside) {
  return value === null ? "no plan fits" : format.loss(value) + (inside ? "" : " ✳");
}

// In a table: whether a value lies where the law was measured; nothing where there is none.
const measured = (value, inside) => (value === null ? "" : String(inside));

// ---------------------------------------------------------------- split of compute

export class SplitChart extends Chart {
  build() {
    const { budgets } = this.data;
    const chosen = this.chosen();
    const terms = this.terms();
    let total = budgets.map(() => 0);
    const stacked = terms.map((name) => {
      total = total.map((sum, i) => (chosen.shares[name][i] === null ? null : sum + chosen.shares[name][i]));
      return [...total];
    });
    const base = this.baseOptions();
    return {
      columns: [budgets, ...stacked.reverse()],
      options: {
        ...base,
        series: [{}, ...terms.toReversed().map((name) => ({
          stroke: css("--paper"), width: 1, fill: css(`--${name}`), points: { show: false },
        }))],
        scales: { x: this.logScale(budgets), y: { range: [0, 1] } },
        axes: [this.budgetAxis(), this.axis({
          label: "share of the compute spent", size: 48,
          values: (_, splits) => splits.map((v) => `${Math.round(100 * v)}%`),
        })],
        hooks: {
          ...base.hooks,
          draw: [(u) => {
            shadeRanges(u, budgets, chosen.cross_entropy, chosen.inside, css("--over"));
            here(u, this.context.budget, "you");
          }],
        },
      },
    };
  }

  chosen() {
    return chosenOf(this.data.methods);
  }

  total(spent, budget) {
    return { text: "total", strong: true,
      value: spent === null ? "no plan fits" : `${format.flops(spent)} FLOPs, ${format.share(spent / budget)} of the budget` };
  }

  terms() {
    const { shares } = this.chosen();
    return Object.keys(TERMS).filter((name) => shares[name].some((v) => v > 0));
  }

  hereX() {
    return this.context.budget;
  }

  legendItems(i) {
    const chosen = this.chosen();
    const extrapolated = chosen.spent[i] !== null && !chosen.inside[i];
    return [
      { text: `at ${format.flops(this.data.budgets[i])} FLOPs${extrapolated ? " (extrapolated)" : ""}`, strong: true },
      ...this.terms().map((name) => ({
        colour: css(`--${name}`), text: TERMS[name], value: format.share(chosen.shares[name][i]),
      })),
      this.total(chosen.spent[i], this.data.budgets[i]),
      ...(chosen.spent[i] === null ? [] : this.models(chosen, i)),
    ];
  }

  models(chosen, i) {
    return [
      { text: "student", value: `${format.count(chosen.student_parameters[i])} on ${format.count(chosen.student_tokens[i])} tokens` },
      { text: "teacher", value: chosen.teacher_parameters[i] === null ? `loss ${format.loss(chosen.teacher_cross_entropy[i])}`
        : `${format.count(chosen.teacher_parameters[i])} on ${format.count(chosen.teacher_tokens[i])} tokens` },
    ];
  }

  hereItems() {
    const { recipe, problem } = this.context.plan;
    const model = (each) => (each.parameters === null || each.tokens === null
      ? `${each.parameters === null ? "" : `${format.count(each.parameters)}, `}loss ${format.loss(each.cross_entropy)}`
      : `${format.count(each.parameters)} on ${format.count(each.tokens)} tokens`);
    return [
      { text: `at your ${format.flops(problem.budget)} FLOPs${this.context.outside.recipe ? " (extrapolated)" : ""}`, strong: true },
      ...this.terms().map((name) => ({
        colour: css(`--${name}`), text: TERMS[name], value: format.share(recipe.flops.shares[name]),
      })),
      this.total(recipe.flops.total, problem.budget),
      { text: "student", value: model(recipe.student) },
      { text: "teacher", value: model(recipe.teacher) },
    ];
  }

  rows() {
    const chosen = this.chosen();
    const columns = ["student_parameters", "student_tokens", "teacher_parameters", "teacher_tokens", "teacher_cross_entropy"];
    return [["budget_flops", "spent_flops", ...Object.keys(TERMS).map((name) => `${name}_share`), ...columns, "measured"],
      ...this.data.budgets.map((budget, i) => [budget, chosen.spent[i],
        ...Object.keys(TERMS).map((name) => chosen.shares[name][i]),
        ...columns.map((name) => chosen[name][i]), measured(chosen.spent[i], chosen.inside[i])])];
  }

  summary() {
    const i = this.nearest(this.data.budgets, this.context.budget);
    const shares = this.terms().map((name) => `${TERMS[name]} ${format.share(this.chosen().shares[name][i])}`);
    return `Split of compute over the budget; near your budget ${shares.join(", ")}.`;
  }
}

// ---------------------------------------------------------------- capacity gap

export class GapChart extends Chart {
  build() {
    const xs = this.data.teacher_cross_entropy;
    const low = Math.min(...this.data.cross_entropy, this.data.supervised);
    const high = Math.max(this.data.supervised * 1.02, this.data.here.cross_entropy + 0.02, low + 0.1);
    const top = Math.min(Math.max(...this.data.cross_entropy), Math.max(high, low + 2.2 * (high - low)));
    const known = this.data.measured;
    const outside = known ? [[null, known[0]], [known[1], null]] : [[null, null]];
    const base = this.baseOptions();
    return {
      columns: [xs, this.data.cross_entropy, xs.map((v) => v), xs.map(() => this.data.supervised)],
      options: {
        ...base,
        series: [{},
          { stroke: css("--accent"), width: 2.6, points: { show: false } },
          { stroke: css("--muted"), width: 1, dash: [6, 4], points: { show: false } },
          { stroke: css("--ink"), width: 1.5, points: { show: false } }],
        scales: {
          x: { time: false, range: () => [xs[0], xs[xs.length - 1]] },
          y: { range: () => [low - 0.05 * (top - low), top + 0.03 * (top - low)] },
        },
        axes: [this.axis({ label: "teacher’s loss, nats per token (better to the left)", space: 40, size: 30 }),
          this.axis({ label: "student’s loss, nats per token", size: 48 })],
        hooks: {
          ...base.hooks,
          drawClear: [(u) => shade(u, outside)],
          draw: [(u) => {
            here(u, this.data.here.teacher_cross_entropy, "your teacher");
            for (const [point, shape] of [[this.data.best, "diamond"], [this.data.here, "circle"]]) {
              const { teacher_cross_entropy: x, cross_entropy: y } = point;
              dot(u, x, y, css("--accent"), shape, this.isMeasured(x));
            }
          }],
        },
      },
    };
  }

  hereX() {
    return this.data.here.teacher_cross_entropy;
  }

  isMeasured(teacher) {
    const known = this.data.measured;
    return Boolean(known) && known[0] * (1 - 1e-9) <= teacher && teacher <= known[1] * (1 + 1e-9);
  }

  legendItems(i) {
    const teacher = this.data.teacher_cross_entropy[i];
    return this.items(`teacher at ${format.loss(teacher)}`, teacher, this.data.cross_entropy[i]);
  }

  hereItems() {
    const { here: mine } = this.data;
    const teacher = mine.teacher_cross_entropy;
    return this.items(`your teacher at ${format.loss(teacher)}`, teacher, mine.cross_entropy);
  }

  items(title, teacher, student) {
    const { best } = this.data;
    const mark = (each) => (this.isMeasured(each) ? "" : " ✳");
    return [
      { text: `${title}${mark(teacher)} (✳ unmeasured)`, strong: true },
      { colour: css("--accent"), text: "student", kind: "stroke", value: format.loss(student) },
      { colour: css("--ink"), text: "same tokens, no teacher", kind: "stroke", value: format.loss(this.data.supervised) },
      { colour: css("--muted"), text: "as good as its teacher", kind: "stroke" },
      { colour: css("--accent"), text: "best teacher", kind: "lozenge",
        value: `${format.loss(best.teacher_cross_entropy)} → ${format.loss(best.cross_entropy)}${mark(best.teacher_cross_entropy)}` },
    ];
  }

  rows() {
    return [["teacher_cross_entropy", "student_cross_entropy", "supervised_cross_entropy", "measured"],
      ...this.data.teacher_cross_entropy.map((x, i) => [x, this.data.cross_entropy[i], this.data.supervised, String(this.isMeasured(x))])];
  }

  summary() {
    const { best, here: mine } = this.data;
    return `Capacity gap: the best teacher for this student has loss ${format.loss(best.teacher_cross_entropy)} `
      + `and brings it to ${format.loss(best.cross_entropy)}; your teacher has ${format.loss(mine.teacher_cross_entropy)} `
      + `and brings it to ${format.loss(mine.cross_entropy)} nats per token.`;
  }
}

// ---------------------------------------------------------------- where distillation wins

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
    const [win, lose] = [rgb(css("--win")), rgb(css("--lose"))];
    const paper = rgb(css("--paper"));
    students.forEach((_, row) => budgets.forEach((__, column) => {
      const value = difference[row][column];
      const [x0, x1] = [Math.round(xEdges[column]), Math.round(xEdges[column + 1])];
      const [y0, y1] = [Math.round(yEdges[row + 1]), Math.round(yEdges[row])];
      if (value !== null) {
        const strength = Math.min(1, 0.12 + 0.88 * Math.sqrt(Math.abs(value) / FULL_COLOUR));
        const side = value < 0 ? win : lose;
        ctx.fillStyle = `rgb(${paper.map((p, k) => Math.round(p + strength * (side[k] - p))).join(",")})`;
        ctx.fillRect(x0, y0, x1 - x0, y1 - y0);
      }
      if (value !== null && !inside[row][column]) outside.rect(x0, y0, x1 - x0, y1 - y0);
    }));
    ctx.fillStyle = hatch(ctx);
    ctx.fill(outside);
    ctx.restore();
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
    const { budget, student } = this.context;
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
      dot(u, budget, student, css("--ink"), "circle", !this.context.outside.recipe);
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

  hereX() {
    return this.context.budget;
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
      ? this.nearest(students, this.context.student) : this.row();
    this.read(column, Math.min(students.length - 1, Math.max(0, now + step)));
  }

  startTop() {
    return this.plot.valToPos(this.data.students[this.nearest(this.data.students, this.context.student)], "y");
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
    const { budgets, students, difference, inside } = this.data;
    const row = this.row();
    return this.items(`near ${format.flops(budgets[column])} FLOPs, ${format.count(students[row])} student`,
      difference[row][column], inside[row][column]);
  }

  hereItems() {
    const { plan } = this.context;
    const { student } = plan.recipe;
    return this.items(`your ${format.flops(plan.problem.budget)} FLOPs, ${format.count(student.parameters)} student`,
      student.cross_entropy - plan.supervised.cross_entropy, !this.context.outside.recipe);
  }

  items(title, value, inside) {
    const words = value === null ? "no plan fits" : value < 0 ? "distilling wins" : "training directly wins";
    return [
      { text: title, strong: true },
      { text: words + (inside || value === null ? "" : " (extrapolated)"), value: format.signed(value) },
      { colour: css("--win"), text: "distilling wins" },
      { colour: css("--lose"), text: `training directly wins, full colour from ${FULL_COLOUR} nats` },
    ];
  }

  rows() {
    const { budgets, students, difference, inside } = this.data;
    return [["student_parameters", "budget_flops", "difference", "measured"],
      ...students.flatMap((student, r) => budgets.map((budget, c) => [student, budget, difference[r][c], measured(difference[r][c], inside[r][c])]))];
  }

  summary() {
    const wins = this.data.difference.flat().filter((v) => v !== null && v < 0).length;
    const all = this.data.difference.flat().filter((v) => v !== null).length;
    return `Map of distillation minus direct training over budgets and student sizes: distilling wins in ${wins} of ${all} cells.`;
  }
}

// ---------------------------------------------------------------- small things

function edges(values) {
  const step = Math.sqrt(values[1] / values[0]);
  return [values[0] / step, ...values.map((v) => v * step)];
}

// Whole powers of ten between two values, ends included.
function powers(low, high) {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(`1e${first + i}`));
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function csvCell(value) {
  if (value === null || value === undefined) return "";
  const text = String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function make(tag, className = "", parent = null) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  parent?.append(element);
  return element;
}
