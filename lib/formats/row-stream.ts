// Equal shares of the entries of a pattern for the groups of threads of a kernel, wherever rows end.

/** A table of items in a larger one. */
export interface StreamTable {
  /** Long rows or segments of them, then stretches of whole rows. */
  readonly items: number;
  readonly segments: number;
  /** Rows that are cut. */
  readonly longRows: number;
  /** Of the long items, which come first: those that take a block each, then those that take a warp each. */
  readonly blockItems: number;
  readonly warpItems: number;
  /** Most entries of an item, and of a stretch. */
  readonly longest: number;
  readonly stretch: number;
  /**
   * [items, 4]: first and past the last entry; row or, of a segment, ~slot; then, of a stretch, the empty rows before its first one
   * (of the table for one column: its rows). [longRows, 3]: row, first and past its last slot.
   */
  readonly table: Int32Array;
}

/** Groups of eight lanes that an H200 holds at a time, about: stretches are as long as it takes to give each of them one. */
const groups = 22_000;
const shortestStretch = 16;
const longestStretch = 64;
/** Of a warp, which shares a long row; a block has four times as many. */
const groupsOfWarp = 4;
/** A row is cut past this many stretches: twice what the groups of a block take. */
const mostStretches = 32;
/** Empty rows that a stretch begins with. */
const mostEmpty = 32;

/** Entries of a stretch, for a matrix of so many. */
function stretchEntries(stored: number): number {
  return Math.min(longestStretch, Math.max(shortestStretch, 8 * Math.ceil(stored / (8 * groups))));
}

/** Numbers of a table, in room for as many as there can be: plain arrays that grow to millions take longer than everything else here. */
class Numbers {
  readonly #room: Int32Array;
  #length = 0;

  constructor(most: number) {
    this.#room = new Int32Array(most);
  }

  get length(): number {
    return this.#length;
  }

  add(number: number): void {
    this.#room[this.#length++] = number;
  }

  item(first: number, past: number, row: number, extra: number): void {
    const at = this.#length;
    this.#room[at] = first;
    this.#room[at + 1] = past;
    this.#room[at + 2] = row;
    this.#room[at + 3] = extra;
    this.#length = at + 4;
  }

  /** Writes them to `table` from `at` on; returns where they end. */
  place(table: Int32Array, at: number): number {
    table.set(this.#room.subarray(0, this.#length), at);
    return at + this.#length;
  }
}

/** Collects the items of a table. */
class Items {
  readonly #blocks: Numbers;
  readonly #warps: Numbers;
  readonly #stretches: Numbers;
  readonly #longRows: Numbers;
  readonly #limit: number;
  readonly #segment: number;
  #segments = 0;
  #longest = 0;
  #stretch = 0;

  /** Long rows have more than `least` entries; those of more than `limit` are cut into segments of `segment`. */
  constructor(rowPointers: Int32Array, least: number, limit: number, segment = limit) {
    const rows = rowPointers.length - 1;
    const stored = rowPointers[rows];
    const mostCut = Math.min(rows, Math.floor(stored / limit));
    const mostLong = Math.min(rows, Math.floor(stored / least)) + Math.floor(stored / segment);
    this.#blocks = new Numbers(4 * mostLong);
    this.#warps = new Numbers(4 * mostLong);
    // Each begins with a row of its own, or comes after empty ones of its own.
    this.#stretches = new Numbers(4 * rows);
    this.#longRows = new Numbers(3 * mostCut);
    this.#limit = limit;
    this.#segment = segment;
  }

  stretch(first: number, past: number, row: number, extra: number): void {
    if (past - first > this.#stretch) this.#stretch = past - first;
    this.#stretches.item(first, past, row, extra);
  }

  /** A row by itself: by a block where it, or a segment of it, has at least `block` entries. */
  longRow(row: number, first: number, end: number, block: number): void {
    const cut = end - first > this.#limit;
    const length = cut ? this.#segment : end - first;
    if (cut) {
      this.#longRows.add(row);
      this.#longRows.add(this.#segments);
    }
    for (let at = first; at < end; at += length) {
      const past = Math.min(at + length, end);
      if (past - at > this.#longest) this.#longest = past - at;
      (past - at >= block ? this.#blocks : this.#warps).item(at, past, cut ? ~this.#segments++ : row, 0);
    }
    if (cut) this.#longRows.add(this.#segments);
  }

  finish(): StreamTable {
    const [blocks, warps, stretches, longRows] = [this.#blocks, this.#warps, this.#stretches, this.#longRows];
    const parts = [blocks, warps, stretches, longRows];
    const table = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
    parts.reduce((at, part) => part.place(table, at), 0);
    return {
      items: (blocks.length + warps.length + stretches.length) / 4,
      segments: this.#segments,
      longRows: longRows.length / 3,
      blockItems: blocks.length / 4,
      warpItems: warps.length / 4,
      longest: Math.max(this.#longest, this.#stretch),
      stretch: this.#stretch,
      table,
    };
  }
}

/**
 * @internal Shares for groups of lanes. Writes to `steps`, of a zero for each entry, how many rows end with it: its own and empty
 * ones after it; none for entries of long rows.
 */
export function streamRows(rowPointers: Int32Array, steps: Uint8Array): StreamTable {
  const rows = rowPointers.length - 1;
  const most = stretchEntries(rowPointers[rows]);
  // Rows are stored, which takes as long as to load a row of B.
  const mostRows = most / 2;
  const items = new Items(rowPointers, most, mostStretches * most);
  let open = false;
  let first = 0;
  let past = 0;
  let firstRow = 0;
  let held = 0;
  let empty = 0;
  let emptyBefore = 0;
  const close = (): void => {
    if (open) items.stretch(first, past, firstRow, emptyBefore);
    open = false;
  };
  for (let row = 0; row < rows; ++row) {
    const [start, end] = [rowPointers[row], rowPointers[row + 1]];
    if (start === end) {
      if (open && held < mostRows) {
        ++steps[past - 1];
        ++held;
        continue;
      }
      close();
      if (++empty === mostEmpty) {
        items.stretch(start, start, row + 1, empty);
        empty = 0;
      }
      continue;
    }
    if (end - start > most) {
      close();
      if (empty > 0) items.stretch(start, start, row, empty);
      empty = 0;
      items.longRow(row, start, end, groupsOfWarp * most);
      continue;
    }
    if (open && (end - first > most || held >= mostRows)) close();
    if (!open) {
      open = true;
      [first, firstRow, emptyBefore, held, empty] = [start, row, empty, 0, 0];
    }
    past = end;
    steps[end - 1] = 1;
    ++held;
  }
  close();
  if (empty > 0) items.stretch(past, past, rows, empty);
  return items.finish();
}

/** @internal As kColumnEntries of cuda/kernels/spmm/config.h: what a block takes, from a multiple of four entries on. */
export const blockEntries = 1024;
/** A row of more rounds is cut: to add up its segments takes as long as a few rounds of one block. */
const mostRounds = 8;
/** Rounds of a segment, so that many blocks share a long row; where there are enough for all multiprocessors twice, fewer segments are better. */
const segmentRounds = 2;
const manyEntries = 2 ** 21;

/** @internal Shares for blocks that compute one column. */
export function streamColumn(rowPointers: Int32Array): StreamTable {
  const rows = rowPointers.length - 1;
  const rounds = rowPointers[rows] > manyEntries ? mostRounds : segmentRounds;
  // A chunk of four entries may begin before the row.
  const items = new Items(rowPointers, blockEntries - 4, mostRounds * blockEntries, rounds * blockEntries);
  for (let row = 0; row < rows; ) {
    const first = rowPointers[row];
    const most = first - (first % 4) + blockEntries;
    if (rowPointers[row + 1] > most) {
      items.longRow(row, first, rowPointers[row + 1], 0);
      ++row;
      continue;
    }
    let past = row + 1;
    while (past < rows && rowPointers[past + 1] <= most && past - row < blockEntries) ++past;
    items.stretch(first, rowPointers[past], row, past - row);
    row = past;
  }
  return items.finish();
}
