// A copy of a sparse matrix in dense tiles, for the tile kernels.   values[t, i, j] = A[panel row i, 64 columns[t] + j], or 0
// Layout    CSR or blocks: row_ptr[ceil(m/r)+1], col[stored], val[stored,r,c];  panel_ptr[panels+1], columns[tiles],
//           values[tiles, rows, 64], for half types with swizzled rows (SpmmTiles)
// Tiling    where not every tile is stored, a block a panel finds which are: a bit for each column of tiles, set where the panel stores
//           something. Then a block each kSliceRows rows of the tiles of an item: it clears them, and its warps copy the entries of a row each
// Memory    shared: a bit and, by the word, a count for each column of tiles: 8 KiB for the widest matrix
// Roofline  writes of the tiles, and the columns, once or twice, and values from memory; runs once a matrix and once after each change of its
//           values
// Numerics  values are copied
// Requires  columns of at most kSpmmMaxTiledColumns
// Source    no paper

#include "common/checked.h"
#include "common/hopper.cuh"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/marks.cuh"

namespace warptile {
namespace spmm_kernels {
namespace {

constexpr int kFindThreads = 512;
constexpr int kFillThreads = 256;
// A row for each warp.
constexpr int kSliceRows = kFillThreads / kWarpSize;
static_assert(kSpmmTileDepth >= kMaxBlockExtent, "a block meets two tiles at most");

// Lists the columns of tiles in which each panel stores anything, without a look at panels that store all. Columns are below
// kSpmmMaxTiledColumns: 32 bits hold what is computed of them.
__global__ void __launch_bounds__(kFindThreads) spmm_find_tiles_kernel(const SpmmFillTilesParams p, int words) {
  extern __shared__ uint32_t shared[];
  const Marks marks{shared, shared + words, words};
  const SparsePattern& a = p.pattern;
  const int64_t panel_row = static_cast<int64_t>(blockIdx.x) * p.tile_rows;
  const int64_t panel_end = min(panel_row + p.tile_rows, a.rows);
  const int begin = a.row_ptr[panel_row / a.block_rows];
  const int end = a.row_ptr[(panel_end - 1) / a.block_rows + 1];
  const int first_tile = p.panel_ptr[blockIdx.x];
  const int tiles = p.panel_ptr[blockIdx.x + 1] - first_tile;
  const int last_column = static_cast<int>(a.columns) - 1;
  if (tiles > last_column / kSpmmTileDepth) {
    for (int i = threadIdx.x; i < tiles; i += kFindThreads) p.columns[first_tile + i] = i;
    return;
  }
  marks.clear();
  each_column<kFindThreads>(a.col, begin, end, [&](int32_t block) {
    const int column = block * a.block_columns;
    const int tile = column / kSpmmTileDepth;
    const int last = min(column + a.block_columns - 1, last_column) / kSpmmTileDepth;
    marks.set(tile);
    if (last > tile) marks.set(last);
  });
  marks.count();
  // Where panel_ptr is not of this pattern, nothing outside of the panel's tiles is written.
  marks.list(0, tiles, p.columns + first_tile);
}

// The first of the ascending columns [begin, end) that is not below `least`, or `end`; by all lanes of a warp.
__device__ __forceinline__ int first_from(const int32_t* columns, int begin, int end, int least) {
  while (begin < end) {
    const int step = (end - begin + kWarpSize - 1) / kWarpSize;
    const int64_t at = begin + static_cast<int64_t>(threadIdx.x % kWarpSize) * step;
    const uint32_t below = __ballot_sync(kFullMask, at < end && columns[at] < least);
    if (below == 0) return begin;
    // The last that is below, and the next that was looked at.
    const int last = begin + (__popc(below) - 1) * step;
    end = min(end, last + step);
    begin = last + 1;
  }
  return begin;
}

// Where element `column` of row `row` of a tile lies.
template <typename T>
__device__ __forceinline__ int place_in_tile(int row, int column) {
  const int swizzled = sizeof(T) == 2 ? column ^ (row % 8 * 8) : column;
  return row * kSpmmTileDepth + swizzled;
}

template <typename T, bool kBlocks>
__global__ void __launch_bounds__(kFillThreads) spmm_fill_tiles_kernel(const SpmmFillTilesParams p, bool full) {
  extern __shared__ uint32_t shared[];
  const SparsePattern& a = p.pattern;
  const int4 item = reinterpret_cast<const int4*>(p.items)[blockIdx.x];
  const int panel = item.x, first_tile = item.y, tiles = item.z;
  const bool whole_panel = item.w < 0;
  if (tiles == 0) return;
  const int slice = blockIdx.y * kSliceRows;
  const int inner = slice + static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  const int64_t row = static_cast<int64_t>(panel) * p.tile_rows + inner;

  int lowest, highest;
  Marks marks{shared, nullptr, 0};
  if (full) {
    lowest = first_tile - p.panel_ptr[panel];
    highest = lowest + tiles - 1;
    if (blockIdx.y == 0) {
      for (int i = threadIdx.x; i < tiles; i += kFillThreads) p.columns[first_tile + i] = lowest + i;
    }
  } else {
    lowest = p.columns[first_tile];
    highest = p.columns[first_tile + tiles - 1];
    marks.words = (highest - lowest) / kMarkBits + 1;
    marks.before = shared + marks.words;
    marks.clear();
    for (int i = threadIdx.x; i < tiles; i += kFillThreads) marks.set(p.columns[first_tile + i] - lowest);
    marks.count();
  }

  const int64_t tile_elements = static_cast<int64_t>(p.tile_rows) * kSpmmTileDepth;
  T* values = static_cast<T*>(p.tile_values) + first_tile * tile_elements;
  constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
  constexpr int kVectors = kSliceRows * kSpmmTileDepth / kVector;
  for (int i = threadIdx.x; i < tiles * kVectors; i += kFillThreads) {
    T* target = values + i / kVectors * tile_elements + slice * kSpmmTileDepth + i % kVectors * kVector;
    *reinterpret_cast<uint4*>(target) = make_uint4(0, 0, 0, 0);
  }
  // No zero comes after a value.
  __syncthreads();

  if (row < a.rows) {
    const T* source = static_cast<const T*>(p.values);
    const int block_columns = kBlocks ? a.block_columns : 1;
    int begin = a.row_ptr[kBlocks ? row / a.block_rows : row];
    const int end = a.row_ptr[(kBlocks ? row / a.block_rows : row) + 1];
    // The first block that reaches into the item's columns.
    if (!whole_panel) begin = first_from(a.col, begin, end, lowest * kSpmmTileDepth / block_columns);
    // Columns are distinct, so that a row's are fewer than 2^22.
    const int count = (end - begin) * block_columns;
    for (int start = 0; start < count; start += kLoads * kWarpSize) {
      int columns[kLoads];
      T entries[kLoads];
#pragma unroll
      for (int k = 0; k < kLoads; ++k) {
        const int i = start + k * kWarpSize + lane;
        columns[k] = INT32_MAX;
        if (i >= count) continue;
        const int64_t block = begin + static_cast<int64_t>(kBlocks ? i / block_columns : i);
        const int offset = kBlocks ? i % block_columns : 0;
        columns[k] = a.col[block] * block_columns + offset;
        entries[k] = source[kBlocks ? (block * a.block_rows + row % a.block_rows) * block_columns + offset : block];
      }
#pragma unroll
      for (int k = 0; k < kLoads; ++k) {
        const int tile = columns[k] / kSpmmTileDepth;
        // Of another item of the panel, past the row's last entry, or of a block that reaches out of the matrix.
        if (tile < lowest || tile > highest || columns[k] >= a.columns) continue;
        const int place = full ? tile - lowest : marks.place(tile - lowest);
        if (place < tiles) values[place * tile_elements + place_in_tile<T>(inner, columns[k] % kSpmmTileDepth)] = entries[k];
      }
      // Columns ascend: what follows belongs to other items.
      if (__any_sync(kFullMask, columns[kLoads - 1] / kSpmmTileDepth > highest)) break;
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
  if (!is_aligned(params.tile_values) || !is_aligned(params.items)) {
    return Status::invalid("spmm tiles: values or items are not at a multiple of 16 bytes");
  }
  const int64_t panels = ceil_div(a.rows, rows);
  const int64_t wide = ceil_div(a.columns, kSpmmTileDepth);
  const bool full = params.count == panels * wide;
  const int words = static_cast<int>(ceil_div(wide, spmm_kernels::kMarkBits));
  LaunchShape shape;
  shape.shared_bytes = 2 * sizeof(uint32_t) * words;
  if (!full) {
    shape.grid_x = panels;
    shape.threads = spmm_kernels::kFindThreads;
    WARPTILE_RETURN_IF_ERROR(launch(context, spmm_kernels::spmm_find_tiles_kernel, shape, params, words));
  }
  shape.grid_x = params.items_count;
  shape.grid_y = rows / spmm_kernels::kSliceRows;
  shape.threads = spmm_kernels::kFillThreads;
  return dispatch_float(params.dtype, [&](auto element) {
    using T = decltype(element);
    return a.is_csr() ? launch(context, spmm_kernels::spmm_fill_tiles_kernel<T, false>, shape, params, full)
                      : launch(context, spmm_kernels::spmm_fill_tiles_kernel<T, true>, shape, params, full);
  });
}

}  // namespace warptile
