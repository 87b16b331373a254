/** @internal Microseconds of a launch bound by the longest of its parts, and by a share of the others, since they overlap only in part. */
export function overlapped(
  start: number,
  overlap: number,
  a: number,
  b: number,
  c = 0,
  d = 0,
  e = 0,
): number {
  const longest = Math.max(a, b, c, d, e);
  return start + longest + overlap * (a + b + c + d + e - longest);
}

/** @internal Waves of so many blocks a multiprocessor: whole ones while they are few. */
export const wavesOf = (load: number): number => (load < 4 ? Math.ceil(load) : load + 0.5);

/** @internal How far `value` has come from one bound to the other, from 0 to 1. */
export const shareBetween = (value: number, from: number, to: number): number =>
  Math.max(0, Math.min(1, (value - from) / (to - from)));

/** @internal Likewise, by magnitudes. */
export const shareOfMagnitudes = (value: number, from: number, to: number): number =>
  shareBetween(Math.log(value / from), 0, Math.log(to / from));

/** @internal Of a power of two: a logarithm would leave compiled code. */
export function exponentOf(power: number): number {
  return 31 - Math.clz32(power);
}

/** @internal What belongs to powers of two, by their exponents: with keys past a few tens an object is a hash table. */
export function byExponent<T>(table: Readonly<Record<number, T>>): readonly T[] {
  const found: T[] = [];
  for (const [power, entry] of Object.entries(table)) found[exponentOf(Number(power))] = entry;
  return found;
}

/** @internal How much longer tiles take where rows are copied element by element; a single column fares worst. */
export const unaligned = (width: number, several: number): number => (width === 1 ? 2 : several);
