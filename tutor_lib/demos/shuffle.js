import { attend, bet, button, choice, details, enable, firstIds, fixed, h, multiply, presets, ropeAngles, rmsNorm, rotate, signedMap, Stage, textField, withStoryteller } from "./kit.js";

export const NO_ORDER = 0, ROPE = 1, CAUSAL = 2;

/**
 * What the first attention layer writes for each token. `source` says where it could learn the
 * order from: nowhere, from RoPE, or from a causal mask without positions.
 */
export function attentionRows(teller, ids, source) {
  const { n_heads, n_kv_heads, norm_eps, d_model, rope_base } = teller.config;
  const layer = teller.layers[0], size = teller.headSize, stride = n_kv_heads * size;
  const read = ids.map((id) => rmsNorm(teller.tensors["embedding.weight"].subarray(id * d_model, (id + 1) * d_model), layer.attentionNorm, norm_eps));
  const turned = (x, t) => {
    if (source === ROPE)
      for (let at = 0; at < x.length; at += size) rotate(x.subarray(at, at + size), ropeAngles(t, size, rope_base));
    return x;
  };
  const queries = read.map((x, t) => turned(multiply(layer.q, x), t));
  const keys = joined(read.map((x, t) => turned(multiply(layer.k, x), t))), values = joined(read.map((x) => multiply(layer.v, x)));
  return queries.map((query, t) => {
    const mixed = new Float32Array(n_heads * size), seen = source === CAUSAL ? t + 1 : ids.length;
    for (let head = 0; head < n_heads; head++)
      mixed.set(attend(query.subarray(head * size, (head + 1) * size), keys, values, seen, stride, teller.kvHead(head) * size).mixed, head * size);
    return multiply(layer.o, mixed);
  });
}

function joined(rows) {
  const all = new Float32Array(rows.length * rows[0].length);
  rows.forEach((row, i) => all.set(row, i * row.length));
  return all;
}

/** max |a_i − b_i|. */
export const largestDifference = (a, b) => a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);

/** The order after the entry at place `from` is taken out and put in at place `to`. */
export function movedTo(order, from, to) {
  const next = order.filter((_, place) => place !== from);
  next.splice(to, 0, order[from]);
  return next;
}

// Sums of the same numbers in another order differ in the last bits of a 32-bit float.
const ROUNDING = 1e-5;

const BETS = ["none", "only those that moved", "all of them"];

const STYLE = `
.cards { display: flex; flex-wrap: wrap; gap: 0.5rem; padding: 0; list-style: none; }
.card { display: grid; justify-items: center; gap: 0.2rem; padding: 0.4rem; border: 1px solid color-mix(in srgb, var(--td-token) 45%, var(--td-surface)); border-radius: 8px; background: color-mix(in srgb, var(--td-token) 12%, var(--td-surface)); cursor: grab; touch-action: none; user-select: none; }
.card.held { box-shadow: 0 0 0 2px var(--td-token); cursor: grabbing; }
.card small { color: var(--td-muted); font-size: 0.75rem; }
.card .moves { display: flex; gap: 0.25rem; }
.card button { min-height: 1.8rem; min-width: 1.9rem; padding: 0; font-size: 0.8125rem; line-height: 1; }
.controls > .choice { max-width: none; }
.outputs { table-layout: fixed; }
.outputs th:first-child { width: 5rem; } .outputs .where { width: 4.2rem; } .outputs .number { width: 6.2rem; }
.outputs td, .outputs tbody th { padding-block: 3px; vertical-align: middle; }
.outputs .signed-map { height: 1.15rem; border: 1px solid var(--td-line); }
.outputs .changed { font-weight: 700; }
.outputs .two { display: grid; gap: 2px; }
@container (max-width: 480px) { .outputs .where { display: none; } .outputs th:first-child { width: 4rem; } .outputs .number { width: 4.6rem; } }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  stage.add(h("style", {}, STYLE), bet(stage, "bet", { options: BETS,
    ask: "attention reads the tokens below without positions and without a mask. Move “dog” to the front. Whose output row changes?" }));
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

function build(stage, teller) {
  const view = { teller, cards: h("ol", { class: "cards", "aria-label": "The tokens, in their order" }), body: h("tbody"),
    said: h("p", { class: "strong", role: "status" }), why: h("p", { class: "note" }), numbers: h("div"), map: new Map() };
  stage.listen(view.cards, "keydown", (event) => onKey(stage, view, event));
  const set = (order) => stage.set({ order });
  const whole = () => ownTokens(stage, teller).map((_, place) => place);
  stage.add(presets(stage, "text", { label: "Text" }), textField(stage, "text", { label: "Your text", rows: 1, maxlength: stage.model.get("max_length") }), view.cards,
    h("div", { class: "buttons" }, button(stage, "Reverse", () => set([...stage.model.get("order")].reverse())),
      button(stage, "Move the last to the front", () => set(movedTo(stage.model.get("order"), whole().length - 1, 0))),
      view.back = button(stage, "As written", () => set(whole()))),
    h("div", { class: "controls" }, choice(stage, "source", { label: "What tells the order", options: ["nothing", "RoPE", "a causal mask"] })), view.said, view.why, outputs(view), view.numbers);
  stage.onChange("text", () => readText(stage, view));
  stage.watch(["order", "source", "bet"], () => draw(stage, view));
}

/** Another text, as it is written; drawn once, also where its order is the one before. */
function readText(stage, view) {
  Object.assign(view, { held: null, stale: true });
  stage.set({ order: ownTokens(stage, view.teller).map((_, place) => place) });
  if (view.stale) draw(stage, view);
}

const ownTokens = (stage, teller) => firstIds(stage, teller.tokenizer);

function outputs({ body }) {
  return h("table", { class: "outputs" }, h("caption", {}, "Each token’s output row: above as the text was written, below in the order of now"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Token"), h("th", { scope: "col", class: "where" }, "Place"), h("th", { scope: "col" }, "128 numbers, before and now"), h("th", { scope: "col", class: "number" }, "max |Δ|"))), body);
}

function draw(stage, view) {
  const ids = ownTokens(stage, view.teller), order = stage.model.get("order"), source = stage.model.get("source");
  if (order.length !== ids.length) return;
  view.stale = false;
  const names = ids.map((id) => view.teller.tokenizer.show(id));
  const stays = order.every((t, place) => t === place);
  enable(view.back, !stays);
  drawCards(stage, view, names, order);
  const before = ids.length ? attentionRows(view.teller, ids, source) : [];
  const moved = stays ? before : attentionRows(view.teller, order.map((t) => ids[t]), source);
  const rows = ids.map((_, t) => ({ t, name: names[t], now: order.indexOf(t), before: before[t], after: moved[order.indexOf(t)] }));
  rows.forEach((row) => { row.difference = largestDifference(row.before, row.after); });
  drawRows(view, rows);
  tell(stage, view, rows);
}

function drawCards(stage, view, names, order) {
  view.cards.replaceChildren(...order.map((t, place) => {
    const go = (step) => button(stage, step < 0 ? "◀" : "▶", () => move(stage, view, place, place + step), { "aria-label": `Move ${names[t]} ${step < 0 ? "left" : "right"}`, "data-step": step });
    const [left, right] = [go(-1), go(1)];
    enable(left, place > 0); enable(right, place < order.length - 1);
    const card = h("li", { class: `card${view.held === t ? " held" : ""}`, "data-place": place }, h("span", { class: "token" }, names[t]), h("small", {}, place), h("span", { class: "moves" }, left, right));
    stage.listen(card, "pointerdown", (event) => { if (!event.target.closest("button")) drag(stage, view, t, card); });
    return card;
  }));
}

/** Put the token at place `from` to place `to`; the focus goes along with it. */
function move(stage, view, from, to, step = Math.sign(to - from)) {
  const order = stage.model.get("order");
  if (to < 0 || to >= order.length) return;
  stage.set({ order: movedTo(order, from, to) });
  view.cards.children[to].querySelector(`[data-step="${step}"]`).focus();
}

function onKey(stage, view, event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], card = event.target.closest(".card");
  if (!step || !card) return;
  event.preventDefault();
  move(stage, view, Number(card.dataset.place), Number(card.dataset.place) + step, step);
}

/** While a card is held, it takes the place of whichever card the pointer is over. */
function drag(stage, view, t, card) {
  const released = new AbortController(), { signal } = released;
  view.held = t;
  card.classList.add("held");
  const follow = (event) => {
    const cards = [...view.cards.children], order = stage.model.get("order");
    const to = cards.findIndex((node) => within(node.getBoundingClientRect(), event)), from = order.indexOf(t);
    if (to >= 0 && to !== from) stage.set({ order: movedTo(order, from, to) });
  };
  const release = () => { view.held = null; released.abort(); view.cards.querySelector(".held")?.classList.remove("held"); };
  addEventListener("pointermove", follow, { signal });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, release, { signal });
  stage.ending.signal.addEventListener("abort", release, { signal });
}

const within = ({ left, right, top, bottom }, { clientX, clientY }) => clientX >= left && clientX < right && clientY >= top && clientY < bottom;

/** A difference that may be tiny: rounding is written as a power of ten. */
export function tiny(value) {
  if (value === 0 || value >= 0.001) return value.toFixed(value ? 3 : 0);
  const [digits, exponent] = value.toExponential(0).split("e");
  return `${digits} × 10^${exponent}`.replace("^-", "^−");
}

function drawRows(view, rows) {
  const limit = Math.max(1e-9, ...rows.flatMap(({ before, after }) => [...before, ...after].map(Math.abs)));
  view.body.replaceChildren(...[...rows].sort((a, b) => a.now - b.now).map((row) => h("tr", {},
    h("th", { scope: "row" }, h("span", { class: "token" }, row.name)), h("td", { class: "where note" }, `${row.t} → ${row.now}`),
    h("td", { class: "two" }, signedMap([row.before], { limit }), signedMap([row.after], { limit })),
    h("td", { class: `number${row.difference > ROUNDING ? " changed" : ""}` }, tiny(row.difference)))));
  const open = view.numbers.querySelector("details")?.open;
  view.numbers.replaceChildren(rows.length ? details("The first eight numbers of each row", ["token", ...Array.from({ length: 8 }, (_, i) => String(i))],
    rows.flatMap((row) => [[`${row.name}, before`, ...row.before.subarray(0, 8)], [`${row.name}, now`, ...row.after.subarray(0, 8)]])) : "");
  if (open) view.numbers.querySelector("details").open = true;
}

const WHY = [
  "Each token asks the same bag of keys, and a sum does not care in which order its terms come. What is left is rounding: a computer’s sums depend on their order in the last digit.",
  "RoPE turns each query and key by its place, so a token now sees how far away the others are. Tokens that did not move change too: the others did.",
  "Still no positions. But the first token may see one key, the second two: a mask gives the order away. That is why there is none in the other two.",
];

function tell(stage, view, rows) {
  const source = stage.model.get("source"), stay = rows.every(({ t, now }) => t === now);
  const changed = rows.filter(({ difference }) => difference > ROUNDING).length;
  const largest = rows.length ? Math.max(...rows.map(({ difference }) => difference)) : 0;
  view.said.textContent = !rows.length ? "Type a text." : stay ? "The tokens stand as written. Move one."
    : `${source === NO_ORDER && BETS[stage.model.get("bet")] ? `You said: ${BETS[stage.model.get("bet")]}. ` : ""}${changed} of ${rows.length} output rows changed. The largest difference of a number is ${tiny(largest)}.`;
  view.why.textContent = stay ? "" : WHY[source];
}

export default { render };
