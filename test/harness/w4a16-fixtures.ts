// Packed weights that NumPy made, in the layouts of checkpoints.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Device } from '../../lib/device/device.js';
import type { QuantizedMatrix } from '../../lib/formats/quantized-matrix.js';
import type { FloatDType } from '../../lib/tensor/dtype.js';
import { float16Value } from '../../lib/tensor/half.js';

export interface Fixture {
  readonly name: string;
  readonly kind: string;
  readonly shape: [number, number];
  readonly groupSize: number;
  readonly weight: number[];
  readonly scales: number[];
  readonly zeros?: number[];
  readonly groupIndex?: number[];
  readonly dense: number[];
  readonly x: number[];
  readonly y: number[];
}

export const fixtures: readonly Fixture[] = JSON.parse(
  readFileSync(path.join(__dirname, '../fixtures/w4a16.json'), 'utf8'),
);

export function loadFixture(
  device: Device,
  fixture: Fixture,
  options: { scalesDType?: FloatDType; dtype?: FloatDType } = {},
): QuantizedMatrix {
  const { shape, groupSize, kind, groupIndex, zeros } = fixture;
  const weight = Int32Array.from(fixture.weight);
  const bits = Uint16Array.from(fixture.scales);
  const scales = options.scalesDType ? bits : Float32Array.from(bits, float16Value);
  const common = { shape, groupSize, ...options };
  if (kind === 'compressed') {
    return device.quantizedFromCompressedTensors({
      ...common,
      weightPacked: weight,
      weightScale: scales,
      ...(zeros && { weightZeroPoint: Int32Array.from(zeros) }),
      ...(groupIndex && { weightGIdx: groupIndex }),
    });
  }
  const integers = { ...common, qweight: weight, scales, ...(zeros && { qzeros: Int32Array.from(zeros) }) };
  if (kind === 'awq') return device.quantizedFromAwq(integers);
  return device.quantizedFromGptq({
    ...integers,
    format: kind as 'gptq' | 'gptq_v2',
    ...(groupIndex && { gIdx: Int32Array.from(groupIndex) }),
  });
}
