// Where the stored elements of a sparse matrix lie: shared by spmm, sddmm and sparse_softmax.
#pragma once

#include <cstdint>

namespace warptile {

// Largest extent of a block.
constexpr int kMaxBlockExtent = 64;

// Compressed rows of blocks; CSR is the case of 1 x 1 blocks. Where the shape is no multiple of the block, the part of an
// edge block outside the matrix is stored, never read, and written as zero. The indices were checked before upload:
// row_ptr climbs from 0 to `stored`, each row's columns ascend and lie inside the matrix.
struct SparsePattern {
  int64_t rows = 0;     // elements, below 2^31
  int64_t columns = 0;  // elements, below 2^31
  int block_rows = 1;   // 1 to kMaxBlockExtent
  int block_columns = 1;
  int64_t stored = 0;            // blocks, below 2^31
  int64_t longest_row = 0;       // most blocks in a row of blocks
  const int32_t* row_ptr = nullptr;  // [ceil(rows / block_rows) + 1]
  const int32_t* col = nullptr;      // [stored], in blocks

  bool is_csr() const { return block_rows == 1 && block_columns == 1; }
};

}  // namespace warptile
