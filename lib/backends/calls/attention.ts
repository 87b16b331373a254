import type { View } from '../backend.js';

/** Wider than any sequence: a window side of this size never hides a key. */
export const unboundedWindow = 2 ** 32;

/**
 * Fused attention. Query i of a sequence sees the keys from i + shift - left to i + shift + right, where shift is
 * seqK - seqQ (bottom-right) or 0 (top-left); a causal call has right = 0. Packed calls give both cumulative views; then
 * seqQ and seqK are the longest sequences and the tokens of all sequences follow each other.
 */
export interface AttentionCall {
  /** [batch, seqQ, heads, headDim], packed: [totalQ, heads, headDim]. */
  readonly q: View;
  /** [batch, seqK, kvHeads, headDim], packed: [totalK, kvHeads, headDim]. */
  readonly k: View;
  /** As k. */
  readonly v: View;
  /** As q. */
  readonly out: View;
  /** float32 [batch, heads, seqQ], packed: [heads, totalQ]. */
  readonly logSumExp: View | undefined;
  /** int32 [batch + 1], from 0 to totalQ. */
  readonly cumulativeQ: View | undefined;
  /** int32 [batch + 1], from 0 to totalK. */
  readonly cumulativeK: View | undefined;
  readonly batch: number;
  readonly seqQ: number;
  readonly seqK: number;
  readonly totalQ: number;
  readonly totalK: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** 0 stands for none. */
  readonly softcap: number;
  readonly left: number;
  readonly right: number;
  readonly topLeft: boolean;
}
