import { bars, bet, button, choice, details, dot, enable, fixed, h, ropeAngles, rotate, slider, Stage, svg } from "./kit.js";

export const PLAIN = 0, LINEAR = 1, NTK = 2, YARN = 3;

/** The frequencies for a context `factor` times as long as the trained one. */
export function stretchedFrequencies(kind, plain, base, factor, context) {
  const size = 2 * plain.length;
  if (kind === LINEAR) return plain.map((theta) => theta / factor);
  if (kind === NTK) {
    const larger = base * factor ** (size / (size - 2));
    return plain.map((_, i) => larger ** ((-2 * i) / size));
  }
  if (kind === YARN) return plain.map((theta, i) => theta + yarnRamp(i, size, base, context) * (theta / factor - theta));
  return plain;
}

/** 0 for a pair that keeps its frequency, 1 for one that is slowed down in full. */
function yarnRamp(i, size, base, context, fast = 32, slow = 1) {
  // The number of the pair that turns so many times over the trained context.
  const pair = (turns) => (size * Math.log(context / turns / (2 * Math.PI))) / (2 * Math.log(base));
  const low = Math.max(Math.floor(pair(fast)), 0), high = Math.min(Math.ceil(pair(slow)), size - 1);
  return Math.min(1, Math.max(0, (i - low) / Math.max(high - low, 0.001)));
}

/** What YaRN multiplies queries and keys by: 0.1 ln s + 1. */
export const magnitude = (kind, factor) => (kind === YARN ? 0.1 * Math.log(factor) + 1 : 1);

/** A vector turned to its position: each pair by position · frequency. */
export const turnedTo = (x, position, frequencies) => rotate(Float64Array.from(x), frequencies.map((theta) => position * theta));

/** q · k / √D after both were turned to their positions. */
export const turnedScore = (q, k, m, n, frequencies, times = 1) =>
  (times ** 2 * dot(turnedTo(q, m, frequencies), turnedTo(k, n, frequencies))) / Math.sqrt(q.length);

/** 2^(−8h/H), h = 1 … H, for a number of heads that is a power of 2. */
export const alibiSlopes = (heads) => Array.from({ length: heads }, (_, i) => 2 ** ((-8 * (i + 1)) / heads));

const STYLE = `
.split { display: grid; gap: 1.1rem 2rem; }
.split > div { display: grid; gap: 0.6rem; align-content: start; min-width: 0; }
@container (min-width: 760px) { .split { grid-template-columns: minmax(0, 1fr) minmax(0, 1.25fr); } }
svg.line, svg.plane, svg.curve { display: block; width: 100%; height: auto; }
svg.line { touch-action: none; }
svg.plane { max-width: 15rem; }
.controls > .choice { max-width: none; }
svg text { fill: var(--td-muted); font: 400 11px system-ui, sans-serif; }
svg .q { fill: var(--td-q); stroke: var(--td-q); } svg .k { fill: var(--td-k); stroke: var(--td-k); }
svg text.q, svg text.k { font-weight: 700; stroke: none; }
svg .rule { stroke: var(--td-line); stroke-width: 1; fill: none; }
svg .band { fill: color-mix(in srgb, var(--td-accent) 22%, var(--td-surface)); }
svg .grab { cursor: grab; }
svg .arrow { stroke-width: 2.5; } svg .ghost-arrow { stroke-width: 1.5; stroke-dasharray: 4 3; opacity: 0.75; }
svg .score { fill: none; stroke: var(--td-accent); stroke-width: 2; }
svg .alibi { fill: none; stroke: var(--td-muted); stroke-width: 1.5; stroke-dasharray: 5 3; }
svg .here { fill: var(--td-accent); stroke: var(--td-surface); stroke-width: 1.5; }
svg .unseen { fill: color-mix(in srgb, var(--td-ink) 7%, var(--td-surface)); }
@container (max-width: 560px) { svg.line text { font-size: 19px; } svg.line circle { r: 15px; } svg.curve text { font-size: 15px; } }
.qc { color: var(--td-q); font-weight: 600; } .kc { color: var(--td-k); font-weight: 600; }
`;

function render({ model, el }) {
  const stage = new Stage(el, model), view = {};
  const found = h("div", { class: "bet" }, [...linePart(stage, view), ...scorePart(stage, view)]);
  stage.add(h("style", {}, STYLE), bet(stage, "bet", { options: ["larger", "the same", "smaller"],
    ask: "a query stands at position 9, a key at 5. Both move on by 100. Their score will be …" }), found);
  stage.watch(["bet"], () => { found.hidden = stage.model.get("bet") < 0; });
  stage.watch(["long"], () => setLength(stage, view));
  stage.watch(["long", "chosen", "pair", "scaling", "query_position", "key_position"], () => draw(stage, view));
  stage.ready();
  return () => stage.remove();
}

/** As many positions as training had, or more. */
function setLength(stage, view) {
  const context = stage.model.get("context_length");
  view.last = context * (stage.model.get("long") ? stage.model.get("stretch") : 1) - 1;
  for (const name of ["query_position", "key_position"])
    if (stage.model.get(name) > view.last) stage.set({ [name]: view.last });
  view.places.forEach((place) => place.stretch(view.last));
}

function linePart(stage, view) {
  view.line = h("div");
  view.places = [["query_position", "Query at m"], ["key_position", "Key at n"]].map(([name, label]) => slider(stage, name, { label, min: 0, max: 1, step: 1 }));
  // A key after its query would be masked: the one that moved takes the other along.
  stage.onChange("query_position", () => { if (at(stage).n > at(stage).m) stage.set({ key_position: at(stage).m }); });
  stage.onChange("key_position", () => { if (at(stage).n > at(stage).m) stage.set({ query_position: at(stage).n }); });
  view.moves = [-100, -1, 1, 100].map((step) => ({ step, node: button(stage, fixed(step, 0).replace(/^(?=\d)/u, "+"), () => shift(stage, view, step), { "aria-label": `Move both by ${step}` }) }));
  stage.listen(view.line, "pointerdown", (event) => drag(stage, view, event));
  return [view.line, h("div", { class: "controls" }, view.places.map(({ node }) => node),
      choice(stage, "long", { label: "Positions", options: lengths(stage) })),
    h("div", { class: "buttons" }, h("span", { class: "label" }, "Move both"), view.moves.map(({ node }) => node))];
}

function lengths(stage) {
  const context = stage.model.get("context_length"), factor = stage.model.get("stretch");
  return [`${context}, as trained`, `${factor} × ${context}`];
}

const at = (stage) => ({ m: stage.model.get("query_position"), n: stage.model.get("key_position") });

/** Both together, so that nothing is drawn with only one of them moved. */
function shift(stage, view, step) {
  const { m, n } = at(stage), by = Math.max(-n, Math.min(view.last - m, step));
  if (by > 0) stage.set({ query_position: m + by, key_position: n + by });
  else if (by < 0) stage.set({ key_position: n + by, query_position: m + by });
}

const LEFT = 16, RIGHT = 584;

/** Drag a marker, or what lies between them to move both. */
function drag(stage, view, event) {
  const part = event.target.dataset?.part;
  if (!part) return;
  event.preventDefault();
  const released = new AbortController(), { signal } = released, box = view.line.getBoundingClientRect();
  const position = ({ clientX }) => Math.round((view.last * ((600 * (clientX - box.left)) / box.width - LEFT)) / (RIGHT - LEFT));
  let before = position(event);
  const follow = (to) => {
    const now = Math.max(0, Math.min(view.last, position(to)));
    if (part === "both") shift(stage, view, now - before);
    else stage.set({ [part]: now });
    before = now;
  };
  addEventListener("pointermove", follow, { signal });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => released.abort(), { signal });
  stage.ending.signal.addEventListener("abort", () => released.abort(), { signal });
}

function scorePart(stage, view) {
  Object.assign(view, { said: h("p", { role: "status" }), plane: h("div"), turned: h("p"), curve: h("div"), about: h("p", { class: "note" }), numbers: h("div"),
    shares: bars({ label: "What is left of each pair’s frequency", columns: ["Pair", "new θ ÷ θ"] }) });
  const vectors = stage.model.get("vectors"), half = vectors[0].q.length / 2;
  return [view.said, h("div", { class: "controls" }, choice(stage, "chosen", { label: "Query and key", options: vectors.map(({ name }) => name) }),
      choice(stage, "scaling", { label: "Frequencies", options: ["trained", "linear", "NTK", "YaRN"] })),
    h("div", { class: "split" }, h("div", {}, slider(stage, "pair", { label: `Pair of numbers (of ${half})`, min: 0, max: half - 1, step: 1 }).node, view.plane, view.turned),
      h("div", {}, view.curve, view.about)),
    h("details", {}, h("summary", {}, "The frequencies, pair by pair"), view.shares.node, view.numbers)];
}

function draw(stage, view) {
  const get = (name) => stage.model.get(name), { m, n } = at(stage), { q, k } = get("vectors")[get("chosen")];
  if (n > m) return;
  const kind = get("scaling"), stretch = get("stretch"), context = get("context_length");
  const plain = [...ropeAngles(1, q.length, get("base"))], frequencies = stretchedFrequencies(kind, plain, get("base"), stretch, context);
  const state = { m, n, q, k, kind, stretch, context, plain, frequencies, times: magnitude(kind, stretch), pair: get("pair"), slopes: alibiSlopes(get("heads")), vector: get("vectors")[get("chosen")] };
  drawLine(view, state);
  view.moves.forEach(({ step, node }) => enable(node, step < 0 ? n > 0 : m < view.last));
  drawPlane(view, state);
  // What does not depend on the two positions stays as it is while they move.
  const curves = [get("chosen"), kind, view.last].join();
  if (curves !== view.curves) {
    drawCurve(view, state);
    drawFrequencies(view, state);
    view.curves = curves;
  }
  drawHere(view, state);
  tell(view, state);
}

const scoreOf = ({ q, k, frequencies, times }, m, n) => turnedScore(q, k, m, n, frequencies, times);

function drawLine(view, { m, n }) {
  const x = (t) => LEFT + ((RIGHT - LEFT) * t) / view.last;
  const marker = (t, kind, part, y) => [svg("circle", { class: `${kind} grab`, cx: x(t), cy: 34, r: 9, "data-part": part }), svg("text", { class: kind, x: Math.max(26, Math.min(574, x(t))), y, "text-anchor": "middle" }, kind === "q" ? `query ${m}` : `key ${n}`)];
  view.line.replaceChildren(svg("svg", { class: "line", viewBox: "0 0 600 66", role: "img", "aria-label": `The query at position ${m}, the key at ${n}, of 0 to ${view.last}` },
    svg("path", { class: "rule", d: `M${LEFT} 34H${RIGHT}` }), svg("rect", { class: "band grab", "data-part": "both", x: x(n), y: 25, width: x(m) - x(n), height: 18 }),
    marker(n, "k", "key_position", 60), marker(m, "q", "query_position", 16)));
}

const degrees = (radians) => `${fixed((180 * radians) / Math.PI, 1)}°`;

/** The chosen pair of numbers as two arrows, before and after they are turned. */
function drawPlane(view, { q, k, m, n, frequencies, pair, times }) {
  const half = q.length / 2, two = (x) => [x[pair], x[pair + half]];
  const size = 88 / Math.max(1e-6, ...[q, k].map((x) => Math.hypot(...two(x))));
  const [after, keyAfter] = [turnedTo(q, m, frequencies), turnedTo(k, n, frequencies)].map(two);
  const arrow = ([x, y], kind, name) => svg("path", { class: `${kind} ${name}`, d: `M0 0L${(size * x).toFixed(2)} ${(-size * y).toFixed(2)}` });
  const head = ([x, y], kind) => svg("circle", { class: kind, cx: size * x, cy: -size * y, r: 4 });
  view.plane.replaceChildren(svg("svg", { class: "plane", viewBox: "-100 -100 200 200", role: "img", "aria-label": `Pair ${pair}: query and key before turning (dashed) and after` },
    svg("path", { class: "rule", d: "M-96 0H96M0 -96V96" }), arrow(two(q), "q", "ghost-arrow"), arrow(two(k), "k", "ghost-arrow"),
    arrow(after, "q", "arrow"), arrow(keyAfter, "k", "arrow"), head(after, "q"), head(keyAfter, "k")));
  const theta = frequencies[pair], part = (times ** 2 * dot(after, keyAfter)) / Math.sqrt(q.length);
  view.turned.replaceChildren(`Dashed: before turning. Pair ${pair} turns by θ = ${fixed(theta, 4)} radians a position, once round in ${fixed((2 * Math.PI) / theta, 1)}. `,
    h("span", { class: "qc" }, `Query: ${m} × θ = ${degrees(m * theta)}.`), " ", h("span", { class: "kc" }, `Key: ${n} × θ = ${degrees(n * theta)}.`),
    ` Between them: ${m - n} × θ = ${degrees((m - n) * theta)}. This pair adds ${fixed(part)} to the score.`);
}

/** The score at every distance; what training never showed is shaded; ALiBi's biases for comparison. */
function drawCurve(view, state) {
  const { context, slopes } = state, scores = Array.from({ length: view.last + 1 }, (_, d) => scoreOf(state, d, 0));
  const low = Math.min(-1, ...scores), high = Math.max(1, ...scores);
  const x = (d) => 34 + (446 * d) / view.last, y = (value) => 16 + (158 * (high - value)) / (high - low);
  const path = (points) => `M${points.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join("L")}`;
  const alibi = slopes.map((slope) => svg("path", { class: "alibi", d: path([[x(0), y(0)], [x(Math.min(view.last, -low / slope)), y(Math.max(low, -slope * view.last))]]) }));
  view.here = svg("circle", { class: "here", r: 5.5 });
  view.point = (d) => ({ cx: x(d), cy: y(scores[d]) });
  const words = (a, b, text, anchor = "start") => svg("text", { x: a, y: b, "text-anchor": anchor }, text);
  view.curve.replaceChildren(svg("svg", { class: "curve", viewBox: "0 0 490 200", role: "img", "aria-label": `The score over the distance, from ${fixed(low, 1)} to ${fixed(high, 1)}` },
    view.last < context ? null : [svg("rect", { class: "unseen", x: x(context), y: 16, width: x(view.last) - x(context), height: 158 }), words(x(context) + 6, 12, "further apart than in training")],
    svg("path", { class: "rule", d: `M34 ${y(0)}H480M34 16V174` }), alibi, svg("path", { class: "score", d: path(scores.map((s, d) => [x(d), y(s)])) }),
    view.here,
    words(29, 20, fixed(high, 1), "end"), words(29, y(0) + 4, "0", "end"), words(29, 176, fixed(low, 1), "end"), words(34, 194, "distance 0"), words(480, 194, view.last, "end"), words(250, 194, "solid: RoPE score; dashed: ALiBi biases", "middle")));
}

/** Where the two positions are on the curve, and what ALiBi would do there. */
function drawHere(view, { m, n, slopes }) {
  for (const [name, value] of Object.entries(view.point(m - n))) view.here.setAttribute(name, value);
  view.about.textContent = `At distance ${m - n}, ALiBi turns nothing and adds to the scores of ${slopes.length} heads: ${slopes.map((slope) => fixed(-slope * (m - n), 2)).join(", ")}: each head has its own slope.`;
}

function drawFrequencies(view, { plain, frequencies, context }) {
  const shares = frequencies.map((theta, i) => theta / plain[i]);
  view.shares.update(shares.map((share, i) => ({ label: String(i), value: Math.min(share, 1), note: fixed(share) })));
  const open = view.numbers.querySelector("details")?.open;
  view.numbers.replaceChildren(details("As numbers", ["pair", "trained θ", "wavelength", `turns in ${context}`, "new θ"],
    plain.map((theta, i) => [String(i), fixed(theta, 4), fixed((2 * Math.PI) / theta, 1), fixed((context * theta) / (2 * Math.PI), 2), fixed(frequencies[i], 4)])));
  view.numbers.querySelector("details").open = Boolean(open);
}

const ABOUT = [
  "", "Linear: every pair turns four times as slowly, so all distances fit into the trained angles, and neighbours move together.",
  "NTK: a larger base. The fastest pair stays, the slowest turns four times as slowly.",
  "YaRN: slow pairs turn four times as slowly, fast ones stay; and it makes scores a little larger.",
];

function tell(view, state) {
  const { m, n, kind, vector } = state, whose = vector.layer === undefined ? "The vectors are all ones." : `“tired” asks “cat” in layer ${vector.layer}, head ${vector.head}.`;
  const [before, after] = [scoreOf(state, 9, 5), scoreOf(state, 109, 105)].map((score) => fixed(score));
  view.said.replaceChildren(`${whose} Positions ${m} and ${n}: the score is `, h("b", {}, fixed(scoreOf(state, m, n))),
    `. At 9 and 5 it is ${before}, at 109 and 105 ${after}: only the distance counts. ${ABOUT[kind]}`);
}

export default { render };
