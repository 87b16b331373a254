import { unboundedWindow } from '../../lib/backends/calls/attention.js';
import { attentionRows, equalLengths, headMajor } from '../../lib/backends/reference/attention.js';
import { type AttentionOptions, attention, type FloatDType, type Tensor } from '../../lib/index.js';
import { expectedAttention, expectedLogSumExp } from '../harness/attention-bound.js';
import { drawAttention, drawSpecial, hasExactFill, uploadHost } from '../harness/attention-inputs.js';
import type { Fill, OperationCase, PreparedCase } from '../harness/case.js';
import type { Random } from '../harness/random.js';
import { attentionProblems, type AttentionCaseProblem as Problem } from './attention-problems.js';

function describeProblem(p: Problem): string {
  const parts = p.lengthsQ
    ? [`packed q=${p.lengthsQ.join('+')} k=${p.lengthsK?.join('+')}`]
    : [`b=${p.batch} q=${p.seqQ} k=${p.seqK}`];
  parts.push(`h=${p.heads}/${p.kvHeads} d=${p.headDim}`);
  if (p.causal !== false) parts.push(p.causal === true ? 'causal' : 'causal=top-left');
  if (p.window) parts.push(`window=${p.window.join(',')}`);
  if (p.scale !== undefined) parts.push(`scale=${p.scale}`);
  if (p.softcap !== undefined) parts.push(`softcap=${p.softcap}`);
  if (p.logSumExp) parts.push('lse');
  if (p.special) parts.push(p.special.name);
  return [...parts, p.dtype].join(' ');
}

function cumulative(lengths: readonly number[]): number[] {
  const offsets = [0];
  for (const length of lengths) offsets.push(offsets[offsets.length - 1] + length);
  return offsets;
}

/** [q, k] shapes. */
function shapesOf(p: Problem): readonly [number[], number[]] {
  if (p.lengthsQ && p.lengthsK) {
    return [
      [cumulative(p.lengthsQ)[p.lengthsQ.length], p.heads, p.headDim],
      [cumulative(p.lengthsK)[p.lengthsK.length], p.kvHeads, p.headDim],
    ];
  }
  return [
    [p.batch, p.seqQ, p.heads, p.headDim],
    [p.batch, p.seqK, p.kvHeads, p.headDim],
  ];
}

function prepare(p: Problem, fill: Fill, random: Random): PreparedCase {
  const scale = p.scale ?? 1 / Math.sqrt(p.headDim);
  const softcap = p.softcap ?? 0;
  const shapes = shapesOf(p);
  const [q, k, v] = p.special
    ? drawSpecial(p.dtype, p.special, shapes)
    : drawAttention(fill, random, { ...p, scale, softcap }, shapes);
  const packed = p.lengthsQ !== undefined;
  const cumulativeQ = p.lengthsQ ? cumulative(p.lengthsQ) : undefined;
  const cumulativeK = p.lengthsK ? cumulative(p.lengthsK) : undefined;
  const seq = packed ? shapes[0][0] : p.seqQ;
  const logSumExpShape = packed ? [p.heads, seq] : [p.batch, p.heads, seq];
  const { causal, window, dtype, heads, kvHeads, headDim } = p;
  const out = { name: 'out', shape: shapes[0], dtype } as const;
  const logSumExp = { name: 'logSumExp', shape: logSumExpShape, dtype: 'float32' } as const;
  return {
    outputs: p.logSumExp ? [out, logSumExp] : [out],
    bind(device) {
      const inputs = [q, k, v].map((host) => uploadHost(device, host));
      const options: AttentionOptions = { causal };
      if (window) options.window = window;
      if (p.scale !== undefined) options.scale = p.scale;
      if (p.softcap !== undefined) options.softcap = p.softcap;
      if (cumulativeQ && cumulativeK) {
        options.cumulativeQ = cumulativeQ;
        options.cumulativeK = cumulativeK;
      }
      return {
        inputs,
        run(outputs) {
          const [target, sums] = outputs as readonly [Tensor<FloatDType>, Tensor<'float32'>?];
          attention(inputs[0], inputs[1], inputs[2], { ...options, out: target, logSumExp: sums ?? false });
        },
      };
    },
    expected() {
      const rows = attentionRows({
        q: q.values,
        k: k.values,
        v: v.values,
        cumulativeQ: cumulativeQ ?? equalLengths(p.batch, p.seqQ),
        cumulativeK: cumulativeK ?? equalLengths(p.batch, p.seqK),
        heads,
        kvHeads,
        headDim,
        scale,
        softcap,
        left: Math.min(window?.[0] ?? unboundedWindow, unboundedWindow),
        right: causal === false ? Math.min(window?.[1] ?? unboundedWindow, unboundedWindow) : 0,
        topLeft: causal === 'top-left',
      });
      const expected = expectedAttention(dtype, rows, headDim);
      if (!p.logSumExp) return [expected];
      const sums = expectedLogSumExp(rows, headDim);
      const values = headMajor(sums.values, seq, heads);
      return [expected, { values, bound: headMajor(sums.bound, seq, heads), inexact: true }];
    },
  };
}

function toCase(p: Problem): OperationCase {
  const exact = hasExactFill(p.softcap ?? 0);
  const fills: readonly Fill[] = p.special ? ['exact'] : exact ? ['exact', 'random'] : ['random'];
  return {
    operation: 'attention',
    name: describeProblem(p),
    dtype: p.dtype,
    fills,
    ...(p.reduced ? { reduced: true } : {}),
    prepare: (fill, random) => prepare(p, fill, random),
  };
}

export const attentionCases: readonly OperationCase[] = attentionProblems.map(toCase);
