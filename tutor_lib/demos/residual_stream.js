import { argmax, bars, bets, details, dot, firstIds, fixed, h, largest, percent, presets, signedBars, softmax, Stage, textField, tokenRow, withStoryteller } from "./kit.js";

/**
 * What was written to each token's stream, part by part: the embedding, then each layer's
 * attention and FFN. `cache` is left with the text in it; tokens before `cache.length` are
 * not read again.
 */
export function streamSteps(teller, ids, cache = teller.newCache()) {
  const tokens = [];
  for (const id of ids.slice(cache.length)) {
    const steps = [];
    teller.step(id, cache, null, {
      wrote: (part, layer, written, x) => steps.push({ part, layer, wrote: written.slice(), stream: x.slice() }),
    });
    tokens.push(steps);
  }
  return tokens;
}

/** Lengths, and the cosine of what step `i` wrote with the stream that it found. */
export function describeStep(steps, i) {
  const length = (x) => Math.sqrt(dot(x, x)), { wrote, stream } = steps[i];
  const before = i ? steps[i - 1].stream : null;
  return { wrote: length(wrote), stream: length(stream),
    cosine: before && dot(wrote, before) / (length(wrote) * length(before) || 1) };
}

/** The next token's probabilities if the model ended with this vector. */
export function readOut(teller, vector) {
  return softmax(teller.unembed(vector));
}

const STYLE = `
.stream th, .stream td { padding: 0.35rem 0.75rem 0.35rem 0; vertical-align: middle; }
.stream thead th { vertical-align: bottom; line-height: 1.25; white-space: normal; }
.stream .trunk { position: relative; width: 4.5rem; min-width: 4.5rem; padding: 0; }
.stream .trunk div { position: absolute; inset: 0 0.75rem 0 0; }
.stream .trunk i { position: absolute; inset: 0 auto; left: 50%; transform: translateX(-50%); background: color-mix(in srgb, var(--td-token) 45%, var(--td-surface)); min-width: 2px; }
.stream { table-layout: fixed; }
.stream thead th:nth-child(2) { width: 8rem; } .stream thead th:nth-child(n + 4) { width: 5rem; } .stream thead th:nth-child(6) { width: 7rem; }
.stream .number { padding-left: 0; }
.inside, .stream-box { contain: layout; }
.stream .size div { height: 0.5rem; border-radius: 3px; background: var(--soft); overflow: hidden; }
.stream .size i { display: block; height: 100%; border-radius: 3px; }
.stream .attention .size i { background: color-mix(in srgb, var(--td-accent) 50%, var(--td-surface)); }
.stream .FFN .size i { background: var(--td-accent); }
.stream .embedding .size i { background: var(--td-token); }
.stream tbody th label { display: flex; gap: 0.4rem; align-items: center; cursor: pointer; white-space: nowrap; }
.stream input { accent-color: var(--td-accent); margin: 0; flex: none; }
.stream tr.open th, .stream tr.open td { font-weight: 600; }
.stream .guess { white-space: nowrap; }
.stream .guess small { display: block; color: var(--td-muted); font-size: 0.75rem; }
.inside { display: grid; gap: 0.9rem 2rem; }
.inside > * { display: grid; gap: 0.5rem; align-content: start; min-width: 0; }
@container (min-width: 640px) { .inside { grid-template-columns: 3fr 2fr; } }
@container (max-width: 480px) {
  .stream { font-size: 0.75rem; }
  .stream thead th { font-size: 0.6875rem; }
  .stream th, .stream td { padding-right: 0.3rem; }
  .stream .trunk { width: 1.5rem; min-width: 1.5rem; } .stream .trunk div { right: 0.3rem; }
  .stream tbody th label { gap: 0.2rem; }
  .stream tr.open td { font-weight: 400; } .stream .number { padding-left: 0; }
  .stream thead th:nth-child(2) { width: 5.3rem; } .stream thead th:nth-child(n + 4) { width: 2.7rem; } .stream thead th:nth-child(6) { width: 3.3rem; }
}
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "the token’s vector starts as its embedding. Six sub-layers add to it, one after another. Which of them writes the longest vector? Bet, and see all."));
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

const title = ({ part, layer }) => (part === "embedding" ? part : `${part} ${layer}`);

function build(stage, teller) {
  const parts = Array.from({ length: teller.config.n_layers }, (_, l) => [`attention ${l}`, `FFN ${l}`]).flat();
  const view = { teller, ids: [], tokens: [], bet: null, parts,
    note: h("p", { class: "note", role: "status" }), status: h("p", { role: "status" }), shown: h("div", { class: "stream-box" }), inside: h("section", { class: "inside", "aria-label": "What this part wrote" }) };
  view.row = tokenRow(stage, "position", { label: "Token whose vector we follow" });
  const bet = bets(stage, { label: "Which sub-layer writes the longest vector?", options: parts,
    onBet: (i) => { view.bet = i; draw(stage, view); } });
  view.shown.append(table(stage, view));
  view.chart = bars({ label: "If the model ended here: its five best next tokens", columns: ["Token", "Probability"] });
  view.about = h("p");
  view.picture = h("div");
  view.five = h("p", { class: "note" });
  view.all = h("details", {}, h("summary", {}, `All ${teller.config.d_model} numbers`));
  stage.listen(view.all, "toggle", () => fillNumbers(view));
  view.inside.append(h("div", {}, view.about, view.picture, view.five, view.all), h("div", {}, view.chart.node));
  stage.add(presets(stage, "text", { label: "Sentence" }),
    textField(stage, "text", { label: "Text", rows: 2, maxlength: stage.model.get("max_length") }),
    view.note, view.row.node, bet.node, view.status, view.shown, view.inside);
  view.readingOf = stage.readAhead(Object.values(stage.model.get("presets")),
    () => ({ cache: teller.newCache(), ids: [], tokens: [] }), (reading, text) => readOn(teller, reading, firstIds(stage, teller.tokenizer, text)));
  stage.watch(["text"], () => readText(stage, view));
  for (const name of ["position", "part"]) stage.onChange(name, () => draw(stage, view));
}

/** Read what is new in the text; what it begins with as before is still known. */
function readOn(teller, reading, ids) {
  let shared = 0;
  while (shared < ids.length && ids[shared] === reading.ids[shared]) shared++;
  reading.cache.length = shared;
  reading.tokens = [...reading.tokens.slice(0, shared), ...streamSteps(teller, ids, reading.cache)];
  reading.ids = ids;
  return reading.tokens;
}

function readText(stage, view) {
  const { tokenizer } = view.teller, limit = stage.model.get("max_tokens"), text = stage.model.get("text");
  const all = tokenizer.encode(text), ids = all.slice(0, limit);
  view.tokens = readOn(view.teller, view.readingOf(text), ids);
  view.ids = ids;
  view.note.textContent = all.length > limit ? `The text has ${all.length} tokens. The first ${limit} are shown.`
    : all.length ? "" : "Type a text to follow one of its tokens.";
  view.row.node.hidden = !ids.length;
  view.busy = true;
  if (ids.length) choose(stage, view);
  view.busy = false;
  draw(stage, view);
}

/** Another text: its last token is where the next one is decided. */
function choose(stage, view) {
  const last = view.ids.length - 1;
  if (view.text !== undefined || stage.model.get("position") > last) stage.set({ position: last });
  view.text = stage.model.get("text");
  view.row.update(view.ids.map((id) => view.teller.tokenizer.show(id)));
}

/** One row a part, made once; `draw` fills in the numbers. */
function table(stage, view) {
  view.rows = ["embedding", ...view.parts].map((name, i) => {
    const input = h("input", { type: "radio", name: "part", value: i });
    const cells = { trunk: h("i"), bar: h("i"), wrote: h("span"), cosine: h("td", { class: "number" }), stream: h("td", { class: "number" }), guess: h("td", { class: "guess" }) };
    const row = h("tr", { class: name.split(" ")[0] }, h("td", { class: "trunk", "aria-hidden": "true" }, h("div", {}, cells.trunk)),
      h("th", { scope: "row" }, h("label", {}, input, name)),
      h("td", { class: "size" }, cells.wrote, h("div", { "aria-hidden": "true" }, cells.bar)), cells.cosine, cells.stream, cells.guess);
    return { input, row, ...cells };
  });
  const heads = ["Part", "Writes: length", "Cosine to stream", "Stream after", "Read out here"];
  const node = h("table", { class: "stream" }, h("caption", {}, "The residual stream of the chosen token, from its embedding downwards"),
    h("thead", {}, h("tr", {}, h("td", { class: "trunk" }), heads.map((name, i) => h("th", { scope: "col", class: i === 2 || i === 3 ? "number" : "" }, name)))),
    h("tbody", {}, view.rows.map(({ row }) => row)));
  return stage.listen(node, "change", (event) => stage.set({ part: Number(event.target.value) }));
}

function draw(stage, view) {
  if (view.busy) return;
  const hidden = view.bet === null || !view.ids.length;
  view.shown.hidden = view.inside.hidden = hidden;
  view.status.textContent = "";
  if (hidden) return;
  const position = Math.min(stage.model.get("position"), view.ids.length - 1), steps = view.tokens[position];
  const numbers = steps.map((_, i) => describeStep(steps, i));
  const chances = steps.map((step) => (step.chances ??= readOut(view.teller, step.stream)));
  drawRows(stage, view, numbers, chances);
  tell(view, position, numbers);
  const part = Math.min(stage.model.get("part"), steps.length - 1);
  drawInside(view, steps[part], chances[part]);
}

function drawRows(stage, view, numbers, chances) {
  const longest = Math.max(...numbers.map(({ wrote }) => wrote)), widest = Math.max(...numbers.map(({ stream }) => stream));
  const share = (value, of) => `width:${((100 * value) / of).toFixed(1)}%`;
  view.rows.forEach((row, i) => {
    const { wrote, stream, cosine } = numbers[i], best = argmax(chances[i]);
    row.input.checked = i === stage.model.get("part");
    row.row.classList.toggle("open", row.input.checked);
    row.trunk.setAttribute("style", share(stream, widest));
    row.bar.setAttribute("style", share(wrote, longest));
    row.wrote.textContent = fixed(wrote, 2);
    row.cosine.textContent = cosine === null ? "–" : fixed(cosine, 2);
    row.stream.textContent = fixed(stream, 2);
    row.guess.replaceChildren(h("span", { class: "token" }, view.teller.tokenizer.show(best)), h("small", {}, percent(chances[i][best])));
  });
}

function tell(view, position, numbers) {
  const lengths = numbers.slice(1).map(({ wrote }) => wrote), winner = argmax(lengths);
  const token = view.teller.tokenizer.show(view.ids[position]), bet = view.parts[view.bet];
  view.status.textContent = `At “${token}”, ${view.parts[winner]} writes most: a vector of length ${fixed(lengths[winner], 2)}. `
    + (winner === view.bet ? "That was your bet. " : `You bet on ${bet}, which writes ${fixed(lengths[view.bet], 2)}. `)
    + `The stream grows from ${fixed(numbers[0].stream, 2)} to ${fixed(numbers.at(-1).stream, 2)}.`;
}

function drawInside(view, step, chances) {
  const values = [...step.wrote], top = largest(values.map(Math.abs), 5);
  view.about.replaceChildren(h("b", {}, title(step)), ` writes ${values.length} numbers:`);
  view.picture.replaceChildren(signedBars(values, { label: `The ${values.length} numbers that ${title(step)} writes`, marked: top }));
  view.five.textContent = `The five largest: ${top.map((i) => `dim ${i}: ${fixed(values[i], 2)}`).join("; ")}.`;
  view.chart.update(largest(chances, 5).map((id) => ({ label: view.teller.tokenizer.show(id), value: chances[id] })));
  view.step = step;
  fillNumbers(view);
}

/** Hundreds of numbers, written only where they are looked at. */
function fillNumbers({ all, step }) {
  if (!all.open) return;
  const rows = [...step.wrote].map((value, i) => [String(i), value, step.stream[i]]);
  all.replaceChildren(all.firstChild, details(all.firstChild.textContent, ["dim", "written", "stream after"], rows).lastChild);
}

export default { render };
