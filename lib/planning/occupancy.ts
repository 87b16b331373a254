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

/** Of the blocks that a multiprocessor has, how many more it has room for; none where they fill it. */
export const roomOf = ({ blocks, resident }: Occupancy): number => Math.max(0, resident / blocks - 1);
