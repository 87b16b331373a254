import type { View } from '../backend.js';

/** One value for each of three token axes; a problem of fewer axes has leading axes of one token. */
export type PerAxis<T> = readonly [T, T, T];

export interface NeighborhoodAttentionCall {
  readonly batch: number;
  readonly tokens: PerAxis<number>;
  readonly heads: number;
  /** Divides `heads`: query head h reads key and value head floor(h / (heads / kvHeads)). */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Additional keys, visible to every query. */
  readonly additional: number;
  readonly kernelSize: PerAxis<number>;
  readonly stride: PerAxis<number>;
  readonly dilation: PerAxis<number>;
  readonly causal: PerAxis<boolean>;
  readonly scale: number;
  /** [batch, ...tokens, heads, headDim] */
  readonly q: View;
  /** [batch, ...tokens, kvHeads, headDim] */
  readonly k: View;
  /** [batch, ...tokens, kvHeads, headDim] */
  readonly v: View;
  /** [batch, additional, kvHeads, headDim]; undefined where additional = 0 */
  readonly additionalKeys: View | undefined;
  /** [batch, additional, kvHeads, headDim]; undefined where additional = 0 */
  readonly additionalValues: View | undefined;
  /** [batch, ...tokens, heads, headDim] */
  readonly out: View;
  /** [batch, ...tokens, heads], float32 */
  readonly logSumExp: View | undefined;
}
