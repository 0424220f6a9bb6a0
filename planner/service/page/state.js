// The whole question as text, in the keys of the API; it lives in the link's fragment, which
// browsers never send to the server.

export const RANGES = ["student_size", "student_tokens", "teacher_size", "teacher_tokens"]
  .flatMap((name) => [`min_${name}`, `max_${name}`]);
export const DEVICES = ["accelerator", "count", "utilisation", "price"];
const TEXTS = ["budget", "student", "charge_inference", "charge_pretraining", "coefficients",
  "bounds", "serving_tokens", "tolerance", ...DEVICES, ...RANGES];
const FLAGS = ["stay_in_domain", "round_to_architecture"];
export const TEACHER_KEYS = ["name", "size", "tokens", "loss"];

export const START = Object.freeze({ budget: "1e21", student: "1B", scenario: "full" });

export function empty() {
  return {
    ...Object.fromEntries(TEXTS.map((key) => [key, ""])),
    ...Object.fromEntries(FLAGS.map((key) => [key, false])),
    ...START,
    teachers: [],
  };
}

export function fromFragment(fragment) {
  const state = empty();
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  if ([...given.keys()].length === 0) return state;
  for (const key of TEXTS) state[key] = given.get(key) ?? "";
  state.budget ||= START.budget;
  for (const key of FLAGS) state[key] = given.get(key) === "true";
  state.scenario = given.get("scenario") ?? (state.charge_inference ? "custom" : START.scenario);
  state.teachers = given.getAll("teacher").map((text) => {
    const teacher = Object.fromEntries(TEACHER_KEYS.map((key) => [key, ""]));
    for (const part of text.split(",")) {
      const [key, ...value] = part.split("=");
      if (TEACHER_KEYS.includes(key)) teacher[key] = value.join("=");
    }
    return teacher;
  });
  return normal(state);
}

// A teacher that exists costs no pretraining: the scenario says only whether its inference is paid.
export function normal(state) {
  const sunk = { full: "teacher-inference", "teacher-pretraining": "best-case" };
  if (state.teachers.length > 0) state.scenario = sunk[state.scenario] ?? state.scenario;
  return state;
}

export function toFragment(state) {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(toBody(state))) {
    if (key !== "teachers") parts.set(key, String(value));
  }
  for (const teacher of state.teachers) parts.append("teacher", teacherText(teacher));
  return `#${parts.toString().replaceAll("%2C", ",").replaceAll("%3D", "=")}`;
}

// Only what was said: the server's defaults are the server's.
export function toBody(state) {
  const body = {};
  for (const key of TEXTS) if (state[key].trim()) body[key] = state[key].trim();
  for (const key of FLAGS) if (state[key]) body[key] = true;
  if (state.scenario === "custom") {
    body.charge_inference ??= "1";
    body.charge_pretraining ??= "1";
  } else {
    body.scenario = state.scenario;
    delete body.charge_inference;
    delete body.charge_pretraining;
  }
  const teachers = state.teachers
    .map((each) => Object.fromEntries(TEACHER_KEYS.filter((k) => each[k].trim())
      .map((k) => [k, each[k].trim()])))
    .filter((each) => Object.keys(each).length > 0);
  if (teachers.length > 0) body.teachers = teachers;
  return body;
}

export function toCommand(state) {
  const words = ["plan"];
  for (const [key, value] of Object.entries(toBody(state))) {
    if (key === "teachers") {
      for (const each of state.teachers) words.push("--teacher", quoted(teacherText(each)));
      continue;
    }
    words.push(`--${key.replaceAll("_", "-")}`);
    if (value !== true) words.push(quoted(String(value)));
  }
  return words.join(" ");
}

function teacherText(teacher) {
  return TEACHER_KEYS.filter((key) => teacher[key].trim())
    .map((key) => `${key}=${teacher[key].trim().replaceAll(",", " ")}`).join(",");
}

function quoted(text) {
  return /^[\w.,:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
