import { bars, button, cutNames, details, distribution, enable, fixed, h, KEPT, largest, order, percent, presets, promptIds, slider, softmax, Stage, textField, withStoryteller } from "./kit.js";

/**
 * The most probable tokens, each with all that happens to it: its logit, its probability at
 * temperature 1 (`plain`) and at this one (`before`), the sum of what top-k left up to it
 * (`cumulative`), its share of the largest (`ratio`), why it was `cut`, and what is left (`after`).
 */
export function survivalRows(logits, settings, count) {
  const { before, cut, probabilities } = distribution(logits, settings);
  const left = distribution(logits, { ...settings, topP: 1, minP: 0 }).probabilities;
  const plain = softmax(logits), ids = order(logits);
  let cumulative = 0;
  return ids.slice(0, count).map((id) => {
    cumulative += left[id];
    return { id, logit: logits[id], plain: plain[id], before: before[id], cumulative,
      ratio: before[id] / before[ids[0]], cut: cut[id], after: probabilities[id] };
  });
}

/** How many of the rows a bet got right: those it named that survive, and the others that do not. */
export function rightBets(rows, bet) {
  return rows.filter(({ id, cut }) => bet.includes(id) === (cut === KEPT)).length;
}

const SHOWN = 8;

const STYLE = `
.bet { border: 0; margin: 0; padding: 0; min-width: 0; }
.bet > div { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 0.4rem; }
.bet label { display: flex; gap: 0.35rem; align-items: center; padding: 0.3rem 0.45rem; border: 1px solid var(--td-edge); border-radius: 7px; background: var(--td-paper); cursor: pointer; }
.bet label:has(:checked) { border-color: var(--td-accent); box-shadow: inset 0 0 0 1px var(--td-accent); }
.bet input { accent-color: var(--td-accent); margin: 0; }
.bet small { margin-left: auto; white-space: nowrap; color: var(--td-muted); }
.bet small.told { font-weight: 600; color: var(--td-ink); }
.result { display: grid; gap: 1rem; }
.result > * { min-width: 0; }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "you see the storyteller’s favourites at temperature 1. Which of them survive the settings below? Tick them, then reveal."));
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

function build(stage, teller) {
  const view = { teller, score: { right: 0, of: 0 }, boxes: [],
    list: h("div"), status: h("p", { class: "note", role: "status" }),
    chart: bars({ label: "Bars: what is left after the cuts. Outlines: before them, at this temperature", columns: ["Token", "Before", "After"] }), numbers: h("div"), rest: h("p", { class: "note" }) };
  view.result = h("div", { class: "result" }, view.chart.node, view.rest, view.numbers);
  view.reveal = button(stage, "Reveal", () => reveal(stage, view), { class: "primary" });
  view.again = button(stage, "Bet again", () => stage.set({ bet: [], revealed: false }));
  stage.add(presets(stage, "prompt", { label: "Prompt" }),
    textField(stage, "prompt", { label: "Your prompt", rows: 2, maxlength: stage.model.get("max_length") }),
    challenges(stage), h("div", { class: "controls" }, cutSliders(stage)),
    h("fieldset", { class: "bet" }, h("legend", { class: "label" }, "Your bet: what survives?"), view.list),
    h("div", { class: "buttons" }, view.reveal, view.again), view.status, view.result);
  stage.listen(view.list, "change", () => stage.set({ bet: view.boxes.filter((box) => box.checked).map((box) => Number(box.value)) }));
  stage.watch(["prompt"], () => readPrompt(stage, view));
  for (const name of [...SETTINGS, "revealed", "bet"]) stage.onChange(name, () => drawResult(stage, view));
}

const SETTINGS = ["temperature", "top_k", "top_p", "min_p"];
const UNCUT = { temperature: 1, top_k: 0, top_p: 1, min_p: 0 };

function cutSliders(stage) {
  const two = (value) => value.toFixed(2);
  return [
    slider(stage, "temperature", { label: "Temperature", min: 0.1, max: 3, step: 0.1, format: (t) => t.toFixed(1) }),
    slider(stage, "top_k", { label: "Top-k", min: 0, max: 40, step: 1, format: (k) => (k === 0 ? "off" : String(k)) }),
    slider(stage, "top_p", { label: "Top-p", min: 0.05, max: 1, step: 0.05, format: (p) => (p === 1 ? "1, off" : two(p)) }),
    slider(stage, "min_p", { label: "Min-p", min: 0, max: 1, step: 0.05, format: (p) => (p === 0 ? "0, off" : two(p)) }),
  ].map(({ node }) => node);
}

/** Prepared settings; choosing one begins a new bet. */
function challenges(stage) {
  const entries = Object.entries(stage.model.get("challenges")).map(([title, changes]) => ({
    settings: { ...UNCUT, ...changes },
    node: button(stage, title, () => stage.set({ ...UNCUT, ...changes, bet: [], revealed: false }), { class: "chip" }),
  }));
  stage.watch(SETTINGS, () => entries.forEach(({ settings, node }) => node.setAttribute("aria-pressed",
    String(SETTINGS.every((name) => settings[name] === stage.model.get(name))))));
  return h("div", { class: "presets", role: "group", "aria-label": "Challenge" },
    h("span", { class: "label" }, "Challenge"), entries.map(({ node }) => node));
}

function readPrompt(stage, view) {
  const { teller } = view, room = teller.config.context_length;
  // A long prompt is read from where it still fits.
  view.logits = teller.read(promptIds(teller.tokenizer, stage.model.get("prompt")).slice(-room));
  const plain = softmax(view.logits);
  const ids = largest(view.logits, SHOWN);
  view.boxes = ids.map((id) => h("input", { type: "checkbox", value: id }));
  view.notes = ids.map((id) => ({ share: percent(plain[id]), node: h("small") }));
  view.list.replaceChildren(...ids.map((id, i) => h("label", {}, view.boxes[i],
    h("span", { class: "token" }, teller.tokenizer.show(id)), view.notes[i].node)));
  // Another prompt is another bet; at first, what Python says stands.
  if (view.begun) stage.set({ bet: [], revealed: false });
  view.begun = true;
  drawResult(stage, view);
}

function reveal(stage, view) {
  const rows = settled(stage, view, SHOWN);
  view.score.right += rightBets(rows, stage.model.get("bet"));
  view.score.of += rows.length;
  stage.set({ revealed: true });
}

function settled(stage, view, count) {
  const get = (name) => stage.model.get(name);
  return survivalRows(view.logits, { temperature: get("temperature"), topK: get("top_k"), topP: get("top_p"), minP: get("min_p") }, count);
}

function drawResult(stage, view) {
  const shown = stage.model.get("revealed"), bet = stage.model.get("bet");
  view.boxes.forEach((box) => { box.checked = bet.includes(Number(box.value)); box.disabled = shown; });
  enable(view.reveal, !shown);
  enable(view.again, shown);
  view.result.hidden = !shown;
  const rows = shown ? settled(stage, view, view.logits.length) : [];
  view.notes.forEach(({ share, node }, i) => {
    node.textContent = !shown ? share : rows[i].cut === KEPT ? "✓ stays" : "✗ cut";
    node.className = shown ? "told" : "";
  });
  view.status.textContent = shown ? verdict(view, rows, bet) : "";
  if (shown) drawNumbers(view, rows);
}

function verdict({ score, logits }, rows, bet) {
  const left = rows.filter(({ cut }) => cut === KEPT).length;
  return `${left} of ${logits.length} tokens survive (✓). Your ticks fit ${rightBets(rows.slice(0, SHOWN), bet)} of ${SHOWN} tokens; `
    + `in all your bets so far, ${score.right} of ${score.of}. Now move the settings and watch.`;
}

function drawNumbers(view, rows) {
  const { tokenizer } = view.teller, top = rows.slice(0, SHOWN + 4), rest = rows.slice(top.length);
  view.chart.update(top.map(({ id, before, after, cut }) => ({ label: tokenizer.show(id), value: after, ghost: before, cut: cut !== KEPT, note: cutNames[cut] ?? percent(after) })));
  const sum = (name) => percent(rest.reduce((total, row) => total + row[name], 0));
  view.rest.textContent = `All ${rest.length} other tokens together: ${sum("before")} before, ${sum("after")} after.`;
  const open = view.numbers.firstChild?.open ?? false;
  const table = details("The exact numbers", ["Token", "Logit z", "p at τ = 1", "p at this τ", "Sum after top-k", "p / largest", "Verdict", "p after"],
    top.map((row) => [tokenizer.show(row.id), fixed(row.logit, 4), ...["plain", "before", "cumulative", "ratio"].map((name) => fixed(row[name], 5)), cutNames[row.cut] ?? "kept", fixed(row.after, 5)]));
  table.open = open;
  view.numbers.replaceChildren(table);
}

export default { render };
