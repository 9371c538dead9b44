import { bars, bet, button, choice, details, dot, enable, firstIds, fixed, h, largest, numberField, presets, signedMap, slider, Stage, textField, withStoryteller } from "./kit.js";

/** a · b / (‖a‖ ‖b‖). */
export const cosine = (a, b) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

/** Row `id` of a table that is stored row by row. */
export const rowOf = (table, columns, id) => table.subarray(id * columns, (id + 1) * columns);

/** The `count` rows of the table with the largest cosine to `v`, but for those in `without`. */
export function nearest(table, columns, v, count, without = []) {
  const cosines = Array.from({ length: table.length / columns }, (_, id) =>
    (without.includes(id) ? -Infinity : cosine(v, rowOf(table, columns, id))));
  return largest(cosines, count).map((id) => ({ id, cosine: cosines[id] }));
}

/** a − b + c, number by number. */
export const arithmetic = (a, b, c) => Float64Array.from(a, (value, i) => value - b[i] + c[i]);

/** The one token of a word with its space, or of exactly what stands in quotes; null if there is none. */
export function wordId(tokenizer, word) {
  const quoted = /^["“”](.+)["“”]$/u.exec(word.trim());
  const ids = tokenizer.encode(quoted ? quoted[1] : ` ${word.trim()}`);
  return word.trim() && ids.length === 1 ? ids[0] : null;
}

/** The three words of "a − b + c"; null if it is not of that form. */
export function parseSum(text) {
  const parts = /^([^−+-]+)[−-]([^−+-]+)\+([^−+-]+)$/u.exec(text.trim());
  return parts && parts.slice(1).map((word) => word.trim());
}

const LIMIT = 0.6, WORDS = ["dog", "bear", "mouse", "sat"], ANSWERS = ["soft", "bed", "angry", "asleep"];

const STYLE = `
section { display: grid; gap: 0.8rem; }
section + section { padding-top: 1rem; border-top: 1px solid var(--td-line); }
h4 { margin: 0; font-size: 1rem; font-weight: 600; }
.lookup { display: grid; gap: 4px; }
button.row { display: grid; grid-template-columns: minmax(3.4rem, auto) 2.2rem minmax(0, 1fr); gap: 0.5rem; align-items: center; min-height: 0; width: 100%; padding: 3px 6px 3px 3px; text-align: left; border-color: transparent; background: none; }
button.row[aria-pressed="true"] { border-color: var(--td-accent); background: var(--td-paper); }
.row .token { padding: 0 0.35rem; border-radius: 4px; background: color-mix(in srgb, var(--td-token) 16%, var(--td-surface)); }
.row .id { color: var(--td-muted); font-size: 0.8125rem; text-align: right; }
.strip { position: relative; height: 1.5rem; }
.strip svg { height: 100%; border: 1px solid var(--td-line); }
.strip i { position: absolute; top: -3px; bottom: -3px; width: max(2px, calc(100% / var(--dims))); left: calc(100% * var(--at) / var(--dims)); box-shadow: 0 0 0 1.5px var(--td-ink); border-radius: 1px; }
.key { display: flex; gap: 0.5rem; align-items: center; color: var(--td-muted); font-size: 0.75rem; }
.key i { width: 9rem; height: 0.6rem; border-radius: 3px; border: 1px solid var(--td-line); background: linear-gradient(90deg, var(--td-negative), var(--td-paper), var(--td-positive)); }
.pair { display: grid; gap: 1rem 2rem; align-items: start; }
.pair > div { display: grid; gap: 0.6rem; justify-items: start; }
@container (min-width: 760px) { .pair { grid-template-columns: 1fr 1fr; } }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  stage.add(h("style", {}, STYLE), h("p", { class: "predict" }, h("b", {}, "Predict: "),
    "if you change one id of the sentence, how many of its rows will change? Then choose a row and change its id."));
  withStoryteller(stage, (teller) => {
    const table = teller.tensors["embedding.weight"], columns = teller.config.d_model;
    const view = { teller, table, columns, show: (id) => teller.tokenizer.show(id) };
    stage.add(lookupPart(stage, view), neighbourPart(stage, view), sumPart(stage, view));
  });
  return () => stage.remove();
}

function lookupPart(stage, view) {
  Object.assign(view, { rows: h("div", { class: "lookup", role: "group", "aria-label": "One row of the table for each token" }),
    note: h("p", { class: "note", role: "status" }), exact: h("p"), all: h("div") });
  const back = button(stage, "The text’s own ids", () => readText(stage, view));
  const { vocab_size, d_model } = view.teller.config;
  stage.set({ token_id: stage.model.get("ids")[stage.model.get("row")] ?? 0 });
  const node = h("section", { "aria-label": "Look up rows" }, h("h4", {}, "One id, one row"),
    textField(stage, "text", { label: "Text", rows: 1, maxlength: stage.model.get("max_length") }),
    view.rows, h("p", { class: "key" }, `−${LIMIT}`, h("i", {}), `+${LIMIT}`),
    h("div", { class: "controls" }, numberField(stage, "token_id", { label: `Id of the chosen row (0 to ${vocab_size - 1})`, min: 0, max: vocab_size - 1 }),
      slider(stage, "dim", { label: "Number in the row", min: 0, max: d_model - 1, step: 1 }).node, back),
    view.exact, view.note, view.all);
  stage.onChange("text", () => readText(stage, view));
  stage.onChange("token_id", () => editId(stage, view));
  stage.onChange("row", () => { stage.set({ token_id: stage.model.get("ids")[stage.model.get("row")] ?? 0 }); mark(stage, view); });
  stage.onChange("dim", () => mark(stage, view));
  stage.watch(["ids"], () => { drawRows(stage, view); enable(back, String(stage.model.get("ids")) !== String(ownIds(stage, view))); });
  return node;
}

const ownIds = (stage, view) => firstIds(stage, view.teller.tokenizer);

function readText(stage, view) {
  const ids = ownIds(stage, view), row = Math.max(0, Math.min(stage.model.get("row"), ids.length - 1));
  stage.set({ ids, row, token_id: ids[row] ?? 0 });
  view.note.textContent = ids.length ? "" : "Type a text to see its rows.";
}

function editId(stage, view) {
  const { table, columns } = view, before = stage.model.get("ids"), row = stage.model.get("row"), id = stage.model.get("token_id");
  if (before[row] === undefined || before[row] === id) return;
  const ids = before.map((old, t) => (t === row ? id : old));
  const differ = ids.filter((next, t) => rowOf(table, columns, next).some((value, i) => value !== rowOf(table, columns, before[t])[i]));
  stage.set({ ids });
  view.note.textContent = `Place ${row}: id ${before[row]}, “${view.show(before[row])}”, became ${id}, “${view.show(id)}”. Rows that changed: ${differ.length} of ${ids.length}.`;
}

function drawRows(stage, view) {
  const ids = stage.model.get("ids"), old = view.drawn ?? [];
  view.drawn = ids.map((id, t) => (old[t]?.id === id ? old[t] : { id, node: rowButton(stage, view, id, t) }));
  view.drawn.forEach(({ node }, t) => { if (view.rows.children[t] !== node) view.rows.children[t] ? view.rows.children[t].replaceWith(node) : view.rows.append(node); });
  while (view.rows.children.length > ids.length) view.rows.lastChild.remove();
  mark(stage, view);
}

function rowButton(stage, view, id, t) {
  const { columns, table } = view;
  const strip = h("span", { class: "strip", style: `--dims:${columns}` }, signedMap([rowOf(table, columns, id)], { limit: LIMIT }));
  const node = button(stage, [], () => stage.set({ row: t }), { class: "row", "aria-label": `Row ${id} of the table, token ${view.show(id)}, at place ${t}` });
  node.append(h("span", {}, h("span", { class: "token" }, view.show(id))), h("span", { class: "id" }, id), strip);
  const under = (event) => {
    const { left, width } = strip.getBoundingClientRect();
    return Math.max(0, Math.min(columns - 1, Math.floor((columns * (event.clientX - left)) / width)));
  };
  stage.listen(strip, "click", (event) => stage.set({ dim: under(event) }));
  stage.listen(strip, "pointermove", (event) => tellValue(view, id, under(event)));
  stage.listen(strip, "pointerleave", () => mark(stage, view));
  return node;
}

function tellValue(view, id, dim) {
  const value = rowOf(view.table, view.columns, id)[dim];
  view.exact.replaceChildren(h("span", { class: "token strong" }, view.show(id)), ` is row ${id}. Its number ${dim} is `, h("b", {}, fixed(value, 4)), ".");
}

/** The chosen row and number, and its value as text. */
function mark(stage, view) {
  const ids = stage.model.get("ids"), t = stage.model.get("row"), dim = stage.model.get("dim"), id = ids[t];
  view.marker ??= h("i");
  view.drawn.forEach(({ node }, i) => node.setAttribute("aria-pressed", String(i === t)));
  view.exact.hidden = view.all.hidden = id === undefined;
  if (id === undefined) return;
  view.marker.style.setProperty("--at", dim);
  view.drawn[t].node.lastChild.append(view.marker);
  tellValue(view, id, dim);
  if (view.listed !== id) view.all.replaceChildren(rowTable(id, rowOf(view.table, view.columns, id)));
  view.listed = id;
}

/** The numbers stay unwritten until somebody asks for them: a table of a row costs more than its colours. */
function rowTable(id, values) {
  const list = details(`All ${values.length} numbers of row ${id}`, ["number", "value"], []);
  list.addEventListener("toggle", () => list.querySelector("tbody").replaceChildren(...[...values].map((value, i) =>
    h("tr", {}, h("th", { scope: "row" }, i), h("td", { class: "number" }, fixed(value, 4))))), { once: true });
  return list;
}

function neighbourPart(stage, view) {
  const said = h("p", { class: "note", role: "status" });
  const chart = bars({ label: "The nearest of all rows, by cosine", columns: ["Token", "Cosine"] });
  const found = h("div", { class: "pair" }, h("div", {}, textField(stage, "word", { label: "A word", rows: 1, maxlength: 30 }), said), chart.node);
  const draw = () => {
    found.hidden = stage.model.get("bet") < 0;
    if (!found.hidden) drawNeighbours(stage, view, chart, said);
  };
  stage.watch(["bet", "word"], draw);
  return h("section", { "aria-label": "Nearest neighbours" }, h("h4", {}, "Nearest neighbours"),
    bet(stage, "bet", { ask: "which of these has the row nearest to that of “cat”? Nobody told the model what a cat is.", options: WORDS }), found);
}

function drawNeighbours(stage, view, chart, said) {
  const { table, columns, teller } = view, word = stage.model.get("word"), id = wordId(teller.tokenizer, word);
  chart.node.hidden = id === null;
  if (id === null) { said.textContent = notOneToken(teller, word); return; }
  const near = nearest(table, columns, rowOf(table, columns, id), 8, [id]);
  chart.update(near.map((row, i) => ({ label: view.show(row.id), value: Math.max(row.cosine, 0), note: fixed(row.cosine), chosen: i === 0 })));
  const chosen = WORDS[stage.model.get("bet")], cat = wordId(teller.tokenizer, "cat");
  const sure = id === cat ? `You said ${chosen}: ${fixed(cosine(rowOf(table, columns, cat), rowOf(table, columns, wordId(teller.tokenizer, chosen))))}. ` : "";
  said.textContent = `${sure}Nearest to “${view.show(id)}” is “${view.show(near[0].id)}”, with a cosine of ${fixed(near[0].cosine)}.`;
}

function notOneToken({ tokenizer }, word) {
  const pieces = [...tokenizer.encode(` ${word.trim()}`)].map((id) => tokenizer.show(id));
  return word.trim() ? `“${word.trim()}” is not one token but ${pieces.length}: ${pieces.join(" ")}. It has no row of its own.` : "Type a word.";
}

function sumPart(stage, view) {
  const said = h("p", { role: "status" }), alone = h("p", { class: "note" });
  const chart = bars({ label: "The nearest rows to the sum", columns: ["Token", "Cosine"] });
  const found = h("div", { class: "bet" }, presets(stage, "sum", { label: "Sums" }),
    h("div", { class: "pair" }, h("div", {}, textField(stage, "sum", { label: "a − b + c", rows: 1, maxlength: 60 }),
      choice(stage, "keep", { label: "The three words themselves", options: ["leave out", "may answer"] }), said, alone), chart.node));
  stage.watch(["sum", "keep", "sum_bet"], () => {
    found.hidden = stage.model.get("sum_bet") < 0;
    if (!found.hidden) drawSum(stage, view, { chart, said, alone });
  });
  return h("section", { "aria-label": "Word arithmetic" }, h("h4", {}, "Word arithmetic"),
    bet(stage, "sum_bet", { ask: "take the row of “rabbit” from that of “tired”, and add that of “mat”. Which word is nearest to the sum?", options: ANSWERS }), found);
}

function drawSum(stage, view, { chart, said, alone }) {
  const { table, columns, teller, show } = view, words = parseSum(stage.model.get("sum"));
  const ids = words?.map((word) => wordId(teller.tokenizer, word)), wrong = ids?.indexOf(null);
  chart.node.hidden = alone.hidden = !ids || wrong >= 0;
  if (!ids) { said.textContent = "Write three words as a − b + c."; return; }
  if (wrong >= 0) { said.textContent = notOneToken(teller, words[wrong].replace(/["“”]/gu, "")); return; }
  const rows = ids.map((id) => rowOf(table, columns, id)), without = stage.model.get("keep") ? [] : ids;
  const near = nearest(table, columns, arithmetic(...rows), 6, without);
  chart.update(near.map((row, i) => ({ label: show(row.id), value: Math.max(row.cosine, 0), note: fixed(row.cosine), chosen: i === 0 })));
  said.replaceChildren(`${show(ids[0])} − ${show(ids[1])} + ${show(ids[2])} is nearest to `, h("b", { class: "token" }, show(near[0].id)), ` (${fixed(near[0].cosine)}).`);
  const [a, c] = [ids[0], ids[2]].map((id, i) => show(nearest(table, columns, rows[2 * i], 1, ids)[0].id));
  alone.textContent = `For comparison, without any sum: nearest to “${show(ids[0])}” alone is “${a}”, to “${show(ids[2])}” alone “${c}”. If the answer is one of these, the sum has told you nothing.`;
}

export default { render };
