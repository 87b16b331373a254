import type { Operations } from '../backend.js';
import { marshalAttention } from './attention.js';
import type { CommandWriter } from './command-writer.js';
import { marshalKronecker } from './kronecker.js';
import { marshalNeighborhoodAttention } from './neighborhood-attention.js';
import { marshalSddmm } from './sddmm.js';
import { marshalSparseAttention } from './sparse-attention.js';
import { marshalSparseSoftmax } from './sparse-softmax.js';
import { marshalSpmm, marshalSpmmFillStrips, marshalSpmmFillTiles } from './spmm.js';
import { marshalTransposeValues } from './transpose-values.js';
import { marshalW4A16Matmul } from './w4a16.js';

/** How each operation's call is marshalled for the addon. */
export type CudaOperations = {
  readonly [K in keyof Operations]: (command: CommandWriter, call: Parameters<Operations[K]>[0]) => void;
};

/** One row an operation. */
export const cudaOperations: CudaOperations = {
  attention: marshalAttention,
  kroneckerMatmul: marshalKronecker,
  neighborhoodAttention: marshalNeighborhoodAttention,
  sddmm: marshalSddmm,
  sparseAttention: marshalSparseAttention,
  sparseSoftmax: marshalSparseSoftmax,
  spmm: marshalSpmm,
  spmmFillStrips: marshalSpmmFillStrips,
  spmmFillTiles: marshalSpmmFillTiles,
  transposeValues: marshalTransposeValues,
  w4a16Matmul: marshalW4A16Matmul,
};
