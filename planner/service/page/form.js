// The question's fields: filled from the state, and read back into it.

import { get } from "./api.js";
import { $, item, make } from "./dom.js";
import { exponentText as asText, scientific } from "./format.js";
import { DEVICES, normal, RANGES } from "./state.js";
import { fillTeachers, startTeachers } from "./teachers.js";

const form = $("controls");
const TYPING = 220; // ms of quiet before a typed question is asked
const MORE = ["coefficients", "bounds", "serving_tokens", "tolerance", ...RANGES];
const CHARGES = ["charge_inference", "charge_pretraining"];

let scenarios = [];
let timer = 0;

// `store.state` is the question; `store.changed()` is called with every change of it.
export function listen(store) {
  const typed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => store.changed(), TYPING);
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    const { name, value, type, checked } = event.target;
    if (type === "radio" || type === "range" || !(name in store.state)) return;
    store.state[name] = type === "checkbox" ? checked : value;
    typed();
  });
  form.addEventListener("change", (event) => {
    const { name, value, type } = event.target;
    if (type === "radio" && name === "scenario") {
      if (value === "custom") adoptCharges(store.state);
      store.state.scenario = value;
    } else if (type === "radio" && name === "teacher-kind") {
      store.state.teachers = value === "existing" ? [{ name: "", size: "7B", tokens: "140B", loss: "" }] : [];
    } else return;
    normal(store.state);
    fill(store);
    store.changed();
  });
  const slide = (slider, key, counted) => $(slider).addEventListener("input", () => {
    store.state[key] = asText($(slider).value, counted);
    $(key).value = store.state[key];
    store.changed();
  });
  slide("budget-slider", "budget", false);
  slide("student-slider", "student", true);
  for (const name of CHARGES) {
    $(name).addEventListener("input", () => {
      adoptCharges(store.state);
      store.state[name] = $(name).value;
      store.state.scenario = "custom";
      for (const radio of form.querySelectorAll("[name=scenario]")) radio.checked = radio.value === "custom";
      fillCharges(store.state);
      store.changed();
    });
  }
  startTeachers(store, typed);
}

// What the server offers: scenarios, coefficient sets, named bounds.
export async function build() {
  const [known, sets, named, devices] = await Promise.all(
    ["v1/scenarios", "v1/coefficients", "v1/bounds", "v1/accelerators"].map((path) => get(path)));
  scenarios = known.scenarios;
  buildScenarios();
  buildMore(sets.coefficients, named.bounds);
  $("accelerators").replaceChildren(...devices.accelerators.map(({ name }) => {
    const option = item("option", "");
    option.value = name;
    return option;
  }));
}

export function fill(store, anew = false) {
  const { state } = store;
  for (const id of ["budget", "student", ...DEVICES, ...MORE]) {
    const field = form.elements[id];
    // Writing the same text again would only move the caret.
    if (field && field.value !== state[id]) field.value = state[id];
  }
  form.elements.stay_in_domain.checked = state.stay_in_domain;
  form.elements.round_to_architecture.checked = state.round_to_architecture;
  for (const radio of form.querySelectorAll("[name=scenario]")) {
    radio.checked = radio.value === state.scenario;
    // The pretraining of a teacher that exists is paid already: two scenarios are left.
    const sunk = known(radio.value)?.charge_pretraining > 0;
    radio.closest("label").hidden = state.teachers.length > 0 && sunk;
  }
  form.elements["teacher-kind"].value = state.teachers.length ? "existing" : "new";
  fillTeachers(store, anew);
  fillCharges(state);
  if (state.scenario === "custom") $("charges").open = true;
  if (DEVICES.some((key) => state[key])) $("devices").open = true;
  if (MORE.some((key) => state[key]) || state.stay_in_domain || state.round_to_architecture) $("more").open = true;
}

// Sliders go where the server understood the fields to be.
export function follow(view) {
  $("budget-note").textContent = view.understood.budget;
  $("student-note").textContent = view.understood.student;
  move($("budget-slider"), view.budget);
  $("budget-slider").setAttribute("aria-valuetext", `${scientific(view.budget, 3)} FLOPs`);
  move($("student-slider"), view.student.asked ?? view.student.parameters);
  $("student-slider").setAttribute("aria-valuetext", view.understood.student);
  [...$("teachers").children].forEach((row, index) => {
    for (const slider of row.querySelectorAll(".teacher-slider")) {
      const value = view.teachers[index]?.[slider.dataset.key];
      if (value) move(slider, value);
    }
  });
}

function move(slider, value) {
  // A slider in use leads: an answer to an earlier position must not pull it back.
  if (document.activeElement !== slider) slider.value = Math.log10(value);
}

// Which field a refusal is about; the notes of an earlier answer go with it.
export function mark(problem) {
  const about = problem?.detail.toLowerCase().slice(0, 40) ?? "";
  for (const [id, word] of [["budget", "budget"], ["student", "student"]]) {
    const wrong = Boolean(problem) && about.includes(word);
    $(id).setAttribute("aria-invalid", String(wrong));
    if (wrong) $(`${id}-note`).textContent = "";
  }
}

const known = (name) => scenarios.find((each) => each.name === name);

// Before a share is changed, the shares of the scenario that was chosen become the user's own.
function adoptCharges(state) {
  for (const name of CHARGES) {
    if (known(state.scenario)) state[name] = String(known(state.scenario)[name]);
  }
}

function fillCharges(state) {
  const scenario = known(state.scenario);
  for (const name of CHARGES) {
    const value = scenario ? scenario[name] : Number(state[name] || 1);
    $(name).value = value;
    $(name).nextElementSibling.textContent = `${Math.round(100 * value)}%`;
  }
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
  $("ranges").replaceChildren();
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
