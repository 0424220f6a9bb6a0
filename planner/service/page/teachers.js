// The rows of teachers that exist, with the server's catalogue of open models to choose from.

import { get } from "./api.js";
import { $, item, make } from "./dom.js";
import { count, exponentText as asText } from "./format.js";
import { normal, TEACHER_KEYS } from "./state.js";

const FIELDS = { name: "Name", size: "Parameters", tokens: "Tokens", loss: "or measured loss" };
const HINTS = { name: "own, or an open model", size: "7B", tokens: "140B", loss: "2.05" };
const SLIDERS = { size: [8, 12], tokens: [9.3, 13.3] };
const MOST = 8;

let models = null; // the catalogue, once somebody needs it
let changed = { now: () => {}, typed: () => {} };

export function startTeachers(store, typed) {
  changed = { now: () => store.changed(), typed };
  $("add-teacher").addEventListener("click", () => {
    const last = store.state.teachers[store.state.teachers.length - 1];
    store.state.teachers.push({ ...last, name: "" });
    fillTeachers(store);
    changed.now();
  });
}

export function fillTeachers(store, anew = false) {
  const { teachers } = store.state;
  const box = $("teachers");
  box.hidden = teachers.length === 0;
  $("add-teacher").hidden = teachers.length === 0 || teachers.length >= MOST;
  if (teachers.length > 0) loadModels();
  const typing = box.contains(document.activeElement) && box.children.length === teachers.length;
  if (typing && !anew) return;
  box.replaceChildren(...teachers.map((teacher, index) => teacherRow(store, teacher, index)));
}

async function loadModels() {
  if (models !== null) return;
  models = [];
  try {
    models = (await get("v1/teachers")).teachers;
  } catch {
    models = null; // the list is a help only; the fields work without it
    return;
  }
  $("open-models").replaceChildren(...models.map((each) => {
    const option = make("option");
    option.value = each.name;
    return option;
  }));
}

function teacherRow(store, teacher, index) {
  const row = make("div", "teacher");
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", `Teacher ${index + 1}`);
  const inputs = {};
  for (const key of TEACHER_KEYS) {
    const field = make("label", "field", row);
    field.append(item("span", FIELDS[key]));
    const input = make("input", "", field);
    inputs[key] = input;
    Object.assign(input, { type: "text", spellcheck: false, value: teacher[key], placeholder: HINTS[key] });
    if (key === "name") input.setAttribute("list", "open-models");
    input.addEventListener("input", () => {
      teacher[key] = input.value;
      if (key === "name") adopt(teacher, inputs);
      changed.typed();
    });
    if (key in SLIDERS) addSlider(row, teacher, index, key, inputs);
  }
  const remove = item("button", store.state.teachers.length > 1 ? "Remove" : "Plan one instead", "quiet");
  remove.type = "button";
  remove.addEventListener("click", () => {
    store.state.teachers.splice(index, 1);
    normal(store.state);
    store.refill();
    changed.now();
  });
  row.append(remove);
  return row;
}

// An open model's own size and tokens, when its name is chosen.
function adopt(teacher, inputs) {
  const found = models?.find((each) => each.name === teacher.name);
  if (!found) return;
  teacher.size = found.size ? count(found.size, 4) : "";
  teacher.tokens = found.tokens ? count(found.tokens, 4) : "";
  teacher.loss = found.loss ? String(found.loss) : "";
  for (const key of ["size", "tokens", "loss"]) inputs[key].value = teacher[key];
}

function addSlider(row, teacher, index, key, inputs) {
  const slider = make("input", "teacher-slider", row);
  Object.assign(slider, { type: "range", min: SLIDERS[key][0], max: SLIDERS[key][1], step: 0.01 });
  slider.value = { size: 9.85, tokens: 11.15 }[key];
  slider.dataset.key = key;
  slider.setAttribute("aria-label", `Teacher ${index + 1} ${FIELDS[key].toLowerCase()}, slider`);
  slider.addEventListener("input", () => {
    teacher[key] = asText(slider.value, true);
    if (key === "tokens") teacher.loss = "";
    inputs[key].value = teacher[key];
    if (inputs.loss) inputs.loss.value = teacher.loss;
    changed.now();
  });
}
