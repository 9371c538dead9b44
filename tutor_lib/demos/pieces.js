// Tokens in boxes, and numbers with their names: what the tokenizers' views share.
import { h } from "./stage.js";

/** A piece as the reader sees it, with an id or a number below. */
export function pieceNode(shown, below, even, isNew = false) {
  return h("span", { class: `piece${even ? " even" : ""}${isNew ? " new" : ""}` },
    h("span", { class: "token" }, shown), h("small", {}, String(below)));
}

/** Large numbers, each with what it counts. */
export const countNodesOf = (pairs) => pairs.map(([value, name]) => h("div", {}, h("b", {}, String(value)), h("span", {}, name)));

export const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

/** The question that stands before everything else. */
export const predictLine = (question) => h("p", { class: "predict" }, h("b", {}, "Predict: "), question);
