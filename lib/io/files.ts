import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { describe, fail, WarptileError } from '../errors.js';

/** Bytes one read call of Node takes at most. */
const maxReadBytes = 2 ** 30;

/** Throws ERR_FORMAT naming the file, the place in it, what was expected there and what stands there. */
export function formatFail(file: string, where: string, expected: string, received: unknown): never {
  const got = typeof received === 'number' ? String(received) : describe(received);
  throw new WarptileError('ERR_FORMAT', `${file}: ${where}: expected ${expected}, received ${got}`);
}

/**
 * Opens a regular file for reading: a pipe or a terminal, which could wait for ever, is refused.
 * @throws WarptileError ERR_ARGUMENT where the file cannot be opened.
 */
export async function openForReading(file: string): Promise<{ handle: FileHandle; bytes: number }> {
  if (typeof file !== 'string') fail('ERR_ARGUMENT', 'file', 'a path', file);
  let handle: FileHandle | undefined;
  try {
    // Without O_NONBLOCK opening a pipe would wait for its writer.
    handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stats = await handle.stat();
    if (!stats.isFile()) {
      throw new WarptileError('ERR_ARGUMENT', `file: expected a regular file, received ${describe(file)}`);
    }
    return { handle, bytes: stats.size };
  } catch (error) {
    await handle?.close();
    if (error instanceof WarptileError) throw error;
    throw cannotRead(file, error);
  }
}

/** All bytes of a regular file. */
export async function readWhole(file: string): Promise<Uint8Array> {
  const { handle, bytes } = await openForReading(file);
  try {
    return await readRange(handle, file, 0, bytes);
  } finally {
    await handle.close();
  }
}

/** `bytes` bytes from `start`, which the caller has checked against the file's size. */
export async function readRange(
  handle: FileHandle,
  file: string,
  start: number,
  bytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  let target: Uint8Array<ArrayBuffer>;
  try {
    target = new Uint8Array(bytes);
  } catch (cause) {
    throw new WarptileError('ERR_LIMIT', `${file}: ${bytes} bytes do not fit one array`, { cause });
  }
  for (let done = 0; done < bytes; ) {
    const wanted = Math.min(bytes - done, maxReadBytes);
    const { bytesRead } = await handle.read(target, done, wanted, start + done).catch((error: unknown) => {
      throw cannotRead(file, error);
    });
    if (bytesRead === 0)
      formatFail(file, `byte ${start + done}`, `${bytes - done} more bytes`, 'end of file');
    done += bytesRead;
  }
  return target;
}

function cannotRead(file: string, cause: unknown): WarptileError {
  const reason =
    cause instanceof Error || typeof cause === 'object' ? (cause as Error).message : String(cause);
  return new WarptileError('ERR_ARGUMENT', `file: cannot read ${describe(file)}: ${reason}`, { cause });
}
