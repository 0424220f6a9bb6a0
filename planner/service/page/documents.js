// The only reader of the service's documents: what the page shows of them, by the page's own names.
// When a document changes its shape, this file changes and no other.

import * as format from "./format.js";

// Everything that is shown of one plan.
export function readPlan({ plan, display }) {
  const { recipe, verdict, problem } = plan;
  const supervised = plan.supervised.model;
  const student = { ...recipe.student, measured: !display.outside.recipe };
  const alone = { ...supervised, measured: !display.outside.supervised };
  const recommended = plan.recommendation.method;
  const reasons = readReasons(plan);
  // the plans inside the measured range decide where there are both of them
  const inside = plan.in_domain?.recipe && plan.in_domain.supervised ? plan.in_domain : null;
  const [ours, theirs] = inside ? [inside.recipe, inside.supervised.model] : [recipe, supervised];
  const distilled = {
    method: "distil",
    words: `Distil ${model(ours.student)} from ${teacher(ours.teacher)}`,
    loss: ours.student.cross_entropy,
    measured: inside !== null || student.measured,
  };
  const direct = {
    method: "supervised",
    words: `Train ${model(theirs)} without a teacher`,
    loss: theirs.cross_entropy,
    measured: inside !== null || alone.measured,
  };
  return {
    title: display.title,
    method: verdict.method,
    headline: verdict.headline,
    text: display.verdict,
    reasons,
    proven: plan.certificate.proven,
    recommended,
    choices: recommended === "distil" ? [distilled, direct] : [direct, distilled],
    budget: problem.budget,
    student: { ...student, asked: problem.student },
    teacher: recipe.teacher,
    teachers: problem.teachers,
    supervised: alone,
    scenarios: plan.scenarios,
    shares: recipe.flops.shares,
    spent: recipe.flops.total,
    models: readModels(display, recommended),
    compute: display.flops_rows,
    total: display.flops_total,
    ways: display.scenarios,
    trust: display.trust,
    certificate: display.certificate,
    remarks: display.remarks,
    warnings: display.warnings.map((text) => text[0].toUpperCase() + text.slice(1)),
    warningsTitle: display.warnings_title,
    inDomain: display.in_domain,
    understood: display.understood,
    resources: display.resources,
  };
}

// What keeps the verdict from being certain, each as [code, words].
function readReasons(plan) {
  const found = [];
  const codes = [...plan.verdict.reasons, ...plan.warnings.map((each) => each.code)];
  const worst = Math.max(0, ...plan.warnings.map(extrapolation));
  if (codes.includes("outside-domain")) {
    found.push(["outside-domain", worst > 1.1
      ? `outside the measured range, ${format.count(worst, 2)}× at most` : "outside the measured range"]);
  }
  if (codes.includes("unknown-domain")) found.push(["unknown-domain", "measured range unknown"]);
  if (codes.includes("within-error")) found.push(["within-error", "difference within the law’s error"]);
  if (codes.includes("coefficients-disagree")) {
    found.push(["coefficients-disagree", "the two fits disagree"]);
  }
  if (codes.includes("held-by-a-cap")) found.push(["held-by-a-cap", "held by a bound"]);
  return found;
}

// By what factor a warning's value leaves its range.
function extrapolation({ value, range }) {
  if (!range || !value) return 0;
  return Math.max(range[0] / value, value / range[1]);
}

const model = ({ parameters, tokens }) => `${format.count(parameters)} on ${format.count(tokens)} tokens`;

function teacher({ parameters, tokens, cross_entropy, name }) {
  const size = parameters === null ? "" : format.count(parameters);
  const rest = tokens === null ? `of loss ${format.loss(cross_entropy)}` : `on ${format.count(tokens)}`;
  return `${name || `a ${size ? `${size} ` : ""}teacher`} ${rest}`;
}

// The recommended model stands in the first column.
function readModels({ model_names: names, model_rows: lines }, recommended) {
  const order = recommended === "supervised" ? [2, 0, 1] : [0, 1, 2];
  return {
    names: order.map((i) => names[i]),
    rows: lines.map(({ label, cells }) => [label, ...order.map((i) => cells[i])]),
    alternative: recommended === "supervised" ? 2 : 4, // the first column of the other method
  };
}

export const readCurves = (answer) => answer.curves;
export const readMap = (answer) => answer.map;
export const readGap = (answer) => answer.gap;
