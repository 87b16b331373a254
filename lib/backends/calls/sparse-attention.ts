import type { View } from '../backend.js';
import type { SparsePattern } from './sparse-pattern.js';

/** Fused attention where query i sees the keys at which row i of a pattern [seqQ, seqK] stores an element. */
export interface SparseAttentionCall {
  /** [seqQ, seqK], shared by all batch entries and heads. */
  readonly pattern: SparsePattern;
  /** [batch, seqQ, heads, headDim] */
  readonly q: View;
  /** [batch, seqK, kvHeads, headDim] */
  readonly k: View;
  /** As k. */
  readonly v: View;
  /** As q. */
  readonly out: View;
  /** float32 [batch, heads, seqQ] */
  readonly logSumExp: View | undefined;
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** 0 stands for none. */
  readonly softcap: number;
}
