import { button, enable, h, Stage } from "./kit.js";

/** A text cut at its backticks: every second piece is code. */
export const codePieces = (text) =>
  text.split("`").map((piece, i) => ({ text: piece, code: i % 2 === 1 })).filter((piece) => piece.text);

/** How many questions have an answer and a right one; `open` are the numbers of the others. */
export function quizTally(questions, answers) {
  const right = answers.map((answer, i) => Boolean(questions[i].choices[answer]?.right));
  return { answered: answers.filter((answer) => answer >= 0).length,
    right: right.filter(Boolean).length, open: right.flatMap((is, i) => (is ? [] : [i + 1])) };
}

/** What the browser keeps: the words of the answers, so that a question may move or change. */
export const keptAnswers = (questions, answers) =>
  JSON.stringify(questions.flatMap(({ ask, choices }, i) => (choices[answers[i]] ? [[ask, choices[answers[i]].says]] : [])));

/** The answers from what was kept; −1 for what was not kept, or is asked no more. */
export function recalledAnswers(questions, kept) {
  let said = new Map();
  try {
    said = new Map(JSON.parse(kept));
  } catch { /* Nothing was kept, or another program wrote there. */ }
  return questions.map(({ ask, choices }) => choices.findIndex(({ says }) => says === said.get(ask)));
}

/** The browser's storage as two functions that never fail: it may be full, or refused to us. */
export function storageOf(key) {
  return {
    read() { try { return localStorage.getItem(key); } catch { return null; } },
    write(text) { try { localStorage.setItem(key, text); } catch { /* It lasts for this visit. */ } },
  };
}

const STYLE = `
.card { display: grid; gap: 0.75rem; }
.ask { font-size: 1.0625rem; font-weight: 600; line-height: 1.4; max-width: 60ch; text-wrap: pretty; }
.choices { display: grid; gap: 0.5rem; max-width: 44rem; }
button.answer { display: grid; grid-template-columns: 1.5rem 1fr auto; gap: 0.1rem 0.6rem; align-items: baseline;
  width: 100%; padding: 0.55rem 0.85rem; text-align: left; font-weight: 400; line-height: 1.45; }
.answer .mark { color: var(--td-muted); font-weight: 600; }
.answer .verdict { color: var(--td-muted); font-size: 0.8125rem; }
.answer .verdict:empty { display: none; }
.answer[data-is="right"] { border-color: var(--td-v); box-shadow: inset 4px 0 0 var(--td-v); }
.answer[data-is="right"] :is(.mark, .verdict) { color: var(--td-v); font-weight: 700; }
.answer[data-is="wrong"] { border-style: dashed; border-color: var(--td-ink); }
.answer[data-is="wrong"] :is(.mark, .verdict) { color: var(--td-ink); font-weight: 700; }
.strong:empty { display: none; }
.why { min-height: 1.5em; max-width: 64ch; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 0.9em; padding: 0.05em 0.25em; border-radius: 4px; background: var(--soft); }
.numbers { display: flex; flex-wrap: wrap; gap: 0.4rem; }
.numbers .chip { min-width: 2.6rem; }
.others { max-width: 64ch; }
.others ul { display: grid; gap: 0.4rem; padding-left: 1.1rem; margin-top: 0.5rem; font-size: 0.875rem; }
@container (max-width: 480px) { .answer .verdict { grid-column: 2; } }
`;

const rich = (text) => codePieces(text).map((piece) => (piece.code ? h("code", {}, piece.text) : piece.text));

function render({ model, el }) {
  const stage = new Stage(el, model), questions = model.get("questions");
  const view = { questions, at: 0, storage: storageOf(`tutor-quiz ${location.pathname} ${model.get("quiz")}`),
    count: h("p", { class: "note" }), why: h("p", { class: "why", role: "status" }),
    others: h("details", { class: "others" }), sum: h("p", { class: "strong", role: "status" }),
    ask: h("p", { class: "ask", tabindex: "-1" }), choices: h("div", { class: "choices", role: "group" }) };
  build(stage, view);
  recall(stage, view);
  stage.watch(["answers"], () => update(stage, view));
  stage.onChange("questions", () => { view.questions = model.get("questions"); rebuild(stage, view); });
  stage.ready();
  return () => stage.remove();
}

function build(stage, view) {
  view.numbers = h("div", { class: "numbers", role: "group", "aria-label": "Questions" });
  view.next = button(stage, "Next question", () => show(stage, view, view.at + 1, true));
  view.reset = button(stage, "Reset", () => { clear(stage, view); show(stage, view, 0, true); });
  stage.add(h("style", {}, STYLE),
    h("p", { class: "predict" }, h("b", {}, "Predict: "), "choose before you look back. Each choice tells you why, and you may try again."),
    view.numbers, h("section", { class: "card", "aria-label": "Quiz" }, view.count, view.ask, view.choices, view.why, view.others),
    h("div", { class: "buttons" }, view.next, view.reset), view.sum);
  drawNumbers(stage, view);
  show(stage, view, 0);
}

function rebuild(stage, view) {
  drawNumbers(stage, view);
  show(stage, view, 0);
}

function drawNumbers(stage, view) {
  view.chips = view.questions.map((_, i) =>
    button(stage, String(i + 1), () => show(stage, view, i), { class: "chip" }));
  view.numbers.replaceChildren(...view.chips);
}

const answersOf = (stage) => stage.model.get("answers");

/** In JupyterLab the answers live in Python; on a page, in the browser. */
function recall(stage, view) {
  if (!stage.model.onPage || answersOf(stage).some((answer) => answer >= 0)) return;
  stage.set({ answers: recalledAnswers(view.questions, view.storage.read()) });
}

function keep(stage, view, answers) {
  stage.set({ answers });
  if (stage.model.onPage) view.storage.write(keptAnswers(view.questions, answers));
}

const clear = (stage, view) => keep(stage, view, view.questions.map(() => -1));

/** Draw question `at`; where a press led here, the reader goes on at the question's text. */
function show(stage, view, at, moves = false) {
  const { ask, choices } = view.questions[at];
  view.at = at;
  view.count.textContent = `Question ${at + 1} of ${view.questions.length}`;
  view.ask.replaceChildren(...rich(ask));
  view.choices.setAttribute("aria-label", ask.replaceAll("`", ""));
  view.answers = choices.map(({ says }, i) => button(stage, "", () => choose(stage, view, i), { class: "answer" }));
  view.answers.forEach((node, i) => node.append(h("span", { class: "mark", "aria-hidden": "true" }),
    h("span", {}, rich(choices[i].says)), h("span", { class: "verdict" })));
  view.choices.replaceChildren(...view.answers);
  view.others.open = false;
  update(stage, view);
  if (moves) view.ask.focus();
}

function choose(stage, view, i) {
  keep(stage, view, answersOf(stage).map((answer, at) => (at === view.at ? i : answer)));
}

function update(stage, view) {
  const answers = answersOf(stage);
  if (answers.length !== view.questions.length) return; // Python is about to send the other one
  markChoices(view, answers[view.at]);
  markNumbers(view, answers);
  view.sum.textContent = summary(view.questions, answers);
  enable(view.next, view.at + 1 < view.questions.length);
  view.next.classList.toggle("primary", isRight(view.questions[view.at], answers[view.at]));
  enable(view.reset, answers.some((answer) => answer >= 0));
}

const isRight = ({ choices }, answer) => Boolean(choices[answer]?.right);

function markChoices(view, chosen) {
  const { choices } = view.questions[view.at], right = isRight({ choices }, chosen);
  view.answers.forEach((node, i) => {
    const is = i !== chosen ? "" : right ? "right" : "wrong", [mark, , verdict] = node.children;
    node.dataset.is = is;
    node.setAttribute("aria-pressed", String(i === chosen));
    mark.textContent = { right: "✓", wrong: "✗" }[is] ?? String.fromCharCode(65 + i);
    verdict.textContent = { right: "Right", wrong: "Not this one" }[is] ?? "";
  });
  view.why.replaceChildren(...(chosen < 0 ? [] : [h("b", {}, right ? "✓ Right. " : "✗ Not this one. "), ...rich(choices[chosen].why)]));
  view.others.hidden = !right;
  view.others.replaceChildren(h("summary", {}, "Why the others are wrong"), h("ul", {},
    choices.filter((choice) => !choice.right).map(({ says, why }) => h("li", {}, h("b", {}, rich(says)), ": ", rich(why)))));
}

function markNumbers(view, answers) {
  view.chips.forEach((chip, i) => {
    const state = answers[i] < 0 ? "" : isRight(view.questions[i], answers[i]) ? "✓" : "✗";
    chip.textContent = `${i + 1} ${state}`.trim();
    chip.setAttribute("aria-label", `Question ${i + 1}, ${{ "✓": "right", "✗": "not right yet" }[state] ?? "not answered"}`);
    chip.setAttribute("aria-pressed", String(i === view.at));
  });
}

function summary(questions, answers) {
  const { answered, right, open } = quizTally(questions, answers), all = questions.length;
  if (answered < all) return "";
  if (right === all) return `✓ You have found all ${all}.`;
  return `${right} of ${all} right. Have another look at question ${open.join(", ")}.`;
}

export default { render };
