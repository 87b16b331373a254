import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { DeviceInfo } from '../backends/backend.js';
import { packageRoot } from '../backends/load-addon.cjs';
import { fail } from '../errors.js';
import { checkOptions, own } from '../validate.js';
import { AutotuneCache, defaultAutotuneFile } from './autotune-cache.js';

/** The option of openDevice, checked: the file of measured choices, or undefined for none. */
export function autotuneFileOf(option: unknown): string | undefined {
  if (option === undefined || option === false) return undefined;
  if (option === true) return defaultAutotuneFile();
  if (typeof option !== 'object') fail('ERR_ARGUMENT', 'autotune', 'true, false or { file }', option);
  const checked = checkOptions(option as { file?: unknown }, ['file'], 'autotune');
  const file = own(checked, 'file') ?? defaultAutotuneFile();
  if (typeof file !== 'string' || file === '') fail('ERR_ARGUMENT', 'autotune.file', 'a path', file);
  return path.resolve(file);
}

/** The choices that were measured on a card like this one, with its driver and this version of the package. */
export function openAutotuneCache(file: string, info: DeviceInfo): AutotuneCache {
  const manifest = readFileSync(path.join(packageRoot(), 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  return new AutotuneCache(file, { gpu: info.name, driver: info.driverVersion ?? 'none', version });
}
