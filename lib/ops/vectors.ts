// How many elements lanes load at once: as cuda/common/vectors.h.

import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';

/** Of what a lane loads at most at once, and where that begins. */
export const vectorBytes = 16;

/** Elements of a whole vector. */
export const wholeVector = (dtype: FloatDType): number => vectorBytes / dtypeInfo[dtype].bytes;
