import { button, choice, details, dot, firstIds, fixed, h, presets, scoreBars, Stage, textField, tokenRow, TracedReading, withStoryteller } from "./kit.js";

/** Vector `t` against each vector: a · b, and the cosine of the angle between them. */
export function similarities(vectors, t) {
  const lengths = vectors.map((vector) => Math.sqrt(dot(vector, vector)));
  const dots = vectors.map((vector) => dot(vectors[t], vector));
  return { dots, cosines: dots.map((product, s) => product / (lengths[t] * lengths[s])) };
}

/** Query `t` of a head against every key, the later ones too: q · k, and q · k / √D. */
export function queryScores({ q, k }, t) {
  const dots = k.map((key) => dot(q[t], key));
  return { dots, scaled: dots.map((product) => product / Math.sqrt(q[t].length)) };
}

/** The terms whose sum is the dot product. */
export const termProducts = (a, b) => Float64Array.from(a, (value, i) => value * b[i]);

/** The position with the largest number among those that `may` be chosen; -1 if none may. */
export function largestOf(values, may) {
  return values.reduce((best, value, s) => (may(s) && (best < 0 || value > values[best]) ? s : best), -1);
}

const EMBEDDINGS = 0;

const STYLE = `
.compare { display: grid; gap: 1rem; }
.scores th button { min-height: 0; padding: 0.1rem 0.45rem; font: inherit; max-width: 8rem; overflow: hidden; text-overflow: ellipsis; border-color: var(--td-line); white-space: pre; }
.scores th button[aria-pressed="true"] { border-color: var(--td-token); color: var(--td-token); font-weight: 700; }
.scores td.number { min-width: 4.2rem; }
.terms { display: grid; gap: 0.5rem; padding-top: 0.9rem; border-top: 1px solid var(--td-line); }
.terms p { overflow-wrap: anywhere; } .terms p + p { margin-top: 0.5rem; }
.q { color: var(--td-q); } .k { color: var(--td-k); } .t { color: var(--td-token); }
.heads { display: flex; flex-wrap: wrap; gap: 0.9rem 1.5rem; }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  const question = h("p", { class: "predict" });
  stage.add(h("style", {}, STYLE), question);
  withStoryteller(stage, (teller) => build(stage, { teller, question }));
  return () => stage.remove();
}

function build(stage, view) {
  const { n_layers, n_heads } = view.teller.config;
  const names = (count) => Array.from({ length: count }, (_, i) => String(i));
  Object.assign(view, {
    reading: new TracedReading(view.teller),
    heads: h("div", { class: "heads" }, choice(stage, "layer", { label: "Layer", options: names(n_layers) }),
      choice(stage, "head", { label: "Head", options: names(n_heads) })),
    picker: tokenRow(stage, "token", { label: "The token that is compared" }),
    status: h("p", { class: "note", role: "status" }), chart: h("div"), words: h("div"), summary: h("summary"),
    again: button(stage, "Hide, and bet again", () => { stage.set({ other: -1 }); view.buttons[0].focus(); }), buttons: [],
  });
  view.list = stage.listen(h("details", {}, view.summary), "toggle", () => fillList(view));
  view.terms = h("section", { class: "terms", "aria-label": "The sum, term by term" }, view.words, view.list);
  stage.add(presets(stage, "text", { label: "Sentence" }),
    textField(stage, "text", { label: "Text", rows: 2, maxlength: stage.model.get("max_length") }),
    h("div", { class: "controls" }, choice(stage, "measure", { label: "Compare", options: ["embeddings", "q · k"] }), view.heads),
    view.picker.node, view.status, h("div", { class: "compare" }, view.chart, view.terms), h("div", { class: "buttons" }, view.again));
  stage.watch(["text"], () => readText(stage, view));
  stage.onChange("measure", () => { stage.set({ other: -1 }); draw(stage, view); });
  for (const name of ["token", "layer", "head"]) stage.onChange(name, () => compareAnother(stage, view));
  stage.onChange("other", () => draw(stage, view));
}

function readText(stage, view) {
  const { teller } = view, { tokenizer, config } = teller;
  view.ids = firstIds(stage, tokenizer);
  view.tokens = view.ids.map((id) => tokenizer.show(id));
  const table = teller.tensors["embedding.weight"], width = config.d_model;
  view.vectors = view.ids.map((id) => table.subarray(id * width, (id + 1) * width));
  view.traced = null;
  const another = view.text !== undefined;
  view.text = stage.model.get("text");
  const token = Math.max(0, Math.min(stage.model.get("token"), view.ids.length - 1));
  view.buttons = view.tokens.map((name, s) => button(stage, name, () => press(stage, view, s)));
  view.picker.update(view.tokens);
  stage.set({ token, ...(another && { other: -1 }) });
  draw(stage, view);
}

/** What is compared, with which numbers, and which rows may be bet on. */
function measured(stage, view) {
  const t = stage.model.get("token"), embeddings = stage.model.get("measure") === EMBEDDINGS;
  if (embeddings) {
    const { dots, cosines } = similarities(view.vectors, t);
    return { t, embeddings, dots, second: cosines, may: (s) => view.ids[s] !== view.ids[t],
      left: view.vectors[t], right: view.vectors };
  }
  // Reading a text takes longer than looking up its embeddings: only if it is asked for.
  view.traced ??= view.reading.read(view.ids);
  const head = view.traced[stage.model.get("layer")][stage.model.get("head")];
  const { dots, scaled } = queryScores(head, t);
  return { t, embeddings, dots, second: scaled, may: (s) => s <= t, left: head.q[t], right: head.k, head };
}

/** Another token or head: what is shown stays shown, now for the most similar one. */
function compareAnother(stage, view) {
  view.bet = null;
  const { dots, may } = measured(stage, view);
  const shown = stage.model.get("other") >= 0, other = shown ? largestOf(dots, may) : -1;
  if (other === stage.model.get("other")) draw(stage, view);
  else stage.set({ other });
}

/** The first press is the bet; later ones choose whose terms are shown. */
function press(stage, view, s) {
  view.bet = stage.model.get("other") < 0 ? s : null;
  stage.set({ other: s });
  view.buttons[s].focus();
}

function draw(stage, view) {
  const empty = !view.ids.length;
  for (const node of [view.picker.node, view.chart, view.terms, view.again]) node.hidden = empty;
  view.heads.hidden = stage.model.get("measure") === EMBEDDINGS;
  if (empty) { view.status.textContent = "Type a text whose tokens are to be compared."; return; }
  const now = measured(stage, view), other = Math.min(stage.model.get("other"), view.ids.length - 1);
  ask(view, now);
  drawChart(view, now, other);
  view.terms.hidden = view.again.hidden = other < 0;
  if (other >= 0) drawTerms(view, now, other);
  view.status.textContent = other < 0 ? "" : verdict(view, now);
}

function ask(view, { t, embeddings }) {
  const token = h("span", { class: "token strong" }, view.tokens[t]);
  view.question.replaceChildren(h("b", {}, "Predict: "), ...(embeddings
    ? ["which other token has the vector most like that of ", token, "? Press it in the table, and all dot products appear."]
    : ["the query of ", token, " meets its own key and those before it. Which key fits best? Press it in the table."]));
}

function drawChart(view, { t, embeddings, dots, second, may }, other) {
  const shown = other >= 0, focused = view.buttons.findIndex((node) => node.matches(":focus"));
  const chart = scoreBars({
    label: embeddings ? `Dot products with the embedding of “${view.tokens[t]}”` : `The query of “${view.tokens[t]}” against each key`,
    columns: ["Token", "Dot product", embeddings ? "Cosine" : "÷ √D"],
  });
  chart.update(view.tokens.map((_, s) => {
    view.buttons[s].setAttribute("aria-pressed", String(s === other));
    view.buttons[s].setAttribute("aria-disabled", String(!shown && !may(s)));
    return { label: view.buttons[s], value: shown ? dots[s] : 0, muted: !embeddings && s > t, chosen: s === other,
      numbers: shown ? [fixed(dots[s]), fixed(second[s])] : ["?", "?"] };
  }));
  view.chart.replaceChildren(chart.node);
  view.buttons[focused]?.focus();
}

function verdict(view, { t, embeddings, dots, may }) {
  const best = largestOf(dots, may), name = (s) => `“${view.tokens[s]}”`;
  if (best < 0) return "There is no other token to compare it with.";
  const right = view.bet != null && dots[view.bet] === dots[best];
  const said = view.bet == null ? "" : right ? "Well predicted. " : `You said ${name(view.bet)} (${fixed(dots[view.bet])}). `;
  const fact = embeddings ? `Of the other tokens, ${name(best)} is most like ${name(t)}: ${fixed(dots[best])}.`
    : `The query of ${name(t)} fits the key of ${name(best)} best: ${fixed(dots[best])}.`;
  const later = !embeddings && t < view.tokens.length - 1 ? " The keys drawn with dashes come later: the mask will hide them." : "";
  return said + fact + later;
}

function drawTerms(view, { t, embeddings, dots, left, right, head }, s) {
  const products = termProducts(left, right[s]);
  const token = (i, kind) => h("span", { class: `token strong ${kind}` }, view.tokens[i]);
  const back = embeddings ? dots[s] : dot(head.q[s], head.k[t]);
  const kinds = embeddings ? ["t", "t"] : ["q", "k"];
  view.summary.textContent = `All ${products.length} terms`;
  view.listTerms = () => details("All terms", ["dim", embeddings ? view.tokens[t] : "q", embeddings ? view.tokens[s] : "k", "product"],
    [...products].map((value, i) => [String(i), left[i], right[s][i], value])).lastChild;
  fillList(view);
  view.words.replaceChildren(
    h("p", {}, token(t, kinds[0]), embeddings ? " · " : " asks, ", token(s, kinds[1]), embeddings ? " = " : " is found: ", h("b", {}, fixed(dots[s])),
      ", a sum of ", sumInWords(products), "."),
    h("p", { class: "note" }, embeddings ? "The other way round it is the same number: a · b = b · a."
      : s === t ? "A token’s query and key are two vectors: even with itself the score may be small."
      : ["The other way round, ", token(s, "q"), " asks and ", token(t, "k"), ` is found: ${fixed(back)}. Queries and keys are not symmetric.`]));
}

/** A long table is built only while it is open. */
function fillList(view) {
  view.list.querySelector(".scroll")?.remove();
  if (view.list.open) view.list.append(view.listTerms());
}

/** How many terms there are, and what those of each sign add up to. */
function sumInWords(products) {
  const total = (sign) => products.reduce((sum, x) => sum + (sign * x > 0 ? x : 0), 0);
  return `${products.length} terms; the positive ones add up to ${fixed(total(1))}, the negative ones to ${fixed(total(-1))}`;
}

export default { render };
