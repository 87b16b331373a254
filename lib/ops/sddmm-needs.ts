// What the kernels of sddmm need of a card.

import type { SddmmPlan } from '../backends/calls/sddmm.js';
import type { CardNeeds } from '../planning/plan-device.js';
import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';

/** Of a block, in bytes. */
interface TileMemory {
  readonly stages: number;
  readonly stage: number;
  /** Sums, in place of the stages in the end. */
  readonly sums: number;
  /** Where the elements of a tile's rows begin. */
  readonly shifts: number;
}
type ByRows = { readonly [rows: number]: TileMemory };

/** Bytes of a row in a stage. */
const stageRowBytes = 128;

/** With so many stages, and sets of sums. */
const memoryOf = (rows: number, columns: number, stages: number, sets: number): TileMemory => ({
  stages,
  stage: (rows + columns) * stageRowBytes,
  sums: sets * rows * (columns + 8) * 4,
  shifts: rows * 4,
});

// By the rows of a tile: match the shapes of cuda/kernels/sddmm/tiles.cuh, tiles_float32.cu and staged_float32.cu.
const halfTiles: ByRows = {
  32: memoryOf(32, 64, 8, 1),
  64: memoryOf(64, 64, 6, 1),
  128: memoryOf(128, 128, 3, 1),
};
const floatTiles: ByRows = { 32: memoryOf(32, 64, 6, 8), 64: memoryOf(64, 64, 3, 2) };
const stagedTiles: ByRows = {
  32: memoryOf(32, 64, 3, 0),
  64: memoryOf(64, 64, 3, 0),
  128: memoryOf(128, 128, 2, 0),
  256: memoryOf(256, 256, 2, 0),
};

const nothing: CardNeeds = {};
/** And memory, which all such cards have. */
const hopper: CardNeeds = { clusters: true };

/** In which the rows of a tile are brought along the depth. */
export const stageSteps = (dtype: FloatDType, depth: number): number =>
  Math.max(1, Math.ceil((depth * dtypeInfo[dtype].bytes) / stageRowBytes));

/** Tiles and staged: matches tile_launch of cuda/kernels/sddmm/tile.cuh. Every card has the memory of the others. */
export function sddmmNeeds({ variant, tile }: SddmmPlan, dtype: FloatDType, depth: number): CardNeeds {
  if (tile === 0) return nothing;
  if (variant === 'warpgroups') return hopper;
  const tiles = variant === 'staged' ? stagedTiles : dtype === 'float32' ? floatTiles : halfTiles;
  const { stages, stage, sums, shifts } = tiles[tile];
  const brought = Math.min(stageSteps(dtype, depth), stages) * stage;
  return { clusters: false, sharedMemory: Math.max(brought, sums) + shifts };
}
