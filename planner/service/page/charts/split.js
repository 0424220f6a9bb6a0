// The split of compute as the budget grows.

import * as format from "../format.js";
import { Chart, column } from "./chart.js";
import { chosenOf, measured, placed, TERMS } from "./curves.js";
import { css, here, shadeRanges } from "./draw.js";

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
            here(u, this.context.view.budget, "you");
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
    return this.context.view.budget;
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
    const { view } = this.context;
    const model = (each) => (each.parameters === null || each.tokens === null
      ? `${each.parameters === null ? "" : `${format.count(each.parameters)}, `}loss ${format.loss(each.cross_entropy)}`
      : `${format.count(each.parameters)} on ${format.count(each.tokens)} tokens`);
    return [
      { text: `at your ${format.flops(view.budget)} FLOPs${view.student.measured ? "" : " (extrapolated)"}`, strong: true },
      ...this.terms().map((name) => ({
        colour: css(`--${name}`), text: TERMS[name], value: format.share(view.shares[name]),
      })),
      this.total(view.spent, view.budget),
      { text: "student", value: model(view.student) },
      { text: "teacher", value: model(view.teacher) },
    ];
  }

  columns() {
    const chosen = this.chosen();
    const quantities = { student_parameters: "student, parameters", student_tokens: "student, tokens",
      teacher_parameters: "teacher, parameters", teacher_tokens: "teacher, tokens" };
    return [
      column("budget_flops", "budget, FLOPs", this.data.budgets, format.flops),
      column("spent_flops", "spent, FLOPs", chosen.spent, format.flops),
      ...Object.keys(TERMS).map((name) => column(`${name}_share`, TERMS[name], chosen.shares[name], format.share)),
      ...Object.entries(quantities).map(([name, title]) => column(name, title, chosen[name], format.count)),
      column("teacher_cross_entropy", "teacher’s loss, nats/token", chosen.teacher_cross_entropy, format.loss),
      column("measured", "measured?", chosen.spent.map((v, i) => measured(v, chosen.inside[i])), placed),
    ];
  }

  summary() {
    const i = this.nearest(this.data.budgets, this.context.view.budget);
    const shares = this.terms().map((name) => `${TERMS[name]} ${format.share(this.chosen().shares[name][i])}`);
    return `Split of compute over the budget; near your budget ${shares.join(", ")}.`;
  }
}
