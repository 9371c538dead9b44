import { bars, dot, fixed, h, headNames, headSummary, heatMap, largest, lateDetails, moved, percent, presets, signedBars, softmax, Stage, textField, TracedReading, withStoryteller } from "./kit.js";

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

const SLICE = 6; // tokens read in one frame

const STYLE = `
.columns { display: grid; gap: 1.25rem 2rem; }
.columns > * { contain: layout style; }
.all-heads { display: grid; gap: 0.3rem; }
.all-heads .row { display: grid; grid-template-columns: 1.1rem repeat(var(--heads), minmax(0, 1fr)); gap: 0.3rem; align-items: stretch; }
.all-heads .row > b { font-weight: 500; color: var(--td-muted); font-size: 0.75rem; align-self: center; text-align: center; }
.thumb { display: grid; gap: 0.15rem; align-content: start; padding: 0.2rem; border: 1px solid var(--td-line); border-radius: 6px; background: var(--td-paper); cursor: pointer; min-width: 0; }
.thumb .heat-map { width: 100%; aspect-ratio: 1.5; background: var(--soft); border-radius: 3px; }
.thumb small { font-size: 0.625rem; line-height: 1.2; min-height: 1.2em; text-align: center; font-weight: 500; }
.about { display: grid; gap: 0.4rem; align-content: center; }
.about ul { display: grid; gap: 0.25rem; padding: 0; list-style: none; }
.thumb[aria-checked="true"] { border-color: var(--td-accent); box-shadow: 0 0 0 1px var(--td-accent); }
.grid-box { overflow: auto; max-width: 100%; max-height: 36rem; padding: 0 0.25rem 0.5rem 0; }
.frame { --cell: clamp(17px, calc((100cqw - 9rem) / var(--count)), 28px); display: grid; width: max-content;
  grid-template-columns: auto calc(var(--cell) * var(--count)); }
.axis { display: flex; }
.axis .token { line-height: var(--cell); overflow: hidden; flex: none; }
.axis .on { font-weight: 700; text-decoration: underline; text-underline-offset: 3px; }
.axis.keys { grid-column: 2; align-items: end; color: var(--td-k); padding-bottom: 4px; }
.axis.keys .token { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 7rem; width: var(--cell); }
.axis.queries { flex-direction: column; position: sticky; left: 0; z-index: 1; text-align: right; padding-right: 6px; color: var(--td-q); background: var(--td-surface); }
.axis.queries .token { max-width: 6.5rem; height: var(--cell); }
.map { position: relative; height: calc(var(--cell) * var(--count)); cursor: pointer; }
.map .heat-map { position: absolute; inset: 0; width: 100%; height: 100%; background: var(--soft); border-radius: 2px; }
.cell { position: absolute; width: var(--cell); height: var(--cell); left: calc(var(--s) * var(--cell)); top: calc(var(--t) * var(--cell));
  border: 2px solid var(--td-q); border-radius: 3px; box-shadow: 0 0 0 1px var(--td-surface), inset 0 0 0 1px var(--td-surface); }
.cell:focus-visible { outline: 3px solid var(--td-q); outline-offset: 1px; }
@container (min-width: 700px) {
  .heads { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  .thumb small { font-size: 0.6875rem; font-weight: 600; }
  .body { grid-template-columns: minmax(0, auto) minmax(17rem, 1fr); align-items: start; }
  .frame { --cell: clamp(17px, calc((100cqw - 27rem) / var(--count)), 28px); }
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
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "at the last word, which earlier word will get the most weight? Then choose a head, and a cell to see its numbers."));
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

function build(stage, teller) {
  const view = { teller, reading: new TracedReading(teller), tokens: [], heads: [],
    note: h("p", { class: "note", role: "status" }), about: h("div", { class: "note about" }) };
  clampHead(stage, view);
  view.thumbs = thumbnails(stage, view);
  view.grid = matrix(stage, view);
  view.products = lateDetails(`All ${teller.headSize} products`, () => productRows(view));
  view.steps = h("section", { class: "steps", "aria-label": "How the chosen weight is computed" });
  view.body = [h("div", { class: "columns heads" }, view.thumbs.node, view.about),
    h("div", { class: "columns body" }, view.grid.node, view.steps)];
  stage.add(presets(stage, "text", { label: "Sentence" }),
    textField(stage, "text", { label: "Text", rows: 2, maxlength: stage.model.get("max_length") }),
    view.note, ...view.body);
  stage.watch(["text"], () => readText(stage, view));
  for (const name of ["layer", "head"]) stage.onChange(name, () => { clampHead(stage, view); paint(stage, view); });
  for (const name of ["query", "key"]) stage.onChange(name, () => select(stage, view));
}

/** Python may name a layer or position that this model or text does not have. */
function clamp(stage, sizes) {
  for (const [name, size] of Object.entries(sizes))
    if (stage.model.get(name) >= size) stage.set({ [name]: Math.max(0, size - 1) });
}

function clampHead(stage, { teller }) {
  clamp(stage, { layer: teller.config.n_layers, head: teller.config.n_heads });
}

/** Read the text and draw it: a little in each frame, so that typing never waits. */
function readText(stage, view) {
  const { tokenizer } = view.teller, limit = stage.model.get("max_tokens");
  const all = tokenizer.encode(stage.model.get("text")), ids = all.slice(0, limit);
  cancelAnimationFrame(view.later);
  view.note.textContent = all.length > limit ? `The text has ${all.length} tokens. The first ${limit} are shown.`
    : all.length ? "" : "Type a text to see who looks at whom.";
  for (const part of view.body) part.hidden = !ids.length;
  if (!ids.length) view.heads = [];
  view.reading.begin(ids);
  const parts = [() => view.reading.more(SLICE), () => showText(stage, view, ids), view.thumbs.paint];
  const go = () => {
    if (stage.over) return;
    if (parts[0]() !== false) parts.shift();
    if (parts.length) view.later = requestAnimationFrame(go);
  };
  if (view.heads.length) view.later = requestAnimationFrame(go);
  else while (ids.length && parts.length) if (parts[0]() !== false) parts.shift();
}

function showText(stage, view, ids) {
  const last = ids.length - 1, { model } = stage;
  view.heads = [];
  // Another text: its last word is where the next one is decided.
  if (view.known || model.get("query") > last) stage.set({ query: last, key: Math.min(model.get("key"), last) });
  clamp(stage, { query: ids.length, key: ids.length });
  view.known = true;
  view.tokens = ids.map((id) => view.teller.tokenizer.show(id));
  view.heads = view.reading.heads;
  view.grid.name(view.tokens);
  paint(stage, view);
}

const head = (stage, view) => view.heads[stage.model.get("layer")][stage.model.get("head")];

/** Every layer and head as a small map; one stop of the keyboard, arrows lead on. */
function thumbnails(stage, view) {
  const { n_layers, n_heads } = view.teller.config, measured = stage.model.get("measured");
  const thumbs = Array.from({ length: n_layers }, (_, layer) => Array.from({ length: n_heads }, (_, number) => {
    const names = headNames(measured, layer, number).join(", "), map = heatMap({ levels: 8, gap: 0 });
    const node = h("div", { class: "thumb", role: "radio", "aria-label": `Layer ${layer}, head ${number}${names && `: ${names}`}` },
      map.node, h("small", {}, names));
    stage.listen(node, "click", () => stage.set({ layer, head: number }));
    return { node, map };
  }));
  const node = h("div", { class: "all-heads", role: "radiogroup", "aria-label": "Layer and head", style: `--heads:${n_heads}` },
    h("p", { class: "note", "aria-hidden": "true" }, "All heads on this text: a row is a layer, a column a head; a name says what was measured."),
    h("div", { class: "row", "aria-hidden": "true" }, h("b"), thumbs[0].map((_, number) => h("b", {}, String(number)))),
    thumbs.map((row, layer) => h("div", { class: "row" }, h("b", { "aria-hidden": "true" }, String(layer)), row.map((thumb) => thumb.node))));
  stage.listen(node, "keydown", (event) => {
    const to = moved(event.key, [stage.model.get("layer"), stage.model.get("head")], n_layers, n_heads);
    if (!to) return;
    event.preventDefault();
    stage.set({ layer: to[0], head: to[1] });
    thumbs[to[0]][to[1]].node.focus();
  });
  stage.watch(["layer", "head"], () => thumbs.forEach((row, layer) => row.forEach((thumb, number) => {
    const on = layer === stage.model.get("layer") && number === stage.model.get("head");
    thumb.node.setAttribute("aria-checked", String(on));
    thumb.node.tabIndex = on ? 0 : -1;
  })));
  const paint = () => thumbs.forEach((row, layer) => row.forEach(({ map }, number) => map.update(view.heads[layer][number].weights)));
  return { node, paint };
}

/** The weights of one head. Only the chosen cell is an element: T × T of them would be slow. */
function matrix(stage, view) {
  const map = heatMap(), row = h("div", { role: "row" });
  const axis = (kind) => h("div", { class: `axis ${kind}`, "aria-hidden": "true" });
  const keys = axis("keys"), queries = axis("queries");
  const grid = h("div", { class: "map", role: "grid", "aria-label": "Attention weights" }, map.node, row);
  const frame = h("div", { class: "frame" }, keys, queries, grid);
  stage.listen(map.node, "click", (event) => {
    const box = map.node.getBoundingClientRect(), n = view.tokens.length;
    const at = (x, size) => Math.max(0, Math.min(n - 1, Math.floor((x / size) * n)));
    go(stage, view, [at(event.clientY - box.top, box.height), at(event.clientX - box.left, box.width)]);
  });
  stage.listen(grid, "keydown", (event) => {
    const to = moved(event.key, [stage.model.get("query"), stage.model.get("key")], view.tokens.length);
    if (to) event.preventDefault();
    go(stage, view, to);
  });
  const table = lateDetails("All weights of this head", () => [["query", ...view.tokens],
    head(stage, view).weights.map((weights, t) => [view.tokens[t], ...view.tokens.map((_, s) => (s > t ? "masked" : percent(weights[s])))])]);
  const node = h("div", { class: "grid" },
    h("p", { class: "note" }, "Each row is a ", h("span", { class: "q" }, "query"), ", each column a ", h("span", { class: "k" }, "key"), ". A row’s weights sum to 100\u00a0%."),
    h("div", { class: "grid-box" }, frame), h("p", { class: "scale" }, "0 %", h("i", {}), "100 %"), table.node);
  return { node, row, keys, queries, map, table, name: (tokens) => {
    frame.style.setProperty("--count", tokens.length);
    for (const name of ["rowcount", "colcount"]) grid.setAttribute(`aria-${name}`, tokens.length);
    for (const axis of [keys, queries]) axis.replaceChildren(...tokens.map((token) => h("span", { class: "token" }, token)));
  } };
}

function go(stage, view, to) {
  if (!to) return;
  stage.set({ query: to[0], key: to[1] });
  view.cell.focus();
}

function paint(stage, view) {
  if (!view.heads.length) return;
  const { weights } = head(stage, view), { tokens } = view;
  view.grid.map.update(weights, tokens.length);
  view.grid.table.update();
  view.about.replaceChildren(...describe(stage, view, weights));
  select(stage, view);
}

/** What the head was measured to do, and where it looks on this text. */
function describe(stage, view, weights) {
  const layer = stage.model.get("layer"), number = stage.model.get("head");
  const scores = stage.model.get("measured").map(({ name, about, scores, least }) => {
    const score = scores[layer][number], tag = score >= least ? "b" : "span";
    return h("li", {}, h(tag, { class: tag === "b" ? "strong" : null }, `${name}: ${fixed(score, 2)}`), `, ${about}`);
  });
  const { self, previous, first } = headSummary(weights);
  return [h("p", {}, h("span", { class: "strong" }, `Layer ${layer}, head ${number}`), ", measured on many texts:"), h("ul", {}, scores),
    weights.length < 2 ? "" : h("p", {}, `On this text it puts ${percent(self)} of its weight on the token itself, ${percent(previous)} on the one before, ${percent(first)} on the first.`)];
}

function select(stage, view) {
  if (!view.heads.length) return;
  const n = view.tokens.length, at = (name) => Math.min(stage.model.get(name), n - 1);
  const t = at("query"), s = at("key"), { tokens, grid } = view, found = head(stage, view);
  const share = s > t ? "masked" : percent(found.weights[t][s]);
  // A new element: a screen reader says the name of what gets the focus, not of what changes it.
  view.cell = h("div", { class: "cell", role: "gridcell", tabindex: 0, "aria-selected": "true", "aria-colindex": s + 1,
    "aria-label": s > t ? `${tokens[t]}, ${tokens[s]}: masked` : `${tokens[t]} looks at ${tokens[s]}: ${share}`, style: `--t:${t};--s:${s}` });
  grid.row.setAttribute("aria-rowindex", t + 1);
  grid.row.replaceChildren(view.cell);
  [...grid.queries.children].forEach((node, i) => node.classList.toggle("on", i === t));
  [...grid.keys.children].forEach((node, i) => node.classList.toggle("on", i === s));
  cancelAnimationFrame(view.stepping);
  const steps = () => { if (!stage.over) drawSteps(view, found, t, s); };
  if (view.chosen) view.stepping = requestAnimationFrame(steps);
  else steps();
}

function drawSteps(view, { q, k }, t, s) {
  const { tokens } = view, steps = cellSteps({ q, k }, t, s);
  const token = (i, kind) => h("span", { class: `token strong ${kind}` }, tokens[i]);
  view.chosen = { q: q[t], k: k[s], products: steps.products };
  view.products.update();
  view.steps.replaceChildren(
    h("p", {}, "The query of ", token(t, "q"), ` (position ${t}) meets the key of `, token(s, "k"), ` (position ${s}).`),
    h("ol", {}, dotStep(steps, q[t], k[s], view.products),
      step("Scale", `${fixed(steps.dot)} ÷ √${q[t].length} = `, fixed(steps.scaled)),
      maskStep(steps, tokens, t, s), softmaxStep(steps, t, s)),
    rowBars(steps, tokens, t, s));
}

const productRows = ({ chosen: { q, k, products } }) => [["dim", "q", "k", "q × k"],
  [...products].map((value, i) => [String(i), q[i], k[i], value])];

function step(name, sum, result, ...more) {
  return h("li", {}, h("p", { class: "sum" }, h("span", { class: "name" }, name), sum, h("span", { class: "result" }, result)), more);
}

function dotStep(steps, q, k, products) {
  const size = q.length, top = largest(steps.products.map(Math.abs), 3);
  const product = (i) => `${fixed(q[i], 2)} × ${fixed(k[i], 2)} = ${fixed(steps.products[i], 2)}`;
  return step("Dot product", h("span", {}, h("span", { class: "q" }, "q"), " · ", h("span", { class: "k" }, "k"), " = "), fixed(steps.dot),
    signedBars([...steps.products], { label: `The ${size} products whose sum is ${fixed(steps.dot)}`, marked: top }),
    h("ul", { class: "note", "aria-label": "The three largest products" }, top.map((i) => h("li", {}, `dim ${i}: ${product(i)}`))),
    products.node);
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
  const top = largest(steps.weights, Math.min(6, t + 1));
  const shown = top.includes(s) ? top : [...top, s];
  const chart = bars({ label: `Where “${tokens[t]}” looks most`, columns: ["Key", "Weight"] });
  chart.update(shown.map((i) => ({ label: `${tokens[i]}`, value: steps.weights[i], chosen: i === s })));
  return chart.node;
}

export default { render };
