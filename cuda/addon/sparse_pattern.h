// Reads a sparse pattern as lib/backends/cuda/sparse-pattern.ts writes it.
#pragma once

#include "addon/command_reader.h"
#include "api/sparse_pattern.h"

namespace warptile::addon {

inline SparsePattern read_pattern(CommandReader& in) {
  SparsePattern pattern;
  pattern.rows = in.small_size("rows");
  pattern.columns = in.small_size("columns");
  pattern.block_rows = in.small_size("block rows");
  pattern.block_columns = in.small_size("block columns");
  pattern.stored = in.small_size("stored blocks");
  pattern.longest_row = in.small_size("longest row");
  if (pattern.block_rows < 1 || pattern.block_rows > kMaxBlockExtent || pattern.block_columns < 1 ||
      pattern.block_columns > kMaxBlockExtent) {
    CommandReader::fail("block shape", "is not from 1 to 64");
  }
  pattern.row_ptr = in.int32_input("row pointers", {ceil_div(pattern.rows, pattern.block_rows) + 1});
  pattern.col = in.int32_input("column indices", {pattern.stored});
  return pattern;
}

// Elements from the first to past the last of `batch` matrices [rows, columns], rows `stride` and matrices `batch_stride` apart.
inline int64_t strided_extent(const char* name, int64_t batch, int64_t batch_stride, int64_t rows, int64_t stride,
                              int64_t columns) {
  if (batch == 0 || rows == 0 || columns == 0) return 0;
  const auto steps = checked_product({batch - 1, batch_stride});
  const auto inner = checked_product({rows - 1, stride});
  int64_t extent = columns;
  if (!steps || !inner || __builtin_add_overflow(extent, *steps, &extent) ||
      __builtin_add_overflow(extent, *inner, &extent)) {
    CommandReader::fail(name, "spans more elements than 64 bits count");
  }
  return extent;
}

}  // namespace warptile::addon
