import type { Device } from '../lib/device/device.js';
import { attention } from '../lib/ops/attention.js';
import { spmm } from '../lib/ops/spmm.js';
import { measureHost } from './measure.js';
import { Operand } from './operands.js';
import type { Row } from './report.js';

/** Most microseconds of host time that a call may cost. */
const goalUs = 8;

const batches = 40;

/**
 * Host time of a call with `out` given: validate, marshal, launch. The problems are as small as they come, so that the
 * device keeps up with the host (and on the CPU, where the call includes the work, adds little).
 */
export async function overheadRows(device: Device): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [name, make] of [
    ['spmm with out', spmmCall],
    ['attention with out', attentionCall],
  ] as const) {
    const made: { dispose(): void }[] = [];
    try {
      const { us, spread } = await measureHost(device, make(device, made), batches);
      rows.push(rowOf(device, name, us, spread));
    } finally {
      for (const item of made) item.dispose();
    }
  }
  return rows;
}

function spmmCall(device: Device, made: { dispose(): void }[]): () => void {
  const [rowPointers, columnIndices] = [
    Array.from({ length: 9 }, (_, i) => i),
    Array.from({ length: 8 }, (_, i) => i),
  ];
  const a = device.csr({ shape: [8, 8], rowPointers, columnIndices, dtype: 'float16' });
  const b = Operand.normal('b', [8, 8], 'float16').on<'float16'>(device);
  const out = device.empty([8, 8], 'float16');
  made.push(a, b, out);
  const options = { out };
  return () => {
    spmm(a, b, options);
  };
}

function attentionCall(device: Device, made: { dispose(): void }[]): () => void {
  const [q, k, v] = ['q', 'k', 'v'].map((name) =>
    Operand.normal(name, [1, 8, 1, 8], 'float16').on<'float16'>(device),
  );
  const out = device.empty([1, 8, 1, 8], 'float16');
  made.push(q, k, v, out);
  const options = { causal: true, out };
  return () => {
    attention(q, k, v, options);
  };
}

function rowOf(device: Device, problem: string, us: number, spread: number): Row {
  return {
    op: 'overhead',
    problem,
    dtype: 'float16',
    n: 1,
    device: device.id,
    variant: 'host time of a call',
    us,
    spread,
    peers: {},
    peerVariants: {},
    ratio: null,
    roof: null,
    bytes: 0,
    flops: 0,
    error: null,
    nmse: null,
    pass: true,
    // On the CPU the call does the work too, so the goal does not apply.
    note: device.kind === 'cpu' ? 'work included' : `goal ${goalUs} us ${us <= goalUs ? 'met' : 'missed'}`,
  };
}
