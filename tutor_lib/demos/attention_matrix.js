import { bars, choice, details, dot, fixed, h, order, percent, presets, signedBars, softmax, Stage, textField, traceHeads, withStoryteller } from "./kit.js";

/** How query `t` comes to its weight on key `s`: every number between the vectors and the weight. */
export function cellSteps({ q, k }, t, s) {
  const products = Float64Array.from(q[t], (value, i) => value * k[s][i]);
  const root = Math.sqrt(q[t].length);
  const scores = k.map((key, j) => (j <= t ? dot(q[t], key) / root : -Infinity));
  const sum = scores.reduce((total, score) => total + Math.exp(score), 0);
  const product = dot(q[t], k[s]), weights = softmax(scores);
  return { products, dot: product, root, scaled: product / root, masked: scores[s],
    exponential: Math.exp(scores[s]), sum, weights, weight: weights[s] };
}

/** Where a head looks on average: at the token itself, the one before it, and the first one. */
export function headSummary(weights) {
  const mean = (at, from) => {
    const rows = weights.slice(from);
    return rows.length ? rows.reduce((sum, row, i) => sum + at(row, i + from), 0) / rows.length : 0;
  };
  return { self: mean((row, t) => row[t], 1), previous: mean((row, t) => row[t - 1], 1), first: mean((row) => row[0], 1) };
}

/** Where an arrow, Home or End leads from cell (t, s) of a T × T grid; null for another key. */
export function moved(key, [t, s], length) {
  const to = { ArrowUp: [t - 1, s], ArrowDown: [t + 1, s], ArrowLeft: [t, s - 1], ArrowRight: [t, s + 1],
    Home: [t, 0], End: [t, length - 1] }[key];
  return to ? to.map((i) => Math.max(0, Math.min(i, length - 1))) : null;
}

const STYLE = `
.columns { display: grid; gap: 1.25rem 2rem; }
.grid-box { overflow: auto; max-width: 100%; max-height: 36rem; padding: 0 0.25rem 0.5rem 0; }
.grid { --cell: clamp(17px, calc((100cqw - 9rem) / var(--count)), 28px); width: auto; border-collapse: separate; border-spacing: 1px; }
.grid th { font-weight: 400; padding: 0; }
.grid thead th { vertical-align: bottom; color: var(--td-k); padding: 0 0 4px; background: var(--td-surface); }
.grid thead th .token { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 7rem; overflow: hidden; line-height: var(--cell); width: var(--cell); }
.grid tbody th { position: sticky; left: 0; z-index: 1; text-align: right; padding: 0 6px 0 0; color: var(--td-q); background: var(--td-surface); }
.grid tbody th .token { display: inline-block; max-width: 6.5rem; overflow: hidden; vertical-align: middle; line-height: 1.1; }
.grid th.on .token { font-weight: 700; text-decoration: underline; text-underline-offset: 3px; }
.grid td { width: var(--cell); min-width: var(--cell); height: var(--cell); padding: 0; border-radius: 2px; cursor: pointer;
  background: color-mix(in srgb, var(--td-heat-high) var(--heat), var(--td-heat-low)); }
.grid td.future { background: none; box-shadow: inset 0 0 0 1px var(--soft); }
.grid td[aria-selected="true"] { outline: 2px solid var(--td-q); outline-offset: 0; }
.grid td:focus-visible { outline: 3px solid var(--td-q); }
@container (min-width: 700px) {
  .columns { grid-template-columns: minmax(0, auto) minmax(17rem, 1fr); align-items: start; }
  .grid { --cell: clamp(17px, calc((100cqw - 27rem) / var(--count)), 28px); }
}
.scale { display: flex; align-items: center; gap: 0.5rem; color: var(--td-muted); font-size: 0.75rem; margin-top: 0.4rem; }
.scale i { width: 7rem; height: 0.6rem; border-radius: 3px; background: linear-gradient(90deg in srgb, var(--td-heat-low), var(--td-heat-high)); }
.steps { display: grid; gap: 0.9rem; }
.steps ol { display: grid; gap: 0.9rem; padding: 0; list-style: none; counter-reset: step; }
.steps ul { padding: 0; list-style: none; }
.steps ol > li { counter-increment: step; position: relative; display: grid; gap: 0.3rem; padding-left: 2.2rem; min-width: 0; }
.steps ol > li::before { content: counter(step); position: absolute; left: 0; width: 1.5rem; height: 1.5rem; border-radius: 50%; display: grid; place-items: center;
  border: 1px solid var(--td-line); color: var(--td-muted); font-size: 0.8125rem; }
.name { font-weight: 600; margin-right: 0.5rem; }
.sum { font-size: 1rem; overflow-wrap: anywhere; }
.result { font-weight: 700; }
.q { color: var(--td-q); } .k { color: var(--td-k); }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "at the last word, which earlier word will get the most weight? Then choose a layer and a head, and a cell to see its numbers."));
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

function build(stage, teller) {
  const { n_layers, n_heads } = teller.config;
  const names = (count) => Array.from({ length: count }, (_, i) => String(i));
  clamp(stage, { layer: n_layers, head: n_heads });
  const view = { teller, tokens: [], heads: [], note: h("p", { class: "note", role: "status" }), about: h("p", { class: "note" }),
    grid: h("div"), steps: h("section", { class: "steps", "aria-label": "How the chosen weight is computed" }), cells: [] };
  stage.add(presets(stage, "text", { label: "Sentence" }),
    textField(stage, "text", { label: "Text", rows: 2, maxlength: stage.model.get("max_length") }),
    view.note,
    h("div", { class: "controls" }, choice(stage, "layer", { label: "Layer", options: names(n_layers) }),
      choice(stage, "head", { label: "Head", options: names(n_heads) }), view.about),
    h("div", { class: "columns" }, view.grid, view.steps));
  stage.watch(["text"], () => readText(stage, view));
  for (const name of ["layer", "head"]) stage.onChange(name, () => { clamp(stage, { layer: n_layers, head: n_heads }); paint(stage, view); });
  for (const name of ["query", "key"]) stage.onChange(name, () => select(stage, view));
}

/** Python may name a layer or position that this model or text does not have. */
function clamp(stage, sizes) {
  for (const [name, size] of Object.entries(sizes))
    if (stage.model.get(name) >= size) stage.set({ [name]: Math.max(0, size - 1) });
}

function readText(stage, view) {
  const { tokenizer } = view.teller, limit = stage.model.get("max_tokens");
  const all = tokenizer.encode(stage.model.get("text")), ids = all.slice(0, limit);
  view.note.textContent = all.length > limit ? `The text has ${all.length} tokens. The first ${limit} are shown.`
    : all.length ? "" : "Type a text to see who looks at whom.";
  view.tokens = ids.map((id) => tokenizer.show(id));
  view.heads = ids.length ? traceHeads(view.teller, ids) : [];
  view.grid.hidden = view.steps.hidden = view.about.hidden = !ids.length;
  if (!ids.length) return;
  drawGrid(stage, view);
  const last = ids.length - 1;
  // Another text: its last word is where the next one is decided.
  if (view.text !== undefined || stage.model.get("query") > last) stage.set({ query: last, key: Math.min(stage.model.get("key"), last) });
  clamp(stage, { query: ids.length, key: ids.length });
  view.text = stage.model.get("text");
  paint(stage, view);
}

const head = (stage, view) => view.heads[stage.model.get("layer")][stage.model.get("head")];

/** One table cell a pair of positions. Colours and names come later, from `paint`. */
function drawGrid(stage, view) {
  const { tokens } = view;
  const label = (name) => h("span", { class: "token" }, name);
  view.columns = tokens.map((name) => h("th", { scope: "col" }, label(name)));
  view.rows = tokens.map((name) => h("th", { scope: "row" }, label(name)));
  view.cells = tokens.map((_, t) => tokens.map((_, s) => h("td", { role: "gridcell", tabindex: -1, class: s > t && "future",
    "aria-label": s > t && `${tokens[t]}, ${tokens[s]}: masked` })));
  const table = h("table", { class: "grid", role: "grid", "aria-label": "Attention weights", style: `--count:${tokens.length}` },
    h("thead", {}, h("tr", { role: "row" }, h("td", { role: "presentation", style: "background:none;cursor:default" }), view.columns)),
    h("tbody", {}, view.cells.map((cells, t) => h("tr", { role: "row" }, view.rows[t], cells))));
  stage.listen(table, "click", (event) => go(stage, view, find(view, event.target)));
  stage.listen(table, "keydown", (event) => {
    const to = moved(event.key, [stage.model.get("query"), stage.model.get("key")], tokens.length);
    if (!to) return;
    event.preventDefault();
    go(stage, view, to);
  });
  const legend = h("p", { class: "note" }, "Each row is a ", h("span", { class: "q" }, "query"), ", each column a ", h("span", { class: "k" }, "key"), ". A row’s weights sum to 100\u00a0%.");
  view.grid.replaceChildren(legend, h("div", { class: "grid-box" }, table),
    h("p", { class: "scale" }, "0 %", h("i", {}), "100 %"));
}

function find(view, target) {
  const t = view.cells.findIndex((cells) => cells.includes(target));
  return t < 0 ? null : [t, view.cells[t].indexOf(target)];
}

function go(stage, view, to) {
  if (!to) return;
  stage.set({ query: to[0], key: to[1] });
  view.cells[to[0]][to[1]].focus();
}

function paint(stage, view) {
  if (!view.heads.length) return;
  const { weights } = head(stage, view), { tokens } = view;
  weights.forEach((row, t) => row.forEach((share, s) => heatCell(view.cells[t][s], share, `${tokens[t]} looks at ${tokens[s]}: ${percent(share)}`)));
  const { self, previous, first } = headSummary(weights);
  view.about.textContent = tokens.length < 2 ? "" : `On this text, this head puts ${percent(self)} of its weight on the token itself, ${percent(previous)} on the one before, ${percent(first)} on the first.`;
  select(stage, view);
}

function heatCell(cell, share, label) {
  const heat = `${Math.round(100 * share)}%`;
  // Most weights are near zero and stay there: what does not change need not be styled again.
  if (cell.heat !== heat) cell.style.setProperty("--heat", (cell.heat = heat));
  cell.setAttribute("aria-label", label);
}

function select(stage, view) {
  if (!view.heads.length) return;
  clamp(stage, { query: view.tokens.length, key: view.tokens.length });
  const t = stage.model.get("query"), s = stage.model.get("key"), cell = view.cells[t][s];
  if (view.chosen) { view.chosen.tabIndex = -1; view.chosen.removeAttribute("aria-selected"); }
  view.chosen = cell;
  cell.tabIndex = 0;
  cell.setAttribute("aria-selected", "true");
  view.rows.forEach((node, i) => node.classList.toggle("on", i === t));
  view.columns.forEach((node, i) => node.classList.toggle("on", i === s));
  drawSteps(view, head(stage, view), t, s);
}

function drawSteps(view, { q, k }, t, s) {
  const { tokens } = view, steps = cellSteps({ q, k }, t, s), size = q[t].length;
  const opened = view.steps.querySelector("details")?.open;
  const token = (i, kind) => h("span", { class: `token strong ${kind}` }, tokens[i]);
  const largest = order(steps.products.map(Math.abs)).slice(0, 3);
  view.steps.replaceChildren(
    h("p", {}, "The query of ", token(t, "q"), ` (position ${t}) meets the key of `, token(s, "k"), ` (position ${s}).`),
    h("ol", {}, dotStep(steps, q[t], k[s], largest, size),
      step("Scale", `${fixed(steps.dot)} ÷ √${size} = `, fixed(steps.scaled)),
      maskStep(steps, tokens, t, s), softmaxStep(steps, t, s)),
    rowBars(steps, tokens, t, s));
  if (opened) view.steps.querySelector("details").open = true;
}

function step(name, sum, result, ...more) {
  return h("li", {}, h("p", { class: "sum" }, h("span", { class: "name" }, name), sum, h("span", { class: "result" }, result)), more);
}

function dotStep(steps, q, k, largest, size) {
  const product = (i) => `${fixed(q[i], 2)} × ${fixed(k[i], 2)} = ${fixed(steps.products[i], 2)}`;
  return step("Dot product", h("span", {}, h("span", { class: "q" }, "q"), " · ", h("span", { class: "k" }, "k"), " = "), fixed(steps.dot),
    signedBars([...steps.products], { label: `The ${size} products whose sum is ${fixed(steps.dot)}`, marked: largest }),
    h("ul", { class: "note", "aria-label": "The three largest products" }, largest.map((i) => h("li", {}, `dim ${i}: ${product(i)}`))),
    details(`All ${size} products`, ["dim", "q", "k", "q × k"], [...steps.products].map((value, i) => [String(i), q[i], k[i], value])));
}

function maskStep(steps, tokens, t, s) {
  return s <= t ? step("Mask", s === t ? "A token may look at itself: " : "The key comes earlier, so it may be seen: ", fixed(steps.masked))
    : step("Mask", "The key comes later. It may not be seen: ", "−∞");
}

function softmaxStep(steps, t, s) {
  const power = h("span", {}, "e", h("sup", {}, s <= t ? fixed(steps.masked) : "−∞"), ` ÷ Σ e`, h("sup", {}, "x"), " = ",
    s <= t ? [short(steps.exponential), " ÷ ", short(steps.sum), " = "] : "0, so the weight is ");
  return step("Softmax", power, percent(steps.weight),
    h("p", { class: "note" }, t ? `Σ sums over the scaled scores x of positions 0 to ${t}.` : "Σ has one term: position 0 sees only itself."));
}

/** A positive number, small or huge, in a few digits. */
function short(value) {
  if (value >= 0.01 && value < 1e7) return value.toLocaleString("en", { maximumFractionDigits: value < 1000 ? 3 : 0 });
  const [digits, exponent] = value.toExponential(2).split("e");
  return [`${digits} × 10`, h("sup", {}, exponent.replace("+", "").replace("-", "−"))];
}

function rowBars(steps, tokens, t, s) {
  const top = order(steps.weights).slice(0, Math.min(6, t + 1));
  const shown = top.includes(s) ? top : [...top, s];
  const chart = bars({ label: `Where “${tokens[t]}” looks most`, columns: ["Key", "Weight"] });
  chart.update(shown.map((i) => ({ label: `${tokens[i]}`, value: steps.weights[i], chosen: i === s })));
  return chart.node;
}

export default { render };
