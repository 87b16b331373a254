/** @internal Microseconds of a launch bound by the longest of `parts`, and by a share of the others, since they overlap only in part. */
export function overlapped(start: number, overlap: number, ...parts: readonly number[]): number {
  const longest = Math.max(...parts);
  return start + longest + overlap * (parts.reduce((sum, part) => sum + part, 0) - longest);
}
