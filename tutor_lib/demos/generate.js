import { bars, bets, button, cutNames, details, distribution, draw, enable, h, KEPT, largest, layerPredictions, numberField, percent, presets, promptIds, random, Reading, reducedMotion, slider, Stage, streamCollector, textField, withStoryteller } from "./kit.js";

/** The `count` most probable tokens, with what the settings do to each. */
export function chartRows({ before, probabilities, cut }, show, count = 12) {
  return largest(before, count).map((id) => ({
    label: show(id), value: probabilities[id], ghost: before[id],
    cut: cut[id] !== KEPT, note: cutNames[cut[id]] ?? percent(probabilities[id]),
  }));
}

/**
 * How many positions go through the model for each prediction: `cached`, where the cache keeps
 * what earlier positions computed, and `plain`, where all are computed again. The first is the
 * prefill of the prompt; one more follows each of the `drawn` tokens.
 */
export function passCounts(prompt, drawn) {
  return Array.from({ length: drawn + 1 }, (_, n) => ({ cached: n ? 1 : prompt, plain: prompt + n }));
}

const STYLE = `
.story { min-height: 4.2rem; padding: 0.75rem 0.9rem; border-radius: 8px; background: var(--td-paper); border: 1px solid var(--td-line); white-space: pre-wrap; overflow-wrap: anywhere; font-size: 1rem; line-height: 1.65; }
.story mark { color: inherit; background: color-mix(in srgb, var(--td-token) 16%, var(--td-paper)); border-radius: 3px; padding: 0.08em 0; box-decoration-break: clone; -webkit-box-decoration-break: clone; }
.story mark:nth-of-type(even) { background: color-mix(in srgb, var(--td-token) 28%, var(--td-paper)); }
.story mark:last-of-type { box-shadow: 0 2px 0 var(--td-token); }
.story .end { font-size: 0.75rem; padding: 0.1rem 0.4rem; border: 1px solid var(--td-line); border-radius: 5px; color: var(--td-muted); white-space: nowrap; }
.told { display: grid; gap: 0.35rem; }
.steps { display: grid; gap: 0.6rem; padding-top: 1rem; border-top: 1px solid var(--td-line); }
.steps > * { min-width: 0; }
.steps h4 { margin: 0; font-size: 0.9375rem; font-weight: 600; }
.lens { border-spacing: 3px; border-collapse: separate; table-layout: fixed; }
.lens th:first-child { width: 5rem; }
.lens tbody th { font-size: 0.8125rem; line-height: 1.25; }
.lens td { padding: 0.25rem 0.1rem; border-radius: 5px; text-align: center; overflow: hidden; background: color-mix(in srgb, var(--td-heat-high) var(--heat), var(--td-heat-low)); }
.lens td span, .lens td small { display: block; overflow: hidden; text-overflow: ellipsis; }
.lens td small { font-size: 0.6875rem; }
.lens td.rank { background: none; font-size: 0.8125rem; }
.lens td.final .token { font-weight: 700; text-decoration: underline; }
`;

function render({ model, el }) {
  const stage = new Stage(el, model);
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "which word comes next, and how sure is the storyteller? Then lower the temperature or cut the tail, and sample."));
  withStoryteller(stage, (teller) => build(stage, teller));
  return () => stage.remove();
}

function build(stage, teller) {
  const view = { teller, running: false, ...nodes() };
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
    h("div", { class: "buttons" }, actions.one, actions.run, actions.reset), view.status, view.chart.node,
    lensSection(stage, view), view.work.node);
  for (const name of ["temperature", "top_k", "top_p", "min_p"]) stage.onChange(name, () => drawChart(stage, view));
  for (const name of ["prompt", "seed"]) stage.onChange(name, () => { stop(view); reset(stage, view); view.status.textContent = ""; });
  view.readingOf = stage.readAhead(Object.values(get("presets")), () => new Reading(teller),
    (reading, prompt) => reading.read(promptIds(teller.tokenizer, prompt)));
  reset(stage, view);
}

function nodes() {
  return {
    story: h("div", { class: "story", role: "region", "aria-label": "The story so far", tabindex: "0" }),
    room: h("span", {}), status: h("p", { class: "note", role: "status" }),
    work: workSection(), lens: h("div"), lensStatus: h("p", { class: "note", role: "status" }),
    chart: bars({ label: "The next token: the twelve most probable, before and after the cuts", columns: ["Token", "Before", "After"] }),
  };
}

function settings(stage) {
  const one = (value) => value.toFixed(2);
  return [
    slider(stage, "temperature", { label: "Temperature", min: 0, max: 2, step: 0.05, format: (t) => (t === 0 ? "0, greedy" : one(t)) }).node,
    slider(stage, "top_k", { label: "Top-k", min: 0, max: 40, step: 1, format: (k) => (k === 0 ? "off" : String(k)) }).node,
    slider(stage, "top_p", { label: "Top-p", min: 0.05, max: 1, step: 0.05, format: (p) => (p === 1 ? "1, off" : one(p)) }).node,
    slider(stage, "min_p", { label: "Min-p", min: 0, max: 1, step: 0.05, format: (p) => (p === 0 ? "0, off" : one(p)) }).node,
    numberField(stage, "seed", { label: "Seed", min: 0, max: 4294967295 }),
  ];
}

/** Back to the prompt, with the random numbers from their beginning. */
function reset(stage, view) {
  const { tokenizer, config } = view.teller;
  view.prompt = promptIds(tokenizer, stage.model.get("prompt"));
  view.reading = view.readingOf(stage.model.get("prompt"));
  view.added = [];
  view.random = random(stage.model.get("seed"));
  view.tooLong = view.prompt.length > config.context_length;
  view.bet = null;
  view.bets.clear();
  readOn(view);
  show(stage, view);
}

const tokensOf = (view) => [...view.prompt, ...view.added];

const isFull = (view) => tokensOf(view).length >= view.teller.config.context_length;

const hasEnded = (view) => view.added.at(-1) === view.teller.tokenizer.endOfTextId;

function readOn(view) {
  const collector = streamCollector();
  view.logits = view.tooLong ? null : view.reading.read(tokensOf(view), collector);
  view.streams = collector.streams;
}

const chances = (stage, view) => distribution(view.logits, {
  temperature: stage.model.get("temperature"), topK: stage.model.get("top_k"), topP: stage.model.get("top_p"), minP: stage.model.get("min_p"),
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
  drawLens(view);
  drawWork(view);
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

/** A bet first: after which block does the storyteller's favourite come out on top? */
function lensSection(stage, view) {
  const options = Array.from({ length: view.teller.config.n_layers + 1 }, (_, depth) => (depth ? `block ${depth}` : "embedding"));
  view.bets = bets(stage, { label: "Your bet on the depth", options, onBet: (depth) => { view.bet = depth; drawLens(view); } });
  return h("section", { class: "steps", "aria-label": "The prediction after every block" },
    h("h4", {}, "The prediction after every block"),
    h("p", { class: "note" }, "The same unembedding can read the residual stream of the last position early. After which part is the model’s final favourite first on top? Bet, and see."),
    view.bets.node, view.lensStatus, view.lens);
}

function drawLens(view) {
  const hidden = view.bet === null || view.tooLong;
  view.lens.replaceChildren();
  view.lensStatus.textContent = "";
  if (hidden) return;
  const rows = layerPredictions(view.teller, view.streams, 3), first = rows.findIndex(({ rank }) => rank === 1);
  const final = rows.at(-1).top[0].id, show = (id) => view.teller.tokenizer.show(id), name = (depth) => (depth ? `block ${depth}` : "embedding");
  view.lensStatus.textContent = `“${show(final)}” is first on top after ${name(first)}. ${view.bet === first ? "Your bet was right." : `Your bet was ${name(view.bet)}.`}`;
  view.lens.append(h("table", { class: "lens" }, h("caption", {}, "The three most probable tokens if the model ended there; underlined, the final favourite"),
    h("thead", {}, h("tr", {}, ["After", "1st", "2nd", "3rd", `“${show(final)}”`].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, rows.map((row, depth) => h("tr", {}, h("th", { scope: "row" }, name(depth)), row.top.map((one) => lensCell(one, show, final)),
      h("td", { class: "rank" }, h("span", {}, `rank ${row.rank}`), h("small", {}, percent(row.share))))))));
}

function lensCell({ id, probability }, show, final) {
  // At most 40 % of the heat: the text on it stays readable in both themes.
  return h("td", { class: id === final ? "final" : "", style: `--heat:${Math.round(40 * probability)}%` },
    h("span", { class: "token" }, show(id)), h("small", {}, percent(probability)));
}

const PASSES = 12;

/** Prefill and decode: the positions that went through the model for each prediction. */
function workSection() {
  const said = h("p", {}), chart = bars({ label: "Positions computed so far", columns: ["Way", "Positions"] }), all = h("div");
  const node = h("section", { class: "steps", "aria-label": "Prefill and decode" },
    h("h4", {}, "Prefill and decode: the work so far"), said, chart.node, all);
  return { node, said, chart, all };
}

function drawWork({ work, prompt, added, tooLong, teller }) {
  work.node.hidden = tooLong;
  if (tooLong) return;
  const passes = passCounts(prompt.length, added.length), last = passes.at(-1);
  const sum = (name) => passes.reduce((total, pass) => total + pass[name], 0), most = sum("plain");
  work.said.textContent = passes.length === 1
    ? `Prefill: all ${prompt.length} positions of the prompt go through in one pass. Sample, and each new token is a decode step.`
    : `The last decode step ran ${last.cached} position through the model; without a cache it would have been ${last.plain}.`;
  work.chart.update([["with the cache", sum("cached")], ["without", most]].map(([label, count]) => ({ label, value: count / most, note: String(count) })));
  const open = work.all.firstChild?.open ?? false, name = (n) => (n ? `decode ${n}: ${teller.tokenizer.show(added[n - 1])}` : "prefill: the prompt");
  const rows = passes.map(({ cached, plain }, n) => [n, cached, plain]).slice(-PASSES);
  const table = details(`The last ${PASSES} passes`, ["Pass", "With the cache", "Without"], rows.map(([n, cached, plain]) => [name(n), String(cached), String(plain)]));
  table.open = open;
  work.all.replaceChildren(table);
}

export default { render };
