// Wires the question to the answers: one text state, the server as the only parser of quantities.

import { post, Refused } from "./api.js";
import { GapChart } from "./charts/gap.js";
import { LossChart } from "./charts/loss.js";
import { MapChart } from "./charts/map.js";
import { SplitChart } from "./charts/split.js";
import { readCurves, readGap, readMap, readPlan } from "./documents.js";
import { $, scrollTo } from "./dom.js";
import { listenDownloads } from "./downloads.js";
import { Follower } from "./follow.js";
import { build, fill, follow, listen, mark } from "./form.js";
import { exponentText as asText } from "./format.js";
import { listenQuestions } from "./questions.js";
import { showAsking, showPlan, showProblem } from "./show.js";
import { empty, fromFragment, toBody, toCommand, toFragment } from "./state.js";
import { listenToken } from "./token.js";

const GESTURE = 900; // ms of quiet after which a change is a step of its own for Back
const SETTLED = 150; // ms of quiet before the link is written
const REST = 30; // ms between two starts of a question: 33 a second are more than an eye follows
const COARSE = 19; // budgets on the curves while the hand moves

const charts = {
  loss: new LossChart($("loss-chart")),
  map: new MapChart($("map-chart")),
  split: new SplitChart($("split-chart")),
  gap: new GapChart($("gap-chart")),
};
const store = {
  state: fromFragment(location.hash),
  changed: ask,
  refill: () => fill(store),
};
let view = null; // the plan that is shown
let curves = null;
let lastChange = -Infinity;
let writing = 0;

// ---------------------------------------------------------------- asking

const plans = new Follower(askPlan, REST);
const around = { curves: new Follower(askCurves, REST), map: new Follower(askMap, REST) };
const drawn = { curves: "", map: "" }; // the question whose answer each shows

function ask() {
  remember();
  plans.ask(toBody(store.state));
}

// Back undoes a gesture: its first change makes an entry, which is brought up to date as the hand
// rests (browsers allow few changes of the address a second).
function remember() {
  const now = performance.now();
  clearTimeout(writing);
  const fresh = now - lastChange > GESTURE && toFragment(store.state) !== location.hash;
  if (fresh) history.pushState(null, "", toFragment(store.state));
  else writing = setTimeout(() => history.replaceState(null, "", toFragment(store.state)), SETTLED);
  lastChange = now;
}

async function askPlan(body) {
  showAsking();
  const answer = await explore({ ...body, parts: ["plan", "gap"] }, refused);
  if (answer === null) return;
  view = readPlan(answer);
  showPlan(view, toCommand(store.state));
  mark(null);
  follow(view);
  charts.gap.draw(readGap(answer), { view });
  for (const name of ["loss", "split", "map"]) charts[name].update({ view });
  askAround(body);
}

// The curves hold every budget, the map every student too: each is asked for only when it changes.
function askAround(body) {
  const { budget, ...rest } = body;
  const { student, ...fewer } = rest;
  const seen = (budgets) => budgets && view.budget >= budgets[0] && view.budget <= budgets[budgets.length - 1];
  const range = seen(curves?.budgets) ? "" : budget;
  const small = charts.map.holds(view.student.parameters) ? "" : student;
  const questions = {
    curves: [JSON.stringify([rest, range]), body],
    map: [JSON.stringify([fewer, range, small]), body],
  };
  for (const [name, [key, question]] of Object.entries(questions)) {
    if (key !== drawn[name]) around[name].ask({ key, body: question });
  }
}

async function askCurves({ key, body }) {
  const grid = body.student ? {} : { budgets: 28 }; // planning the size too takes longer
  const moving = performance.now() - lastChange < 2 * REST || plans.behind;
  const coarse = moving ? { budgets: COARSE } : grid;
  const answer = await explore({ ...body, ...coarse, parts: ["curves"] }, stale);
  if (answer === null) return;
  drawn.curves = moving ? "" : key; // the fine ones are asked for when the hand rests
  curves = readCurves(answer);
  delete document.body.dataset.charts;
  charts.loss.draw(curves, { view });
  charts.split.draw(curves, { view });
  if (moving) setTimeout(() => { if (!around.curves.behind) askAround(toBody(store.state)); }, 3 * REST);
}

async function askMap({ key, body }) {
  const answer = await explore({ ...body, parts: ["map"] }, stale);
  if (answer === null) return;
  drawn.map = key;
  charts.map.draw(readMap(answer), { view });
}

async function explore(body, refuse) {
  try {
    return await (await post("v1/explore", body)).json();
  } catch (error) {
    refuse(error instanceof Refused ? error.problem
      : { detail: "The server does not answer; the last plan is shown.", code: "unreachable-server" });
    return null;
  }
}

function refused(problem) {
  if (plans.behind) return; // a newer question is on its way
  showProblem(problem, {
    answered: view !== null,
    command: toCommand(store.state),
    amend: (budget) => {
      store.state.budget = budget;
      fill(store);
      ask();
    },
    unlock: begin,
  });
  mark(problem);
}

function stale() {
  drawn.curves = ""; // ask again with the next change; until then they answer another question
  document.body.dataset.charts = "stale";
}

// ---------------------------------------------------------------- the page around it

function listenPage() {
  $("map-chart").addEventListener("pick", ({ detail }) => {
    store.state.budget = asText(Math.log10(detail.budget), false);
    store.state.student = asText(Math.log10(detail.student), true);
    fill(store);
    ask();
  });
  $("summary").addEventListener("click", () => scrollTo($("verdict-word")));
  $("undo").addEventListener("click", () => history.back());
  $("reset").addEventListener("click", () => {
    store.state = empty();
    fill(store, true);
    ask();
  });
  window.addEventListener("popstate", () => {
    clearTimeout(writing);
    lastChange = -Infinity;
    store.state = fromFragment(location.hash);
    fill(store, true); // the rows still hold the teachers of the question before
    plans.ask(toBody(store.state));
  });
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const chosen = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = chosen;
    $("theme").textContent = chosen === "dark" ? "Light" : "Dark";
    for (const chart of Object.values(charts)) chart.redraw();
  };
  $("theme").addEventListener("click", () => {
    localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    show();
  });
  dark.addEventListener("change", show);
  show();
}

// The first plan does not wait for the catalogues: the link holds all that it needs.
async function begin() {
  fill(store);
  plans.ask(toBody(store.state));
  try {
    await build();
    fill(store);
  } catch (error) {
    refused(error.problem ?? { detail: "The server does not answer; reload the page once it runs." });
  }
}

theme();
listen(store);
listenPage();
listenToken(begin);
listenDownloads(() => store.state, refused);
listenQuestions(() => store.state);
begin();
