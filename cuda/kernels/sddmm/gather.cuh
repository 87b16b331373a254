// SDDMM, CSR mask, gathered rows.          S[p] = alpha factor[p] (A[i,:] . B[col[p],:]), i the row of element p
// Layout    mask: row_ptr[m+1], col[nnz];  A [m,k];  B [n,k];  S [nnz]
// Tiling    kLanes lanes sum an element; a group of them takes kSteps consecutive elements, whose rows of B are in flight
//           together, and a warp takes kSteps * 32 / kLanes. Blocks of 4 warps; a batch is a loop over grid y.
//             lane l of a group -> columns (l + kLanes i) kVector, i = 0, 1, ...
//           Rows: `splits` warps share a row. Gather: warps take elements whatever their rows; one search of row_ptr by the whole
//           warp finds the first row, the others lie within the next 32 almost always. Blocks by rows may be launched in bundles, as
//           those of kernels/spmm/group.cuh.
// Memory    no shared memory
// Roofline  nnz (4 + out) + gathered rows of A and B; bound by L2 bandwidth, by latency below about 100,000 elements
// Numerics  float32: a lane in ascending order, then a butterfly in fixed order: bitwise repeatable;
//           |error| <= (k + 2) 2^-24 sum |a b|, then one rounding
// Requires  k, lda, ldb and the strides multiples of kVector and 16-byte aligned bases, or kVector = 1
// Source    Gale et al., "Sparse GPU Kernels for Deep Learning" (2020), subwarp per dot product; differs in the segments of
//           elements instead of rows, and in the reduction of kSteps sums at once
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/sddmm/config.h"
#include "kernels/sddmm/dot_products.cuh"
#include "kernels/sddmm/find_row.cuh"

namespace warptile::sddmm_kernels {

// The row of element `index`, searched by all lanes of a warp: 32 probes a round. Requires 0 <= index < stored.
__device__ __forceinline__ int find_row_by_warp(const int32_t* row_ptr, int rows, int64_t index) {
  const int lane = threadIdx.x % kWarpSize;
  int low = 0;
  // The row lies in [low, low + count).
  for (int count = rows; count > 1;) {
    const int step = (count - 1) / kWarpSize + 1;
    // 64 bits: lane * step may pass 2^31.
    const int64_t probe = static_cast<int64_t>(lane) * step;
    const bool before = probe < count && row_ptr[low + probe] <= index;
    const int found = __popc(__ballot_sync(kFullMask, before)) - 1;
    low += found * step;
    count = min(step, count - found * step);
  }
  return low;
}

// Writes the sum of element first + l of a segment in lane l of its group, none past `last`.
template <typename T, int kVector, int kLanes>
__device__ __forceinline__ void store_sums(const SddmmParams& p, int64_t problem, int64_t first, int64_t last,
                                           DotProducts<T, kVector, kLanes>& products) {
  const float sum = products.sum();
  const int group_lane = threadIdx.x % kLanes;
  const int64_t element = first + group_lane;
  if (group_lane >= GatherShape<kLanes>::kSteps || element > last) return;
  float value = p.alpha * sum;
  if (p.factors != nullptr) value *= to_float(static_cast<const T*>(p.factors)[problem * p.factors_stride + element]);
  static_cast<T*>(p.out)[problem * p.out_stride + element] = from_float<T>(value);
}

// Four blocks: with more, the compiler would have loads wait for each other to save registers.
template <typename T, int kVector, int kLanes>
__global__ void __launch_bounds__(kCsrThreads, 4) sddmm_gather_kernel(const SddmmParams p) {
  using Shape = GatherShape<kLanes>;
  constexpr int kSteps = Shape::kSteps;
  const SparsePattern& s = p.pattern;
  const int lane = threadIdx.x % kWarpSize;
  const int group_first = lane / kLanes * kSteps;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * (kCsrThreads / kWarpSize) + threadIdx.x / kWarpSize;
  const int64_t first = warp * Shape::kSegment;
  // All lanes of a warp leave together: the shuffles below need every one of them.
  if (first >= s.stored) return;
  const int64_t last = min(first + Shape::kSegment, s.stored) - 1;
  // Lane l looks after element first + l; those past the last one repeat it and are not written.
  const int64_t element = min(first + lane, last);
  const int column = s.col[element];
  const int rows = static_cast<int>(s.rows);
  const int first_row = find_row_by_warp(s.row_ptr, rows, first);
  // Lane l holds the end of row first_row + l.
  const int row_end = s.row_ptr[min(static_cast<int64_t>(first_row) + 1 + lane, s.rows)];
  int row;
  if (__shfl_sync(kFullMask, row_end, kWarpSize - 1) > last) {
    int offset = 0;
#pragma unroll
    for (int half = kWarpSize / 2; half > 0; half /= 2) {
      if (__shfl_sync(kFullMask, row_end, offset + half - 1) <= element) offset += half;
    }
    row = first_row + offset;
  } else {
    row = find_row(s.row_ptr, first_row, rows - 1, element);
  }
  int columns[kSteps];
  int rows_of[kSteps];
  bool same = true;
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    columns[i] = __shfl_sync(kFullMask, column, group_first + i);
    rows_of[i] = __shfl_sync(kFullMask, row, group_first + i);
    same = same && rows_of[i] == rows_of[0];
  }
  const bool one_row = __all_sync(kFullMask, same);
  const int depth = static_cast<int>(p.depth);
  // Only the pattern was read so far, which uploads alone write, never a kernel.
  follow_previous_kernel(p.plan.alone);

  for (int64_t problem = blockIdx.y; problem < p.batch; problem += gridDim.y) {
    const DenseRows<T> a(p.a, problem * p.a_stride, p.lda);
    const DenseRows<T> b(p.b, problem * p.b_stride, p.ldb);
    DotProducts<T, kVector, kLanes> products;
    if (one_row) {
      products.template add_row<1>(a.at(rows_of[0], 0), b, columns, depth);
    } else {
      products.add_rows(a, rows_of, b, columns, depth);
    }
    store_sums(p, problem, first + group_first, last, products);
  }
}

// Steps along the depth that are in flight at once. Two take registers of the fifth block of a multiprocessor; for 4 and 16 lanes that was
// slower. A lane alone walks through rows of few columns, and has registers for four steps of them.
template <int kVector, int kLanes>
constexpr int kRowSteps = kLanes == 1 && kVector <= 2 ? 4 : kLanes == 4 || kLanes == 16 ? 1 : 2;

// Blocks of a multiprocessor that registers must leave room for, and of a bundle.
template <int kLanes>
constexpr int kRowBlocks = kLanes == 4 ? 9 : kLanes == 16 ? 6 : 4;
template <int kLanes>
constexpr int kMostBundled = kLanes <= 4 ? 8 : kRowBlocks<kLanes>;

// As `sddmm_gather_kernel`, but `plan.splits` warps share each row: no search, and warps of one multiprocessor that sweep
// neighbouring rows together find each other's rows of B in L1. kBundled: `plan.bundle` blocks are launched as one. kAtOnce: steps along the
// depth that are in flight.
template <typename T, int kVector, int kLanes, bool kBundled, int kAtOnce>
__global__ void __launch_bounds__(kBundled ? kMostBundled<kLanes> * kCsrThreads : kCsrThreads, kBundled ? 1 : kRowBlocks<kLanes>)
    sddmm_row_kernel(const SddmmParams p) {
  using Shape = GatherShape<kLanes>;
  constexpr int kSteps = Shape::kSteps;
  const SparsePattern& s = p.pattern;
  const int lane = threadIdx.x % kWarpSize;
  const int group_first = lane / kLanes * kSteps;
  // Blocks of a bundle are dealt out in turn, as single ones are.
  const int64_t block = blockIdx.x + (kBundled ? static_cast<int64_t>(threadIdx.x / kCsrThreads) * gridDim.x : 0);
  const int64_t warp = block * (kCsrThreads / kWarpSize) + threadIdx.x % kCsrThreads / kWarpSize;
  const int64_t row = warp / p.plan.splits;
  // All lanes of a warp leave together: the shuffles below need every one of them.
  if (row >= s.rows) return;
  // Unsigned: the last step goes past the last element, which 2^31 - 1 elements leave no room for.
  const uint32_t begin = s.row_ptr[row] + static_cast<uint32_t>(warp % p.plan.splits) * Shape::kSegment;
  const uint32_t end = s.row_ptr[row + 1];
  const uint32_t stride = p.plan.splits * Shape::kSegment;
  // Lanes past the last element repeat it and are not written.
  const int first_column = begin < end ? s.col[min(begin + lane, end - 1)] : 0;
  const int depth = static_cast<int>(p.depth);
  // Only the pattern was read so far, which uploads alone write, never a kernel.
  follow_previous_kernel(p.plan.alone);

  for (int64_t problem = blockIdx.y; problem < p.batch; problem += gridDim.y) {
    const T* a = static_cast<const T*>(p.a) + problem * p.a_stride + row * p.lda;
    const DenseRows<T> b(p.b, problem * p.b_stride, p.ldb);
    int next_column = first_column;
    for (uint32_t first = begin; first < end; first += stride) {
      const int column = next_column;
      if (first + stride < end) next_column = s.col[min(first + stride + lane, end - 1)];
      int columns[kSteps];
#pragma unroll
      for (int i = 0; i < kSteps; ++i) columns[i] = __shfl_sync(kFullMask, column, group_first + i);
      DotProducts<T, kVector, kLanes> products;
      products.template add_row<kAtOnce>(a, b, columns, depth);
      store_sums(p, problem, first + group_first, end - 1, products);
    }
  }
}

template <typename T, int kVector, int kLanes>
Status launch_row_kernel(const SddmmParams& params, const LaunchContext& context) {
  const int bundle = params.plan.bundle;
  if (bundle < 1 || bundle > kMostBundled<kLanes>) return Status::unsupported("sddmm: no kernel of such a bundle");
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = ceil_div(params.pattern.rows * params.plan.splits, kCsrThreads / kWarpSize * bundle);
  shape.grid_y = std::min(params.batch, kMaxGridYZ);
  shape.threads = kCsrThreads * bundle;
  constexpr int kAtOnce = kRowSteps<kVector, kLanes>;
  if (bundle > 1) return launch(context, sddmm_row_kernel<T, kVector, kLanes, true, kAtOnce>, shape, params);
  if constexpr (kLanes == 1 && kVector <= 2) {
    // Registers for further steps would take those of a quarter of the blocks.
    if (params.depth <= kVector) return launch(context, sddmm_row_kernel<T, kVector, kLanes, false, 1>, shape, params);
  }
  return launch(context, sddmm_row_kernel<T, kVector, kLanes, false, kAtOnce>, shape, params);
}

template <typename T, int kVector, int kLanes>
Status launch_gather_kernel(const SddmmParams& params, const LaunchContext& context) {
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = ceil_div(params.pattern.stored, GatherShape<kLanes>::kSegment * (kCsrThreads / kWarpSize));
  shape.grid_y = std::min(params.batch, kMaxGridYZ);
  shape.threads = kCsrThreads;
  return launch(context, sddmm_gather_kernel<T, kVector, kLanes>, shape, params);
}

template <typename T, int kVector, int kLanes>
Status launch_lanes(const SddmmParams& params, const LaunchContext& context) {
  return params.plan.variant == SddmmVariant::kRows ? launch_row_kernel<T, kVector, kLanes>(params, context)
                                                    : launch_gather_kernel<T, kVector, kLanes>(params, context);
}

// Requires has_gather(params.dtype, params.plan).
template <typename T>
Status launch_gather(const SddmmParams& params, const LaunchContext& context) {
  constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
  const int lanes = params.plan.lanes;
  if (params.plan.vector == 1) {
    if (lanes == 1) return launch_lanes<T, 1, 1>(params, context);
    if (lanes == 8) return launch_lanes<T, 1, 8>(params, context);
    return launch_lanes<T, 1, 32>(params, context);
  }
  if (params.plan.vector == 2) {
    if (lanes == 1) return launch_lanes<T, 2, 1>(params, context);
    if (lanes == 4) return launch_lanes<T, 2, 4>(params, context);
    if (lanes == 8) return launch_lanes<T, 2, 8>(params, context);
    if (lanes == 16) return launch_lanes<T, 2, 16>(params, context);
    return launch_lanes<T, 2, 32>(params, context);
  }
  switch (lanes) {
    case 1:
      return launch_lanes<T, kVector, 1>(params, context);
    case 2:
      return launch_lanes<T, kVector, 2>(params, context);
    case 4:
      return launch_lanes<T, kVector, 4>(params, context);
    case 8:
      return launch_lanes<T, kVector, 8>(params, context);
    case 16:
      return launch_lanes<T, kVector, 16>(params, context);
    default:
      return launch_lanes<T, kVector, 32>(params, context);
  }
}

}  // namespace warptile::sddmm_kernels
