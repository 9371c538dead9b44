import { argmax, bars, bets, fixed, h, largest, multiply, order, percent, presets, scoreBars, softmax, Stage, textField, tokenRow, withStoryteller } from "./kit.js";

/**
 * Every neuron at each of `ids`, and the logits after it: `{ neurons: [layer] of F numbers, logits }`.
 * `off`, a pair of layer and neuron, is set to 0 on the way.
 */
export function readNeurons(teller, ids, cache = teller.newCache(), off = null) {
  return ids.map((id) => {
    const neurons = [];
    const x = teller.step(id, cache, null, { neurons: (layer, values) => {
      if (off && layer === off[0]) values[off[1]] = 0;
      neurons.push(values.slice());
    } });
    return { neurons, logits: teller.unembed(x) };
  });
}

/**
 * What an activation of 1 adds to each token's logit on the direct way: the neuron's column of
 * W_down times the final norm's gain and the unembedding. The norm's division is left out.
 */
export function neuronWrites(teller, layer, neuron) {
  const { d_model, d_ff } = teller.config, { down } = teller.layers[layer];
  const gain = teller.tensors["final_norm.weight"];
  const column = Float32Array.from({ length: d_model }, (_, i) => gain[i] * down[i * d_ff + neuron]);
  return multiply(teller.tensors["embedding.weight"], column);
}

/** What the switched-off neuron did to the first choice: its token, its share, and whether it is still first. */
export function lossOfFirst(before, after) {
  const first = argmax(before), now = argmax(after);
  return { first, now, before: before[first], after: after[first], stays: first === now };
}

const BETS = ["It stays, within 5 points", "It stays, but moves further", "Another token wins"];

const STYLE = `
.neuron { display: grid; gap: 0.5rem; min-width: 0; }
.neuron h4 { margin: 0; font-size: 0.9375rem; font-weight: 600; }
.examples { list-style: none; padding: 0; display: grid; gap: 0.3rem; }
.examples li { display: grid; grid-template-columns: 4rem minmax(0, 1fr); gap: 0.6rem; align-items: baseline; }
.examples .value { text-align: right; font-weight: 600; }
.examples .token { white-space: pre-wrap; overflow-wrap: anywhere; color: var(--td-muted); }
.examples mark { color: var(--td-ink); font-weight: 700; border-radius: 3px; padding: 0.05em 0; background: color-mix(in srgb, var(--td-accent) 25%, var(--td-surface)); }
.writes { display: grid; gap: 0.9rem 2rem; }
@container (min-width: 560px) { .writes { grid-template-columns: 1fr 1fr; } }
select { padding: 0.3rem 0.6rem; min-height: 2.1rem; border: 1px solid var(--td-edge); border-radius: 7px; background: var(--td-paper); }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "what does this neuron wait for? Look at where it fires, then at what it writes, and bet what the model says without it."));
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

const unit = (stage) => stage.model.get("unit").split(".").map(Number);

function build(stage, teller) {
  const view = { teller, cache: teller.newCache(), ids: [], read: [], bet: null, examples: h("ul", { class: "examples" }),
    about: h("p", { class: "note" }), note: h("p", { class: "note", role: "status" }), question: h("p", {}), status: h("p", { role: "status" }),
    up: scoreBars({ label: "Promotes most", columns: ["Token", "Logit per 1"] }), down: scoreBars({ label: "Suppresses most", columns: ["Token", "Logit per 1"] }),
    after: bars({ label: "The next token, with the neuron and without it", columns: ["Token", "With", "Without"] }) };
  view.row = tokenRow(stage, "position", { label: "The neuron’s activation at each token" });
  view.bets = bets(stage, { label: "What happens to the most probable next token?", options: BETS,
    onBet: (i) => { view.bet = i; drawWithout(stage, view); } });
  const part = (title, ...nodes) => h("section", { class: "neuron", "aria-label": title }, h("h4", {}, title), nodes);
  stage.add(presets(stage, "unit", { label: "Neuron" }), picker(stage, teller),
    part("What switches it on: its strongest moments in stories it was not trained on", view.examples),
    part("What it writes towards the next token", view.about, h("div", { class: "writes" }, view.up.node, view.down.node)),
    part("In your own sentence", textField(stage, "text", { label: "Text", rows: 2, maxlength: stage.model.get("max_length") }), view.note, view.row.node),
    part("Switch it off", view.question, view.bets.node, view.status, view.after.node));
  stage.watch(["text"], () => readText(stage, view));
  stage.watch(["unit"], () => { drawUnit(stage, view); drawText(stage, view); });
  stage.onChange("position", () => hide(stage, view));
}

/** The layer as a list, the neuron as a number: together they are the trait `unit`. */
function picker(stage, teller) {
  const { n_layers, d_ff } = teller.config;
  const layer = h("select", {}, Array.from({ length: n_layers }, (_, l) => h("option", { value: l }, String(l))));
  const neuron = h("input", { type: "number", min: 0, max: d_ff - 1, step: 1, inputmode: "numeric" });
  const set = () => { if (neuron.value !== "" && neuron.validity.valid) stage.set({ unit: `${layer.value}.${Number(neuron.value)}` }); };
  const show = () => { const [l, n] = unit(stage); layer.value = l; if (neuron.value !== String(n)) neuron.value = n; };
  stage.listen(layer, "input", set);
  stage.listen(neuron, "input", set);
  stage.listen(neuron, "blur", show);
  stage.watch(["unit"], show);
  const field = (label, input) => h("label", { class: "control" }, h("span", { class: "label" }, label), input);
  return h("div", { class: "controls" }, field(`Layer, 0 to ${n_layers - 1}`, layer), field(`Neuron, 0 to ${d_ff - 1}`, neuron));
}

/** Where it fires, and what its column says to the vocabulary. */
function drawUnit(stage, view) {
  const { teller } = view, [layer, neuron] = unit(stage), { tokenizer } = teller;
  const examples = stage.model.get("examples")[layer][neuron], stories = stage.model.get("stories");
  view.examples.replaceChildren(...examples.map(([story, at, value]) => example(tokenizer, stories[story], at, value)));
  const sign = examples[0][2] < 0 ? -1 : 1, writes = neuronWrites(teller, layer, neuron).map((x) => sign * x);
  const best = order(writes), row = (id) => ({ label: tokenizer.show(id), value: writes[id], numbers: [fixed(writes[id])] });
  view.about.textContent = `Per 1 of activation, on the direct way to the logits, before the final norm divides. ${sign < 0
    ? "Its strongest activations are negative, so its column counts backwards: shown is what a negative activation adds."
    : "A negative activation does the reverse."}${layer < teller.config.n_layers - 1 ? " Later layers read what it writes, too." : ""}`;
  view.up.update(best.slice(0, 5).map(row));
  view.down.update(best.slice(-5).reverse().map(row));
}

function example(tokenizer, story, at, value) {
  const tokens = tokenizer.decodeEach(tokenizer.encode(story)), from = Math.max(0, at - 8);
  const [, space, word] = /^( ?)(.*)$/su.exec(tokens[at]);
  return h("li", {}, h("span", { class: "value" }, fixed(value, 2)), h("span", { class: "token" }, from ? "…" : "", tokens.slice(from, at).join(""), space, h("mark", {}, word), tokens.slice(at + 1, at + 5).join(""), at + 5 < tokens.length ? "…" : ""));
}

/** Read what is new in the text; what it begins with as before is still known. */
function readText(stage, view) {
  const all = view.teller.tokenizer.encode(stage.model.get("text")), ids = all.slice(0, stage.model.get("max_tokens"));
  let shared = 0;
  while (shared < ids.length && ids[shared] === view.ids[shared]) shared++;
  view.cache.length = shared;
  view.read = [...view.read.slice(0, shared), ...readNeurons(view.teller, ids.slice(shared), view.cache)];
  view.note.textContent = all.length > ids.length ? `The text has ${all.length} tokens. The first ${ids.length} are read.`
    : ids.length ? "" : "Type a text to see where the neuron fires.";
  const another = view.text !== undefined;
  Object.assign(view, { ids, text: stage.model.get("text") });
  if (another || stage.model.get("position") >= ids.length) stage.set({ position: Math.max(0, ids.length - 1) });
  drawText(stage, view);
}

function drawText(stage, view) {
  const [layer, neuron] = unit(stage), { tokenizer } = view.teller;
  const values = view.read.map(({ neurons }) => neurons[layer][neuron]), top = Math.abs(stage.model.get("examples")[layer][neuron][0][2]) || 1;
  view.row.node.hidden = !view.ids.length;
  view.row.update(view.ids.map((id) => tokenizer.show(id)), values.map((x) => fixed(x, 2)), values.map((x) => 0.6 * Math.min(1, Math.abs(x) / top)));
  hide(stage, view);
}

/** Another question: the bet is open again. */
function hide(stage, view) {
  view.bet = null;
  view.bets.clear();
  const none = !view.ids.length;
  view.bets.node.hidden = view.question.hidden = none;
  view.after.node.hidden = true;
  view.status.textContent = "";
  if (none) return;
  const at = chosen(stage, view), { show } = tokenNames(view), before = softmax(view.read[at].logits), first = argmax(before);
  view.question.replaceChildren("After ", h("span", { class: "token strong" }, show(view.ids[at])), ", the storyteller’s first choice is ", h("span", { class: "token strong" }, show(first)), ` with ${percent(before[first])}. Now the neuron is set to 0 at every token up to here. What becomes of that choice?`);
}

const chosen = (stage, view) => Math.min(stage.model.get("position"), view.ids.length - 1);

const tokenNames = ({ teller }) => ({ show: (id) => teller.tokenizer.show(id) });

function drawWithout(stage, view) {
  const at = chosen(stage, view), { show } = tokenNames(view), before = softmax(view.read[at].logits);
  const without = readNeurons(view.teller, view.ids.slice(0, at + 1), view.teller.newCache(), unit(stage));
  const after = softmax(without.at(-1).logits), told = lossOfFirst(before, after);
  const truth = !told.stays ? 2 : Math.abs(told.before - told.after) > 0.05 ? 1 : 0;
  view.status.textContent = `Without it, “${show(told.first)}” has ${percent(told.after)} instead of ${percent(told.before)}${told.stays ? " and stays first." : `; “${show(told.now)}” is first.`} ${truth === view.bet ? "As you said." : "You said otherwise."}`;
  const ids = [...new Set([...largest(before, 5), ...largest(after, 5)])];
  view.after.update(ids.map((id) => ({ label: show(id), ghost: before[id], value: after[id], chosen: id === told.first })));
  view.after.node.hidden = false;
}

export default { render };
