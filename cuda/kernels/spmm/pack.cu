// A copy of a sparse matrix in dense tiles, for the tile kernels.   values[t, i, j] = A[panel row i, 64 columns[t] + j], or 0
// Layout    CSR or blocks: row_ptr[ceil(m/r)+1], col[stored], val[stored,r,c];  panel_ptr[panels+1], columns[tiles],
//           values[tiles, rows, 64], for half types with swizzled rows (SpmmTiles)
// Tiling    kSlices blocks a panel, each the same rows of all its tiles. Where not every tile of a panel is stored, each block finds which
//           are: a bit for each column of tiles, set where the panel stores something, and prefix sums of the bits
// Memory    shared: a bit and, by the word, a count for each column of tiles: 8 KiB for the widest matrix
// Roofline  writes of the tiles; runs once a matrix and once after each change of its values
// Numerics  values are copied
// Requires  columns of at most kSpmmMaxTiledColumns
// Source    no paper

#include "common/checked.h"
#include "common/hopper.cuh"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"

namespace warptile {
namespace spmm_kernels {
namespace {

constexpr int kPackThreads = 256;
constexpr int kSlices = 8;
constexpr int kBits = 32;
// Entries that a thread loads at once: rows as wide as the matrix would take hundreds of loads one after another.
constexpr int kLoads = 8;

// The tiles of a panel in which something is stored.
struct StoredTiles {
  const uint32_t* marks;   // a bit for each column of tiles
  const uint32_t* before;  // marks in the words before; null where all are set

  __device__ __forceinline__ int64_t position(int tile_column) const {
    if (before == nullptr) return tile_column;
    const int word = tile_column / kBits;
    return before[word] + __popc(marks[word] & ((1u << tile_column % kBits) - 1));
  }
};

// Marks the columns of tiles in which rows [first, last) store something, and counts: `words` words of 32 bits.
__device__ __forceinline__ void mark_tiles(const SparsePattern& a, int64_t first, int64_t last, int words, uint32_t* marks,
                                           uint32_t* before) {
  for (int i = threadIdx.x; i < words; i += kPackThreads) marks[i] = 0;
  __syncthreads();
  const int64_t end = a.row_ptr[(last - 1) / a.block_rows + 1];
  const int64_t begin = a.row_ptr[first / a.block_rows] + static_cast<int64_t>(threadIdx.x);
  for (int64_t start = begin; start < end; start += kLoads * kPackThreads) {
    int found[kLoads];
#pragma unroll
    for (int k = 0; k < kLoads; ++k) found[k] = start + k * kPackThreads < end ? a.col[start + k * kPackThreads] : -1;
#pragma unroll
    for (int k = 0; k < kLoads; ++k) {
      if (found[k] < 0) break;
      const int64_t column = static_cast<int64_t>(found[k]) * a.block_columns;
      const int64_t past = min(column + a.block_columns, a.columns);
      for (int tile = static_cast<int>(column / kSpmmTileDepth); tile * static_cast<int64_t>(kSpmmTileDepth) < past; ++tile) {
        const uint32_t bit = 1u << tile % kBits;
        // Most are set already.
        if ((marks[tile / kBits] & bit) == 0) atomicOr(marks + tile / kBits, bit);
      }
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t count = 0;
    for (int i = 0; i < words; ++i) {
      before[i] = count;
      count += __popc(marks[i]);
    }
  }
  __syncthreads();
}

// Where element `column` of row `row` of a tile lies.
template <typename T>
__device__ __forceinline__ int place_in_tile(int row, int column) {
  const int swizzled = sizeof(T) == 2 ? column ^ (row % 8 * 8) : column;
  return row * kSpmmTileDepth + swizzled;
}

template <typename T>
__global__ void __launch_bounds__(kPackThreads) spmm_fill_tiles_kernel(const SpmmFillTilesParams p, int words) {
  extern __shared__ uint32_t marks[];
  const SparsePattern& a = p.pattern;
  const int64_t panel = blockIdx.x;
  const int64_t panel_row = panel * p.tile_rows;
  const int64_t panel_end = min(panel_row + p.tile_rows, a.rows);
  const int64_t first_tile = p.panel_ptr[panel];
  const int64_t tiles = p.panel_ptr[panel + 1] - first_tile;
  const bool full = tiles == ceil_div(a.columns, kSpmmTileDepth);
  const StoredTiles stored{marks, full ? nullptr : marks + words};
  if (!full) mark_tiles(a, panel_row, panel_end, words, marks, marks + words);
  if (blockIdx.y == 0) {
    if (full) {
      for (int64_t i = threadIdx.x; i < tiles; i += kPackThreads) p.columns[first_tile + i] = static_cast<int32_t>(i);
    }
    for (int word = threadIdx.x; !full && word < words; word += kPackThreads) {
      int64_t tile = stored.before[word];
      for (uint32_t bits = marks[word]; bits != 0; bits &= bits - 1, ++tile) {
        if (tile < tiles) p.columns[first_tile + tile] = word * kBits + __ffs(bits) - 1;
      }
    }
  }

  const int slice_rows = p.tile_rows / kSlices;
  const int slice = blockIdx.y * slice_rows;
  const int64_t tile_elements = static_cast<int64_t>(p.tile_rows) * kSpmmTileDepth;
  T* values = static_cast<T*>(p.tile_values) + first_tile * tile_elements;
  constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
  // A power of two, as the rows of a tile are.
  const int vectors = slice_rows * kSpmmTileDepth / kVector;
  const int vectors_log2 = __ffs(vectors) - 1;
  for (int64_t i = threadIdx.x; i < tiles * vectors; i += kPackThreads) {
    T* target = values + (i >> vectors_log2) * tile_elements + slice * kSpmmTileDepth + (i & (vectors - 1)) * kVector;
    *reinterpret_cast<uint4*>(target) = make_uint4(0, 0, 0, 0);
  }
  // No zero comes after a value.
  __syncthreads();
  const T* source = static_cast<const T*>(p.values);
  for (int inner = slice + threadIdx.x / kWarpSize; inner < slice + slice_rows; inner += kPackThreads / kWarpSize) {
    const int64_t row = panel_row + inner;
    if (row >= a.rows) break;
    const int64_t first = a.row_ptr[row / a.block_rows];
    // Columns are distinct, so that a row's are fewer than 2^31 + 64.
    const uint32_t count = static_cast<uint32_t>(a.row_ptr[row / a.block_rows + 1] - first) * a.block_columns;
    for (uint32_t start = threadIdx.x % kWarpSize; start < count; start += kLoads * kWarpSize) {
      int64_t columns[kLoads];
      T entries[kLoads];
#pragma unroll
      for (int k = 0; k < kLoads; ++k) {
        const uint32_t i = start + k * kWarpSize;
        columns[k] = a.columns;
        if (i >= count) continue;
        const int64_t block = first + i / a.block_columns;
        const int offset = static_cast<int>(i % a.block_columns);
        columns[k] = static_cast<int64_t>(a.col[block]) * a.block_columns + offset;
        entries[k] = source[(block * a.block_rows + row % a.block_rows) * a.block_columns + offset];
      }
#pragma unroll
      for (int k = 0; k < kLoads; ++k) {
        // Past the row's last entry, or of a block that reaches out of the matrix.
        if (columns[k] >= a.columns) continue;
        const int column = static_cast<int>(columns[k]);
        const int64_t tile = stored.position(column / kSpmmTileDepth);
        // Where panel_ptr is not of this pattern, nothing outside of the panel's tiles is written.
        if (tile < tiles) values[tile * tile_elements + place_in_tile<T>(inner, column % kSpmmTileDepth)] = entries[k];
      }
    }
  }
  // The tile kernels read the copy before they wait for the kernel before them, by the copy engine: it must be visible to it when the
  // last block ends.
  __threadfence();
#ifdef WARPTILE_HOPPER
  fence_global_writes();
#endif
}

}  // namespace
}  // namespace spmm_kernels

Status spmm_fill_tiles(const SpmmFillTilesParams& params, const LaunchContext& context) {
  const SparsePattern& a = params.pattern;
  const int rows = params.tile_rows;
  if (rows != 32 && rows != 64 && rows != 128) return Status::invalid("spmm tiles: rows are not 32, 64 or 128");
  if (a.columns > kSpmmMaxTiledColumns) return Status::limit("spmm tiles: the matrix has too many columns");
  if (reinterpret_cast<uintptr_t>(params.tile_values) % spmm_kernels::kVectorBytes != 0) {
    return Status::invalid("spmm tiles: values are not at a multiple of 16 bytes");
  }
  const int words = static_cast<int>(ceil_div(ceil_div(a.columns, kSpmmTileDepth), spmm_kernels::kBits));
  LaunchShape shape;
  shape.grid_x = ceil_div(a.rows, rows);
  shape.grid_y = spmm_kernels::kSlices;
  shape.threads = spmm_kernels::kPackThreads;
  shape.shared_bytes = 2 * sizeof(uint32_t) * words;
  return dispatch_float(params.dtype, [&](auto element) {
    return launch(context, spmm_kernels::spmm_fill_tiles_kernel<decltype(element)>, shape, params, words);
  });
}

}  // namespace warptile
