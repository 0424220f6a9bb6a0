// The capacity gap: one student under better and worse teachers.

import * as format from "../format.js";
import { Chart, column } from "./chart.js";
import { placed } from "./curves.js";
import { css, dot, here, shade } from "./draw.js";

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
      { colour: css("--ink"), text: "supervised on the same tokens", kind: "stroke", value: format.loss(this.data.supervised) },
      { colour: css("--muted"), text: "as good as its teacher", kind: "stroke dashed" },
      { colour: css("--accent"), text: "best teacher, and the student it makes", kind: "lozenge",
        value: `${format.loss(best.teacher_cross_entropy)}, ${format.loss(best.cross_entropy)}${mark(best.teacher_cross_entropy)}` },
    ];
  }

  columns() {
    const { teacher_cross_entropy: teachers, cross_entropy: students, supervised } = this.data;
    return [
      column("teacher_cross_entropy", "teacher’s loss, nats/token", teachers, format.loss),
      column("student_cross_entropy", "student’s loss, nats/token", students, format.loss),
      column("supervised_cross_entropy", "supervised, nats/token", teachers.map(() => supervised), format.loss),
      column("measured", "measured?", teachers.map((x) => String(this.isMeasured(x))), placed),
    ];
  }

  summary() {
    const { best, here: mine } = this.data;
    return `Capacity gap: the best teacher for this student has loss ${format.loss(best.teacher_cross_entropy)} `
      + `and brings it to ${format.loss(best.cross_entropy)}; your teacher has ${format.loss(mine.teacher_cross_entropy)} `
      + `and brings it to ${format.loss(mine.cross_entropy)} nats per token.`;
  }
}
