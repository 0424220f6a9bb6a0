// Wires the question to the answers: one text state, the server as the only parser of quantities.

import { get, post, Refused, setToken, tokenFault } from "./api.js";
import { GapChart, LossChart, make, MapChart, save, SplitChart } from "./charts.js";
import { scientific } from "./format.js";
import { empty, fromFragment, RANGES, TEACHER_KEYS, toBody, toCommand, toFragment } from "./state.js";

const $ = (id) => document.getElementById(id);
const form = $("controls");
const TYPING = 220; // ms of quiet before a typed question is asked
const SLIDING = 40;

let state = fromFragment(location.hash);
let scenarios = [];
const charts = {
  loss: new LossChart($("loss-chart")),
  map: new MapChart($("map-chart")),
  split: new SplitChart($("split-chart")),
  gap: new GapChart($("gap-chart")),
};
let latest = {};

// ---------------------------------------------------------------- asking

let timer = 0;
let plans = new AbortController();
let surroundings = new AbortController();
let drawn = "";

function ask(delay = TYPING) {
  clearTimeout(timer);
  timer = setTimeout(run, delay);
  history.replaceState(null, "", toFragment(state));
}

function run() {
  const body = toBody(state);
  plans.abort();
  plans = new AbortController();
  document.body.dataset.state = "asking";
  $("answer").setAttribute("aria-busy", "true");
  explore({ ...body, parts: ["plan", "gap"] }, plans.signal, showPlan);
  // The curves hold every budget and the map every student: ask only when they change.
  const { budget, ...rest } = body;
  const key = JSON.stringify(rest);
  surroundings.abort(); // a late answer to an earlier question must not replace these charts
  if (key === drawn && within(budget)) return;
  surroundings = new AbortController();
  const started = key;
  const grid = body.student ? {} : { budgets: 28 }; // planning the size too takes longer
  explore({ ...body, ...grid, parts: ["curves", "map"] }, surroundings.signal, (answer) => {
    drawn = started;
    delete document.body.dataset.charts;
    latest = { ...latest, ...answer };
    drawSurroundings();
  });
}

async function explore(body, signal, show) {
  try {
    const response = await post("v1/explore", body, signal);
    show(await response.json());
  } catch (error) {
    if (error.name === "AbortError") return;
    const problem = error instanceof Refused ? error.problem
      : { detail: "The server does not answer; the last plan is shown.", code: "unreachable-server" };
    if (body.parts.includes("plan")) showProblem(problem);
    else {
      drawn = ""; // ask again with the next change; until then the charts answer another question
      document.body.dataset.charts = "stale";
    }
  }
}

function within(text) {
  const budgets = latest.curves?.budgets;
  const value = Number(text);
  return budgets && value >= budgets[0] && value <= budgets[budgets.length - 1];
}

// ---------------------------------------------------------------- showing

const WORDS = { distil: "Distil", supervised: "Train it directly", either: "Either way" };

function showPlan(answer) {
  latest = { ...latest, ...answer };
  const { plan, display } = answer;
  document.body.dataset.state = "answered";
  $("answer").removeAttribute("aria-busy");
  $("problem").hidden = true;
  $("answer").hidden = false;
  markFields(null);
  $("title").textContent = display.title;
  $("verdict-word").textContent = WORDS[plan.verdict.method];
  $("verdict-word").dataset.method = plan.verdict.method;
  $("verdict-text").textContent = display.verdict;
  $("summary").textContent = `${WORDS[plan.verdict.method]}: loss ${plan.recipe.student.cross_entropy.toFixed(4)} `
    + `distilled, ${plan.supervised.cross_entropy.toFixed(4)} direct`;
  $("summary").classList.toggle("bad", plan.warnings.length > 0);
  showBadges(plan);
  showWarnings(display);
  showModels(display);
  showSplit(display);
  showScenarios(display);
  $("trust").replaceChildren(...display.trust.map((text) => item("li", text)));
  $("certificate").textContent = display.certificate;
  $("remarks").replaceChildren(...display.remarks.map((text) => item("li", text)));
  $("command").textContent = toCommand(state);
  $("budget-note").textContent = display.understood.budget;
  $("student-note").textContent = display.understood.student;
  document.title = `${WORDS[plan.verdict.method]} · ${display.title}`;
  followSliders(plan.problem);
  const context = contextNow();
  charts.gap.draw(answer.gap, context);
  if (charts.loss.plot) for (const name of ["loss", "split", "map"]) charts[name].update(context);
  else drawSurroundings();
}

function drawSurroundings() {
  const context = contextNow();
  if (context === null || !latest.curves) return;
  charts.loss.draw(latest.curves, context);
  charts.split.draw(latest.curves, context);
  charts.map.draw(latest.map, context);
}

function contextNow() {
  const { plan, display } = latest;
  if (!plan) return null;
  return {
    plan,
    budget: plan.problem.budget,
    student: plan.recipe.student.parameters,
    outside: display.outside,
    loss: plan.recipe.student.cross_entropy,
    supervised: plan.supervised.cross_entropy,
    title: display.title,
  };
}

function showBadges(plan) {
  const badges = [];
  badges.push(plan.certificate.proven ? ["good", "proven optimum"] : ["bad", "not proven"]);
  const codes = plan.warnings.map((each) => each.code);
  const outside = codes.filter((code) => code === "outside-domain").length;
  const unknown = codes.includes("unknown-domain");
  if (outside || unknown) badges.push(["bad", unknown ? "measured range unknown" : "outside the measured range"]);
  else badges.push(["good", "inside the measured range"]);
  if (codes.length > outside) badges.push(["bad", `${codes.length} warning${codes.length > 1 ? "s" : ""} below`]);
  const link = ([kind, text]) => {
    const badge = item(kind === "bad" ? "a" : "span", text);
    badge.className = `badge ${kind}`;
    if (kind === "bad") badge.href = "#warnings";
    badge.addEventListener("click", (event) => {
      event.preventDefault(); // the fragment is the question
      $("warnings").scrollIntoView({ behavior: "smooth", block: "center" });
    });
    return badge;
  };
  $("badges").replaceChildren(...badges.map(link));
}

function showWarnings(display) {
  $("warnings").hidden = display.warnings.length === 0;
  $("warnings-title").textContent = display.warnings_title;
  const texts = display.warnings.map((text) => text[0].toUpperCase() + text.slice(1));
  const before = [...$("warnings-list").children].map((each) => each.textContent);
  if (texts.join() !== before.join()) {
    $("warnings-list").replaceChildren(...texts.map((text) => item("li", text)));
  }
  $("in-domain").textContent = display.in_domain;
}

function showModels(display) {
  const table = $("models");
  table.replaceChildren();
  header(table, ["", ...display.model_names]);
  rows(table, display.model_rows.map(({ label, cells }) => [label, ...cells]));
}

function showSplit(display) {
  const keys = { "Student training": "student_training", "Teacher inference": "teacher_inference",
    "Teacher pretraining": "teacher_pretraining", Serving: "serving" };
  $("bar").replaceChildren(...display.flops_rows.map((row) => {
    const part = make("span");
    part.style.flexGrow = String(row.fraction);
    part.style.background = `var(--${keys[row.label]})`;
    part.title = `${row.label}: ${row.share}`;
    return part;
  }));
  $("bar").setAttribute("aria-label",
    `Split of compute: ${display.flops_rows.map((row) => `${row.label} ${row.share}`).join(", ")}`);
  const table = $("flops");
  table.replaceChildren();
  header(table, ["Compute", "FLOPs", "Share"]);
  rows(table, display.flops_rows.map((row) => [row.label, row.flops, row.share]));
  const total = make("tr", "", make("tfoot", "", table));
  for (const text of ["Total", display.flops_total.flops, display.flops_total.share]) {
    total.append(item(text === "Total" ? "th" : "td", text));
  }
  [...table.querySelectorAll("tbody th")].forEach((cell, i) => {
    const swatch = make("i", "swatch");
    swatch.style.color = `var(--${keys[display.flops_rows[i].label]})`;
    cell.prepend(swatch);
  });
}

function showScenarios(display) {
  const table = $("scenario-table");
  table.replaceChildren();
  header(table, ["Scenario", "Student", "Teacher", "Loss", "Against direct"]);
  $("scenario-note").hidden = !display.scenarios.some((each) => each.name.includes("†"));
  rows(table, display.scenarios.map((each) =>
    [each.name, each.student, each.teacher, each.cross_entropy, each.difference]));
  [...table.querySelectorAll("tbody tr")].forEach((row, i) => {
    if (display.scenarios[i].chosen) {
      row.className = "chosen";
      row.setAttribute("aria-current", "true");
    }
  });
}

function header(table, cells) {
  const row = make("tr", "", make("thead", "", table));
  for (const cell of cells) {
    const th = make("th", "", row);
    th.scope = "col";
    th.textContent = cell;
  }
}

function rows(table, all) {
  const body = make("tbody", "", table);
  for (const [first, ...cells] of all) {
    const row = make("tr", "", body);
    const th = make("th", "", row);
    th.scope = "row";
    th.textContent = first;
    for (const cell of cells) make("td", "", row).textContent = cell;
  }
}

function item(tag, text) {
  const element = make(tag);
  element.textContent = text;
  return element;
}

function showProblem(problem) {
  document.body.dataset.state = "refused";
  $("answer").removeAttribute("aria-busy");
  const box = $("problem");
  box.hidden = false;
  $("answer").hidden = !latest.plan;
  $("summary").textContent = "No plan for this question";
  box.replaceChildren(item("p", problem.detail));
  markFields(problem);
  if (problem.minimum_budget) {
    const enough = roundUp(problem.minimum_budget);
    const button = item("button", `Use ${enough} FLOPs`);
    button.type = "button";
    button.addEventListener("click", () => {
      state.budget = enough;
      fill();
      ask(0);
    });
    box.append(button);
  }
  if (problem.code === "unauthorised") {
    const button = item("button", "Enter a token");
    button.type = "button";
    button.addEventListener("click", begin);
    box.append(button);
  }
  $("command").textContent = toCommand(state);
}

function markFields(problem) {
  const about = problem?.detail.toLowerCase() ?? "";
  for (const [id, word] of [["budget", "budget"], ["student", "student"]]) {
    $(id).setAttribute("aria-invalid", String(Boolean(problem) && about.slice(0, 40).includes(word)));
  }
}

function roundUp(value) {
  const scale = 10 ** (Math.floor(Math.log10(value)) - 3);
  return scientific(Math.ceil(value / scale) * scale, 4);
}

// ---------------------------------------------------------------- the form

function fill() {
  for (const id of ["budget", "student", ...RANGES, "coefficients", "bounds", "serving_tokens", "tolerance"]) {
    const field = form.elements[id];
    // Writing the same text again would only move the caret.
    if (field && field.value !== state[id]) field.value = state[id];
  }
  form.elements.stay_in_domain.checked = state.stay_in_domain;
  form.elements.round_to_architecture.checked = state.round_to_architecture;
  for (const radio of form.querySelectorAll("[name=scenario]")) radio.checked = radio.value === state.scenario;
  form.elements["teacher-kind"].value = state.teachers.length ? "existing" : "new";
  fillTeachers();
  fillCharges();
  if (state.scenario === "custom") $("charges").open = true;
  const moved = [...RANGES, "coefficients", "bounds", "serving_tokens", "tolerance"].some((key) => state[key])
    || state.stay_in_domain || state.round_to_architecture;
  if (moved) $("more").open = true;
}

function fillCharges() {
  const known = scenarios.find((each) => each.name === state.scenario);
  for (const name of ["charge_inference", "charge_pretraining"]) {
    const value = known ? known[name] : Number(state[name] || 1);
    $(name).value = value;
    $(name).nextElementSibling.textContent = `${Math.round(100 * value)}%`;
  }
}

function fillTeachers(anew = false) {
  const box = $("teachers");
  const existing = state.teachers.length > 0;
  box.hidden = !existing;
  $("add-teacher").hidden = !existing || state.teachers.length >= 8;
  const typing = box.contains(document.activeElement) && box.children.length === state.teachers.length;
  if (typing && !anew) return;
  box.replaceChildren(...state.teachers.map(teacherRow));
}

const TEACHER_FIELDS = { name: "Name", size: "Parameters", tokens: "Tokens", loss: "or measured loss" };
const TEACHER_SLIDERS = { size: [8, 12], tokens: [9.3, 13.3] };

function teacherRow(teacher, index) {
  const row = make("div", "teacher");
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", `Teacher ${index + 1}`);
  for (const key of TEACHER_KEYS) {
    const field = make("label", "field", row);
    field.append(item("span", TEACHER_FIELDS[key]));
    const input = make("input", "", field);
    input.type = "text";
    input.spellcheck = false;
    input.value = teacher[key];
    input.placeholder = { name: "optional", size: "7B", tokens: "140B", loss: "2.05" }[key];
    input.addEventListener("input", () => {
      teacher[key] = input.value;
      ask();
    });
    if (!(key in TEACHER_SLIDERS)) continue;
    const slider = make("input", "teacher-slider", row);
    Object.assign(slider, { type: "range", min: TEACHER_SLIDERS[key][0], max: TEACHER_SLIDERS[key][1], step: 0.01 });
    slider.value = { size: 9.85, tokens: 11.15 }[key];
    slider.dataset.key = key;
    slider.setAttribute("aria-label", `Teacher ${index + 1} ${TEACHER_FIELDS[key].toLowerCase()}, slider`);
    slider.addEventListener("input", () => {
      teacher[key] = asText(slider.value, true);
      if (key === "tokens") teacher.loss = "";
      input.value = teacher[key];
      ask(SLIDING);
    });
  }
  const remove = item("button", state.teachers.length > 1 ? "Remove" : "Train one instead");
  remove.type = "button";
  remove.className = "quiet";
  remove.addEventListener("click", () => {
    state.teachers.splice(index, 1);
    fill();
    fillTeachers();
    ask(0);
  });
  row.append(remove);
  return row;
}

// A slider's exponent in three digits, as text that the server will parse.
function asText(exponent, counted) {
  const value = 10 ** Number(exponent);
  if (!counted) return scientific(value, 3);
  for (const [suffix, scale] of [["T", 1e12], ["B", 1e9], ["M", 1e6]]) {
    if (value >= scale * 0.9995) return `${Number((value / scale).toPrecision(3))}${suffix}`;
  }
  return scientific(value, 3);
}

function followSliders(problem) {
  const follow = (slider, value) => {
    // A slider in use leads: an answer to an earlier position must not pull it back.
    if (document.activeElement === slider) return;
    slider.value = Math.log10(value);
  };
  follow($("budget-slider"), problem.budget);
  $("budget-slider").setAttribute("aria-valuetext", `${scientific(problem.budget, 3)} FLOPs`);
  const size = problem.student ?? latest.plan.recipe.student.parameters;
  follow($("student-slider"), size);
  $("student-slider").setAttribute("aria-valuetext", $("student-note").textContent);
  [...$("teachers").children].forEach((row, index) => {
    for (const slider of row.querySelectorAll(".teacher-slider")) {
      const value = problem.teachers[index]?.[slider.dataset.key];
      if (value) follow(slider, value);
    }
  });
}

function buildScenarios() {
  const choices = [...scenarios, { name: "custom", summary: "shares of your own, set below" }];
  $("scenarios").replaceChildren(...choices.map(({ name, summary }) => {
    const choice = make("label", "choice");
    const radio = make("input", "", choice);
    Object.assign(radio, { type: "radio", name: "scenario", value: name });
    const words = make("span", "", choice);
    make("b", "", words).textContent = name;
    make("small", "", words).textContent = summary;
    return choice;
  }));
}

function buildMore(sets, named) {
  const options = (select, values) => select.replaceChildren(...values.map(([value, text]) => {
    const option = item("option", text);
    option.value = value;
    return option;
  }));
  const usable = sets.filter((each) => each.distillation);
  options(form.elements.coefficients, [["", `${usable[0].name} (default)`],
    ...usable.slice(1).map((each) => [each.name, each.name])]);
  const names = Object.keys(named);
  options(form.elements.bounds, [["", `${names[0]} (default)`], ...names.slice(1).map((n) => [n, n])]);
  for (const name of ["student_size", "student_tokens", "teacher_size", "teacher_tokens"]) {
    const row = make("div", "range", $("ranges"));
    make("span", "", row).textContent = name.replace("_", " ").replace("size", "parameters");
    for (const end of ["min", "max"]) {
      const input = make("input", "", row);
      Object.assign(input, { type: "text", name: `${end}_${name}`, placeholder: end, spellcheck: false });
      input.setAttribute("aria-label", `${end === "min" ? "Fewest" : "Most"} ${name.replace("_", " ")}`);
    }
  }
}

function listen() {
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    const { name, value, type, checked } = event.target;
    if (type === "radio" || type === "range" || !(name in state)) return;
    state[name] = type === "checkbox" ? checked : value;
    ask();
  });
  form.addEventListener("change", (event) => {
    const { name, value, type } = event.target;
    if (type === "radio" && name === "scenario") {
      if (value === "custom") adoptCharges();
      state.scenario = value;
      fill();
      ask(0);
    }
    if (type === "radio" && name === "teacher-kind") {
      state.teachers = value === "existing" ? [{ name: "", size: "7B", tokens: "140B", loss: "" }] : [];
      fillTeachers();
      ask(0);
    }
  });
  const slide = (slider, key, counted) => $(slider).addEventListener("input", () => {
    state[key] = asText($(slider).value, counted);
    $(key).value = state[key];
    ask(SLIDING);
  });
  slide("budget-slider", "budget", false);
  slide("student-slider", "student", true);
  for (const name of ["charge_inference", "charge_pretraining"]) {
    $(name).addEventListener("input", () => {
      adoptCharges();
      state[name] = $(name).value;
      state.scenario = "custom";
      for (const radio of form.querySelectorAll("[name=scenario]")) radio.checked = radio.value === "custom";
      fillCharges();
      ask(SLIDING);
    });
  }
  $("add-teacher").addEventListener("click", () => {
    const last = state.teachers[state.teachers.length - 1];
    state.teachers.push({ ...last, name: "" });
    fillTeachers();
    ask(0);
  });
  $("summary").addEventListener("click", () => $("results").scrollIntoView({ behavior: "smooth" }));
  $("reset").addEventListener("click", () => {
    state = empty();
    fill();
    ask(0);
  });
  window.addEventListener("hashchange", () => {
    state = fromFragment(location.hash);
    fill();
    fillTeachers(true); // the rows still hold the teachers of the question before
    ask(0);
  });
}

// ---------------------------------------------------------------- the token

function listenToken() {
  const dialog = $("token-dialog");
  const field = $("token");
  const fault = (text) => {
    $("token-fault").textContent = text;
    $("token-fault").hidden = !text;
    field.setAttribute("aria-invalid", String(Boolean(text)));
  };
  window.addEventListener("unauthorised", ({ detail }) => {
    if (dialog.open) return;
    if (detail.refused) setToken("");
    fault(detail.refused ? "The server does not take this token; check it and try again." : "");
    field.value = "";
    dialog.showModal();
  });
  field.addEventListener("input", () => fault(""));
  $("token-form").addEventListener("submit", (event) => {
    const text = field.value.trim();
    const wrong = tokenFault(text);
    if (wrong) {
      event.preventDefault();
      fault(wrong);
      return;
    }
    setToken(text);
    field.value = "";
    begin();
  });
  $("token-cancel").addEventListener("click", () => dialog.close());
}

// Before a share is changed, the shares of the scenario that was chosen become the user's own.
function adoptCharges() {
  const known = scenarios.find((each) => each.name === state.scenario);
  for (const name of ["charge_inference", "charge_pretraining"]) {
    if (known) state[name] = String(known[name]);
  }
}

function listenDownloads() {
  const types = { toml: "toml", json: "json", csv: "csv", markdown: "md" };
  for (const button of document.querySelectorAll("[data-format]")) {
    button.addEventListener("click", async () => {
      const name = button.dataset.format;
      try {
        const response = await post(`v1/plan?format=${name}`, toBody(state));
        save(await response.blob(), `recipe.${types[name]}`);
      } catch (error) {
        showProblem(error.problem ?? { detail: "The server does not answer; try again." });
      }
    });
  }
  const copy = (button, text) => button.addEventListener("click", async () => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy it from the address bar";
    }
    $("live").textContent = button.textContent;
    setTimeout(() => { button.textContent = before; }, 1600);
  });
  copy($("copy-link"), () => location.href);
  copy($("copy-command"), () => $("command").textContent);
}

// ---------------------------------------------------------------- light and dark

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const chosen = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = chosen;
    $("theme").textContent = chosen === "dark" ? "Light" : "Dark";
    drawSurroundings();
    if (latest.gap) charts.gap.draw(latest.gap, contextNow());
  };
  $("theme").addEventListener("click", () => {
    localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    show();
  });
  dark.addEventListener("change", show);
  show();
}

async function start() {
  const [known, sets, named] = await Promise.all(
    ["v1/scenarios", "v1/coefficients", "v1/bounds"].map((path) => get(path)));
  scenarios = known.scenarios;
  buildScenarios();
  $("ranges").replaceChildren();
  buildMore(sets.coefficients, named.bounds);
  fill();
  ask(0);
}

function begin() {
  start().catch((error) => showProblem(error.problem
    ?? { detail: "The server does not answer; reload the page once it runs." }));
}

theme();
listen();
listenToken();
listenDownloads();
begin();
