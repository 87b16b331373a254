import type { View } from '../../lib/backends/backend.js';
import { CommandWriter } from '../../lib/backends/cuda/command-writer.js';
import { cudaOperations } from '../../lib/backends/cuda/operations.js';
import { Device, openDevice, type Tensor, WarptileError } from '../../lib/index.js';
import { allCases } from '../cases/index.js';
import type { OperationCase } from '../harness/case.js';
import { Random } from '../harness/random.js';
import { cudaBackend } from './support.js';

// The addon's own checks, behind TypeScript's: any words must give a typed error or a harmless run. Real commands are
// recorded, their buffers replaced by one of zeros (zero is a valid index, row pointer and length wherever one is
// read) and one for outputs, and their words changed at random.

type Marshal = (command: CommandWriter, call: object) => void;
const marshals = cudaOperations as unknown as Record<string, Marshal>;

const casesEach = 40;
const roundsEach = 60;
// Small, so that no changed size makes a long kernel.
const bufferBytes = 256 * 1024;
const oddValues = [
  0,
  1,
  2,
  3,
  7,
  8,
  64,
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 31,
  2 ** 32 + 1,
  2 ** 53,
  -(2 ** 31),
];
const typedCodes = new Set([
  'ERR_ARGUMENT',
  'ERR_DISPOSED',
  'ERR_LIMIT',
  'ERR_UNSUPPORTED',
  'ERR_OUT_OF_MEMORY',
]);

interface RecordedCall {
  readonly row: string;
  readonly call: object;
  /** Buffer ids that the call writes. */
  readonly written: ReadonlySet<number>;
}

function isView(value: object): value is View {
  return 'buffer' in value && 'byteOffset' in value && 'elements' in value;
}

/** The call with every view moved to the start of another buffer. */
function withViews(value: unknown, replace: (view: View) => View): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (isView(value)) return replace(value);
  if (Array.isArray(value)) return value.map((item) => withViews(item, replace));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withViews(item, replace)]));
}

/**
 * What the backend is asked to do for a case. It is done as well: a later call may need what an earlier one wrote, as the tiles of a
 * sparse matrix are counted before there is memory for them.
 */
function record(device: Device, item: OperationCase): RecordedCall[] {
  const calls: RecordedCall[] = [];
  let written = new Set<number>();
  const operations = new Proxy(device.backend.operations, {
    get: (target, row: string) => (call: object) => {
      calls.push({ row, call, written });
      (Reflect.get(target, row) as (call: object) => void)(call);
    },
  });
  const backend = new Proxy(device.backend, {
    get(target, key) {
      if (key === 'operations') return operations;
      const member: unknown = Reflect.get(target, key);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
  const recorder = new Device(backend);
  recorder.tidy(() => {
    const prepared = item.prepare('exact', new Random(item.name));
    const outputs = prepared.outputs.map((spec) => recorder.empty(spec.shape, spec.dtype));
    written = new Set(outputs.map((tensor) => tensor.view.buffer.id));
    prepared.bind(recorder).run(outputs);
  });
  return calls;
}

function changed(words: Float64Array, random: Random): Float64Array {
  const length = random.unit() < 0.1 ? random.integer(0, words.length + 4) : words.length;
  const result = new Float64Array(length).map((_, index) => words[index] ?? random.pick(oddValues));
  for (let count = random.integer(1, 3); count > 0 && length > 0; --count) {
    const at = random.integer(0, length - 1);
    const near = [result[at] + 1, result[at] - 1, result[at] * 2, -result[at], result[at] + 0.5];
    result[at] = random.pick(random.unit() < 0.5 ? near : oddValues);
  }
  return result;
}

describe('words that no caller of ours would write', () => {
  let device: Device;
  let zeros: Tensor;
  let written: Tensor;

  beforeAll(async () => {
    device = await openDevice('cuda:0');
    // A second life gives the buffers numbers that no odd value names.
    const firstLife = [device.empty([16]), device.empty([16])];
    for (const tensor of firstLife) tensor.dispose();
    zeros = device.zeros([bufferBytes], 'uint8');
    written = device.zeros([bufferBytes], 'uint8');
    expect(Math.min(zeros.view.buffer.id, written.view.buffer.id)).toBeGreaterThan(2 ** 20);
  });
  afterAll(() => device?.dispose());

  /** Runs the words on fresh buffers; throws for anything but success and a typed error. */
  function attempt(row: string, words: Float64Array): void {
    for (const { view } of [zeros, written]) device.backend.fill(view.buffer, 0, bufferBytes, 0);
    try {
      cudaBackend(device).runRow(row, words);
    } catch (error) {
      if (error instanceof WarptileError && typedCodes.has(error.code)) return;
      throw new Error(`${row}: [${words.join(', ')}]`, { cause: error });
    }
  }

  const operations = [...new Set(allCases.map((item) => item.operation))];
  for (const operation of operations) {
    test(operation, async () => {
      const cases = allCases.filter((item) => item.operation === operation && item.reduced);
      const random = new Random(`fuzz ${operation}`);
      const step = Math.max(1, Math.floor(cases.length / casesEach));
      for (let index = 0; index < cases.length; index += step) {
        for (const { row, call, written: outputs } of record(device, cases[index])) {
          const moved = withViews(call, (view) => ({
            ...view,
            buffer: (outputs.has(view.buffer.id) ? written : zeros).view.buffer,
            byteOffset: 0,
          }));
          const writer = new CommandWriter().begin();
          marshals[row](writer, moved as object);
          const words = writer.words.slice(0, writer.length);
          for (let round = 0; round < roundsEach; ++round) attempt(row, changed(words, random));
          await device.synchronize();
        }
      }
    });
  }

  test('every row survives noise', async () => {
    const random = new Random('noise');
    for (const row of Object.keys(cudaOperations)) {
      for (let round = 0; round < 200; ++round) {
        const ids = [zeros.view.buffer.id, 0];
        const word = (): number => random.pick(random.unit() < 0.3 ? ids : oddValues);
        attempt(row, new Float64Array(random.integer(0, 60)).map(word));
      }
      await device.synchronize();
    }
    expect((await device.tensor([1, 2, 3]).data())[2]).toBe(3);
  });
});
