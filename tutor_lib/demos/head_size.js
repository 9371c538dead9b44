import { bets, button, details, fixed, h, percent, random, slider, softmax, Stage, svg } from "./kit.js";

/** Two numbers in [0, 1) become two from a standard normal distribution: Box and Muller. */
export function normals(next, count) {
  const out = new Float64Array(count);
  for (let i = 0; i < count; i += 2) {
    // 1 − u lies in (0, 1], where the logarithm is finite.
    const radius = Math.sqrt(-2 * Math.log(1 - next())), turn = 2 * Math.PI * next();
    out[i] = radius * Math.cos(turn);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(turn);
  }
  return out;
}

/** For each size D, the dot products of the first D numbers of `q` with those of each key. */
export function growingDots(q, keys, sizes) {
  const sums = keys.map(() => 0);
  let read = 0;
  return sizes.map((size) => {
    for (let s = 0; s < keys.length; s++)
      for (let i = read; i < size; i++) sums[s] += q[i] * keys[s][i];
    read = size;
    return [...sums];
  });
}

/** The root of the mean square: for numbers about zero, how far they typically lie from it. */
export const spread = (values) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);

/** Rows of dot products of size D, without and with 1/√D: the spread of all, the mean largest weight. */
export function bothWays(rows, size) {
  return [1, Math.sqrt(size)].map((divisor) => {
    const scores = rows.map((dots) => dots.map((product) => product / divisor));
    const weights = scores.map(softmax);
    const largest = weights.reduce((sum, row) => sum + Math.max(...row), 0) / rows.length;
    return { scores, weights, spread: spread(scores.flat()), largest };
  });
}

const KEYS = 16, QUERIES = 16, POWERS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], SIZES = POWERS.map((power) => 2 ** power);
const NAMES = ["without 1/√D", "with 1/√D"], KINDS = ["raw", "scaled"], REACH = 96;

const STYLE = `
.charts { display: grid; gap: 1rem 1.5rem; }
.charts figure { display: grid; gap: 0.3rem; }
figcaption { color: var(--td-muted); font-size: 0.8125rem; font-weight: 500; }
.charts svg { display: block; width: 100%; height: auto; max-height: 13rem; font-size: 11px; font-weight: 400; }
@container (min-width: 640px) { .charts { grid-template-columns: 1fr 1fr; } }
svg text { fill: var(--td-muted); } svg .raw-name { fill: var(--td-muted); font-weight: 600; } svg .scaled-name { fill: var(--td-accent); font-weight: 600; }
.axis { stroke: var(--td-line); } .here { stroke: var(--td-edge); stroke-dasharray: 3 3; }
circle.raw, rect.raw { fill: var(--td-muted); } circle.scaled, rect.scaled { fill: var(--td-accent); }
.lane { position: relative; height: 1.5rem; background: linear-gradient(var(--td-line), var(--td-line)) 0 50% / 100% 1px no-repeat; }
.lane i { position: absolute; top: 50%; width: 0.7rem; height: 0.7rem; margin: -0.35rem; border-radius: 50%; opacity: 0.7; }
.lane .raw { background: var(--td-muted); } .lane .scaled { background: var(--td-accent); }
.ticks { position: relative; height: 1.1rem; color: var(--td-muted); font-size: 0.75rem; } .ticks span { position: absolute; transform: translateX(-50%); }
path { fill: none; stroke-width: 2; } path.raw { stroke: var(--td-muted); stroke-dasharray: 6 4; } path.scaled { stroke: var(--td-accent); }
.facts th { white-space: nowrap; } .facts td, .facts th { padding-block: 0.15rem; }
.facts .raw { color: var(--td-muted); font-weight: 600; } .facts .scaled { color: var(--td-accent); font-weight: 600; }
.controls > .control { max-width: 20rem; }
`;

function render({ model, el }) {
  const stage = new Stage(el, model), view = { status: h("p", { class: "note", role: "status" }), facts: h("div", { class: "facts" }),
    lanes: h("figure"), columns: h("figure"), curve: h("figure"), more: h("div") };
  view.bets = bets(stage, { label: "The largest weight as D grows, without 1/√D", options: ["It stays as it is", "It goes to 1", "It goes to 1/16"],
    onBet: (bet) => stage.set({ bet }) });
  view.size = slider(stage, "power", { label: "Head size D", min: 1, max: POWERS.length, step: 1, format: (power) => String(2 ** power) }).node;
  view.another = button(stage, "Draw other vectors", () => stage.set({ seed: (stage.model.get("seed") + 1) % 2 ** 32 }));
  view.act = h("div", { class: "controls" }, view.size, h("div", { class: "buttons" }, view.another));
  view.curves = h("div", { class: "charts" }, view.columns, view.curve);
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), `a random query meets ${KEYS} random keys, all their numbers of variance 1. The head size D grows from 2 to 1,024, and nobody divides by √D. What becomes of the largest of the ${KEYS} weights?`),
    view.bets.node, view.act, view.status, view.facts, view.lanes, view.curves, view.more);
  stage.watch(["seed"], () => { roll(view, model.get("seed")); draw(stage, view); });
  for (const name of ["power", "bet"]) stage.onChange(name, () => draw(stage, view));
  stage.ready();
  return () => stage.remove();
}

/** One draw serves all sizes: a larger head reads on in the same vectors. */
function roll(view, seed) {
  const next = random(seed), vectors = (count) => Array.from({ length: count }, () => normals(next, SIZES.at(-1)));
  const keys = vectors(KEYS), grown = vectors(QUERIES).map((q) => growingDots(q, keys, SIZES));
  view.sizes = [];
  view.grown = grown;
}

/** What the sizes up to number `at` do, each computed when it is first shown. */
function reached(view, at) {
  for (let i = view.sizes.length; i <= at; i++)
    view.sizes.push(bothWays(view.grown.map((rows) => rows[i]), SIZES[i]));
  return view.sizes.slice(0, at + 1);
}

function draw(stage, view) {
  const bet = stage.model.get("bet"), at = stage.model.get("power") - 1, shown = reached(view, at), ways = shown[at];
  view.bets.node.querySelectorAll("button").forEach((node, i) => node.setAttribute("aria-pressed", String(i === bet)));
  view.act.hidden = view.curves.hidden = view.more.hidden = bet < 0;
  drawFacts(view, ways);
  drawLanes(view, ways);
  if (bet < 0) { view.status.textContent = `Here D is ${SIZES[at]}. Bet, and you can make it grow.`; return; }
  view.status.textContent = verdict(bet, at, ways);
  drawColumns(view, ways);
  drawCurve(view, shown);
  drawNumbers(view, shown);
}

function verdict(bet, at, [raw, scaled]) {
  const now = `At D = ${SIZES[at].toLocaleString("en")} the largest weight is ${percent(raw.largest)} without the division, ${percent(scaled.largest)} with it.`;
  if (at < POWERS.length - 1) return `${now} ${at ? "Go on to the end." : "Now make D grow."}`;
  return `${bet === 1 ? "Well predicted. " : "Not so. "}${now} Undivided, one key takes nearly everything.`;
}

function drawFacts(view, ways) {
  const number = (name) => h("th", { scope: "col", class: "number" }, name);
  view.facts.replaceChildren(h("table", {}, h("caption", {}, `Spread and mean largest weight of ${QUERIES} random queries`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Scores"), number("Spread"), number("Largest weight"))),
    h("tbody", {}, ways.map((way, i) => h("tr", {}, h("th", { scope: "row", class: KINDS[i] }, NAMES[i]),
      h("td", { class: "number" }, fixed(way.spread, 2)), h("td", { class: "number" }, percent(way.largest)))))));
}

/** The scores of the first query on one fixed axis, so that one sees them fly apart. */
function drawLanes(view, ways) {
  const left = (score) => `left:${(50 + 50 * Math.max(-1, Math.min(score / REACH, 1))).toFixed(2)}%`;
  const lane = ({ scores: [scores] }, i) => h("div", { class: "lane", role: "img",
    "aria-label": `Scores ${NAMES[i]}: ${scores.map((score) => fixed(score, 1)).join(", ")}` }, scores.map((score) => h("i", { class: KINDS[i], style: left(score) })));
  view.lanes.replaceChildren(h("figcaption", {}, `The ${KEYS} scores of the first query`), ...ways.map(lane),
    h("div", { class: "ticks", "aria-hidden": "true" }, [-60, -30, 0, 30, 60].map((tick) => h("span", { style: left(tick) }, fixed(tick, 0)))));
}

/** The weights of all keys, from the heaviest to the lightest. */
function drawColumns(view, ways) {
  const largest = ({ weights: [first] }) => percent(Math.max(...first));
  const rows = ways.map((way, i) => svg("g", {}, [...way.weights[0]].sort((a, b) => b - a).map((share, s) => {
    const tall = Math.max(58 * share, 0.75);
    return svg("rect", { class: KINDS[i], x: 4 + 19 * s, width: 15, y: 74 + 82 * i - tall, height: tall, rx: 1.5 });
  }), svg("text", { class: `${KINDS[i]}-name`, x: 308, y: 28 + 82 * i, "text-anchor": "end" }, `${NAMES[i]}: ${largest(way)}`)));
  view.columns.replaceChildren(h("figcaption", {}, `Its ${KEYS} weights, the largest first`),
    svg("svg", { viewBox: "0 0 312 160", role: "img", "aria-label": `Its ${KEYS} weights; the largest is ${ways.map((way, i) => `${largest(way)} ${NAMES[i]}`).join(", ")}` }, rows));
}

/** The largest weight, for the sizes up to the one that is chosen. */
function drawCurve(view, shown) {
  const at = shown.length - 1, x = (i) => 42 + 28 * i, y = (share) => 132 - 116 * share;
  const lines = KINDS.map((kind, way) => [
    svg("path", { class: kind, d: shown.map((ways, i) => `${i ? "L" : "M"}${x(i)} ${y(ways[way].largest).toFixed(1)}`).join("") }),
    svg("circle", { class: kind, cx: x(at), cy: y(shown[at][way].largest), r: 5 })]);
  const names = [0, 0.5, 1].map((share) => [svg("line", { class: "axis", x1: 36, x2: 300, y1: y(share), y2: y(share) }),
    svg("text", { x: 32, y: y(share) + 4, "text-anchor": "end" }, `${100 * share}%`)]);
  const sizes = [0, 3, 6, 9].map((i) => svg("text", { x: x(i), y: 148, "text-anchor": "middle" }, SIZES[i].toLocaleString("en")));
  view.curve.replaceChildren(h("figcaption", {}, `The largest weight at each head size D, mean of ${QUERIES}`),
    svg("svg", { viewBox: "0 0 312 160", role: "img", "aria-label": "The largest weight at each head size, without and with 1/√D; the numbers are in the table below" },
      names, svg("line", { class: "here", x1: x(at), x2: x(at), y1: 12, y2: 132 }), lines, sizes));
}

function drawNumbers(view, shown) {
  const opened = view.more.querySelector("details")?.open;
  const list = details("These head sizes in numbers", ["D", "√D", "spread without", "spread with", "largest without", "largest with"],
    shown.map(([raw, scaled], i) => [SIZES[i].toLocaleString("en"), Math.sqrt(SIZES[i]), raw.spread, scaled.spread, percent(raw.largest), percent(scaled.largest)]));
  list.open = Boolean(opened);
  view.more.replaceChildren(list);
}

export default { render };
