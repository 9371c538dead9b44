import { bars, button, CUT_BY_GREEDY, CUT_BY_TOP_K, CUT_BY_TOP_P, distribution, draw, enable, h, KEPT, numberField, order, percent, presets, random, Reading, reducedMotion, slider, Stage, textField, withStoryteller } from "./kit.js";

/** The `count` most probable tokens, with what the settings do to each. */
export function chartRows({ before, probabilities, cut }, show, count = 12) {
  const why = { [CUT_BY_TOP_K]: "cut by top-k", [CUT_BY_TOP_P]: "cut by top-p", [CUT_BY_GREEDY]: "not the largest" };
  return order(before).slice(0, count).map((id) => ({
    label: show(id), value: probabilities[id], ghost: before[id],
    cut: cut[id] !== KEPT, note: why[cut[id]] ?? percent(probabilities[id]),
  }));
}

/** What the model is given to read: an empty prompt becomes the end of the text before it. */
export function promptIds(tokenizer, prompt) {
  const ids = tokenizer.encode(prompt);
  return ids.length ? ids : [tokenizer.endOfTextId];
}

const STYLE = `
.story { min-height: 4.2rem; padding: 0.75rem 0.9rem; border-radius: 8px; background: var(--td-paper); border: 1px solid var(--td-line); white-space: pre-wrap; overflow-wrap: anywhere; font-size: 1rem; line-height: 1.65; }
.story mark { color: inherit; background: color-mix(in srgb, var(--td-token) 16%, var(--td-paper)); border-radius: 3px; padding: 0.08em 0; box-decoration-break: clone; -webkit-box-decoration-break: clone; }
.story mark:nth-of-type(even) { background: color-mix(in srgb, var(--td-token) 28%, var(--td-paper)); }
.story mark:last-of-type { box-shadow: 0 2px 0 var(--td-token); }
.story .end { font-size: 0.75rem; padding: 0.1rem 0.4rem; border: 1px solid var(--td-line); border-radius: 5px; color: var(--td-muted); white-space: nowrap; }
.told { display: grid; gap: 0.35rem; }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "which word comes next, and how sure is the storyteller? Then lower the temperature or cut the tail, and sample."));
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

function build(stage, teller) {
  const view = { teller, reading: new Reading(teller), running: false, ...nodes() };
  const get = (name) => stage.model.get(name);
  const actions = {
    one: button(stage, "Sample one", () => { stop(view); sampleOne(stage, view); }, { class: "primary" }),
    run: button(stage, "Run", () => (view.running ? stop(view, stage) : run(stage, view))),
    reset: button(stage, "Reset", () => { stop(view); reset(stage, view); view.status.textContent = "Back to the prompt."; }),
  };
  view.actions = actions;
  stage.ending.signal.addEventListener("abort", () => { view.running = false; });
  stage.add(presets(stage, "prompt", { label: "Prompt" }),
    textField(stage, "prompt", { label: "Your prompt", rows: 2, maxlength: get("max_length") }),
    h("div", { class: "controls" }, settings(stage)),
    h("div", { class: "told" }, h("div", { class: "label" }, h("span", {}, "The story so far"), view.room), view.story),
    h("div", { class: "buttons" }, actions.one, actions.run, actions.reset), view.status, view.chart.node);
  for (const name of ["temperature", "top_k", "top_p"]) stage.onChange(name, () => drawChart(stage, view));
  for (const name of ["prompt", "seed"]) stage.onChange(name, () => { stop(view); reset(stage, view); view.status.textContent = ""; });
  reset(stage, view);
}

function nodes() {
  return {
    story: h("div", { class: "story", role: "region", "aria-label": "The story so far", tabindex: "0" }),
    room: h("span", {}), status: h("p", { class: "note", role: "status" }),
    chart: bars({ label: "The next token: the twelve most probable, before and after the cuts", columns: ["Token", "Before", "After"] }),
  };
}

function settings(stage) {
  const one = (value) => value.toFixed(2);
  return [
    slider(stage, "temperature", { label: "Temperature", min: 0, max: 2, step: 0.05, format: (t) => (t === 0 ? "0, greedy" : one(t)) }).node,
    slider(stage, "top_k", { label: "Top-k", min: 0, max: 40, step: 1, format: (k) => (k === 0 ? "off" : String(k)) }).node,
    slider(stage, "top_p", { label: "Top-p", min: 0.05, max: 1, step: 0.05, format: (p) => (p === 1 ? "1, off" : one(p)) }).node,
    numberField(stage, "seed", { label: "Seed", min: 0, max: 4294967295 }),
  ];
}

/** Back to the prompt, with the random numbers from their beginning. */
function reset(stage, view) {
  const { tokenizer, config } = view.teller;
  view.prompt = promptIds(tokenizer, stage.model.get("prompt"));
  view.added = [];
  view.random = random(stage.model.get("seed"));
  view.tooLong = view.prompt.length > config.context_length;
  readOn(view);
  show(stage, view);
}

const tokensOf = (view) => [...view.prompt, ...view.added];

const isFull = (view) => tokensOf(view).length >= view.teller.config.context_length;

const hasEnded = (view) => view.added.at(-1) === view.teller.tokenizer.endOfTextId;

function readOn(view) {
  view.logits = view.tooLong ? null : view.reading.read(tokensOf(view));
}

const chances = (stage, view) => distribution(view.logits, {
  temperature: stage.model.get("temperature"), topK: stage.model.get("top_k"), topP: stage.model.get("top_p"),
});

/** Draw one token and read it. Returns its id and how probable it was. */
function append(stage, view) {
  const { probabilities } = chances(stage, view);
  const id = draw(probabilities, view.random());
  view.added.push(id);
  readOn(view);
  return { id, probability: probabilities[id] };
}

function sampleOne(stage, view) {
  const { id, probability } = append(stage, view);
  show(stage, view);
  view.status.textContent = `Drew “${view.teller.tokenizer.show(id)}”, which had ${percent(probability)}. ${ending(view)}`;
}

function ending(view) {
  if (isFull(view)) return `The context is full: the storyteller reads at most ${view.teller.config.context_length} tokens. Press Reset, or shorten the prompt.`;
  return hasEnded(view) ? "The story is over. Sample on, and a new one begins." : "";
}

/** One token a frame, so that an eye can follow; without pause where motion is unwanted. */
function run(stage, view) {
  Object.assign(view, { running: true, made: 0, busy: 0 });
  view.actions.run.textContent = "Stop";
  view.status.textContent = "Running…";
  const frame = () => {
    if (!view.running) return;
    const began = performance.now();
    do {
      append(stage, view);
      view.made += 1;
    } while (reducedMotion() && !isFull(view) && !hasEnded(view) && performance.now() - began < 12);
    view.busy += performance.now() - began;
    show(stage, view);
    if (isFull(view) || hasEnded(view)) stop(view, stage);
    else requestAnimationFrame(frame);
  };
  frame();
}

function stop(view, stage) {
  if (!view.running) return;
  view.running = false;
  view.actions.run.textContent = "Run";
  const rate = Math.round((1000 * view.made) / Math.max(view.busy, 0.1)).toLocaleString("en");
  view.status.textContent = `${view.made} tokens; computing alone, ${rate} tokens a second. ${ending(view)}`;
}

function show(stage, view) {
  drawStory(view);
  drawChart(stage, view);
  const used = tokensOf(view).length, room = view.teller.config.context_length;
  view.room.textContent = `${used} of ${room} tokens`;
  const can = !view.tooLong && !isFull(view);
  enable(view.actions.one, can);
  enable(view.actions.run, can);
  if (view.tooLong) view.status.textContent = `The prompt has ${used} tokens; the storyteller reads at most ${room}. Shorten it.`;
  stage.set({ text: view.teller.tokenizer.decode([...view.teller.tokenizer.encode(stage.model.get("prompt")), ...view.added]) });
}

function drawStory(view) {
  const { tokenizer } = view.teller, first = view.prompt.length, end = tokenizer.endOfTextId;
  const ids = tokensOf(view), texts = tokenizer.decodeEach(ids);
  view.story.replaceChildren(...ids.flatMap((id, i) => (id === end
    ? h("span", { class: "end" }, i < first ? "a text begins" : "end of text")
    : i < first ? texts[i] : added(texts[i]))));
}

/** The space before a word stays unmarked: at the end of a line it would leave a stray mark. */
function added(text) {
  const [, space, rest] = /^( ?)(.*)$/su.exec(text);
  return rest ? [space, h("mark", {}, rest)] : h("mark", {}, text);
}

function drawChart(stage, view) {
  view.chart.node.hidden = view.tooLong;
  if (view.tooLong) return;
  view.chart.update(chartRows(chances(stage, view), (id) => view.teller.tokenizer.show(id)));
}

export default { render };
