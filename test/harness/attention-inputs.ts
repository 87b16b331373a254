// Inputs of attention cases.

import type { Device } from '../../lib/device/device.js';
import type { FloatDType } from '../../lib/tensor/dtype.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import type { Fill } from './case.js';
import { type Drawn, roundTo } from './draw.js';
import type { Random } from './random.js';

/** A tensor on the host. */
export interface HostTensor extends Drawn {
  readonly shape: readonly number[];
  readonly dtype: FloatDType;
}

/** Rounds the values of `draw(index)` into `dtype`. */
export function hostTensor(
  dtype: FloatDType,
  shape: readonly number[],
  draw: (index: number) => number,
): HostTensor {
  const size = shape.reduce((product, length) => product * length, 1);
  const numbers = new Float64Array(size);
  for (let i = 0; i < size; ++i) numbers[i] = draw(i);
  return { shape, dtype, ...roundTo(dtype, numbers) };
}

export function uploadHost(device: Device, { shape, dtype, stored }: HostTensor): Tensor<FloatDType> {
  return device.tensor(stored, { shape, dtype, raw: true });
}

// Taken out of the global object once: in a test's sandbox each look-up of a global costs far more than the arithmetic.
const { floor } = Math;

export interface AttentionDraw {
  readonly dtype: FloatDType;
  readonly headDim: number;
  readonly scale: number;
  /** 0 for none. */
  readonly softcap: number;
}

/**
 * q, k and v of the given shapes. In the exact fill a third of the queries is zero: their weights are equal and the mean of
 * small integers, one division, is the same in any order. The scores of the others are so far apart (256 and more after
 * scaling, with a cap at it or 0) that the weights are exactly 1 at the maximum, ties included, and 0 elsewhere.
 */
export function drawAttention(
  fill: Fill,
  random: Random,
  { dtype, headDim, scale, softcap }: AttentionDraw,
  shapes: readonly [q: readonly number[], kv: readonly number[]],
): readonly [q: HostTensor, k: HostTensor, v: HostTensor] {
  const [shapeQ, shapeKv] = shapes;
  if (fill === 'random') {
    const normal = (): number => random.normal();
    return [
      hostTensor(dtype, shapeQ, normal),
      hostTensor(dtype, shapeKv, normal),
      hostTensor(dtype, shapeKv, normal),
    ];
  }
  const unit = exactUnit(scale, softcap);
  const small = (): number => unit * random.integer(-2, 2);
  return [
    hostTensor(dtype, shapeQ, (index) => (floor(index / headDim) % 3 === 0 ? 0 : small())),
    hostTensor(dtype, shapeKv, small),
    hostTensor(dtype, shapeKv, () => random.integer(-8, 8)),
  ];
}

/** True where the exact fill applies: capped scores must be as far apart as others. */
export function hasExactFill(softcap: number): boolean {
  return softcap === 0 || softcap >= 256;
}

// q and k are small integers times a power of two; their products times the scale differ by 256 or more, or saturate tanh.
function exactUnit(scale: number, softcap: number): number {
  if (scale === 0) return 1;
  const step = softcap === 0 ? 256 : 20 * softcap;
  return 2 ** Math.ceil(Math.log2(step / Math.abs(scale)) / 2);
}

/** An element by its token (counted over all sequences), head and channel. */
export type ElementAt = (token: number, head: number, channel: number) => number;

export interface SpecialInputs {
  readonly name: string;
  readonly q: ElementAt;
  readonly k: ElementAt;
  readonly v: ElementAt;
}

export const zero: ElementAt = () => 0;
export const firstChannel: ElementAt = (_token, _head, channel) => (channel === 0 ? 1 : 0);
export const smallIntegers: ElementAt = (token, head, channel) => ((7 * token + 3 * channel + head) % 9) - 4;

/** Equal weights and values of small integers, but for what is given. */
export function special(name: string, given: Partial<SpecialInputs>): { special: SpecialInputs } {
  return { special: { name, q: zero, k: zero, v: smallIntegers, ...given } };
}

/** `value` where the condition holds, `otherwise` elsewhere. */
export function where(
  condition: (token: number, head: number, channel: number) => boolean,
  value: number,
  otherwise: ElementAt,
): ElementAt {
  return (token, head, channel) =>
    condition(token, head, channel) ? value : otherwise(token, head, channel);
}

/** q, k and v of the given shapes, element by element. */
export function drawSpecial(
  dtype: FloatDType,
  inputs: SpecialInputs,
  [shapeQ, shapeKv]: readonly [q: readonly number[], kv: readonly number[]],
): readonly [q: HostTensor, k: HostTensor, v: HostTensor] {
  const draw = (shape: readonly number[], at: ElementAt): HostTensor => {
    const [heads, headDim] = shape.slice(-2);
    return hostTensor(dtype, shape, (index) => {
      const row = floor(index / headDim);
      return at(floor(row / heads), row % heads, index % headDim);
    });
  };
  return [draw(shapeQ, inputs.q), draw(shapeKv, inputs.k), draw(shapeKv, inputs.v)];
}
