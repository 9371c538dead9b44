// Learning merges as a game: the reader bets on each pair that byte-pair encoding merges.
import { MergeTrainer } from "./bpe_train.js";
import { bars } from "./charts.js";
import { button, enable } from "./controls.js";
import { countNodesOf, pieceNode, plural, predictLine } from "./pieces.js";
import { h } from "./stage.js";

/** The `count` most frequent pairs, in the order of their ids: the counts are the reader's to find. */
export function mergeCandidates(ranked, count) {
  return ranked.slice(0, count).map(({ pair }) => pair).sort(([a, b], [c, d]) => a - c || b - d);
}

/** How a bet on `pair` compares with the first of `ranked`: "won", "tie" or "lost". */
export function judgeBet(ranked, pair) {
  const of = ranked.findIndex((one) => one.pair[0] === pair[0] && one.pair[1] === pair[1]);
  if (of === 0) return "won";
  return ranked[of].count === ranked[0].count ? "tie" : "lost";
}

const CANDIDATES = 6;

/** The reader bets on each pair that byte-pair encoding merges as it learns from the text. */
export function trainView(stage) {
  const view = { trainer: null, bet: null, won: 0, bets: 0, ...trainNodes() };
  view.merge = button(stage, "Merge it", () => learnMerges(stage, view, 1), { class: "primary" });
  view.more = button(stage, "Ten without bets", () => learnMerges(stage, view, 10));
  const again = button(stage, "Start again", () => start());
  const start = () => {
    Object.assign(view, { trainer: null, won: 0, bets: 0 });
    stage.set({ learned: 0 });
    followMerges(stage, view);
  };
  stage.listen(view.choices, "click", (event) => {
    const chosen = [...view.choices.children].indexOf(event.target.closest("button"));
    if (chosen >= 0 && view.bet === null) placeBet(view, chosen);
  });
  stage.onChange("text", start);
  stage.onChange("learned", () => followMerges(stage, view));
  followMerges(stage, view);
  return [predictLine("which two neighbours stand together most often in this text? They get the next id."),
    view.counts, view.words, view.question, view.choices, view.status,
    h("div", { class: "buttons" }, view.merge, view.more, again), view.chart.node, view.learnedLabel, view.learned];
}

function trainNodes() {
  return {
    counts: h("div", { class: "counts" }), words: h("div", { class: "pieces", role: "group", "aria-label": "The words of the text, as they are cut now" }),
    question: h("p", { class: "label" }), choices: h("div", { class: "buttons bets", role: "group", "aria-label": "Your bet on the next merge" }),
    status: h("p", { role: "status" }), chart: bars({ label: "The most frequent pairs before this merge", columns: ["Pair", "Count"] }),
    learnedLabel: h("p", { class: "label" }, "Learned so far, with their ids"), learned: h("div", { class: "row learned" }),
  };
}

const learnMerges = (stage, view, rounds) => stage.set({ learned: view.trainer.merges.length + rounds });

/** Bring the trainer to as many merges as the trait says, and ask for the next one. */
function followMerges(stage, view) {
  const goal = stage.model.get("learned");
  if (!view.trainer || view.trainer.merges.length > goal) view.trainer = new MergeTrainer(stage.model.get("text"));
  while (view.trainer.merges.length < goal && view.trainer.next) view.trainer.merge();
  if (view.trainer.merges.length < goal) return stage.set({ learned: view.trainer.merges.length });
  view.bet = null;
  askForPair(view);
}

function askForPair(view) {
  const { trainer } = view;
  view.candidates = trainer.next ? mergeCandidates(trainer.ranked, CANDIDATES) : [];
  view.counts.replaceChildren(...countNodesOf([[256 + trainer.merges.length, "ids: 256 bytes and the merges"], [trainer.tokens, "tokens in the text"]]));
  view.words.replaceChildren(...trainer.words.map(({ ids, count }) => h("span", { class: "word-count" },
    ids.map((id, i) => pieceNode(trainer.show(id), id, i % 2 === 0)), h("small", {}, `× ${count}`))));
  view.choices.replaceChildren(...view.candidates.map(([a, b]) => h("button", { type: "button", "aria-pressed": "false" }, h("span", { class: "token" }, `${trainer.show(a)} + ${trainer.show(b)}`))));
  view.question.textContent = trainer.next ? `Your bet: which pair becomes id ${256 + trainer.merges.length}?` : "";
  view.status.textContent = trainer.next ? "" : "No pair stands in the text twice: training ends here.";
  view.chart.node.hidden = true;
  view.learned.replaceChildren(...trainer.merges.map((_, i) => pieceNode(trainer.show(256 + i), 256 + i, i % 2 === 0)));
  view.learnedLabel.hidden = view.learned.hidden = !trainer.merges.length;
  enable(view.merge, false);
  enable(view.more, Boolean(trainer.next));
}

function placeBet(view, chosen) {
  const { trainer } = view, { pair, count: most } = trainer.next, name = ([a, b]) => `${trainer.show(a)} + ${trainer.show(b)}`;
  const verdict = judgeBet(trainer.ranked, view.candidates[chosen]);
  view.bet = chosen;
  view.bets += 1;
  if (verdict !== "lost") view.won += 1;
  [...view.choices.children].forEach((node, i) => { node.setAttribute("aria-pressed", String(i === chosen)); enable(node, i === chosen); });
  const words = { won: "Won.", tie: "As frequent, so it counts as won; of equals the pair with the smaller ids is merged.", lost: "Lost." };
  view.status.textContent = `${words[verdict]} ${name(pair)} stands there ${plural(most, "time")} and is merged. Bets won: ${view.won} of ${view.bets}.`;
  view.chart.update(trainer.ranked.slice(0, 8).map(({ pair: those, count: n }, i) =>
    ({ label: name(those), value: n / most, note: plural(n, "time"), chosen: i === 0 })));
  view.chart.node.hidden = false;
  enable(view.merge, true);
}
