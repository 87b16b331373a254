/** What went wrong, stable across releases: branch on this, not on the message. */
export type WarptileErrorCode =
  /** An argument has the wrong type, an unknown option key, or a value outside its range. */
  | 'ERR_ARGUMENT'
  /** Shapes do not fit together, or a shape is not a shape. */
  | 'ERR_SHAPE'
  /** A dtype is unknown, unsupported by the operation, or differs between operands. */
  | 'ERR_DTYPE'
  /** Operands live on different devices. */
  | 'ERR_DEVICE'
  /** A handle was used after dispose(). */
  | 'ERR_DISPOSED'
  /** Index data is unsorted, duplicated, out of range or not monotonic. */
  | 'ERR_INDEX'
  /** A file is malformed. */
  | 'ERR_FORMAT'
  /** The device, or the memory limit set for it, has no room for an allocation. */
  | 'ERR_OUT_OF_MEMORY'
  /** A size is past what an index type or the hardware can hold. */
  | 'ERR_LIMIT'
  /** A combination of arguments that is valid but not implemented by this build or device. */
  | 'ERR_UNSUPPORTED'
  /** CUDA reported an error; the device is still usable. */
  | 'ERR_CUDA'
  /** The device is gone: a fault inside a kernel, or a reset. Open it again in a new process. */
  | 'ERR_DEVICE_LOST'
  /** No addon or no GPU: the message lists every attempt. */
  | 'ERR_BACKEND_UNAVAILABLE';

/** Every error that warptile throws on purpose. */
export class WarptileError extends Error {
  override readonly name = 'WarptileError';
  readonly code: WarptileErrorCode;

  constructor(code: WarptileErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Throws an error that names the argument, what was expected and what came. */
export function fail(code: WarptileErrorCode, argument: string, expected: string, received: unknown): never {
  throw new WarptileError(code, `${argument}: expected ${expected}, received ${describe(received)}`);
}

/** A short rendering of any value for an error message; never throws. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return value.length > 200 ? `'${value.slice(0, 200)}...'` : `'${value}'`;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) {
    const head = value.slice(0, 8).map((item) => (typeof item === 'object' ? typeof item : String(item)));
    return `[${head.join(', ')}${value.length > 8 ? ', ...' : ''}]`;
  }
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} of ${value.byteLength} bytes`;
  return `an object of ${value.constructor?.name ?? 'null prototype'}`;
}
