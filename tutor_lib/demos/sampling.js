// From logits to one token: temperature, top-k, top-p, min-p, in the order of tutor_lib.predict.
import { argmax, softmax } from "./math.js";

/** Why a token cannot be drawn. */
export const KEPT = 0, CUT_BY_TOP_K = 1, CUT_BY_TOP_P = 2, CUT_BY_GREEDY = 3, CUT_BY_MIN_P = 4;

/** The same in words. */
export const cutNames = {
  [CUT_BY_TOP_K]: "cut by top-k", [CUT_BY_TOP_P]: "cut by top-p",
  [CUT_BY_MIN_P]: "cut by min-p", [CUT_BY_GREEDY]: "not the largest",
};

/**
 * The distribution that the next token is drawn from.
 *
 * `temperature` 0 is greedy; `topK` 0, `topP` 1 and `minP` 0 keep all. Returns `before` (the probabilities at this
 * temperature, nothing cut), `probabilities` (after the cuts, summing to 1) and `cut` (for each
 * token KEPT or what cut it).
 */
export function distribution(logits, { temperature = 1, topK = 0, topP = 1, minP = 0 } = {}) {
  check(temperature, topK, topP, minP);
  if (temperature === 0) return greedy(logits);
  const scaled = Float64Array.from(logits, (logit) => logit / temperature);
  const before = softmax(scaled);
  const cut = new Uint8Array(logits.length);
  if (topK > 0) cutTopK(scaled, topK, cut);
  cutTopP(scaled, topP, cut);
  cutMinP(scaled, minP, cut);
  return { before, cut, probabilities: softmax(kept(scaled, cut)) };
}

function check(temperature, topK, topP, minP) {
  if (!(temperature >= 0 && temperature < Infinity))
    throw new RangeError(`temperature must be finite and ≥ 0, got ${temperature}`);
  if (!(Number.isInteger(topK) && topK >= 0))
    throw new RangeError(`top-k must be a whole number ≥ 0, got ${topK}`);
  if (!(topP > 0 && topP <= 1)) throw new RangeError(`top-p must lie in (0, 1], got ${topP}`);
  if (!(minP >= 0 && minP <= 1)) throw new RangeError(`min-p must lie in [0, 1], got ${minP}`);
}

function greedy(logits) {
  const best = argmax(logits);
  const cut = new Uint8Array(logits.length).fill(CUT_BY_GREEDY);
  cut[best] = KEPT;
  const probabilities = new Float64Array(logits.length);
  probabilities[best] = 1;
  return { before: softmax(logits), cut, probabilities };
}

const kept = (logits, cut) => logits.map((logit, i) => (cut[i] === KEPT ? logit : -Infinity));

/** Mark all but the k largest; those equal to the k-th stay. */
function cutTopK(logits, k, cut) {
  const sorted = Float64Array.from(logits).sort().reverse();
  const kth = sorted[Math.min(k, sorted.length) - 1];
  logits.forEach((logit, i) => { if (logit < kth) cut[i] = CUT_BY_TOP_K; });
}

/** Mark all but the smallest set whose probabilities sum to at least p. */
function cutTopP(logits, p, cut) {
  const probabilities = softmax(kept(logits, cut));
  let before = 0;
  for (const i of order(probabilities)) {
    if (before >= p && cut[i] === KEPT) cut[i] = CUT_BY_TOP_P;
    before += probabilities[i];
  }
}

/** Mark all that are less than p times as probable as the best: log p below its logit. */
function cutMinP(logits, p, cut) {
  const least = logits[argmax(logits)] + Math.log(p);
  logits.forEach((logit, i) => { if (logit < least && cut[i] === KEPT) cut[i] = CUT_BY_MIN_P; });
}

/** Positions from the largest value to the smallest; of equals, the first comes first. */
export function order(values) {
  return Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
}

/** The first `count` of `order`: to sort a whole vocabulary for a few of it would be slow. */
export function largest(values, count) {
  const best = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === count && values[i] <= values[best.at(-1)]) continue;
    let at = best.length;
    while (at > 0 && values[i] > values[best[at - 1]]) at--;
    best.splice(at, 0, i);
    if (best.length > count) best.pop();
  }
  return best;
}

/** The token in whose share of [0, 1) `chance` falls. */
export function draw(probabilities, chance) {
  let sum = 0, last = 0;
  for (let i = 0; i < probabilities.length; i++) {
    if (probabilities[i] === 0) continue;
    sum += probabilities[i];
    last = i;
    if (chance < sum) return i;
  }
  return last; // rounding left the sum a little under 1
}

/** Repeatable random numbers in [0, 1): Mulberry32, 32 bits of state. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
