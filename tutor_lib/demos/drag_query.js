import { argmax, bars, bets, details, dot, fixed, h, percent, scoreBars, slider, softmax, Stage, svg } from "./kit.js";

/** The point at this length and angle (in degrees, anticlockwise from the right). */
export function fromPolar(length, angle) {
  const turned = (angle * Math.PI) / 180;
  return [length * Math.cos(turned), length * Math.sin(turned)];
}

/** Length and angle of a point, the angle in 0…360. The origin keeps the angle it had. */
export function toPolar([x, y], before = 0) {
  const length = Math.hypot(x, y);
  return { length, angle: length ? ((Math.atan2(y, x) * 180) / Math.PI + 360) % 360 : before };
}

/** One query among keys: softmax(q kᵀ / √D) v, with all that is computed on the way. */
export function mixOf(query, keys, values) {
  const dots = keys.map((key) => dot(query, key));
  const scores = dots.map((product) => product / Math.sqrt(query.length));
  const weights = softmax(scores);
  const mixed = values[0].map((_, i) => dot(weights, values.map((value) => value[i])));
  return { dots, scores, weights, mixed };
}

/** The keys and the values of the demo's pairs. */
const keysOf = (model) => model.get("pairs").map((pair) => pair.slice(0, 2));
const valuesOf = (model) => model.get("pairs").map((pair) => pair.slice(2));

const REACH = 4, SIZE = 280, STEP = 0.1;
const pixel = ([x, y]) => [SIZE / 2 + (x * SIZE) / (2 * REACH + 0.8), SIZE / 2 - (y * SIZE) / (2 * REACH + 0.8)];
const point = ([x, y]) => `(${fixed(x, 2)}, ${fixed(y, 2)})`;

const STYLE = `
.planes { display: grid; gap: 0.9rem 1.25rem; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
.planes figure { display: grid; gap: 0.3rem; justify-items: center; }
.planes svg { display: block; width: 100%; max-width: 21rem; height: auto; border: 1px solid var(--td-line); border-radius: 8px; background: var(--td-paper); font-size: 13px; }
.planes .drag { touch-action: none; cursor: crosshair; }
figcaption { color: var(--td-muted); font-size: 0.8125rem; text-align: center; }
.axis { stroke: var(--td-line); }
.q-line, .k-line { stroke-width: 2.5; stroke-linecap: round; }
.q-line { stroke: var(--td-q); } .k-line { stroke: var(--td-k); stroke-width: 1.5; }
.q-dot { fill: var(--td-q); } .k-dot { fill: var(--td-k); } .v-dot { fill: var(--td-v); }
.v-line { stroke: var(--td-v); stroke-linecap: round; }
.mix { fill: var(--td-paper); stroke: var(--td-v); stroke-width: 3; }
.handle { cursor: grab; } .handle circle.ring { fill: var(--td-q); opacity: 0.15; }
.handle:focus-visible { outline: none; }
.handle:focus-visible circle.ring { opacity: 0.4; stroke: var(--td-q); stroke-width: 2; }
text { fill: var(--td-ink); font-weight: 600; paint-order: stroke; stroke: var(--td-paper); stroke-width: 3px; }
.tables { display: grid; gap: 0.9rem 1.75rem; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
.q { color: var(--td-q); } .k { color: var(--td-k); } .v { color: var(--td-v); }
.controls > .control { max-width: 20rem; }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  const view = { ...planes(model), scores: scoreBars({ label: "Dot products and scores", columns: ["Key", "q · k", "÷ √2"] }),
    weights: bars({ label: "Weights: the softmax of the scores", columns: ["Key", "Weight"] }),
    doubled: bars({ label: "Weights before doubling (outline) and after", columns: ["Key", "Before", "After"] }),
    status: h("p", { class: "note", role: "status" }), more: h("div") };
  view.bets = bets(stage, { label: "A query twice as long", options: ["The weights stay", "They even out", "The largest grows"],
    onBet: (said) => double(stage, view, said) });
  view.weightBox = h("div");
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "the query is made twice as long and still points the same way. What becomes of the weights? Bet, and it happens. Then drag the query, or use its arrow keys or the sliders."),
    view.bets.node, view.status,
    h("div", { class: "planes" }, view.left, view.right),
    h("div", { class: "controls" },
      slider(stage, "length", { label: "Length of the query", min: 0, max: REACH, step: STEP, format: (x) => fixed(x, 2) }).node,
      slider(stage, "angle", { label: "Direction", min: 0, max: 360, step: 5, format: (x) => `${fixed(x, 0)}°` }).node),
    h("div", { class: "tables" }, view.scores.node, view.weightBox), view.more);
  pull(stage, view);
  for (const name of ["length", "angle"]) stage.onChange(name, () => { if (!view.still) draw(stage, view); });
  draw(stage, view);
  stage.ready();
  return () => stage.remove();
}

/** The two planes: keys and the query live in one, values in the other. */
function planes(model) {
  const line = (kind) => svg("line", { class: kind }), text = (name) => svg("text", { "aria-hidden": "true" }, name);
  const keys = keysOf(model).map((key, i) => ({ at: key, line: line("k-line"), dot: svg("circle", { class: "k-dot" }), name: text(`k${i + 1}`) }));
  const values = valuesOf(model).map((value, i) => ({ at: value, line: line("v-line"), dot: svg("circle", { class: "v-dot", r: 5 }), name: text(`v${i + 1}`) }));
  const query = line("q-line"), name = text("q"), ring = svg("circle", { class: "ring", r: 16 }), tip = svg("circle", { class: "q-dot", r: 7 });
  const handle = svg("g", { class: "handle", tabindex: 0, role: "application", "aria-roledescription": "point to move" }, ring, tip);
  const mix = svg("circle", { class: "mix", r: 8 });
  const board = plane("drag", "The query among the keys", [keys.flatMap((k) => [k.line, k.dot, k.name]), query, handle, name]);
  const left = h("figure", {}, board, h("figcaption", {}, "The ", h("span", { class: "q" }, "query q"), " and the ", h("span", { class: "k" }, "keys"), ". A heavier key is a bigger dot."));
  const right = h("figure", {}, plane("", "The values and their mixture", [values.flatMap((v) => [v.line, v.dot]), mix, values.map((v) => v.name)]),
    h("figcaption", {}, "The ", h("span", { class: "v" }, "values"), "; the ring is their mixture, each pulling with its weight."));
  place(keys.concat(values));
  return { keys, values, query, name, ring, tip, handle, mix, board, left, right };
}

function plane(kind, label, shapes) {
  const axis = (x1, y1, x2, y2) => svg("line", { class: "axis", x1, y1, x2, y2 });
  return svg("svg", { class: kind, viewBox: `0 0 ${SIZE} ${SIZE}`, role: "group", "aria-label": label },
    axis(0, SIZE / 2, SIZE, SIZE / 2), axis(SIZE / 2, 0, SIZE / 2, SIZE), shapes);
}

function place(shapes) {
  for (const { at, line, dot: mark, name } of shapes) {
    const [x, y] = pixel(at);
    ends(line, pixel([0, 0]), [x, y]);
    put(mark, x, y);
    name.setAttribute("x", x + 9);
    name.setAttribute("y", y - 8);
  }
}

const put = (circle, x, y) => { circle.setAttribute("cx", x); circle.setAttribute("cy", y); };

function ends(line, [x1, y1], [x2, y2]) {
  for (const [key, value] of Object.entries({ x1, y1, x2, y2 })) line.setAttribute(key, value);
}

/** The query follows the pointer, and the arrow keys. */
function pull(stage, view) {
  const follow = (event) => {
    const frame = view.board.getBoundingClientRect(), unit = (2 * REACH + 0.8) / frame.width;
    move(stage, view, [(event.clientX - frame.left - frame.width / 2) * unit, (frame.top + frame.height / 2 - event.clientY) * unit]);
  };
  let held = false;
  stage.listen(view.board, "pointerdown", (event) => {
    held = true;
    view.board.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.listen(view.board, "pointermove", (event) => { if (held) follow(event); });
  for (const end of ["pointerup", "pointercancel"]) stage.listen(view.board, end, () => { held = false; });
  stage.listen(view.handle, "keydown", (event) => {
    const by = { ArrowRight: [STEP, 0], ArrowLeft: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
    if (!by) return;
    event.preventDefault();
    const [x, y] = theQuery(stage);
    move(stage, view, [x + by[0], y + by[1]]);
  });
}

const theQuery = (stage) => fromPolar(stage.model.get("length"), stage.model.get("angle"));

function move(stage, view, to) {
  const { length, angle } = toPolar(to, stage.model.get("angle"));
  // Two traits, one movement: it is drawn once.
  view.still = true;
  stage.set({ length: Math.min(length, REACH), angle });
  view.still = false;
  draw(stage, view);
}

/** The bet is settled: the query grows to twice its length, from one that leaves room for it. */
function double(stage, view, said) {
  const { model } = stage;
  const start = Math.max(0.5, Math.min(model.get("length"), REACH / 2));
  const before = mixOf(fromPolar(start, model.get("angle")), keysOf(model), valuesOf(model));
  view.still = true;
  stage.set({ length: 2 * start });
  view.still = false;
  Object.assign(view, { before: before.weights, said });
  draw(stage, view, true);
}

/** `settled`: the weights before the bet are shown beside those after it. */
function draw(stage, view, settled = false) {
  const { model } = stage, query = theQuery(stage), found = mixOf(query, keysOf(model), valuesOf(model));
  if (!settled) view.bets.clear();
  drawPlanes(view, query, found);
  const names = found.scores.map((_, i) => `k${i + 1}`), heaviest = argmax(found.weights);
  view.scores.update(names.map((label, i) => ({ label, value: found.dots[i], numbers: [fixed(found.dots[i]), fixed(found.scores[i])] })));
  const chart = settled ? view.doubled : view.weights;
  chart.update(names.map((label, i) => ({ label, value: found.weights[i], ghost: settled ? view.before[i] : null, chosen: i === heaviest })));
  if (view.weightBox.firstChild !== chart.node) view.weightBox.replaceChildren(chart.node);
  view.status.textContent = settled ? verdict(view, found.weights, heaviest) : told(query, found, heaviest);
  drawNumbers(view, model, found);
}

function drawPlanes(view, query, { weights, mixed }) {
  const [x, y] = pixel(query), at = pixel(mixed);
  ends(view.query, pixel([0, 0]), [x, y]);
  put(view.tip, x, y);
  put(view.ring, x, y);
  view.name.setAttribute("x", x + 12);
  view.name.setAttribute("y", y + 18);
  view.handle.setAttribute("aria-label", `Query at ${point(query)}; arrow keys move it`);
  view.keys.forEach((key, i) => key.dot.setAttribute("r", 3 + 7 * Math.sqrt(weights[i])));
  view.values.forEach((value, i) => {
    ends(value.line, pixel(value.at), at);
    value.line.setAttribute("stroke-width", 8 * weights[i]);
  });
  put(view.mix, ...at);
}

function verdict({ said, before }, weights, heaviest) {
  const right = said === 2 ? "Well predicted. " : "Not so. ";
  if (Math.abs(weights[heaviest] - before[heaviest]) < 5e-4) return "Here the weights are already as good as all or nothing. Try a shorter query.";
  return `${right}Twice as long doubles every score, and so every gap between them: k${heaviest + 1} goes from ${percent(before[heaviest])} to ${percent(weights[heaviest])}.`;
}

const told = (query, { weights, mixed }, heaviest) =>
  `The query is at ${point(query)}. k${heaviest + 1} has the most weight, ${percent(weights[heaviest])}; the mixed value is ${point(mixed)}.`;

function drawNumbers(view, model, { dots, scores, weights, mixed }) {
  const opened = view.more.querySelector("details")?.open;
  const list = details("All numbers", ["", "key", "q · k", "÷ √2", "eˣ", "weight", "value", "weight × value"],
    dots.map((product, i) => [`k${i + 1}`, point(keysOf(model)[i]), product, scores[i], Math.exp(scores[i]), weights[i],
      point(valuesOf(model)[i]), point(valuesOf(model)[i].map((x) => x * weights[i]))])
      .concat([["sum", "", "", "", scores.reduce((sum, x) => sum + Math.exp(x), 0), weights.reduce((a, b) => a + b, 0), "", point(mixed)]]));
  list.open = Boolean(opened);
  view.more.replaceChildren(list);
}

export default { render };
