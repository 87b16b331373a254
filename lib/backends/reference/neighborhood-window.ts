/** The keys that one query sees along one axis: begin, begin + step, ..., `count` of them. */
export interface NeighborhoodWindow {
  readonly begin: number;
  readonly step: number;
  readonly count: number;
}

/**
 * The neighbourhood of token `index` of an axis of `length` tokens: the definition of
 * generalised neighbourhood attention (arXiv 2504.16922, section 3; NATTEN 0.20).
 *
 * Dilation splits the axis into residue classes; everything below is in a class's own coordinates. `stride`
 * consecutive queries form a group that shares the window of its leader: the middle query, or the last one
 * of a causal axis, clipped to the axis. A window holds `kernelSize` keys around the leader, floor(kernelSize / 2)
 * of them to its left, and is shifted to stay inside the axis. A causal window holds the kernelSize keys that end with
 * the leader, of which each query sees those up to itself.
 *
 * Requires 1 <= stride <= kernelSize and kernelSize * dilation <= length. The query itself is always inside.
 */
export function neighborhoodWindow(
  index: number,
  length: number,
  kernelSize: number,
  stride: number,
  dilation: number,
  causal: boolean,
): NeighborhoodWindow {
  const residue = index % dilation;
  const classLength = Math.ceil((length - residue) / dilation);
  const position = Math.floor(index / dilation);
  const group = position - (position % stride);
  let start: number;
  let end: number;
  if (causal) {
    const leader = Math.min(group + stride - 1, classLength - 1);
    start = Math.max(leader - kernelSize + 1, 0);
    end = position + 1;
  } else {
    const leader = Math.min(group + Math.floor(stride / 2), classLength - 1);
    const left = Math.floor(kernelSize / 2);
    const right = kernelSize - 1 - left;
    start = Math.max(leader - left, 0);
    if (leader + right >= classLength) start = classLength - kernelSize;
    end = start + kernelSize;
  }
  return { begin: start * dilation + residue, step: dilation, count: end - start };
}
