// safetensors: an 8-byte header length, a JSON header, the tensors' bytes. https://huggingface.co/docs/safetensors

import { type FileHandle, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, fail, WarptileError } from '../errors.js';
import { checkedProduct } from '../validate.js';
import { formatFail, openForReading, readRange } from './files.js';
import {
  fromStoredBytes,
  type HostDType,
  type HostTensor,
  hostDTypeBytes,
  toStoredBytes,
} from './host-tensor.js';

const maxHeaderBytes = 100_000_000;
const maxDimensions = 64;

const fileTypes: { readonly [name: string]: HostDType } = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U64: 'uint64',
  U32: 'uint32',
  U16: 'uint16',
  U8: 'uint8',
  BOOL: 'bool',
};

/** A tensor's entry in a header. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: HostDType;
  readonly shape: readonly number[];
  /** Bytes of the elements. */
  readonly byteLength: number;
}

interface Located extends SafetensorsEntry {
  /** From the start of the file. */
  readonly offset: number;
}

/** One .safetensors file or a sharded set of them, opened by `openSafetensors`: tensors are read by name. */
export class SafetensorsFile {
  /** Free text of the header's '__metadata__'; of a sharded set that of the first shard. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly #tensors: ReadonlyMap<string, { readonly shard: Shard; readonly entry: Located }>;
  readonly #shards: readonly Shard[];

  /** @internal */
  constructor(shards: readonly Shard[], owner?: ReadonlyMap<string, Shard>) {
    const tensors = new Map<string, { shard: Shard; entry: Located }>();
    for (const shard of shards) {
      for (const [name, entry] of shard.entries) {
        if (owner === undefined || owner.get(name) === shard) tensors.set(name, { shard, entry });
      }
    }
    this.#tensors = tensors;
    this.#shards = shards;
    this.metadata = shards[0]?.metadata ?? new Map();
  }

  get names(): string[] {
    return [...this.#tensors.keys()];
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** dtype and shape without reading the elements. @throws WarptileError ERR_ARGUMENT for an unknown name. */
  entry(name: string): SafetensorsEntry {
    const { dtype, shape, byteLength } = this.#find(name).entry;
    return { name, dtype, shape, byteLength };
  }

  /** Reads one tensor. @throws WarptileError ERR_ARGUMENT for an unknown name. */
  async read(name: string): Promise<HostTensor> {
    const { shard, entry } = this.#find(name);
    const bytes = await readRange(shard.handle, shard.file, entry.offset, entry.byteLength);
    return fromStoredBytes(bytes, entry.shape, entry.dtype, `${shard.file}: '${name}'`);
  }

  async close(): Promise<void> {
    await closeAll(this.#shards);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #find(name: string): { readonly shard: Shard; readonly entry: Located } {
    const found = this.#tensors.get(name);
    if (found === undefined)
      return fail('ERR_ARGUMENT', 'name', `one of ${this.#tensors.size} tensors`, name);
    return found;
  }
}

interface Shard {
  readonly file: string;
  readonly handle: FileHandle;
  readonly entries: ReadonlyMap<string, Located>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Opens a .safetensors file, or a sharded model by its index ('model.safetensors.index.json'). Headers are read and checked
 * in whole; elements are read by `read`. Close it when done. Shards are looked up in the index's folder
 * and below, never elsewhere.
 * @throws WarptileError ERR_ARGUMENT where a file cannot be read, ERR_FORMAT where one is malformed.
 */
export async function openSafetensors(file: string): Promise<SafetensorsFile> {
  if (typeof file !== 'string') fail('ERR_ARGUMENT', 'file', 'a path', file);
  if (!file.endsWith('.json')) return new SafetensorsFile([await openShard(file)]);
  const index = parseIndex(await readIndex(file), file);
  const shards = new Map<string, Shard>();
  try {
    const owner = new Map<string, Shard>();
    for (const [name, shardName] of index) {
      const shard = shards.get(shardName) ?? (await openShard(path.join(path.dirname(file), shardName)));
      shards.set(shardName, shard);
      if (!shard.entries.has(name))
        formatFail(file, `weight_map '${name}'`, `a tensor of ${shardName}`, 'no such tensor');
      owner.set(name, shard);
    }
    return new SafetensorsFile([...shards.values()], owner);
  } catch (error) {
    await closeAll([...shards.values()]);
    throw error;
  }
}

async function closeAll(shards: readonly Shard[]): Promise<void> {
  await Promise.all(shards.map((shard) => shard.handle.close()));
}

async function readIndex(file: string): Promise<Uint8Array> {
  const { handle, bytes } = await openForReading(file);
  try {
    if (bytes > maxHeaderBytes) formatFail(file, 'size', `at most ${maxHeaderBytes} bytes`, bytes);
    return await readRange(handle, file, 0, bytes);
  } finally {
    await handle.close();
  }
}

/** Tensor name to shard name, each checked to stay below the index's folder. */
function parseIndex(bytes: Uint8Array, file: string): ReadonlyMap<string, string> {
  const index = parseObject(bytes, file, 'byte 0');
  const map = asObject(Object.hasOwn(index, 'weight_map') ? index.weight_map : undefined, file, 'weight_map');
  const shards = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !isInside(shard)) {
      formatFail(file, `weight_map '${name}'`, 'a file name below the index, without ..', shard);
    }
    shards.set(name, shard);
  }
  return shards;
}

function isInside(name: string): boolean {
  const parts = name.split('/');
  return /^[^\0\\:]+$/.test(name) && parts.every((part) => part !== '' && part !== '.' && part !== '..');
}

async function openShard(file: string): Promise<Shard> {
  const { handle, bytes } = await openForReading(file);
  try {
    if (bytes < 8) formatFail(file, 'byte 0', 'the length of the header', `a file of ${bytes} bytes`);
    const prefix = Buffer.from((await readRange(handle, file, 0, 8)).buffer);
    const headerBytes = Number(prefix.readBigUInt64LE());
    const most = Math.min(maxHeaderBytes, bytes - 8);
    if (headerBytes > most) formatFail(file, 'byte 0', `a header of at most ${most} bytes`, headerBytes);
    const header = await readRange(handle, file, 8, headerBytes);
    return { file, handle, ...parseSafetensorsHeader(header, bytes - 8 - headerBytes, file) };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** @internal Checks a header against the number of bytes that follow it. */
export function parseSafetensorsHeader(
  header: Uint8Array,
  dataBytes: number,
  file: string,
): { entries: ReadonlyMap<string, Located>; metadata: ReadonlyMap<string, string> } {
  const parsed = parseObject(header, file, 'byte 8');
  const entries: Located[] = [];
  const metadata = new Map<string, string>();
  for (const [name, value] of Object.entries(parsed)) {
    if (name !== '__metadata__') {
      entries.push(parseEntry(name, asObject(value, file, `'${name}'`), header.length + 8, file));
      continue;
    }
    for (const [key, text] of Object.entries(asObject(value, file, name))) {
      if (typeof text !== 'string') formatFail(file, `__metadata__ '${key}'`, 'text', text);
      metadata.set(key, text);
    }
  }
  // Sorted by place, each must begin where the one before ended: no overlap, no gap, none past the end.
  entries.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let end = header.length + 8;
  for (const { name, offset, byteLength } of entries) {
    if (offset !== end)
      formatFail(
        file,
        `'${name}'`,
        `data_offsets from ${end - header.length - 8}`,
        offset - header.length - 8,
      );
    end += byteLength;
  }
  const used = end - header.length - 8;
  if (used !== dataBytes)
    formatFail(file, `byte ${header.length + 8}`, `${used} bytes of tensors`, dataBytes);
  return { entries: new Map(entries.map((entry) => [entry.name, entry])), metadata };
}

function parseEntry(name: string, entry: { [key: string]: unknown }, base: number, file: string): Located {
  const get = (key: string): unknown => (Object.hasOwn(entry, key) ? entry[key] : undefined);
  const [type, shape, offsets] = [get('dtype'), get('shape'), get('data_offsets')];
  if (typeof type !== 'string' || !Object.hasOwn(fileTypes, type)) {
    formatFail(file, `'${name}' dtype`, `one of ${Object.keys(fileTypes).join(', ')}`, type);
  }
  if (!isSizes(shape) || shape.length > maxDimensions) {
    formatFail(file, `'${name}' shape`, `at most ${maxDimensions} non-negative integers`, shape);
  }
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[1] < offsets[0]) {
    formatFail(file, `'${name}' data_offsets`, '[begin, end]', offsets);
  }
  const dtype = fileTypes[type];
  const byteLength = shape.reduce((product, size) => product * size, hostDTypeBytes(dtype));
  if (byteLength !== offsets[1] - offsets[0]) {
    formatFail(
      file,
      `'${name}' data_offsets`,
      `${byteLength} bytes for ${type} [${shape}]`,
      offsets[1] - offsets[0],
    );
  }
  return { name, dtype, shape, byteLength, offset: base + offsets[0] };
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function parseObject(bytes: Uint8Array, file: string, where: string): { [key: string]: unknown } {
  if (bytes[0] !== 0x7b)
    formatFail(file, where, "'{'", bytes.length === 0 ? 'nothing' : bytes.subarray(0, 1));
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new WarptileError(
      'ERR_FORMAT',
      `${file}: ${where}: expected JSON in UTF-8, received ${describe(reason)}`,
      { cause },
    );
  }
  return asObject(value, file, where);
}

function asObject(value: unknown, file: string, where: string): { [key: string]: unknown } {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    formatFail(file, where, 'an object', value);
  return value as { [key: string]: unknown };
}

/**
 * Writes a .safetensors file, replacing one of that name only once it is complete.
 * @throws WarptileError ERR_ARGUMENT, ERR_SHAPE or ERR_DTYPE for a tensor whose data does not fit its shape and dtype.
 */
export async function writeSafetensors(
  file: string,
  tensors: { readonly [name: string]: HostTensor },
  metadata: { readonly [key: string]: string } = {},
): Promise<void> {
  if (typeof file !== 'string') fail('ERR_ARGUMENT', 'file', 'a path', file);
  const header: { [name: string]: unknown } = Object.create(null);
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, tensor] of Object.entries(tensors)) {
    if (name === '__metadata__') fail('ERR_ARGUMENT', 'tensors', 'another name than __metadata__', name);
    const bytes = toStoredBytes(tensor, `tensors['${name}']`);
    const size = checkedProduct(tensor.shape, `tensors['${name}'].shape`);
    if (size !== tensor.data.length) {
      fail(
        'ERR_SHAPE',
        `tensors['${name}'].data`,
        `${size} elements for [${tensor.shape}]`,
        `${tensor.data.length}`,
      );
    }
    const type = Object.keys(fileTypes).find((key) => fileTypes[key] === tensor.dtype);
    header[name] = { dtype: type, shape: tensor.shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
    parts.push(bytes);
  }
  const json = Buffer.from(JSON.stringify(header));
  // Spaces up to a multiple of 8, so that the data is aligned in a mapped file.
  const head = Buffer.alloc(8 + 8 * Math.ceil(json.length / 8), ' ');
  head.writeBigUInt64LE(BigInt(head.length - 8));
  json.copy(head, 8);
  const partial = `${file}.${process.pid}.partial`;
  await writeFile(partial, [head, ...parts]);
  await rename(partial, file);
}
