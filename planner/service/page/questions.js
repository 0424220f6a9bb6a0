// Further questions about the same problem: the server answers them as tables.

import { post, Refused } from "./api.js";
import { $, item, make, say } from "./dom.js";
import { toBody } from "./state.js";

// The page's keys that a question does not take, and its own fields: key, label, and an
// example or the choices.
const QUESTIONS = {
  "near-optimal": {
    without: ["round_to_architecture"],
    fields: [["within", "Share of loss above the best", "0.5%"]],
  },
  explain: { without: ["count"], fields: [] },
  target: {
    without: ["budget", "scenario", "round_to_architecture"],
    fields: [["loss", "Loss to reach, nats per token", "2.3"]],
  },
  teachers: {
    without: ["scenario", "charge_inference", "charge_pretraining", "round_to_architecture"],
    fields: [["logits", "The teacher’s logits", ["paid", "stored"]]],
  },
  family: {
    without: ["student", "serving_tokens", "round_to_architecture"],
    fields: [["students", "Students’ sizes", "300M,1B,3B"]],
  },
};
const NEEDED = { target: "loss", family: "students" }; // what has no default: the placeholder is sent

export function listenQuestions(current) {
  const form = $("further");
  const show = () => {
    const { fields } = QUESTIONS[form.elements.question.value];
    $("further-fields").replaceChildren(...fields.map(([key, label, hint]) => {
      const field = make("label", "field");
      field.append(item("span", label));
      if (Array.isArray(hint)) {
        make("select", "", field).append(...hint.map((each) => item("option", each)));
        field.lastChild.name = key;
      } else {
        Object.assign(make("input", "", field), { type: "text", name: key, placeholder: hint, spellcheck: false });
      }
      return field;
    }));
  };
  form.elements.question.addEventListener("change", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(form, current());
  });
  show();
}

async function ask(form, state) {
  const name = form.elements.question.value;
  const { without, fields } = QUESTIONS[name];
  const body = toBody(state);
  for (const key of without) delete body[key];
  for (const [key, , hint] of fields) {
    const given = form.elements[key].value.trim() || (NEEDED[name] === key ? hint : "");
    if (given) body[key] = key === "students" ? given.split(",").map((each) => each.trim()) : given;
  }
  const box = $("further-answer");
  box.setAttribute("aria-busy", "true");
  try {
    const text = await (await post(`v1/${name}?format=html`, body)).text();
    // Every text in it is escaped by the server's renderer; its style is for notebooks.
    const plain = text.replaceAll(/<div style="[^"]*">/g, '<div class="caveats">');
    const found = new DOMParser().parseFromString(plain, "text/html").body;
    box.replaceChildren(...found.childNodes);
    for (const table of box.querySelectorAll("table")) {
      const frame = make("div", "scroll");
      frame.tabIndex = 0;
      frame.setAttribute("role", "region");
      frame.setAttribute("aria-label", table.caption?.textContent || "Answer");
      table.replaceWith(frame);
      frame.append(table);
      table.className = "numbers";
    }
    say(box.querySelector("strong")?.textContent ?? "Answered.");
  } catch (error) {
    const detail = error instanceof Refused ? error.problem.detail : "The server does not answer; try again.";
    box.replaceChildren(item("p", detail, "fault"));
    say(detail);
  }
  box.removeAttribute("aria-busy");
}
