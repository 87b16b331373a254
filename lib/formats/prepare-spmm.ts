import { type SpmmVariant, tileDepth } from '../backends/calls/spmm.js';
import { fail, WarptileError } from '../errors.js';
import { bestWithTiles, type SpmmFeatures, selectSpmm } from '../ops/spmm-plan.js';
import { type TileFeatures, tileSizes, tilesProblem } from '../ops/spmm-tiles-plan.js';
import { planDevice } from '../planning/plan-device.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { checkBoolean, checkInteger, checkOneOf, checkOptions, own } from '../validate.js';
import type { SparseMatrix } from './sparse-matrix.js';
import { shareTiles } from './tile-counts.js';
import { TiledCopy } from './tiled-copy.js';
import { transposedMatrix } from './transposed-copy.js';

export interface PrepareOptions {
  /** Columns of the dense operand. */
  n: number;
  /** 'tiles' builds the copy whether or not a gain is expected. Default: as the planner judges. */
  variant?: 'tiles';
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
  const asked = own(checked, 'variant');
  if (asked !== undefined) checkOneOf(asked, 'variant', ['tiles']);
  const transposeA = checkBoolean(own(checked, 'transposeA') ?? false, 'transposeA');
  const { device } = given;
  if (device.capturing) {
    throw new WarptileError('ERR_UNSUPPORTED', 'capture: prepare cannot be recorded; do it before or after');
  }
  const matrix = transposeA ? transposedMatrix(given) : given;
  const features = featuresOf(matrix, width);
  const impossible = tilesProblem(features);
  if (impossible !== undefined) {
    if (asked !== undefined) throw new WarptileError('ERR_UNSUPPORTED', `variant: ${impossible}`);
    return selectSpmm(features, planDevice(device)).plan.variant;
  }
  const held = matrix.values.tiles;
  if (held !== undefined) {
    if (!held.fresh) held.refresh();
    if (asked !== undefined) return 'tiles';
    return selectSpmm({ ...features, tiles: held.call }, planDevice(device)).plan.variant;
  }
  const tiles = bestTiles(matrix, features);
  const { bytes: valueBytes } = dtypeInfo[matrix.dtype];
  const bytes = tiles.count * tiles.rows * tileDepth * valueBytes;
  const most = Math.max(mostSmallBytes, mostMultiple * matrix.nnz * (4 + valueBytes));
  if (bytes > most) {
    if (asked !== undefined) fail('ERR_LIMIT', 'variant', `tiles of at most ${most} bytes`, bytes);
    return selectSpmm(features, planDevice(device)).plan.variant;
  }
  const { plan } = selectSpmm({ ...features, tiles }, planDevice(device));
  if (asked === undefined && plan.variant !== 'tiles') return plan.variant;
  // The copy outlives the scope in which it is made: it goes with the values.
  matrix.values.tiles = device.unscoped(() => TiledCopy.of(matrix, tiles.rows));
  return 'tiles';
}

/** The tiles of the height that is expected to be fastest. */
function bestTiles(matrix: SparseMatrix, features: SpmmFeatures): TileFeatures {
  const card = planDevice(matrix.device);
  let best: { tiles: TileFeatures; us: number } | undefined;
  for (const rows of tileSizes(matrix.dtype)) {
    const tiles = { ...shareTiles(matrix.topology.tiles.panels[rows]), rows };
    const { us } = bestWithTiles(features, tiles, card);
    if (best === undefined || us < best.us) best = { tiles, us };
  }
  return (best as { tiles: TileFeatures }).tiles;
}

/** Rows of B this far apart are out of reach of kernels that multiply by 32-bit numbers. */
export const farBytes = 2 ** 32;

/** @internal What the planner knows of a matrix; operands whose rows are aligned, and no copy. */
export function featuresOf(matrix: SparseMatrix, width: number): SpmmFeatures {
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
    farRows: width * dtypeInfo[dtype].bytes >= farBytes,
    vectors: width % (dtype === 'float32' ? 4 : 8) === 0,
    pairs: dtype === 'float32' || width % 2 === 0,
    tiles: undefined,
  };
}
