// A copy of a CSR matrix in dense tiles, for the tile kernel.   values[t, i, j] = A[panel row i, 64 columns[t] + j], or 0
// Layout    CSR: row_ptr[m+1], col/val[nnz];  panel_ptr[panels+1], columns[tiles], values[tiles, rows, 64]
// Tiling    a block a panel: a bit for each column of tiles, set where the panel stores something; then the prefix sums of the bits
//           tell which tile an entry belongs to
// Memory    shared: a bit and, by the word, a count for each column of tiles: 8 KiB for the widest matrix
// Roofline  writes of the tiles; runs once a matrix and once after each change of its values
// Numerics  values are copied
// Requires  columns of at most kSpmmMaxTiledColumns
// Source    no paper

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"

namespace warptile {
namespace spmm_kernels {
namespace {

constexpr int kPackThreads = 256;
constexpr int kBits = 32;

// Marks the columns of tiles in which rows [first, last) store something: `words` words of 32 bits.
__device__ __forceinline__ void mark_tiles(const SparsePattern& a, int64_t first, int64_t last, int words, uint32_t* marks) {
  for (int i = threadIdx.x; i < words; i += kPackThreads) marks[i] = 0;
  __syncthreads();
  for (int64_t i = a.row_ptr[first] + static_cast<int64_t>(threadIdx.x); i < a.row_ptr[last]; i += kPackThreads) {
    const int tile = a.col[i] / kSpmmTileDepth;
    atomicOr(marks + tile / kBits, 1u << tile % kBits);
  }
  __syncthreads();
}

__device__ __forceinline__ int64_t panel_end(const SparsePattern& a, int64_t panel, int tile_rows) {
  const int64_t end = (panel + 1) * tile_rows;
  return end < a.rows ? end : a.rows;
}

__global__ void __launch_bounds__(kPackThreads) spmm_count_tiles_kernel(const SpmmCountTilesParams p, int words) {
  extern __shared__ uint32_t marks[];
  const int64_t panel = blockIdx.x;
  mark_tiles(p.pattern, panel * p.tile_rows, panel_end(p.pattern, panel, p.tile_rows), words, marks);
  if (threadIdx.x != 0) return;
  int count = 0;
  for (int i = 0; i < words; ++i) count += __popc(marks[i]);
  p.counts[panel] = count;
}

template <typename T>
__global__ void __launch_bounds__(kPackThreads) spmm_fill_tiles_kernel(const SpmmFillTilesParams p, int words) {
  extern __shared__ uint32_t marks[];
  uint32_t* before = marks + words;  // marks in the words before
  const int64_t panel = blockIdx.x;
  const int64_t first_row = panel * p.tile_rows;
  const int64_t last_row = panel_end(p.pattern, panel, p.tile_rows);
  mark_tiles(p.pattern, first_row, last_row, words, marks);
  const int64_t first_tile = p.panel_ptr[panel];
  const int64_t tiles = p.panel_ptr[panel + 1] - first_tile;
  const int64_t tile_elements = static_cast<int64_t>(p.tile_rows) * kSpmmTileDepth;
  T* values = static_cast<T*>(p.tile_values) + first_tile * tile_elements;
  if (threadIdx.x == 0) {
    uint32_t count = 0;
    for (int i = 0; i < words; ++i) {
      before[i] = count;
      count += __popc(marks[i]);
    }
  }
  for (int64_t i = threadIdx.x; i < tiles * tile_elements; i += kPackThreads) values[i] = from_float<T>(0.0f);
  // `before` is complete, and no zero comes after a value.
  __syncthreads();
  for (int word = threadIdx.x; word < words; word += kPackThreads) {
    int64_t tile = before[word];
    for (uint32_t bits = marks[word]; bits != 0; bits &= bits - 1, ++tile) {
      if (tile < tiles) p.columns[first_tile + tile] = word * kBits + __ffs(bits) - 1;
    }
  }
  const T* source = static_cast<const T*>(p.values);
  for (int64_t row = first_row + threadIdx.x / kWarpSize; row < last_row; row += kPackThreads / kWarpSize) {
    const int64_t end = p.pattern.row_ptr[row + 1];
    for (int64_t i = p.pattern.row_ptr[row] + static_cast<int64_t>(threadIdx.x % kWarpSize); i < end; i += kWarpSize) {
      const int column = p.pattern.col[i];
      const int mark = column / kSpmmTileDepth;
      const int64_t tile = before[mark / kBits] + __popc(marks[mark / kBits] & ((1u << mark % kBits) - 1));
      // Where panel_ptr is not of this pattern, nothing outside of the panel's tiles is written.
      if (tile < tiles) values[tile * tile_elements + (row - first_row) * kSpmmTileDepth + column % kSpmmTileDepth] = source[i];
    }
  }
}

Status check(const SparsePattern& a, int tile_rows) {
  if (!a.is_csr()) return Status::invalid("spmm tiles: the matrix is not CSR");
  if (tile_rows != 32 && tile_rows != 64 && tile_rows != 128) return Status::invalid("spmm tiles: rows are not 32, 64 or 128");
  if (a.columns > kSpmmMaxTiledColumns) return Status::limit("spmm tiles: the matrix has too many columns");
  return Status::ok();
}

int words_of(const SparsePattern& a) { return static_cast<int>(ceil_div(ceil_div(a.columns, kSpmmTileDepth), kBits)); }

}  // namespace
}  // namespace spmm_kernels

Status spmm_count_tiles(const SpmmCountTilesParams& params, const LaunchContext& context) {
  WARPTILE_RETURN_IF_ERROR(spmm_kernels::check(params.pattern, params.tile_rows));
  const int words = spmm_kernels::words_of(params.pattern);
  LaunchShape shape;
  shape.grid_x = ceil_div(params.pattern.rows, params.tile_rows);
  shape.threads = spmm_kernels::kPackThreads;
  shape.shared_bytes = sizeof(uint32_t) * words;
  return launch(context, spmm_kernels::spmm_count_tiles_kernel, shape, params, words);
}

Status spmm_fill_tiles(const SpmmFillTilesParams& params, const LaunchContext& context) {
  WARPTILE_RETURN_IF_ERROR(spmm_kernels::check(params.pattern, params.tile_rows));
  const int words = spmm_kernels::words_of(params.pattern);
  LaunchShape shape;
  shape.grid_x = ceil_div(params.pattern.rows, params.tile_rows);
  shape.threads = spmm_kernels::kPackThreads;
  shape.shared_bytes = 2 * sizeof(uint32_t) * words;
  return dispatch_float(params.dtype, [&](auto element) {
    return launch(context, spmm_kernels::spmm_fill_tiles_kernel<decltype(element)>, shape, params, words);
  });
}

}  // namespace warptile
