// Sparsity patterns of Kronecker-sparse factors, arXiv 2405.15013, section 2.

import { fail, WarptileError } from '../errors.js';
import { checkedProduct, checkInteger } from '../validate.js';

/**
 * The pattern (a, b, c, d): the support I_a (x) 1_{b x c} (x) I_d of an abd x acd matrix. Entry
 * (i b d + j d + l, i c d + k d + l) is w[i, j, k, l] for w of shape [a, b, c, d]; every other entry is zero. It is
 * a d independent dense blocks of b x c, each over rows and columns that lie d apart.
 */
export type KroneckerPattern = readonly [a: number, b: number, c: number, d: number];

/** @internal Four positive integers whose products are safe; a frozen copy. */
export function checkPattern(value: unknown, argument: string): KroneckerPattern {
  if (!Array.isArray(value) || value.length !== 4) {
    fail('ERR_SHAPE', argument, 'four integers [a, b, c, d] of at least 1', value);
  }
  for (const size of value) {
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 1) {
      fail('ERR_SHAPE', argument, 'four integers [a, b, c, d] of at least 1', value);
    }
  }
  checkedProduct(value, argument);
  return Object.freeze([value[0], value[1], value[2], value[3]] as const);
}

/** @internal [M, N] of a matrix of this pattern. */
export function patternShape(pattern: KroneckerPattern): readonly [number, number] {
  const [a, b, c, d] = pattern;
  return [a * b * d, a * c * d];
}

/**
 * The pattern of a product K1 K2 of two patterns, or undefined where the product is no Kronecker-sparse matrix. It is
 * one, (a1, b1 d1 / d2, a2 c2 / a1, d2), where a1 c1 d1 = a2 b2 d2, a1 divides a2 and d2 divides d1.
 */
export function productPattern(
  first: KroneckerPattern,
  second: KroneckerPattern,
): KroneckerPattern | undefined {
  return combine(checkPattern(first, 'first'), checkPattern(second, 'second'));
}

/** @internal As `productPattern`, for patterns that are known to be patterns. */
export function combine(first: KroneckerPattern, second: KroneckerPattern): KroneckerPattern | undefined {
  const [a1, b1, c1, d1] = first;
  const [a2, b2, c2, d2] = second;
  if (a1 * c1 * d1 !== a2 * b2 * d2 || a2 % a1 !== 0 || d1 % d2 !== 0) return undefined;
  return Object.freeze([a1, (b1 * d1) / d2, (a2 * c2) / a1, d2] as const);
}

/**
 * The patterns of a Monarch matrix in product order: M = K1 K2 with K2 = (k, q, p, 1), applied first, a block diagonal
 * of k blocks of q x p, and K1 = (1, s, r, l), which joins them across blocks. The values of K2 are the weights
 * w1[k, q, p] as they lie; those of K1 are w2[l, s, r] with l moved last. M has shape [s l, k p].
 * @throws WarptileError ERR_SHAPE where k q differs from r l.
 */
export function monarchPatterns(
  first: readonly [k: number, q: number, p: number],
  second: readonly [l: number, s: number, r: number],
): readonly [KroneckerPattern, KroneckerPattern] {
  for (const [argument, value] of [
    ['first', first],
    ['second', second],
  ] as const) {
    if (!Array.isArray(value) || value.length !== 3) fail('ERR_SHAPE', argument, 'three integers', value);
  }
  const [k, q, p] = first;
  const [l, s, r] = second;
  const applied = checkPattern([k, q, p, 1], 'first');
  const joining = checkPattern([1, s, r, l], 'second');
  if (k * q !== r * l) {
    throw new WarptileError(
      'ERR_SHAPE',
      `second: expected r l = ${k * q} rows of the first factor, received r l = ${r * l}`,
    );
  }
  return [joining, applied];
}

/**
 * The log2(size) radix-2 butterfly patterns in product order, (2^(s-1), 2, 2, 2^(L-s)) for s = 1 ... L = log2(size): the
 * factors of a fast Fourier or Walsh-Hadamard transform of that size. Every pair of neighbours is chainable, and the
 * product is dense.
 * @throws WarptileError ERR_ARGUMENT where `size` is not a power of two from 2 to 2^31.
 */
export function butterflyPatterns(size: number): readonly KroneckerPattern[] {
  checkInteger(size, 'size', 2, 2 ** 31);
  const levels = Math.log2(size);
  if (!Number.isInteger(levels)) fail('ERR_ARGUMENT', 'size', 'a power of two', size);
  return Array.from({ length: levels }, (_, level) =>
    Object.freeze([2 ** level, 2, 2, 2 ** (levels - 1 - level)] as const),
  );
}
