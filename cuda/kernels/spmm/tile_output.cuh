// What the tile kernels do with sums: C = alpha sum + beta C, and elements whose sum is NaN once more.
#pragma once

#include "api/spmm.h"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/store.cuh"

namespace warptile::spmm_kernels {

// The stored entries of A, [m, k] in CSR or blocks.
template <typename T>
struct StoredEntries {
  const int32_t* row_ptr;  // [ceil(m / block_rows) + 1]
  const int32_t* col;      // [stored]
  const T* values;         // [stored, block_rows, block_columns]
  int32_t block_rows, block_columns;
  int32_t columns;  // k
};

template <typename T>
StoredEntries<T> stored_entries(const SpmmParams& params) {
  const SparsePattern& a = params.pattern;
  return {a.row_ptr, a.col, static_cast<const T*>(params.values), a.block_rows, a.block_columns, static_cast<int32_t>(a.columns)};
}

// One element of A B from the stored entries of its row alone. Not inlined, and without the struct, which would be copied to the stack:
// it hardly ever runs.
template <typename T>
__device__ __noinline__ float exact_element(const int32_t* row_ptr, const int32_t* col, const T* values, int block_rows,
                                            int block_columns, int columns, const T* b_column, int64_t ldb, int row) {
  const int block_row = row / block_rows;
  float sum = 0;
  for (int64_t block = row_ptr[block_row]; block < row_ptr[block_row + 1]; ++block) {
    const T* source = values + (block * block_rows + row % block_rows) * block_columns;
    const int64_t first = static_cast<int64_t>(col[block]) * block_columns;
    for (int i = 0; i < block_columns && first + i < columns; ++i) {
      sum = fmaf(to_float(source[i]), to_float(b_column[(first + i) * ldb]), sum);
    }
  }
  return sum;
}

template <typename T>
__device__ __forceinline__ float exact_element(const StoredEntries<T>& a, const T* b_column, int64_t ldb, int row) {
  return exact_element<T>(a.row_ptr, a.col, a.values, a.block_rows, a.block_columns, a.columns, b_column, ldb, row);
}

// Where the results go.
template <typename T>
struct TileOutput {
  T* c;  // [batch, m, n]
  int64_t ldc;
  int64_t n;
  float alpha;
  float beta;
  bool whole;    // rows begin and end at multiples of 16 bytes
  int32_t rows;  // m
  StoredEntries<T> a;
};

template <typename T>
TileOutput<T> tile_output(const SpmmParams& params) {
  TileOutput<T> out{};
  out.c = static_cast<T*>(params.c);
  out.ldc = params.ldc;
  out.n = params.n;
  out.alpha = params.alpha;
  out.beta = params.beta;
  out.whole = writes_vectors(params);
  out.rows = static_cast<int32_t>(params.pattern.rows);
  out.a = stored_entries<T>(params);
  return out;
}

// Sums of row `row`, from column `column` on: to `target`, with `b` at that column of row 0 of B. kWhole: as p.whole says, and known so.
template <typename T, int kCount, bool kWhole = false>
__device__ __forceinline__ void store_sums(const TileOutput<T>& p, const T* b, int64_t ldb, T* target, int row, int64_t column,
                                           Pack<float, kCount> sums) {
#pragma unroll
  for (int j = 0; j < kCount; ++j) {
    if (isnan(sums.items[j]) && (kWhole || column + j < p.n)) sums.items[j] = exact_element<T>(p.a, b + j, ldb, row);
  }
  store_results<T, kCount>(target, sums.items, kWhole || p.whole, p.n - column, p.alpha, p.beta);
}

// Where an item's sums go among the parts of panels; -1 where they are stored at once, and where the table is not of these tiles, so
// that nothing outside of the workspace is written.
__device__ __forceinline__ int place_of_part(int place, int64_t parts) { return place < parts ? place : -1; }

}  // namespace warptile::spmm_kernels
