// Measured choices in a file that processes share: one entry for each machine, operation and class of problems.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WarptileError } from '../errors.js';

/** A choice that was measured to be faster than the planner's. */
export interface AutotuneEntry {
  /** The name of a candidate: it counts only where the planner of the operation knows one of this name. */
  readonly choice: string;
  /** Microseconds of the choice, and of the planner's. */
  readonly us: number;
  readonly plannedUs: number;
  /** When it was measured, as ISO 8601. */
  readonly date: string;
}

/** What measurements are good for: they say nothing of another card, driver or version of the package. */
export interface Machine {
  readonly gpu: string;
  readonly driver: string;
  readonly version: string;
}

const format = 1;
// Long past any write: its owner is gone.
const staleLockMs = 10_000;
const lockPatienceMs = 2_000;

/** WARPTILE_AUTOTUNE_CACHE, else warptile/autotune.json in XDG_CACHE_HOME, else in ~/.cache. */
export function defaultAutotuneFile(environment: NodeJS.ProcessEnv = process.env): string {
  const { WARPTILE_AUTOTUNE_CACHE: file, XDG_CACHE_HOME: folder } = environment;
  if (file) return path.resolve(file);
  // A relative XDG_CACHE_HOME is to be ignored (XDG Base Directory Specification).
  const base = folder && path.isAbsolute(folder) ? folder : path.join(homedir(), '.cache');
  return path.join(base, 'warptile', 'autotune.json');
}

/**
 * The measured choices that a device heeds. Reading never fails: what is wrong with the file is in `problem`, and its good entries, if
 * any, count. Entries of other machines are kept, and exported with the others.
 */
export class AutotuneCache {
  readonly file: string;
  /** @internal Climbs with every change: plans that were made before may be out of date. */
  revision = 0;
  readonly #machine: Machine;
  #entries: Map<string, AutotuneEntry>;
  #problem: string | undefined;
  /** What the file lacks, also because an attempt to write it failed. */
  #unsaved = new Map<string, AutotuneEntry>();
  #saving: Promise<void> = Promise.resolve();

  /** @internal */
  constructor(file: string, machine: Machine) {
    this.file = file;
    this.#machine = machine;
    const { entries, problem } = readEntries(file);
    this.#entries = entries;
    this.#problem = problem;
  }

  /** Why the file, or a part of it, was left out or could not be written; undefined where all is well. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Entries, those of other machines included. */
  get size(): number {
    return this.#entries.size;
  }

  /** @internal */
  get(operation: string, problemClass: string): AutotuneEntry | undefined {
    return this.#entries.get(this.#key(operation, problemClass));
  }

  /** @internal Remembers at once; resolves when the file has it, or `problem` says why not. */
  async remember(operation: string, problemClass: string, entry: AutotuneEntry): Promise<void> {
    await this.#add(new Map([[this.#key(operation, problemClass), entry]]));
  }

  /** All entries as JSON text, for `importEntries` on this machine or another of its kind. */
  exportEntries(): string {
    return toText(this.#entries);
  }

  /**
   * Adds the entries of an export, the newer ones where both have one, and writes the file.
   * @returns How many entries the text has.
   * @throws WarptileError ERR_FORMAT for anything but a whole export; then nothing is added.
   */
  async importEntries(text: string): Promise<number> {
    const { entries, problem } = parseEntries(text);
    if (problem !== undefined) throw new WarptileError('ERR_FORMAT', `text: ${problem}`);
    await this.#add(entries);
    return entries.size;
  }

  #key(operation: string, problemClass: string): string {
    const { gpu, driver, version } = this.#machine;
    return [gpu, `driver ${driver}`, `warptile ${version}`, operation, problemClass].join(' | ');
  }

  #add(entries: ReadonlyMap<string, AutotuneEntry>): Promise<void> {
    merge(this.#entries, entries);
    merge(this.#unsaved, entries);
    ++this.revision;
    // One write of this process at a time.
    this.#saving = this.#saving.then(() => this.#save());
    return this.#saving;
  }

  async #save(): Promise<void> {
    const added = this.#unsaved;
    this.#unsaved = new Map();
    try {
      await mkdir(path.dirname(this.file), { recursive: true });
      await withLock(`${this.file}.lock`, async () => {
        // What others have written since; a damaged file is replaced.
        const { entries } = readEntries(this.file);
        merge(entries, added);
        await replaceFile(this.file, toText(entries));
        merge(this.#entries, entries);
        ++this.revision;
      });
      this.#problem = undefined;
    } catch (error) {
      merge(added, this.#unsaved);
      this.#unsaved = added;
      this.#problem = `${this.file}: not written: ${error instanceof Error ? error.message : error}`;
    }
  }
}

/** The newer of two entries stays. */
function merge(target: Map<string, AutotuneEntry>, source: ReadonlyMap<string, AutotuneEntry>): void {
  for (const [key, entry] of source) {
    const old = target.get(key);
    if (old === undefined || Date.parse(old.date) <= Date.parse(entry.date)) target.set(key, entry);
  }
}

interface ReadEntries {
  readonly entries: Map<string, AutotuneEntry>;
  readonly problem?: string;
}

function readEntries(file: string): ReadEntries {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT'
      ? { entries: new Map() }
      : { entries: new Map(), problem: `${file}: ${message}` };
  }
  const { entries, problem } = parseEntries(text);
  return problem === undefined ? { entries } : { entries, problem: `${file}: ${problem}` };
}

function parseEntries(text: string): ReadEntries {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    return { entries: new Map(), problem: `not JSON: ${error instanceof Error ? error.message : error}` };
  }
  const { format: found, entries: listed } = (content ?? {}) as { format?: unknown; entries?: unknown };
  if (found !== format || typeof listed !== 'object' || listed === null || Array.isArray(listed)) {
    return { entries: new Map(), problem: `expected entries of format ${format}` };
  }
  const all = Object.entries(listed);
  const good = all.filter((item): item is [string, AutotuneEntry] => isEntry(item[1]));
  const entries = new Map(good);
  if (good.length === all.length) return { entries };
  return { entries, problem: `${all.length - good.length} of ${all.length} entries are malformed` };
}

function isEntry(value: unknown): value is AutotuneEntry {
  if (typeof value !== 'object' || value === null) return false;
  const { choice, us, plannedUs, date } = value as Partial<Record<keyof AutotuneEntry, unknown>>;
  const times = [us, plannedUs].every((time) => typeof time === 'number' && time >= 0);
  return typeof choice === 'string' && times && typeof date === 'string' && !Number.isNaN(Date.parse(date));
}

function toText(entries: ReadonlyMap<string, AutotuneEntry>): string {
  const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
  return `${JSON.stringify({ format, entries: Object.fromEntries(sorted) }, null, 2)}\n`;
}

/** Readers see the old file or the new one, whole. */
async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await writeFile(temporary, text, { flag: 'wx' });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Runs `body` while this process alone has created `lock`, so that no writer loses what another has added meanwhile. */
async function withLock(lock: string, body: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + lockPatienceMs;
  for (;;) {
    try {
      await writeFile(lock, `${process.pid}\n`, { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const age = await stat(lock).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    // Two that find it stale may both go on: at worst one entry is lost, the file stays whole.
    if (age > staleLockMs) await rm(lock, { force: true });
    else if (performance.now() > deadline) throw new Error(`${lock} is held by another process`);
    else await sleep(5 + 10 * Math.random());
  }
  try {
    await body();
  } finally {
    await rm(lock, { force: true });
  }
}
