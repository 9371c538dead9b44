import { bets, choice, dot, firstIds, fixed, h, percent, presets, softmax, Stage, textField, tokenRow, TracedReading, withStoryteller } from "./kit.js";

/** Every query of a head against every key, the later ones too: q kᵀ / √D. */
export function allScores({ q, k }) {
  return q.map((query) => k.map((key) => dot(query, key) / Math.sqrt(query.length)));
}

/** Right: scores of later keys become −∞, then softmax. */
export const maskedBefore = (scores) =>
  scores.map((row, t) => softmax(row.map((score, s) => (s <= t ? score : -Infinity))));

/** Wrong: softmax over all keys, then the weights of later ones become 0. */
export const maskedAfter = (scores) =>
  scores.map((row, t) => softmax(row).map((weight, s) => (s <= t ? weight : 0)));

export const sumOf = (row) => row.reduce((sum, x) => sum + x, 0);

/** Each row divided by its sum. */
export const divided = (rows) => rows.map((row) => { const sum = sumOf(row); return row.map((x) => x / sum); });

const LAST = 2, DIVIDED = 1;
const WRONG = [["Softmax, then mask", "Each row keeps what its later keys left over."],
  ["Softmax, mask, ÷ row sum", "Each row is stretched to a sum of 1."]];

const STYLE = `
.grids { display: grid; gap: 1rem 1.5rem; }
.grids section { display: grid; gap: 0.35rem; min-width: 0; align-content: start; }
.controls > .choice { max-width: none; } .segments span { white-space: nowrap; }
.grids h4 { margin: 0; font-size: 0.875rem; font-weight: 600; }
.grid-box { overflow-x: auto; contain: content; }
.matrix { table-layout: fixed; --label: 4.2rem; width: calc(var(--label) + var(--columns) * (1.95rem + 2px)); border-collapse: separate; border-spacing: 2px; font-size: 0.75rem; }
.matrix th .token { font-size: 0.75rem; }
.matrix thead th { color: var(--td-k); text-align: center; padding: 0 0 2px; vertical-align: bottom; }
.matrix thead th .token { writing-mode: vertical-rl; transform: rotate(180deg); }
.matrix tbody th { color: var(--td-q); text-align: right; padding: 0 0.35rem 0 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.matrix thead td { width: var(--label); }
@container (max-width: 480px) { .matrix { --label: 3rem; } }
.matrix td { height: 1.7rem; padding: 0; text-align: center; border-radius: 3px; color: var(--td-ink);
  background: color-mix(in srgb, var(--td-heat-high) var(--heat, 0%), var(--td-heat-low)); }
.matrix td.future { background: none; box-shadow: inset 0 0 0 1px var(--td-line); color: var(--td-muted); }
.matrix td.loose { outline: 1px dashed var(--td-edge); outline-offset: -1px; }
.matrix td.sum { background: none; font-weight: 600; padding-left: 0.3rem; }
.matrix td.short { color: var(--td-ink); text-decoration: underline wavy var(--td-token); text-underline-offset: 3px; }
.matrix tr.on th .token { text-decoration: underline; text-underline-offset: 3px; }
@container (min-width: 660px) { .grids { grid-template-columns: repeat(2, minmax(17rem, 1fr)); } }
.row { overflow-x: auto; contain: content; }
.row td, .row tbody th { padding-block: 0.15rem; border-top: 1px solid var(--td-line); }
.row table { font-size: 0.8125rem; } .row tr.cut .token { color: var(--td-muted); }
.k { color: var(--td-k); }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "somebody takes the softmax of all scores first, and only then sets the weights of later keys to zero. Which row of weights comes out unharmed?"));
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

function build(stage, teller) {
  const { n_layers, n_heads } = teller.config, names = (count) => Array.from({ length: count }, (_, i) => String(i));
  const view = { teller, status: h("p", { class: "note", role: "status" }), note: h("p", { class: "note" }), grids: h("div", { class: "grids" }),
    row: h("div", { class: "row", role: "region", "aria-label": "One row in numbers", tabindex: "0" }), picker: tokenRow(stage, "query", { label: "One row in numbers: the query" }),
    divide: choice(stage, "divide", { label: "The wrongly masked rows", options: ["as they are", "÷ their sum"] }) };
  view.numbers = h("section", {}, view.picker.node, view.row);
  view.bets = bets(stage, { label: "The unharmed row", options: ["The first", "One in the middle", "The last", "None"], onBet: (bet) => stage.set({ bet }) });
  stage.add(view.bets.node, view.status, presets(stage, "text", { label: "Text" }),
    textField(stage, "text", { label: "Your text, a short one", rows: 1, maxlength: stage.model.get("max_length") }), view.note,
    h("div", { class: "controls" }, choice(stage, "layer", { label: "Layer", options: names(n_layers) }),
      choice(stage, "head", { label: "Head", options: names(n_heads) }), view.divide),
    view.grids);
  view.readingOf = stage.readAhead(Object.values(stage.model.get("presets")), () => new TracedReading(teller),
    (reading, text) => reading.read(firstIds(stage, teller.tokenizer, text)));
  stage.watch(["text"], () => readText(stage, view));
  for (const name of ["layer", "head", "bet", "divide", "query"]) stage.onChange(name, () => draw(stage, view));
}

function readText(stage, view) {
  const { tokenizer } = view.teller, limit = stage.model.get("max_tokens"), text = stage.model.get("text");
  const all = tokenizer.encode(text), ids = all.slice(0, limit);
  view.note.textContent = all.length > limit ? `The text has ${all.length} tokens. The first ${limit} are shown.`
    : all.length ? "" : "Type a text whose scores are to be masked.";
  view.tokens = ids.map((id) => tokenizer.show(id));
  view.heads = view.readingOf(text).read(ids);
  if (view.boards?.[0].rows.length !== ids.length) {
    view.boards = [false, true, true].map((sums) => board(ids.length, sums));
    view.grids.replaceChildren(view.boards[0].node, view.numbers, view.boards[1].node, view.boards[2].node);
  }
  for (const { labels } of view.boards) labels.forEach((node, i) => write(node, view.tokens[i % ids.length]));
  view.picker.update(view.tokens);
  view.stale = true;
  if (stage.model.get("query") >= ids.length) stage.set({ query: Math.max(0, ids.length - 1) });
  if (view.stale) draw(stage, view);
}

function draw(stage, view) {
  view.stale = false;
  const get = (name) => stage.model.get(name), bet = get("bet"), settled = bet >= 0, empty = !view.tokens.length;
  view.bets.node.querySelectorAll("button").forEach((node, i) => node.setAttribute("aria-pressed", String(i === bet)));
  view.grids.hidden = empty;
  view.divide.hidden = empty || !settled;
  if (empty) { view.status.textContent = ""; return; }
  const scores = allScores(view.heads[get("layer")][get("head")]), right = maskedBefore(scores), raw = maskedAfter(scores);
  const wrong = get("divide") === DIVIDED ? divided(raw) : raw, t = Math.min(get("query"), view.tokens.length - 1);
  const [first, before, after] = view.boards;
  paintScores(first, scores);
  if (settled) {
    paintWeights(before, right, "Mask, then softmax", "Each row sums to 1.");
    paintWeights(after, wrong, ...WRONG[get("divide")]);
  }
  for (const { rows } of view.boards) rows.forEach((row, i) => row.classList.toggle("on", i === t));
  for (const node of [view.numbers, before.node, after.node]) node.hidden = !settled;
  if (settled) drawRow(view, t, scores[t], right[t], wrong[t], softmax(scores[t]));
  view.status.textContent = settled ? verdict(bet, raw, get("divide")) : "The scores are below. The weights appear when you have bet.";
}

function verdict(bet, raw, divide) {
  if (divide === DIVIDED) return "Divided by its sum, each row is what the mask before the softmax gives: the two tables are equal.";
  const sums = raw.map(sumOf), least = sums.indexOf(Math.min(...sums));
  return `${bet === LAST ? "Well predicted. " : "Not so. "}Only the last row has no later keys, so only it keeps its sum of 1. Row ${least} is left with ${percent(sums[least])}: later keys had taken the rest.`;
}

/** A table of tokens by tokens, to be painted; `sums` adds a last column. */
function board(length, sums) {
  const labels = Array.from({ length: 2 * length }, () => h("span", { class: "token" })), all = [...Array(length).keys()];
  const title = h("h4"), note = h("p", { class: "note" });
  const cells = all.map((i) => all.map((s) => h("td", { class: s > i && (sums ? "future" : "loose") })));
  const ends = sums ? all.map(() => h("td")) : [];
  const rows = all.map((i) => h("tr", {}, h("th", { scope: "row" }, labels[i]), cells[i], ends[i]));
  const head = h("tr", {}, h("td", { style: "background:none" }), all.map((i) => h("th", { scope: "col" }, labels[length + i])),
    sums && h("th", { scope: "col", style: "color:inherit" }, "sum"));
  const node = h("section", {}, title, note, h("div", { class: "grid-box", tabindex: "0", role: "region", "aria-label": "Tokens by tokens" },
    h("table", { class: "matrix", style: `--columns:${length + sums}` }, h("thead", {}, head), h("tbody", {}, rows))));
  return { node, labels, title, note, cells, ends, rows };
}

function paintScores({ title, note, cells }, scores) {
  const all = scores.flat(), low = Math.min(...all), span = Math.max(...all) - low || 1;
  write(title, "Scores, before any mask");
  write(note, "Rows are queries, columns keys. Dashed: the key comes later.");
  cells.forEach((row, i) => row.forEach((cell, s) => shade(cell, (scores[i][s] - low) / span, fixed(scores[i][s], 1))));
}

function paintWeights({ title, note, cells, ends }, weights, name, told) {
  write(title, name);
  write(note, told);
  cells.forEach((row, i) => row.forEach((cell, s) => shade(cell, weights[i][s], s > i ? "0" : weights[i][s].toFixed(2))));
  ends.forEach((end, i) => {
    const sum = sumOf(weights[i]);
    end.className = sum < 0.995 ? "sum short" : "sum";
    write(end, sum.toFixed(2));
  });
}

/** Never so deep that the number in the cell is hard to read. */
function shade(cell, share, number) {
  const heat = `${Math.round(40 * share)}%`;
  if (cell.heat !== heat) cell.style.setProperty("--heat", (cell.heat = heat));
  write(cell, number);
}

/** What stays as it was need not be laid out again. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function drawRow(view, t, scores, right, wrong, open) {
  const number = (value) => h("td", { class: "number" }, value), head = (name) => h("th", { scope: "col", class: "number" }, name);
  const rows = view.tokens.map((name, s) => h("tr", { class: s > t ? "cut" : "" }, h("th", { scope: "row" }, h("span", { class: "token k" }, name)),
    number(fixed(scores[s])), number(fixed(open[s], 4)), number(fixed(right[s], 4)), number(fixed(wrong[s], 4))));
  const sums = h("tr", {}, h("th", { scope: "row" }, "sum"), number(""), number(fixed(sumOf(open), 4)), number(fixed(sumOf(right), 4)), number(fixed(sumOf(wrong), 4)));
  view.row.replaceChildren(h("table", {}, h("caption", {}, `The query of “${view.tokens[t]}”, position ${t}`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Key"), head("score"), head("softmax"), head("mask first"), head("mask after"))),
    h("tbody", {}, rows, sums)));
}

export default { render };
