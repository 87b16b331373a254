// Descriptions of tensors in device memory for Hopper's copy engine.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "common/dtype.h"
#include "common/status.h"

namespace warptile {

// A batch of row-major matrices of 16-bit elements, copied to shared memory by boxes of `box_rows` rows x `box_columns` columns.
struct BoxedTensor {
  const void* data = nullptr;  // [batch, rows, columns], at a multiple of 16 bytes
  DType dtype = DType::kFloat16;
  int64_t rows = 0, columns = 0, batch = 1;  // below 2^32
  int64_t row_stride = 0, batch_stride = 0;  // in elements, multiples of 8; the second is unused where batch is 1
  int box_rows = 0;
  int box_columns = 0;  // 32 or 64: the bytes by which rows are swizzled
};

Status make_tensor_map(const BoxedTensor& tensor, CUtensorMap* map);

}  // namespace warptile
