import type { Operations } from '../backend.js';
import { runAttention } from './attention.js';
import { runKronecker } from './kronecker.js';
import { runNeighborhoodAttention } from './neighborhood-attention.js';
import { runSddmm } from './sddmm.js';
import { runSparseAttention } from './sparse-attention.js';
import { runSparseSoftmax } from './sparse-softmax.js';
import { runSpmm } from './spmm.js';
import { runSpmmFillStrips } from './spmm-strips.js';
import { runSpmmFillTiles } from './spmm-tiles.js';
import { runTransposeValues } from './transpose-values.js';
import { runW4A16Matmul } from './w4a16.js';

/** The CPU implementation of every operation: one row each. */
export const referenceOperations: Operations = {
  attention: runAttention,
  kroneckerMatmul: runKronecker,
  neighborhoodAttention: runNeighborhoodAttention,
  sddmm: runSddmm,
  sparseAttention: runSparseAttention,
  sparseSoftmax: runSparseSoftmax,
  spmm: runSpmm,
  spmmFillStrips: runSpmmFillStrips,
  spmmFillTiles: runSpmmFillTiles,
  transposeValues: runTransposeValues,
  w4a16Matmul: runW4A16Matmul,
};
