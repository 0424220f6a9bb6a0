// Loss against budget: every way of paying for a teacher, and training without one.

import * as format from "../format.js";
import { Chart, column } from "./chart.js";
import { chosenOf, marked, measured, METHOD_WORDS, placed } from "./curves.js";
import { css, dot, here, shadeRanges } from "./draw.js";

export class LossChart extends Chart {
  build() {
    const { budgets, held, supervised, methods } = this.data;
    const chosen = chosenOf(methods);
    const columns = [budgets];
    const series = [{}];
    const add = (all, inside, colour, width) => {
      const values = all.map((v, i) => (held[i] ? null : v)); // a cap is no finding
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
      const mine = Math.max(this.context.view.student.cross_entropy, this.context.view.supervised.cross_entropy);
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
    here(u, this.context.view.budget, "you");
    for (const each of methods) {
      for (const cross of each.crossovers) {
        dot(u, cross.budget, cross.loss ?? this.supervisedAt(cross.budget), css(`--${each.name}`), "diamond", cross.inside);
      }
    }
    const { view } = this.context;
    const { budget } = view;
    const mine = css(`--${chosenOf(methods).name}`);
    dot(u, budget, view.supervised.cross_entropy, css("--ink"), "circle", view.supervised.measured);
    dot(u, budget, view.student.cross_entropy, mine, "circle", view.student.measured);
  }

  supervisedAt(budget) {
    const { budgets, supervised } = this.data;
    const i = Math.max(1, budgets.findIndex((b) => b >= budget));
    const part = Math.log(budget / budgets[i - 1]) / Math.log(budgets[i] / budgets[i - 1]);
    return (1 - part) * supervised.cross_entropy[i - 1] + part * supervised.cross_entropy[i];
  }

  hereX() {
    return this.context.view.budget;
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
    const { view } = this.context;
    const found = (method) => {
      if (method.chosen) return marked(view.student.cross_entropy, view.student.measured);
      const each = view.scenarios.find((other) => other.name === method.name);
      return each ? marked(each.cross_entropy, !each.outside_domain) : "–";
    };
    return this.items(`at your ${format.flops(view.budget)} FLOPs`,
      marked(view.supervised.cross_entropy, view.supervised.measured), found);
  }

  items(title, alone, value) {
    return [
      { text: `${title} (✳ extrapolated)`, strong: true },
      { colour: css("--ink"), text: "supervised: no teacher", kind: "stroke", value: alone },
      ...this.data.methods.map((each) => ({
        colour: css(`--${each.name}`), kind: "stroke", strong: each.chosen,
        text: METHOD_WORDS[each.name] + crossWords(each.crossovers), value: value(each),
      })),
    ];
  }

  columns() {
    const { budgets, supervised, methods } = this.data;
    const pair = (name, words, each) => [
      column(name, `${words}, nats/token`, each.cross_entropy, format.loss),
      column(`${name}_measured`, "measured?", each.cross_entropy.map((v, i) => measured(v, each.inside[i])), placed),
    ];
    return [column("budget_flops", "budget, FLOPs", budgets, format.flops),
      ...pair("supervised", "supervised", supervised),
      ...methods.flatMap((each) => pair(each.name, each.name, each))];
  }

  summary() {
    const words = crossWords(chosenOf(this.data.methods).crossovers);
    return `Loss against budget for ${this.data.methods.length} ways to pay and supervised training; `
      + `at your budget distillation reaches ${format.loss(this.context.view.student.cross_entropy)}, `
      + `supervised training ${format.loss(this.context.view.supervised.cross_entropy)} nats per token${words}.`;
  }
}

function crossWords(crossovers) {
  return crossovers.map(({ starts_to_win, budget, inside }) =>
    `; wins ${starts_to_win ? "above" : "below"} ${format.flops(budget)}${inside ? "" : " ✳"}`).join("");
}
