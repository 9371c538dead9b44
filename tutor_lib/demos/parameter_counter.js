import { button, choice, fixed, h, numberField, percent, presets, slider, Stage } from "./kit.js";

const PARTS = ["token table", "positions", "attention", "FFN", "norms", "unembedding"];
const IN_BLOCK = ["attention", "FFN", "norms"];
const SIZES = ["n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size", "learned", "tied", "gated", "biased"];

/** Parameters of one block, and of the whole decoder, by part. */
export function countParameters({ n_layers: L, d_model: C, n_heads: H, n_kv_heads: K, d_ff: F, vocab_size: V, learned, tied, gated, biased }) {
  const side = (C / H) * K, norm = C * (1 + biased);
  const block = {
    attention: 2 * C * C + 2 * C * side + biased * (2 * C + 2 * side),
    FFN: gated ? 3 * C * F : 2 * C * F + biased * (F + C),
    norms: 2 * norm,
  };
  const parts = { "token table": V * C, positions: learned * C, attention: L * block.attention, FFN: L * block.FFN,
    norms: L * block.norms + norm, unembedding: tied ? 0 : V * C };
  const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
  return { block, parts, perBlock: sum(block), total: sum(parts) };
}

/** Why these sizes make no decoder; nothing if they do. */
export function whyNot({ d_model: C, n_heads: H, n_kv_heads: K }) {
  if (C % H) return `${H} heads cannot share a width of ${C}: choose a number that divides it.`;
  if (H % K) return `${H} query heads cannot share ${K} key/value heads: choose a number that divides ${H}.`;
  return "";
}

/** Bytes as a reader says them. */
export function bytesText(bytes) {
  const [unit, size] = bytes >= 1e9 ? ["GB", 1e9] : bytes >= 1e6 ? ["MB", 1e6] : ["kB", 1e3];
  return `${(bytes / size).toLocaleString("en", { maximumSignificantDigits: 4 })} ${unit}`;
}

const STYLE = `
.stack { display: flex; height: 2rem; border-radius: 6px; overflow: hidden; background: var(--soft); }
.stack i { display: block; min-width: 1px; }
.whole { display: grid; gap: 0.35rem; }
.part-0, .part-5 { background: var(--td-token); } .part-5 { opacity: 0.7; }
.part-1 { background: color-mix(in srgb, var(--td-token) 45%, var(--td-surface)); }
.part-2 { background: color-mix(in srgb, var(--td-accent) 45%, var(--td-surface)); }
.part-3 { background: var(--td-accent); }
.part-4 { background: var(--td-edge); }
.parts th, .parts td { padding-block: 0.25rem; border-top: 1px solid var(--td-line); }
.parts thead th { border: 0; vertical-align: bottom; white-space: normal; }
.parts tbody th { white-space: nowrap; } .parts tbody th i { display: inline-block; width: 0.8rem; height: 0.8rem; border-radius: 3px; margin-right: 0.5rem; vertical-align: -0.08rem; }
.parts tfoot th, .parts tfoot td { font-weight: 700; }
.answer { display: grid; gap: 1rem; }
.counted { display: grid; gap: 1rem 2.5rem; }
@container (min-width: 720px) { .counted { grid-template-columns: 3fr 1fr; align-items: start; } }
@container (max-width: 480px) { .parts { font-size: 0.75rem; } .number { padding-left: 0.4rem; } }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  const view = { open: false, filling: false, note: h("p", { class: "note", role: "status" }), status: h("p", { role: "status" }),
    answer: h("div", { class: "answer" }) };
  const count = button(stage, "Count", () => { view.open = true; draw(stage, view); }, { class: "primary" });
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "you may have read that about 70\u00a0% of a transformer’s parameters are in its FFNs. What share is it in this model, and what changes it?"),
    presets(stage, "model", { label: "Model" }), h("div", { class: "controls" }, fields(stage)), view.note,
    h("div", { class: "controls" }, slider(stage, "bet", { label: "Your bet: FFN share", min: 0, max: 100, step: 1, format: (x) => `${x}\u00a0%` }).node, count),
    view.status, view.answer);
  stage.onChange("model", () => fillIn(stage, view));
  stage.watch(SIZES, () => draw(stage, view));
  stage.onChange("bet", () => draw(stage, view));
  stage.ready();
  return () => stage.remove();
}

function fields(stage) {
  const number = (name, label, max, min = 1) => numberField(stage, name, { label, min, max });
  return [
    slider(stage, "n_layers", { label: "Layers L", min: 1, max: 128, step: 1 }).node,
    number("d_model", "Width C", 32768), number("n_heads", "Heads H", 256), number("n_kv_heads", "Key/value heads K", 256),
    number("d_ff", "FFN width F", 131072), number("vocab_size", "Vocabulary V", 300000), number("learned", "Learned positions", 131072, 0),
    choice(stage, "gated", { label: "FFN", options: ["2 matrices", "3, gated"] }),
    choice(stage, "tied", { label: "Unembedding", options: ["its own", "tied"] }),
    choice(stage, "biased", { label: "Biases", options: ["none", "yes"] }),
  ];
}

const sizesOf = (stage) => Object.fromEntries(SIZES.map((name) => [name, stage.model.get(name)]));

/** A model was chosen: its sizes come one after another, and only the last draws. */
function fillIn(stage, view) {
  const sizes = stage.model.get("models")[stage.model.get("model")];
  if (!sizes) return;
  view.filling = true;
  stage.set(sizes);
  view.filling = false;
  draw(stage, view);
}

function draw(stage, view) {
  if (view.filling) return;
  const sizes = sizesOf(stage), known = stage.model.get("models")[stage.model.get("model")];
  // With another size it is that model no more.
  if (known && SIZES.some((name) => known[name] !== sizes[name])) stage.set({ model: "" });
  view.note.textContent = whyNot(sizes);
  const can = view.open && !view.note.textContent;
  view.answer.hidden = view.status.hidden = !can;
  if (!can) return;
  const counted = countParameters(sizes);
  tell(stage, view, counted);
  const others = PARTS.filter((name) => counted.parts[name]);
  view.answer.replaceChildren(stack("The whole model", others, counted.parts, counted.total),
    stack("One block", IN_BLOCK, counted.block, counted.perBlock),
    h("div", { class: "counted" }, partsTable(others, counted), bytesTable(counted.total)));
}

function tell(stage, view, { parts, total, block, perBlock }) {
  const bet = stage.model.get("bet"), share = parts.FFN / total, off = Math.abs(100 * share - bet);
  view.status.textContent = `The FFNs hold ${percent(share)} of all parameters, and ${percent(block.FFN / perBlock)} of each block. You said ${bet}\u00a0%: ${off < 3 ? "well estimated." : `${fixed(off, 0)} points ${bet > 100 * share ? "too many" : "too few"}.`}`;
}

/** The shares as one bar; their numbers stand in the table. */
function stack(title, names, counts, sum) {
  return h("div", { class: "whole", "aria-hidden": "true" }, h("span", { class: "label" }, title),
    h("div", { class: "stack" }, names.map((name) => h("i", { class: `part-${PARTS.indexOf(name)}`, style: `width:${((100 * counts[name]) / sum).toFixed(2)}%` }))));
}

const whole = (count) => count.toLocaleString("en");

function partsTable(names, { parts, total, block, perBlock }) {
  const row = (name) => h("tr", {}, h("th", { scope: "row" }, h("i", { class: `part-${PARTS.indexOf(name)}` }), name),
    h("td", { class: "number" }, whole(parts[name])), h("td", { class: "number" }, percent(parts[name] / total)),
    h("td", { class: "number" }, block[name] ? percent(block[name] / perBlock) : "–"));
  const heads = ["Part", "Parameters", "Of the model", "Of a block"];
  return h("table", { class: "parts" }, h("caption", {}, "Exact counts"),
    h("thead", {}, h("tr", {}, heads.map((name, i) => h("th", { scope: "col", class: i ? "number" : "" }, name)))),
    h("tbody", {}, names.map(row)),
    h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "all"), h("td", { class: "number" }, whole(total)), h("td", { class: "number" }, percent(1)), h("td"))));
}

function bytesTable(total) {
  const kinds = [["fp32", 4], ["bf16", 2], ["int4", 0.5]];
  return h("div", { class: "whole" }, h("table", { class: "parts" }, h("caption", {}, "Memory for the weights alone"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Type"), h("th", { scope: "col", class: "number" }, "Bytes"))),
    h("tbody", {}, kinds.map(([name, size]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "number" }, bytesText(total * size)))))),
  h("p", { class: "note" }, "1 GB is 10⁹ bytes. int4 without the scales that are stored beside it."));
}

export default { render };
