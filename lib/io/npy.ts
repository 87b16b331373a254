// NumPy's .npy format, versions 1 to 3: numpy/lib/format.py.

import { describe, WarptileError } from '../errors.js';
import { formatFail, readWhole } from './files.js';
import { fromStoredBytes, type HostDType, type HostTensor, hostDTypeBytes } from './host-tensor.js';

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
const maxDimensions = 64;

const descriptors: { readonly [code: string]: HostDType } = {
  f8: 'float64',
  f4: 'float32',
  f2: 'float16',
  i8: 'int64',
  i4: 'int32',
  i2: 'int16',
  i1: 'int8',
  u8: 'uint64',
  u4: 'uint32',
  u2: 'uint16',
  u1: 'uint8',
  b1: 'bool',
};

interface Header {
  readonly dtype: HostDType;
  readonly bigEndian: boolean;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

/**
 * Reads a .npy file of floats, integers or booleans. Arrays in Fortran order and in big-endian byte order are
 * rearranged.
 * @throws WarptileError ERR_ARGUMENT where the file cannot be read, ERR_FORMAT (with the byte's place) where it is
 * malformed or holds objects, text, records or complex numbers.
 */
export async function readNpy(file: string): Promise<HostTensor> {
  return parseNpy(await readWhole(file), file);
}

/** As `readNpy`, from bytes in memory; `name` stands for the file in messages. */
export function parseNpy(bytes: Uint8Array, name = 'array'): HostTensor {
  if (bytes.length < 10 || magic.some((byte, index) => bytes[index] !== byte)) {
    formatFail(name, 'byte 0', "'\\x93NUMPY' and a version", bytes.subarray(0, 8));
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6];
  if (version < 1 || version > 3) formatFail(name, 'byte 6', 'version 1, 2 or 3', version);
  const headerStart = version === 1 ? 10 : 12;
  if (bytes.length < headerStart) formatFail(name, 'byte 8', 'the length of the header', 'end of file');
  const headerBytes = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const start = headerStart + headerBytes;
  if (start > bytes.length) {
    formatFail(name, 'byte 8', `a header of at most ${bytes.length - headerStart} bytes`, headerBytes);
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + headerStart, headerBytes).toString(
    version === 3 ? 'utf8' : 'latin1',
  );
  const header = parseHeader(text, name, headerStart);
  const itemBytes = hostDTypeBytes(header.dtype);
  const expected = header.shape.reduce((product, size) => product * size, itemBytes);
  if (expected !== bytes.length - start) {
    const what = `${expected} bytes for ${header.dtype} [${header.shape}]`;
    formatFail(name, `byte ${start}`, what, bytes.length - start);
  }
  const stored = new Uint8Array(bytes.length - start);
  stored.set(bytes.subarray(start));
  if (header.bigEndian) swapBytes(stored, itemBytes);
  const elements = header.fortranOrder ? toRowMajor(stored, header.shape, itemBytes) : stored;
  return fromStoredBytes(elements, header.shape, header.dtype, name);
}

/** A Python dictionary literal with the three keys 'descr', 'fortran_order' and 'shape', in any order. */
function parseHeader(text: string, name: string, start: number): Header {
  const found = new Map<string, string>();
  const open = /^\s*\{\s*/.exec(text);
  let at = open === null ? 0 : open[0].length;
  const item = /'(descr|fortran_order|shape)'\s*:\s*('[^']*'|True|False|\([\dL,\s]*\))\s*(,?)\s*/y;
  for (let more = open !== null; more; ) {
    item.lastIndex = at;
    const match = item.exec(text);
    if (match === null || found.has(match[1])) break;
    found.set(match[1], match[2]);
    at = item.lastIndex;
    more = match[3] === ',';
  }
  const order = found.get('fortran_order');
  const descriptor = /^'([<>|=]?)([a-zA-Z]\d+)'$/.exec(found.get('descr') ?? '');
  const sizes = /^\(\s*((?:\d+L?\s*,\s*)*(?:\d+L?)?)\s*\)$/.exec(found.get('shape') ?? '');
  const closed = /^\}\s*$/.test(text.slice(at));
  if (!closed || descriptor === null || sizes === null || (order !== 'True' && order !== 'False')) {
    const received = text.length > 200 ? text.slice(0, 200) : text;
    formatFail(
      name,
      `byte ${start + at}`,
      "{'descr': ..., 'fortran_order': ..., 'shape': (...), }",
      received,
    );
  }
  const [, byteOrder, code] = descriptor;
  if (!Object.hasOwn(descriptors, code)) {
    const expected = `one of ${Object.keys(descriptors).join(', ')}`;
    throw new WarptileError('ERR_FORMAT', `${name}: descr: expected ${expected}, received ${describe(code)}`);
  }
  const shape = sizes[1]
    .split(',')
    .filter((size) => size.trim() !== '')
    .map((size) => Number.parseInt(size, 10));
  if (shape.length > maxDimensions)
    formatFail(name, 'shape', `at most ${maxDimensions} dimensions`, shape.length);
  if (!shape.every(Number.isSafeInteger)) formatFail(name, 'shape', 'sizes below 2^53', sizes[1]);
  return { dtype: descriptors[code], bigEndian: byteOrder === '>', fortranOrder: order === 'True', shape };
}

function swapBytes(bytes: Uint8Array, itemBytes: number): void {
  for (let start = 0; start < bytes.length; start += itemBytes)
    bytes.subarray(start, start + itemBytes).reverse();
}

/** Elements in column-major order, put into row-major order. */
function toRowMajor(
  source: Uint8Array<ArrayBuffer>,
  shape: readonly number[],
  itemBytes: number,
): Uint8Array<ArrayBuffer> {
  const target = new Uint8Array(source.length);
  const count = source.length / itemBytes;
  const index = new Array<number>(shape.length).fill(0);
  // strides[axis]: elements between neighbours along the axis in column-major order.
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((product, size) => product * size, 1));
  let from = 0;
  for (let to = 0; to < count; ++to) {
    for (let byte = 0; byte < itemBytes; ++byte)
      target[to * itemBytes + byte] = source[from * itemBytes + byte];
    for (let axis = shape.length - 1; axis >= 0; --axis) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return target;
}
