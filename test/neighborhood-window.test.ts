import { neighborhoodWindow } from '../lib/backends/reference/neighborhood-window.js';

/** The keys that query i sees, asking each key in turn as the definition words it. */
function bruteForce(
  i: number,
  length: number,
  kernelSize: number,
  stride: number,
  dilation: number,
  causal: boolean,
): number[] {
  const tokens = Array.from({ length }, (_, token) => token);
  const residueClass = tokens.filter((token) => token % dilation === i % dilation);
  const groups: number[][] = [];
  residueClass.forEach((token, position) => {
    if (position % stride === 0) groups.push([]);
    groups[groups.length - 1].push(token);
  });
  const group = groups.find((candidate) => candidate.includes(i)) as number[];
  if (causal) {
    const last = group[group.length - 1];
    const upTo = (key: number): number =>
      residueClass.filter((token) => token >= key && token <= last).length;
    return tokens.filter((key) => residueClass.includes(key) && key <= i && upTo(key) <= kernelSize);
  }
  const leader = group[Math.min(Math.floor(stride / 2), group.length - 1)];
  // Of all runs of kernelSize keys of the class, the one with nearest to floor(kernelSize / 2) keys before the leader.
  const leftOf = (run: readonly number[]): number =>
    residueClass.indexOf(leader) - residueClass.indexOf(run[0]);
  const off = (run: readonly number[]): number => Math.abs(leftOf(run) - Math.floor(kernelSize / 2));
  const runs = residueClass
    .map((_, start) => residueClass.slice(start, start + kernelSize))
    .filter((run) => run.length === kernelSize);
  return runs.reduce((best, run) => (off(run) < off(best) ? run : best));
}

function keysOf(
  ...[i, length, kernelSize, stride, dilation, causal]: Parameters<typeof neighborhoodWindow>
): number[] {
  const { begin, step, count } = neighborhoodWindow(i, length, kernelSize, stride, dilation, causal);
  return Array.from({ length: count }, (_, n) => begin + n * step);
}

const problems: (readonly [number, number, number, number, boolean])[] = [];
for (let length = 1; length <= 12; ++length) {
  for (let dilation = 1; dilation <= length; ++dilation) {
    for (let kernelSize = 1; kernelSize * dilation <= length; ++kernelSize) {
      for (let stride = 1; stride <= kernelSize; ++stride) {
        problems.push(
          [length, kernelSize, stride, dilation, false],
          [length, kernelSize, stride, dilation, true],
        );
      }
    }
  }
}

describe('neighborhoodWindow', () => {
  test('equals brute force for every axis of up to 12 tokens', () => {
    const wrong: string[] = [];
    for (const [length, ...options] of problems) {
      for (let i = 0; i < length; ++i) {
        const got = keysOf(i, length, ...options);
        const want = bruteForce(i, length, ...options);
        if (got.join() !== want.join()) wrong.push(`${[i, length, ...options]}: ${got} for ${want}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(problems.length).toBeGreaterThan(500);
  });

  test('holds the query, keys of its residue only, and kernelSize of them where not causal', () => {
    for (const [length, kernelSize, stride, dilation, causal] of problems) {
      for (let i = 0; i < length; ++i) {
        const keys = keysOf(i, length, kernelSize, stride, dilation, causal);
        expect(keys).toContain(i);
        expect(keys.every((key) => key >= 0 && key < length && key % dilation === i % dilation)).toBe(true);
        if (causal) expect(keys[keys.length - 1]).toBe(i);
        else expect(keys.length).toBe(kernelSize);
      }
    }
  });

  // Kernels rely on it: the keys of a run of queries are the interval from the first's begin to the last's end.
  test('never moves back, and leaves no gap between neighbouring queries of a class', () => {
    for (const [length, ...options] of problems) {
      const dilation = options[2];
      for (let i = 0; i + dilation < length; ++i) {
        const [here, next] = [keysOf(i, length, ...options), keysOf(i + dilation, length, ...options)];
        expect(next[0]).toBeGreaterThanOrEqual(here[0]);
        expect(next[next.length - 1]).toBeGreaterThanOrEqual(here[here.length - 1]);
        expect(next[0]).toBeLessThanOrEqual(here[here.length - 1] + dilation);
      }
    }
  });

  test.each([
    // The windows that docs/neighborhood-attention.md draws.
    [0, 8, 3, 1, 1, false, [0, 1, 2]],
    [3, 8, 3, 1, 1, false, [2, 3, 4]],
    [7, 8, 3, 1, 1, false, [5, 6, 7]],
    [3, 8, 4, 1, 1, false, [1, 2, 3, 4]],
    [2, 8, 4, 2, 1, false, [1, 2, 3, 4]],
    [3, 8, 4, 2, 1, false, [1, 2, 3, 4]],
    [5, 8, 4, 4, 1, false, [4, 5, 6, 7]],
    [4, 8, 3, 1, 2, false, [2, 4, 6]],
    [5, 8, 3, 1, 1, true, [3, 4, 5]],
    [1, 8, 3, 1, 1, true, [0, 1]],
    [4, 8, 4, 2, 1, true, [2, 3, 4]],
  ] as const)('query %i of %i, kernel %i, stride %i, dilation %i, causal %s', (...row) => {
    const [i, length, kernelSize, stride, dilation, causal, keys] = row;
    expect(keysOf(i, length, kernelSize, stride, dilation, causal)).toEqual(keys);
  });
});
