// The arithmetic of a decoder, on plain arrays. tests/demos holds each function to PyTorch.

/** exp(x) / Σ exp(x). An entry of -Infinity gets weight 0. */
export function softmax(scores) {
  // Subtracting the largest changes nothing in the quotient and keeps exp from overflowing.
  let top = -Infinity, sum = 0;
  for (let i = 0; i < scores.length; i++) if (scores[i] > top) top = scores[i];
  const weights = new Float64Array(scores.length);
  for (let i = 0; i < weights.length; i++) sum += weights[i] = Math.exp(scores[i] - top);
  for (let i = 0; i < weights.length; i++) weights[i] /= sum;
  return weights;
}

/** Σ a_i b_i. */
export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** The position of the largest entry; of equals, the first. */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** W x, with W stored row by row. */
export function multiply(matrix, x) {
  const columns = x.length, out = new Float32Array(matrix.length / columns);
  const stop = out.length - (out.length % 4);
  // Four rows at once: each number of x is fetched once for all four, which takes half the time.
  for (let row = 0; row < stop; row += 4) {
    let a = 0, b = 0, c = 0, d = 0;
    for (let i = 0, at = row * columns; i < columns; i++, at++) {
      const value = x[i];
      a += matrix[at] * value;
      b += matrix[at + columns] * value;
      c += matrix[at + 2 * columns] * value;
      d += matrix[at + 3 * columns] * value;
    }
    out[row] = a;
    out[row + 1] = b;
    out[row + 2] = c;
    out[row + 3] = d;
  }
  for (let row = stop; row < out.length; row++) {
    let sum = 0;
    for (let i = 0, at = row * columns; i < columns; i++, at++) sum += matrix[at] * x[i];
    out[row] = sum;
  }
  return out;
}

/** g · x / √(mean(x²) + ε). */
export function rmsNorm(x, gain, epsilon) {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + epsilon);
  const out = new Float32Array(x.length);
  for (let i = 0; i < out.length; i++) out[i] = x[i] * scale * gain[i];
  return out;
}

/** The D/2 angles of one position: t · base^(-2i/D), in radians. */
export function ropeAngles(position, headSize, base) {
  return Float32Array.from({ length: headSize / 2 }, (_, i) =>
    position * Math.fround(base ** ((-2 * i) / headSize)));
}

/** Turn each pair (x_i, x_{i+D/2}) by its angle, in place: the half-split layout. */
export function rotate(x, angles) {
  const half = angles.length;
  for (let i = 0; i < half; i++) {
    const cos = Math.cos(angles[i]), sin = Math.sin(angles[i]);
    const left = x[i], right = x[i + half];
    x[i] = left * cos - right * sin;
    x[i + half] = right * cos + left * sin;
  }
  return x;
}

/** x · σ(x). */
export const silu = (x) => x / (1 + Math.exp(-x));

/**
 * One query against the first `count` rows of a cache: softmax(q kᵀ / √D) v.
 *
 * A row has `stride` numbers; this head's keys and values are the D that begin at `start`.
 * Returns the mixed values and the weights.
 */
export function attend(q, keys, values, count, stride, start) {
  const size = q.length;
  const scores = new Float64Array(count);
  for (let s = 0; s < count; s++) {
    const row = s * stride + start;
    let sum = 0;
    for (let i = 0; i < size; i++) sum += q[i] * keys[row + i];
    scores[s] = sum / Math.sqrt(size);
  }
  const weights = softmax(scores);
  const mixed = new Float32Array(size);
  for (let s = 0; s < count; s++) {
    const row = s * stride + start;
    for (let i = 0; i < size; i++) mixed[i] += weights[s] * values[row + i];
  }
  return { mixed, weights };
}
