import { type SpmmVariant, stripHeights, tileDepth } from '../backends/calls/spmm.js';
import { fail, WarptileError } from '../errors.js';
import {
  bestWithStrips,
  bestWithTiles,
  type SpmmDraft,
  type SpmmFeatures,
  type SpmmFound,
  selectSpmm,
} from '../ops/spmm-plan.js';
import { type StripFeatures, stripOperandsProblem, stripsProblem } from '../ops/spmm-strips.js';
import { type TileFeatures, tileSizes, tilesProblem } from '../ops/spmm-tiles-plan.js';
import { type PlanDevice, planDevice } from '../planning/plan-device.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { checkBoolean, checkInteger, checkOneOf, checkOptions, own } from '../validate.js';
import { stripCopy, tiledCopy } from './packed-copy.js';
import type { SparseMatrix } from './sparse-matrix.js';
import type { StripCounts } from './strip-counts.js';
import { transposedMatrix } from './transposed-copy.js';

/** Variants that run on a copy. */
const preparedVariants = ['tiles', 'strips'] as const;
type PreparedVariant = (typeof preparedVariants)[number];

export interface PrepareOptions {
  /** Columns of the dense operand. */
  n: number;
  /** The copy for this variant is built whether or not a gain is expected. Default: as the planner judges. */
  variant?: PreparedVariant;
  /** For products with the transposed matrix, whose copy is built too. Default false. */
  transposeA?: boolean;
}

/** A copy may be as large as this many times the matrix, or as this many bytes. */
const mostMultiple = 24;
const mostSmallBytes = 2 ** 24;

/** @internal As CsrMatrix.prepare. */
export function prepareSpmm(given: SparseMatrix, options: PrepareOptions): SpmmVariant {
  if (options === undefined) fail('ERR_ARGUMENT', 'options', 'an object', options);
  const checked = checkOptions(options, ['n', 'variant', 'transposeA']);
  const width = checkInteger(own(checked, 'n'), 'n', 1);
  const asked = own(checked, 'variant') as PreparedVariant | undefined;
  if (asked !== undefined) checkOneOf(asked, 'variant', preparedVariants);
  const transposeA = checkBoolean(own(checked, 'transposeA') ?? false, 'transposeA');
  const { device } = given;
  if (device.capturing) {
    throw new WarptileError('ERR_UNSUPPORTED', 'capture: prepare cannot be recorded; do it before or after');
  }
  const matrix = transposeA ? transposedMatrix(given) : given;
  const { values } = matrix;
  for (const copy of [values.tiles, values.strips]) if (copy?.fresh === false) copy.refresh();
  const features = featuresOf(matrix, width);
  const card = planDevice(device);
  const { tiles, best } =
    asked === 'strips' ? noTiles : tilesFor(matrix, features, card, asked !== undefined);
  const strips = asked === 'tiles' ? undefined : stripsFor(matrix, features, card, asked !== undefined);
  features.tiles = tiles;
  features.strips = strips;
  const chosen = asked ?? selectSpmm(features, card, undefined, best).plan.variant;
  if (chosen === 'tiles' && values.tiles === undefined) {
    const { rows } = tiles as TileFeatures;
    values.tiles = tiledCopy(matrix, rows);
  } else if (chosen === 'strips') {
    const { rows } = strips as StripFeatures;
    const { strips: counted } = matrix.topology.strips as StripCounts;
    values.strips ??= stripCopy(matrix, counted[rows]);
    if (asked === undefined && !values.strips.widths.has(width)) {
      values.strips.widths.add(width);
      matrix.lastPlan = undefined;
    }
  }
  return chosen;
}

interface Tiles {
  readonly tiles: TileFeatures | undefined;
  /** The best plan with them, where it was looked for. */
  readonly best?: SpmmFound;
}
const noTiles: Tiles = { tiles: undefined };

/** The copy in tiles: as it is held, or of the height that is expected to be fastest; none where there can be none. */
function tilesFor(matrix: SparseMatrix, features: SpmmFeatures, card: PlanDevice, asked: boolean): Tiles {
  const held = matrix.values.tiles;
  if (held !== undefined) return { tiles: held.shares };
  // No copy of entries pays for a single column of B.
  if (!asked && features.width === 1 && features.format === 'csr') return noTiles;
  if (!isPossible(tilesProblem(features), asked)) return noTiles;
  const { panels } = matrix.topology.tiles;
  const { found: tiles, best } = fastest(
    tileSizes(matrix.dtype).map((rows) => panels[rows].shares),
    (one) => bestWithTiles(features, one, card),
  );
  const bytes = tiles.count * tiles.rows * tileDepth * dtypeInfo[matrix.dtype].bytes;
  return fits(matrix, 'tiles', bytes, asked) ? { tiles, best } : noTiles;
}

/** As `tilesFor`; also undefined where strips cannot run for the operands. */
function stripsFor(
  matrix: SparseMatrix,
  features: SpmmFeatures,
  card: PlanDevice,
  asked: boolean,
): StripFeatures | undefined {
  if (!isPossible(stripsProblem(features), asked)) return undefined;
  const counted = (matrix.topology.strips as StripCounts).strips;
  const held = matrix.values.strips?.shares;
  const { found: strips, best } = fastest(
    held === undefined ? stripHeights.map((rows) => counted[rows].shares) : [held],
    (one) => bestWithStrips(features, one, card),
  );
  if (best.us === Number.POSITIVE_INFINITY) {
    isPossible(stripOperandsProblem(features), asked);
    return undefined;
  }
  if (held !== undefined) return held;
  return fits(matrix, 'strips', 4 * strips.count * (1 + strips.rows), asked) ? strips : undefined;
}

/** False where there is a problem; one that rules out what was asked for is thrown. */
function isPossible(problem: string | undefined, asked: boolean): boolean {
  if (problem !== undefined && asked) throw new WarptileError('ERR_UNSUPPORTED', `variant: ${problem}`);
  return problem === undefined;
}

/** The height with the fastest plan, and that. */
function fastest<F>(heights: readonly F[], bestFor: (found: F) => SpmmFound): { found: F; best: SpmmFound } {
  let least: { found: F; best: SpmmFound } | undefined;
  for (const found of heights) {
    const best = bestFor(found);
    if (least === undefined || best.us < least.best.us) least = { found, best };
  }
  return least as { found: F; best: SpmmFound };
}

/** Whether a copy of so many bytes is worth its memory; throws where it is not but was asked for. */
function fits(matrix: SparseMatrix, name: PreparedVariant, bytes: number, asked: boolean): boolean {
  const most = Math.max(mostSmallBytes, mostMultiple * matrix.nnz * (4 + dtypeInfo[matrix.dtype].bytes));
  if (bytes > most && asked) fail('ERR_LIMIT', 'variant', `${name} of at most ${most} bytes`, bytes);
  return bytes <= most;
}

/** Rows of B this far apart are out of reach of kernels that multiply by 32-bit numbers. */
export const farBytes = 2 ** 32;

/** @internal What the planner knows of a matrix; operands whose rows are aligned, and no copy. */
export function featuresOf(matrix: SparseMatrix, width: number): SpmmDraft {
  const { topology, pattern, dtype } = matrix;
  return {
    dtype,
    format: matrix.format,
    rows: pattern.rows,
    columns: pattern.columns,
    stored: topology.stored,
    longestRow: topology.longestRow,
    bins: topology.bins,
    width,
    batch: 1,
    batchedValues: matrix.batch !== undefined,
    vectors: width % (dtype === 'float32' ? 4 : 8) === 0,
    pairs: width % 2 === 0,
    farRows: width * dtypeInfo[dtype].bytes >= farBytes,
    padded: false,
    tiles: undefined,
    stripSpan: topology.strips?.span,
    strips: undefined,
  };
}
