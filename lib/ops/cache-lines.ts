// Of the caches of a GPU.

/** Bytes of a line. */
export const lineBytes = 128;
/** Bytes of a sector, the least that the L2 cache sends. */
export const sectorBytes = 32;
