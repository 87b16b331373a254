// SpMM, CSR x dense row-major.        C[i,:] = alpha sum_p val[p] B[col[p],:] + beta C[i,:]
// Layout    A: row_ptr[m+1], col/val[nnz];  B [k,n];  C [m,n]
// Tiling    a warp of kLanes x kSplits x kItems lanes takes kItems rows; `warps` warps take one row together (then kItems = 1). Entries
//           go in chunks of four, dealt out in turn:
//
//               columns ->     lane 0 | lane 1 | ... | lane kLanes-1     kVector each, in pieces of kPiece (entries.cuh)
//               chunk 0        split 0 of warp 0
//               chunk 1        split 1 of warp 0          then shuffles add the splits, shared memory the warps
//               ...
//
//           Blocks of 4 warps, or of those of a row; a bundle of them is launched as one where the blocks of the next kernel would be
//           placed among them unevenly.
// Memory    shared: 1 KiB a warp, 32 KiB a block at most, where warps share a row; 64 registers a thread, 80 of batches
// Roofline  nnz (bytes of val + 4) + gathered rows of B + C; bound by L1/L2 (about 11 TB/s gathered on an H200) and, below 4 us, by
//           latency: one chain of row_ptr -> col -> B for each round of chunks
// Numerics  float32 accumulators; splits and warps are added in a fixed order: bitwise repeatable.
//           |error| <= (nnz of the row + 2) 2^-24 sum |a b|, then one rounding to the output
// Requires  n, ldb, ldc, strides and bases of B and C multiples of kPiece elements, of whole vectors those of B or of its padded copy alone; col
//           16-byte aligned; rows of B less than 4 GiB apart
// Source    Gale et al., "Sparse GPU Kernels for Deep Learning" (2020), 1-D tiling; here several warps share a row, and
//           entries are dealt out in aligned chunks
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/entries.cuh"

namespace warptile::spmm_kernels {

// What the kernel reads, and no more: the constants of a fresh launch arrive by cache lines, each a wait at the start. Those that
// only batches need come last.
template <typename T>
struct GroupParams {
  const int32_t* row_ptr;  // [rows + 1]
  EntryArrays<T> a;
  const T* b;             // [batch, k, n]
  int32_t rows;
  uint32_t row_bytes;      // of B
  int32_t warps_log2;     // of a row
  float alpha;
  float beta;
  int64_t n;
  T* c;  // [batch, m, n]
  int64_t ldc;
  bool whole;  // rows of C begin and end at multiples of 16 bytes
  int64_t batch;
  int64_t values_stride;
  int64_t b_stride;
  int64_t c_stride;
};

// Threads of a block at most, and such blocks of a multiprocessor: without a number the compiler saves registers and waits for one row of B
// before it asks for the next.
template <bool kSimple>
constexpr int kGroupMaxThreads = kSimple ? kMaxBundleThreads : kMaxGroupWarps * kWarpSize;
template <bool kSimple>
constexpr int kGroupBlocks = kSimple ? 1 : 3;

// kSimple: one problem, and a grid that holds all column tiles. kWhole: rows of C begin and end at whole vectors.
template <typename T, typename Columns, int kSplits, bool kSimple, bool kWhole>
__global__ void __launch_bounds__(kGroupMaxThreads<kSimple>, kGroupBlocks<kSimple>) spmm_group_kernel(const GroupParams<T> p) {
  constexpr int kVector = Columns::kVector, kLanes = Columns::kLanes, kTile = Columns::kTile;
  constexpr int kItems = kWarpSize / (kLanes * kSplits);
  extern __shared__ float warp_sums[];  // [warps of the block, kTile]
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int warps = 1 << p.warps_log2;
  const int part = (warp & (warps - 1)) * kSplits + lane / kLanes % kSplits;
  const uint32_t step = warps * kSplits * kChunk;
  // Blocks of a bundle are dealt out in turn, as single ones are.
  const int block_log2 = max(kGroupWarpsLog2, p.warps_log2);
  const uint32_t block = blockIdx.x + (kSimple ? (warp >> block_log2) * gridDim.x : 0);
  const int row_of_block = (warp & ((1 << block_log2) - 1)) >> p.warps_log2;
  // Below 2^31 + 2^31: the grid was checked.
  const uint32_t row = ((block << (block_log2 - p.warps_log2)) + row_of_block) * kItems + lane / (kLanes * kSplits);
  const bool has_row = row < static_cast<uint32_t>(p.rows);
  // The pattern was written by copies from the host, which no kernel overlaps: it may be read while the kernel before this one ends.
  const uint32_t first = has_row ? p.row_ptr[row] : 0;
  const uint32_t last = has_row ? p.row_ptr[row + 1] : 0;
  const uint32_t start = first / kChunk * kChunk + part * kChunk;
  ChunkColumns head{};
  if (start < last) head = load_columns(p.a, start);
  follow_previous_kernel();
  const bool stores = has_row && part == 0;

  // One column tile of one problem. All threads of the block take part.
  const auto run = [&](int64_t problem, int64_t tile) {
    const T* values = kSimple ? p.a.values : p.a.values + problem * p.values_stride;
    const int64_t column = tile * kTile + Columns::first(lane);
    // Lanes outside still take part in the shuffles.
    const int pieces = Columns::pieces(column, p.n);
    const bool inside = pieces > 0;
    const T* b = (kSimple ? p.b : p.b + problem * p.b_stride) + column;
    float sum[kVector] = {};
    if (inside && start < last) {
      const auto factors = load_values(p.a, values, start);
      add_entries<Columns>(p.a, values, b, p.row_bytes, head, factors, start, step, first, last, pieces, sum);
    }
    if constexpr (kSplits > 1) {
#pragma unroll
      for (int offset = kLanes; offset < kLanes * kSplits; offset *= 2) {
#pragma unroll
        for (int v = 0; v < kVector; ++v) sum[v] += __shfl_xor_sync(kFullMask, sum[v], offset);
      }
    }
    if (warps > 1) {
      float* mine = warp_sums + warp * kTile + lane % kLanes * kVector;
      if (lane < kLanes) {
#pragma unroll
        for (int v = 0; v < kVector; ++v) mine[v] = sum[v];
      }
      __syncthreads();
      if (stores) {
        for (int other = 1; other < warps; ++other) {
#pragma unroll
          for (int v = 0; v < kVector; ++v) sum[v] += mine[other * kTile + v];
        }
      }
      // The next tile overwrites the sums.
      if constexpr (!kSimple) __syncthreads();
    }
    if (!stores || !inside) return;
    T* c = kSimple ? p.c : p.c + problem * p.c_stride;
    store_columns<Columns>(c + row * p.ldc + column, sum, pieces, kWhole || (!kSimple && p.whole), p.n - column, p.alpha,
                           p.beta);
  };
  if constexpr (kSimple) {
    run(0, blockIdx.y);
  } else {
    // The grid holds at most 65,535 problems and column tiles: the rest follows in these loops.
    for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
      for (int64_t tile = blockIdx.y; tile * kTile < p.n; tile += gridDim.y) run(problem, tile);
    }
  }
}

template <typename T, typename Columns, int kSplits>
Status launch_group_shape(const SpmmParams& params, const LaunchContext& context) {
  constexpr int kItems = kWarpSize / (Columns::kLanes * kSplits);
  const int warps = params.plan.warps;
  const int block_warps = std::max(1 << kGroupWarpsLog2, warps);
  LaunchShape shape;
  shape.overlaps = true;
  shape.threads = block_warps * kWarpSize * params.plan.bundle;
  shape.grid_x = ceil_div(params.pattern.rows, block_warps / warps * kItems * params.plan.bundle);
  shape.grid_y = std::min(ceil_div(params.n, Columns::kTile), kMaxGridYZ);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  if (warps > 1) shape.shared_bytes = sizeof(float) * (shape.threads / kWarpSize) * Columns::kTile;
  auto p = entry_params<GroupParams, T>(params);
  p.row_ptr = params.pattern.row_ptr;
  p.rows = static_cast<int32_t>(params.pattern.rows);
  while (1 << p.warps_log2 < warps) ++p.warps_log2;
  p.batch = params.batch;
  const bool simple = params.batch == 1 && shape.grid_y * Columns::kTile >= params.n;
  if (!simple && params.plan.bundle > 1) return Status::unsupported("spmm: bundles are of one problem");
  // Smaller pieces are whole wherever there is a kernel of them. One of several problems finds out.
  if (!simple) return launch(context, spmm_group_kernel<T, Columns, kSplits, false, !Columns::kWholeVectors>, shape, p);
  if constexpr (Columns::kWholeVectors) {
    if (!p.whole) return launch(context, spmm_group_kernel<T, Columns, kSplits, true, false>, shape, p);
  }
  return launch(context, spmm_group_kernel<T, Columns, kSplits, true, true>, shape, p);
}

template <typename T, typename Columns>
Status launch_group_splits(const SpmmParams& params, const LaunchContext& context) {
  constexpr int kAll = kWarpSize / Columns::kLanes;
  constexpr int kFew = kAll >= 4 ? kAll / 4 : 1;
  if constexpr (Columns::kLanes <= 2) {
    if (params.plan.splits == 1) return launch_group_shape<T, Columns, 1>(params, context);
  }
  return params.plan.splits == kAll ? launch_group_shape<T, Columns, kAll>(params, context)
                                    : launch_group_shape<T, Columns, kFew>(params, context);
}

// Requires has_group(params.dtype, params.plan).
template <typename T>
Status launch_group(const SpmmParams& params, const LaunchContext& context) {
  return dispatch_columns<T>(params.plan, [&](auto columns) {
    return launch_group_splits<T, decltype(columns)>(params, context);
  });
}

}  // namespace warptile::spmm_kernels
