// Puts one plan, or the refusal of one, on the page.

import { $, header, item, make, rows, say, scrollTo } from "./dom.js";
import { loss, scientific } from "./format.js";

const TERMS = { "Student training": "student_training", "Teacher inference": "teacher_inference",
  "Teacher pretraining": "teacher_pretraining", Serving: "serving" };

export function showPlan(view, command) {
  document.body.dataset.state = "answered";
  $("answer").removeAttribute("aria-busy");
  $("problem").hidden = true;
  $("answer").hidden = false;
  $("title").textContent = view.title;
  $("verdict-word").textContent = view.headline;
  $("verdict-word").dataset.method = view.method;
  $("verdict-text").textContent = view.text;
  $("summary").textContent = `${view.headline}: loss ${loss(view.choices[0].loss)}, otherwise ${loss(view.choices[1].loss)}`;
  document.title = `${view.headline} · ${view.title}`;
  showBadges(view);
  showChoices(view.choices);
  showWarnings(view);
  showModels(view.models);
  showCompute(view);
  showResources(view.resources);
  showWays(view.ways);
  list("trust", view.trust);
  list("remarks", view.remarks);
  $("certificate").textContent = view.certificate;
  $("command").textContent = command;
  say(`${view.headline}. ${view.choices[0].words}, loss ${loss(view.choices[0].loss)}.`, 700);
}

// `amend` is called with a budget that is enough, where the server names one; `unlock` asks for a token.
export function showProblem(problem, { answered, command, amend, unlock }) {
  document.body.dataset.state = "refused";
  $("answer").removeAttribute("aria-busy");
  const box = $("problem");
  box.hidden = false;
  $("answer").hidden = !answered;
  $("summary").textContent = "No plan for this question";
  box.replaceChildren(item("p", problem.detail));
  const offer = (text, act) => {
    const button = item("button", text);
    button.type = "button";
    button.addEventListener("click", act);
    box.append(button);
  };
  if (problem.minimum_budget) {
    const enough = roundUp(problem.minimum_budget);
    offer(`Use ${enough} FLOPs`, () => amend(enough));
  }
  if (problem.code === "unauthorised") offer("Enter a token", unlock);
  $("command").textContent = command;
  say(problem.detail, 700);
}

export function showAsking() {
  document.body.dataset.state = "asking";
  $("answer").setAttribute("aria-busy", "true");
}

function list(id, texts) {
  $(id).replaceChildren(...texts.map((text) => item("li", text)));
}

// How sure it is: the proof, then everything that speaks against it.
function showBadges({ proven, reasons, warnings }) {
  const badges = [item("span", proven ? "optimum proven under the law" : "optimum not proven", `badge ${proven ? "good" : "bad"}`)];
  if (reasons.length === 0) badges.push(item("span", "inside the measured range", "badge good"));
  for (const [, text] of reasons) badges.push(item("span", text, "badge caution"));
  if (warnings.length > 0) {
    const link = item("a", `${warnings.length} warning${warnings.length > 1 ? "s" : ""}`, "badge more");
    link.href = "#warnings";
    link.addEventListener("click", (event) => {
      event.preventDefault(); // the fragment is the question
      scrollTo($("warnings"));
    });
    badges.push(link);
  }
  $("badges").replaceChildren(...badges);
}

function showChoices(choices) {
  $("choices").replaceChildren(...choices.map(({ words, loss: value, measured }, i) => {
    const line = make("li", i === 0 ? "recommended" : "");
    make("small", "", line).textContent = i === 0 ? "Recommended" : "Otherwise";
    make("span", "", line).textContent = words;
    make("b", "", line).textContent = `loss ${loss(value)}${measured ? "" : " ✳"}`;
    return line;
  }));
}

function showWarnings({ warnings, warningsTitle, inDomain }) {
  $("warnings").hidden = warnings.length === 0;
  $("warnings-title").textContent = warningsTitle;
  list("warnings-list", warnings);
  $("in-domain").textContent = inDomain;
}

function showModels({ names, rows: lines, alternative }) {
  const table = $("models");
  table.replaceChildren();
  table.dataset.alternative = alternative;
  header(table, ["", ...names]);
  rows(table, lines);
}

function showCompute({ compute, total }) {
  $("bar").replaceChildren(...compute.map((row) => {
    const part = make("span");
    part.style.flexGrow = String(row.fraction);
    part.style.background = `var(--${TERMS[row.label]})`;
    part.title = `${row.label}: ${row.share}`;
    return part;
  }));
  $("bar").setAttribute("aria-label",
    `Split of compute: ${compute.map((row) => `${row.label} ${row.share}`).join(", ")}`);
  const table = $("flops");
  table.replaceChildren();
  header(table, ["Spent on", "FLOPs", "Share"]);
  rows(table, compute.map((row) => [row.label, row.flops, row.share]));
  const foot = make("tr", "", make("tfoot", "", table));
  foot.append(item("th", "Total"), item("td", total.flops), item("td", total.share));
  [...table.querySelectorAll("tbody th")].forEach((cell, i) => {
    const swatch = make("i", "swatch");
    swatch.style.color = `var(--${TERMS[compute[i].label]})`;
    cell.prepend(swatch);
  });
}

function showResources(found) {
  $("resources").hidden = !found;
  if (!found) return;
  $("resources-title").textContent = found.title;
  $("resources-note").textContent = found.note;
  const table = $("resources-table");
  table.replaceChildren();
  header(table, found.head);
  rows(table, found.rows);
}

function showWays(ways) {
  const table = $("scenario-table");
  table.replaceChildren();
  header(table, ["Scenario", "Student", "Teacher", "Loss", "Against supervised"]);
  $("scenario-note").hidden = !ways.some((each) => each.name.includes("†"));
  rows(table, ways.map((each) => [each.name, each.student, each.teacher, each.cross_entropy, each.difference]));
  [...table.querySelectorAll("tbody tr")].forEach((row, i) => {
    if (!ways[i].chosen) return;
    row.className = "chosen";
    row.setAttribute("aria-current", "true");
  });
}

function roundUp(value) {
  const scale = 10 ** (Math.floor(Math.log10(value)) - 3);
  return scientific(Math.ceil(value / scale) * scale, 4);
}
