// How the blocks of a kernel fill the multiprocessors of a card, where those of the next kernel are placed before they have ended.

/** Of a kernel, in blocks of one multiprocessor. */
export interface Occupancy {
  /** Of the one that has most, where they are spread evenly. */
  readonly blocks: number;
  /** That it holds at once. */
  readonly resident: number;
}

/**
 * Whether those of the next kernel of as many find no room beside them. They are placed all the same, wherever one ends, and some
 * multiprocessors get more than others.
 */
export const crowds = ({ blocks, resident }: Occupancy): boolean => 2 * blocks > resident;

/** Whether they find some room, and not enough: then they are placed unevenly. */
export const unevenly = (occupancy: Occupancy): boolean =>
  crowds(occupancy) && occupancy.blocks < occupancy.resident;

/** Of the blocks that a multiprocessor has, how many more it has room for; none where they fill it. */
export const roomOf = ({ blocks, resident }: Occupancy): number => Math.max(0, resident / blocks - 1);

/** Blocks of a grid along x, and what it holds of those: tiles of columns, problems. */
export interface Grid {
  readonly across: number;
  readonly tiles: number;
}

/**
 * How many blocks, `most` at most, had better be launched as one: so many that a multiprocessor has one, or two, and no room for another until that
 * has ended. Then the next kernel's are spread as evenly as the first. 1 where they are so anyway, or fill all there is.
 */
export function bundleOf(
  occupancy: Occupancy,
  { across, tiles }: Grid,
  multiprocessors: number,
  most: number,
): number {
  const { resident } = occupancy;
  if (!unevenly(occupancy)) return 1;
  for (const share of [1, 2]) {
    const bundles = Math.floor((share * multiprocessors) / tiles);
    if (bundles === 0) continue;
    const bundle = Math.ceil(across / bundles);
    if (bundle <= most && share * bundle <= resident && (share + 1) * bundle > resident) return bundle;
  }
  return 1;
}

/** How even rows are in length, 1 at most: blocks of rows that differ much take a time of their own. */
export const evenness = ({
  rows,
  stored,
  longestRow,
}: {
  readonly rows: number;
  readonly stored: number;
  readonly longestRow: number;
}): number => Math.min(1, (2 * stored) / Math.max(1, rows * longestRow));
