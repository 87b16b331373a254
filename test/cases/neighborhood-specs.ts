// The shapes and options of neighbourhood attention problems, and their names.

import type { PerAxis } from '../../lib/backends/calls/neighborhood-attention.js';
import type { NeighborhoodAttentionProblem } from '../../lib/backends/reference/neighborhood-attention.js';
import { Random } from '../harness/random.js';

export interface NeighborhoodSpec {
  /** 1 to 3 axes. */
  readonly tokens: readonly number[];
  readonly kernelSize: number | readonly number[];
  readonly stride?: number | readonly number[];
  readonly dilation?: number | readonly number[];
  readonly causal?: boolean | readonly boolean[];
  readonly batch?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headDim?: number;
  /** undefined: the options are not given. */
  readonly additional?: number;
  readonly scale?: number;
  readonly logSumExp?: boolean;
  /** The operands start one element into their memory, at no 16-byte boundary. */
  readonly unaligned?: boolean;
}

export function problemOf(spec: NeighborhoodSpec): NeighborhoodAttentionProblem {
  const { batch = 1, heads = 1, kvHeads = heads, headDim = 16, additional = 0 } = spec;
  return {
    batch,
    tokens: threeAxes(spec.tokens, spec, 1),
    heads,
    kvHeads,
    headDim,
    additional,
    kernelSize: threeAxes(spec.kernelSize, spec, 1),
    stride: threeAxes(spec.stride ?? 1, spec, 1),
    dilation: threeAxes(spec.dilation ?? 1, spec, 1),
    causal: threeAxes(spec.causal ?? false, spec, false),
    scale: spec.scale ?? 1 / Math.sqrt(headDim),
  };
}

function threeAxes<T>(value: T | readonly T[], { tokens }: NeighborhoodSpec, missing: T): PerAxis<T> {
  const axes = tokens.length;
  const given = Array.isArray(value) ? value : new Array(axes).fill(value);
  return [...new Array(3 - axes).fill(missing), ...given] as unknown as PerAxis<T>;
}

/** 'tokens=8x8 w=3 s=2 t=1 causal=0,1 b=1 h=2/1 d=16 ...': all that differs from the defaults. */
export function describe(spec: NeighborhoodSpec): string {
  const { batch = 1, heads = 1, kvHeads = heads, headDim = 16 } = spec;
  const parts = [`tokens=${spec.tokens.join('x')}`, `w=${spec.kernelSize}`];
  if (spec.stride !== undefined) parts.push(`s=${spec.stride}`);
  if (spec.dilation !== undefined) parts.push(`t=${spec.dilation}`);
  if (spec.causal !== undefined) parts.push(`causal=${spec.causal}`);
  parts.push(`b=${batch}`, `h=${heads === kvHeads ? heads : `${heads}/${kvHeads}`}`, `d=${headDim}`);
  if (spec.additional !== undefined) parts.push(`additional=${spec.additional}`);
  if (spec.scale !== undefined) parts.push(`scale=${spec.scale}`);
  if (spec.logSumExp) parts.push('lse');
  if (spec.unaligned) parts.push('unaligned');
  return parts.join(' ');
}

/** Seeded problems over every option, all different, each quick for the reference. */
export function drawnSpecs(count: number): NeighborhoodSpec[] {
  const random = new Random('neighborhood attention specs');
  const longest = [0, 150, 18, 8];
  const specs = new Map<string, NeighborhoodSpec>();
  while (specs.size < count) {
    const axes = random.integer(1, 3);
    const tokens = draw(axes, () => random.integer(1, longest[axes]));
    // Small windows and dilations are as likely as those that fill the axis.
    const dilation = tokens.map((length) =>
      random.integer(1, random.pick([1, 2, 3, length].filter((t) => t <= length))),
    );
    const kernelSize = tokens.map((length, axis) => random.integer(1, Math.floor(length / dilation[axis])));
    const stride = kernelSize.map((size) => random.integer(1, random.pick([1, size])));
    const kvHeads = random.integer(1, 2);
    const spec: NeighborhoodSpec = {
      tokens,
      kernelSize,
      stride,
      dilation,
      causal: draw(axes, () => random.integer(0, 1) === 1),
      batch: random.integer(1, 2),
      kvHeads,
      heads: kvHeads * random.integer(1, 2),
      headDim: random.pick([8, 13, 16, 24, 32, 36, 64]),
      ...(random.integer(0, 2) === 0 ? { additional: random.integer(0, 40) } : {}),
      ...(random.integer(0, 1) === 0 ? { logSumExp: true } : {}),
    };
    if (products(spec) <= 400_000) specs.set(describe(spec), spec);
  }
  return [...specs.values()];
}

function draw<T>(length: number, one: () => T): T[] {
  return Array.from({ length }, one);
}

/** An upper bound of the multiplications of q k^T. */
function products(spec: NeighborhoodSpec): number {
  const { batch, tokens, heads, headDim, kernelSize, additional } = problemOf(spec);
  const product = (values: readonly number[]): number => values.reduce((all, value) => all * value, 1);
  return batch * heads * product(tokens) * (product(kernelSize) + additional) * headDim;
}
