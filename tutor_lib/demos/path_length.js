import { bars, button, choice, details, h, percent, slider, Stage } from "./kit.js";

const FLOOR = 1e-6; // the shortest bar and the palest link: a millionth
const LOST = 0.75; // three texts in four

/** Each signal as a share of that at distance 1. */
export const shareOfFirst = (signals) => signals.map((signal) => signal / signals[0]);

/** Where a share lies on a logarithmic scale from `floor` (0) to 1 (1); beyond, at its ends. */
export const logScale = (share, floor) =>
  Math.max(0, Math.min(1, 1 - Math.log10(share) / Math.log10(floor)));

/** The first distance from which on the share of names said right stays under `least`; else null. */
export function lostFrom(right, least) {
  let last = right.length;
  while (last > 0 && right[last - 1] < least) last--;
  return last === right.length ? null : last + 1;
}

/** How many steps lie between a token and one `distance` later. */
export const pathSteps = (chain, distance) => (chain ? distance : 1);

/** A positive number as text: three decimals, or a power of ten where those would hide it. */
export function powerOfTen(value) {
  if (value >= 0.01) return value.toFixed(3);
  const [digits, exponent] = value.toExponential(1).split("e");
  const raised = [...exponent.replace("+", "")].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("");
  return `${digits} × 10${raised}`;
}

const STYLE = `
.paths { display: grid; gap: 0.9rem; }
.path { display: grid; gap: 0.3rem; }
.path-head { display: flex; justify-content: space-between; gap: 1rem; }
.way { display: flex; align-items: center; gap: 6px; }
.way .token { flex: none; padding: 0.1rem 0.5rem; border: 1px solid var(--td-token); border-radius: 6px; color: var(--td-token); background: var(--td-paper); }
.links { flex: 1; min-width: 0; display: flex; gap: min(3px, calc(40% / var(--steps))); }
.links i { flex: 1; min-width: 0; height: 0.9rem; border-radius: 2px; box-shadow: inset 0 0 0 1px color-mix(in srgb, var(--td-edge) 45%, transparent);
  background: color-mix(in srgb, var(--td-heat-high) var(--heat, 0%), var(--td-heat-low)); }
.links.thin i { box-shadow: none; border-radius: 0; }
.scale { display: flex; align-items: center; gap: 0.5rem; color: var(--td-muted); font-size: 0.75rem; }
.scale i { width: 7rem; height: 0.6rem; border-radius: 3px; background: linear-gradient(90deg in srgb, var(--td-heat-low), var(--td-heat-high)); }
.results { display: grid; gap: 1rem; }
.controls > .choice { max-width: none; }
.columns { display: grid; gap: 1.25rem 2rem; }
@container (min-width: 700px) { .columns { grid-template-columns: 1fr 1fr; align-items: start; } }
button[aria-pressed="true"] { border-color: var(--td-accent); color: var(--td-accent); background: color-mix(in srgb, var(--td-accent) 8%, var(--td-surface)); }
`;

/** The answers on offer: the last distance that each covers, and what it is called. */
function answers(furthest) {
  return [[4, "within 4 tokens"], [16, "from 5 to 16"], [furthest, `from 17 to ${furthest}`], [Infinity, "not at all"]];
}

/** Which answer holds what was measured. */
export const rightAnswer = (lost, ends) => ends.findIndex((end) => (lost ?? Infinity) <= end);

function render({ model, el }) {
  const stage = new Stage(el, model), { models, chance } = model.get("measured");
  const view = { models: Object.entries(models), chance, furthest: Object.values(models)[0].right.length };
  build(stage, view);
  stage.watch(["bet", "distance", "trained"], () => draw(stage, view));
  stage.onChange("trained", () => drawTable(stage, view));
  drawTable(stage, view);
  stage.ready();
  return () => stage.remove();
}

function build(stage, view) {
  view.paths = h("div", { class: "paths" });
  view.status = h("p", { class: "note", role: "status" });
  view.verdict = h("p", { class: "strong verdict" });
  view.signals = bars({ label: "Signal left: bar on a logarithmic scale from a millionth to 1", columns: ["Network", "of that at distance 1"] });
  view.right = bars({ label: "Names said right", columns: ["Network", "of texts"] });
  view.table = h("div");
  view.scale = h("p", { class: "scale" }, "a millionth of the signal", h("i", {}), "all of it");
  view.results = h("section", { class: "results", "aria-label": "What was measured" }, view.verdict,
    h("div", { class: "controls" }, choice(stage, "trained", { label: "Measured", options: ["before training", "after training"] })),
    h("div", { class: "columns" }, h("div", {}, view.signals.node), h("div", {}, view.right.node)), view.table);
  stage.add(h("style", {}, STYLE), question(stage, view),
    slider(stage, "distance", { label: "Distance", min: 1, max: view.furthest, step: 1, format: tokens }).node,
    view.paths, view.scale, view.status, view.results);
}

const tokens = (n) => (n === 1 ? "1 token" : `${n} tokens`);

/** What the reader is to commit to before anything is shown. */
function question(stage, view) {
  const offered = answers(view.furthest).map(([, name]) => name);
  view.bets = offered.map((name, i) => button(stage, name, () => stage.set({ bet: i })));
  return h("div", { class: "results" }, h("p", { class: "predict" }, h("b", {}, "Predict: "),
    `each network had ${stage.model.get("measured").steps} steps of training to learn to say the name at the start of a text again at its end, up to ${view.furthest} tokens later. `
    + "From which distance on does the RNN get it wrong in more than one text of four? Place your bet."),
  h("div", { class: "buttons", role: "group", "aria-label": "Your bet" }, view.bets));
}

function draw(stage, view) {
  const bet = stage.model.get("bet"), shown = bet >= 0;
  view.bets.forEach((node, i) => node.setAttribute("aria-pressed", String(i === bet)));
  view.results.hidden = view.scale.hidden = !shown;
  const at = { distance: stage.model.get("distance"), when: stage.model.get("trained") ? "after" : "before" };
  const rows = view.models.map(([name, found]) => row(name, found, at));
  view.paths.replaceChildren(...rows.map((r) => path(r, at.distance, shown)));
  view.status.textContent = shown ? inWords(rows, at, view.chance) : "The colours come with your bet.";
  if (!shown) return;
  view.verdict.textContent = verdict(view, bet);
  view.signals.update(rows.map(({ name, left }) => ({ label: name, value: logScale(left, FLOOR), note: powerOfTen(left) })));
  const after = at.when === "after";
  view.right.node.hidden = !after;
  view.right.update(rows.map(({ name, right }) => ({ label: name, value: right })));
}

/** What one network has at this distance, and how much was left at each step on the way. */
function row(name, found, { distance, when }) {
  const all = shareOfFirst(found[when]), steps = pathSteps(found.chain, distance);
  return { name, steps, left: all[distance - 1], right: found.right[distance - 1],
    hops: found.chain ? all.slice(0, distance) : [all[distance - 1]] };
}

function path({ name, steps, hops }, distance, shown) {
  const links = hops.map((left) => h("i", shown ? { style: `--heat:${Math.round(100 * logScale(left, FLOOR))}%` } : {}));
  return h("div", { class: "path" },
    h("div", { class: "path-head" }, h("span", { class: "strong" }, name), h("span", { class: "label" }, steps === 1 ? "1 step" : `${steps} steps`)),
    h("div", { class: "way" }, h("span", { class: "token" }, "name"),
      h("span", { class: `links${steps > 24 ? " thin" : ""}`, style: `--steps:${steps}`, role: "img",
        "aria-label": `${name}: ${steps === 1 ? "1 step" : `${steps} steps`} from the name to the word ${tokens(distance)} later` }, links),
      h("span", { class: "token" }, "end")));
}

function inWords(rows, { distance, when }, chance) {
  const said = ({ name, steps, left, right }) => `${name}: ${steps === 1 ? "1 step" : `${steps} steps`}, ${powerOfTen(left)} of the signal`
    + (when === "after" ? `, the name right in ${percent(right)}` : "");
  return `At a distance of ${tokens(distance)}, ${when} training. ${rows.map(said).join("; ")}.`
    + (when === "after" ? ` A guess is right in ${percent(chance)}.` : "");
}

function verdict(view, bet) {
  const offered = answers(view.furthest), lost = lostFrom(view.models[0][1].right, LOST);
  const hit = rightAnswer(lost, offered.map(([end]) => end)) === bet;
  const found = lost ? `from distance ${lost} on, the ${view.models[0][0]} is right in fewer than three texts of four.`
    : `the ${view.models[0][0]} never falls below three texts of four.`;
  return `Your bet: ${offered[bet][1]}. ${hit ? "Right" : "Measured otherwise"}: ${found}`;
}

/** Every number of the two charts. */
function drawTable(stage, view) {
  const when = stage.model.get("trained") ? "after" : "before", after = when === "after";
  const open = view.table.querySelector("details")?.open;
  const signals = view.models.map(([, found]) => shareOfFirst(found[when]));
  const columns = ["Distance", ...view.models.map(([name]) => `${name}, signal`), ...(after ? view.models.map(([name]) => `${name}, right`) : [])];
  const rows = signals[0].map((_, i) => [i + 1, ...signals.map((all) => powerOfTen(all[i])),
    ...(after ? view.models.map(([, found]) => percent(found.right[i])) : [])]);
  view.table.replaceChildren(details(`All distances, ${when} training`, columns, rows));
  view.table.querySelector("details").open = Boolean(open);
}

export default { render };
