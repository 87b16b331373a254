import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import {
  type HostTensor,
  openDevice,
  openSafetensors,
  parseNpy,
  readNpy,
  WarptileError,
  writeSafetensors,
} from '../lib/index.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'warptile-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const onlyFormatErrors = (error: unknown): void => {
  if (!(error instanceof WarptileError) || error.code !== 'ERR_FORMAT') throw error;
};

describe('.npy', () => {
  interface Fixture {
    file: string;
    shape: number[];
    dtype: string;
    data: number[];
  }
  const fixtures: Fixture[] = JSON.parse(readFileSync(path.join(__dirname, 'fixtures/io.json'), 'utf8'));
  const names = fixtures.map((item, index) => [`${index} ${item.dtype} [${item.shape}]`, item] as const);

  test.each(names)('as NumPy writes it: %s', (_, { file, shape, dtype, data }) => {
    const array = parseNpy(Buffer.from(file, 'base64'));
    expect(array.shape).toEqual(shape);
    expect(array.dtype).toBe(dtype);
    expect(array.raw).toBe(dtype === 'float16');
    expect([...array.data]).toEqual(data);
  });

  test('goes into a tensor as it is', async () => {
    const array = parseNpy(Buffer.from(fixtures[0].file, 'base64'));
    const device = await openDevice('cpu');
    const tensor = device.tensor(array.data, { shape: array.shape, dtype: 'float16', raw: array.raw });
    const widened = parseNpy(Buffer.from(fixtures[1].file, 'base64'));
    (await tensor.data()).forEach((value, index) => {
      expect(value).toBeCloseTo(widened.data[index], 2);
    });
    device.dispose();
  });

  const npy = (header: string, body = Buffer.alloc(0)): Buffer => {
    const head = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1');
    head.writeUInt16LE(header.length, 8);
    return Buffer.concat([head, Buffer.from(header, 'latin1'), body]);
  };
  const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";

  test.each([
    ['empty', Buffer.alloc(0), /byte 0/],
    ['another magic', Buffer.from('PK\x03\x04aaaaaaaa'), /byte 0: expected '\\x93NUMPY'/],
    [
      'version 9',
      Buffer.concat([Buffer.from('\x93NUMPY\x09\x00', 'latin1'), Buffer.alloc(8)]),
      /version 1, 2 or 3/,
    ],
    ['a header past the end', npy(good).subarray(0, 30), /byte 8: expected a header of at most 20/],
    ['too little data', npy(good, Buffer.alloc(7)), /expected 8 bytes for float32 \[2\], received 7/],
    ['too much data', npy(good, Buffer.alloc(9)), /received 9/],
    ['objects', npy(good.replace('<f4', '|O8')), /descr: expected one of .* received 'O8'/],
    ['complex', npy(good.replace('<f4', '<c8')), /descr/],
    ['a record', npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }"), /fortran_order/],
    ['no shape', npy("{'descr': '<f4', 'fortran_order': False, }"), /expected/],
    ['a key twice', npy(good.replace("'shape'", "'descr': '<f4', 'shape'")), /expected/],
    ['a huge shape', npy(good.replace('(2,)', '(9000000000000000, 9000000000000000)')), /byte/],
    ['a shape past 2^53', npy(good.replace('(2,)', '(99999999999999999999, 0)')), /below 2\^53/],
    ['a wide integer', npy(good.replace('f4', 'i8').replace('2', '1'), Buffer.alloc(8, 0x7f)), /below 2\^53/],
  ])('%s', (_, bytes, message) => {
    expect(() => parseNpy(bytes, 'a.npy')).toThrow(message);
    expect(() => parseNpy(bytes, 'a.npy')).toThrow(expect.objectContaining({ code: 'ERR_FORMAT' }));
  });

  test('reads files', async () => {
    const file = path.join(folder, 'a.npy');
    writeFileSync(file, npy(good, Buffer.from(new Float32Array([1, 2]).buffer)));
    expect([...(await readNpy(file)).data]).toEqual([1, 2]);
    writeFileSync(file, npy(good));
    await expect(readNpy(file)).rejects.toThrow(`${file}: byte 67`);
  });

  test('fuzz: every input gives an array or ERR_FORMAT', () => {
    const valid = npy(good, Buffer.alloc(8));
    const mutated = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4, minLength: 1 })
      .map((edits) => {
        const copy = Buffer.from(valid);
        for (const [at, value] of edits) copy[at] = value;
        return copy;
      });
    const random = fc
      .uint8Array({ maxLength: 40 })
      .map((tail) => Buffer.concat([valid.subarray(0, 8), tail]));
    fc.assert(
      fc.property(fc.oneof(mutated, random, fc.uint8Array({ maxLength: 40 })), (bytes) => {
        try {
          const { shape, data } = parseNpy(bytes);
          expect(data.length).toBe(shape.reduce((product, size) => product * size, 1));
        } catch (error) {
          onlyFormatErrors(error);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('safetensors', () => {
  const encode = (header: unknown, data = 0): Buffer => {
    const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    return Buffer.concat([length, json, Buffer.alloc(data)]);
  };
  const f32 = (begin: number, end: number, ...shape: number[]) => ({
    dtype: 'F32',
    shape,
    data_offsets: [begin, end],
  });
  let counter = 0;
  const stored = (bytes: Buffer): string => {
    const file = path.join(folder, `${++counter}.safetensors`);
    writeFileSync(file, bytes);
    return file;
  };

  const tensors: { [name: string]: HostTensor } = {
    weight: { shape: [2, 2], dtype: 'float32', data: new Float32Array([1, -2, 3, 0.5]), raw: false },
    half: { shape: [3], dtype: 'bfloat16', data: new Uint16Array([0x3f80, 0xbf80, 0x7f80]), raw: true },
    wide: { shape: [2], dtype: 'int64', data: new Float64Array([-5, 2 ** 40]), raw: false },
    flags: { shape: [1, 3], dtype: 'bool', data: new Uint8Array([1, 0, 1]), raw: false },
    none: { shape: [0, 7], dtype: 'int8', data: new Int8Array(0), raw: false },
    ['__proto__']: { shape: [], dtype: 'uint8', data: new Uint8Array([9]), raw: false },
  };

  test('what is written is read back', async () => {
    const file = path.join(folder, 'written.safetensors');
    await writeSafetensors(file, tensors, { format: 'pt' });
    const opened = await openSafetensors(file);
    expect(opened.names.sort()).toEqual(Object.keys(tensors).sort());
    expect(opened.metadata.get('format')).toBe('pt');
    expect(opened.entry('half')).toEqual({ name: 'half', dtype: 'bfloat16', shape: [3], byteLength: 6 });
    for (const name of opened.names) expect(await opened.read(name)).toEqual(tensors[name]);
    await expect(opened.read('absent')).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(opened.has('constructor')).toBe(false);
    await opened.close();
    expect(readFileSync(file).readBigUInt64LE() % 8n).toBe(0n);
  });

  test('writing checks its tensors', async () => {
    const file = path.join(folder, 'not-written.safetensors');
    const bad: [string, unknown][] = [
      ['ERR_SHAPE', { ...tensors.weight, shape: [5] }],
      ['ERR_DTYPE', { ...tensors.weight, dtype: 'float16' }],
      ['ERR_DTYPE', { ...tensors.weight, dtype: 'toString' }],
    ];
    for (const [code, tensor] of bad) {
      await expect(writeSafetensors(file, { a: tensor as HostTensor })).rejects.toMatchObject({ code });
    }
    await expect(openSafetensors(file)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
  });

  test.each([
    ['empty', Buffer.alloc(0), /length of the header/],
    [
      'a header past the end',
      Buffer.concat([Buffer.from([9, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{}')]),
      /at most 2/,
    ],
    ['a huge header', Buffer.alloc(16, 0xff), /at most 8 bytes, received 18446744073709552000/],
    ['no brace', encode(' {}'), /byte 8: expected '{'/],
    ['no JSON', encode('{"a":'), /JSON/],
    ['a nested bomb', encode(`{"a":${'['.repeat(100000)}`), /JSON/],
    ['an array', encode('[]'), /expected '{'/],
    ['no UTF-8', encode({}).fill(0xff, 9), /JSON in UTF-8/],
    ['metadata of numbers', encode({ __metadata__: { a: 1 } }), /__metadata__ 'a': expected text/],
    ['an entry of null', encode({ a: null }), /'a': expected an object/],
    ['an unknown dtype', encode({ a: { ...f32(0, 4, 1), dtype: 'F3' } }, 4), /'a' dtype/],
    ['a dtype of Object', encode({ a: { ...f32(0, 4, 1), dtype: 'constructor' } }, 4), /'a' dtype/],
    ['a negative size', encode({ a: f32(0, 4, -1) }, 4), /'a' shape/],
    ['a huge size', encode({ a: f32(0, 4, 2 ** 52, 2 ** 52) }, 4), /'a' data_offsets/],
    ['a wrong length', encode({ a: f32(0, 8, 1) }, 8), /expected 4 bytes for F32 \[1\], received 8/],
    ['offsets reversed', encode({ a: f32(4, 0, 1) }, 4), /\[begin, end\]/],
    [
      'an overlap',
      encode({ a: f32(0, 8, 2), b: f32(4, 12, 2) }, 12),
      /'b': expected data_offsets from 8, received 4/,
    ],
    [
      'a gap',
      encode({ a: f32(0, 4, 1), b: f32(8, 12, 1) }, 12),
      /'b': expected data_offsets from 4, received 8/,
    ],
    ['past the end', encode({ a: f32(0, 8, 2) }, 4), /8 bytes of tensors, received 4/],
    ['bytes left over', encode({ a: f32(0, 4, 1) }, 8), /4 bytes of tensors, received 8/],
  ])('%s', async (_, bytes, message) => {
    const file = stored(bytes);
    const problem = await openSafetensors(file).catch((error) => error);
    expect(problem).toBeInstanceOf(WarptileError);
    expect(problem).toMatchObject({ code: 'ERR_FORMAT', message: expect.stringContaining(file) });
    expect(problem.message).toMatch(message);
  });

  describe('sharded', () => {
    const index = async (weightMap: unknown): Promise<string> => {
      const model = mkdtempSync(path.join(folder, 'model-'));
      mkdirSync(path.join(model, 'sub'));
      await writeSafetensors(path.join(model, 'one.safetensors'), { a: tensors.weight, b: tensors.wide });
      await writeSafetensors(path.join(model, 'sub', 'two.safetensors'), {
        c: tensors.half,
        a: tensors.flags,
      });
      const file = path.join(model, 'model.safetensors.index.json');
      writeFileSync(file, JSON.stringify({ metadata: {}, weight_map: weightMap }));
      return file;
    };

    test('tensors come from the shard that the index names', async () => {
      const opened = await openSafetensors(
        await index({ a: 'sub/two.safetensors', b: 'one.safetensors', c: 'sub/two.safetensors' }),
      );
      expect(opened.names.sort()).toEqual(['a', 'b', 'c']);
      expect(await opened.read('a')).toEqual(tensors.flags);
      expect(await opened.read('b')).toEqual(tensors.wide);
      await opened.close();
    });

    test.each([
      ['a parent', { a: '../one.safetensors' }],
      ['a hidden parent', { a: 'sub/../../one.safetensors' }],
      ['an absolute path', { a: '/etc/passwd' }],
      ['a backslash', { a: '..\\one.safetensors' }],
      ['an empty name', { a: '' }],
      ['a number', { a: 3 }],
      ['an absent tensor', { zzz: 'one.safetensors' }],
      ['no map', undefined],
    ])('%s is refused', async (_, map) => {
      await expect(openSafetensors(await index(map))).rejects.toMatchObject({ code: 'ERR_FORMAT' });
    });

    test('an absent shard is named', async () => {
      const problem = openSafetensors(await index({ a: 'three.safetensors' }));
      await expect(problem).rejects.toMatchObject({
        code: 'ERR_ARGUMENT',
        message: expect.stringContaining('three'),
      });
    });
  });

  test('fuzz: every input opens or gives ERR_FORMAT', async () => {
    const valid = encode({ a: f32(0, 8, 2), b: f32(8, 12, 1, 1) }, 12);
    const mutated = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 3, minLength: 1 })
      .map((edits) => {
        const copy = Buffer.from(valid);
        for (const [at, value] of edits) copy[at] = value;
        return copy;
      });
    const json = fc.json({ maxDepth: 4 }).map((text) => encode(text, 4));
    const file = path.join(folder, 'fuzz.safetensors');
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutated, json, fc.uint8Array({ maxLength: 40 })), async (bytes) => {
        writeFileSync(file, bytes);
        try {
          const opened = await openSafetensors(file);
          for (const name of opened.names) await opened.read(name);
          await opened.close();
        } catch (error) {
          onlyFormatErrors(error);
        }
      }),
      { numRuns: 250 },
    );
  });
});
