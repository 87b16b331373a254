// SpMM, CSR of short, uneven rows.        C[i,:] = alpha sum_p val[p] B[col[p],:] + beta C[i,:]
// Layout    A: col/val[nnz], steps[nnz]: rows that end with an entry, itself and the empty ones after it, or 0;  B [k,n];  C [m,n];
//           items [count]: first and past the last entry, row or ~slot, empty rows before it
// Tiling    entries, not rows, are shared out: a group of 8 lanes takes a stretch of whole rows with about as many entries as every
//           other, and 4 or 8 columns a lane, at once or in pieces (entries.cuh):
//
//               warp         | stretch | stretch | stretch | stretch |
//               its entries  | a a b b b c | d d d d | e f f f g |          a row is stored when its last entry was added
//
//           Rows longer than a stretch come first: a block or a warp each, whose groups take equal parts and add up their sums. Those
//           too long for a block are cut, and their segments added by a second kernel.
//           Grid: items along x, column tiles along y, so that the blocks of a time gather from a part of B that the L2 cache holds.
// Memory    shared: 512 or 1024 bytes; 48 registers, for 40 warps a multiprocessor; 64 for 32 where the pieces of a lane are eight
//           registers an entry: whole vectors are gathered faster by more warps with fewer columns
// Roofline  nnz (bytes of val + 5) + gathered rows of B + C: bound by the L2 cache, from which it gathers 5.5 to 6.5 TB/s on an H200.
//           Rows of B are loaded four at a time wherever rows of A end: the next entries are on their way by then
// Numerics  float32 accumulators, entries of a row in order, parts of long rows in a fixed order: bitwise repeatable.
//           |error| <= (nnz of the row + 2) 2^-24 sum |a b|, then one rounding to the output
// Requires  as group.cuh; items 16-byte aligned
// Source    Merrill and Garland, "Merge-based parallel sparse matrix-vector multiplication" (2016), for shares of entries; here they
//           end with rows, so that only long rows are added up twice
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/entries.cuh"
#include "kernels/spmm/segments.cuh"

namespace warptile::spmm_kernels {

template <typename T>
struct StreamParams {
  const int4* items;     // [count]
  EntryArrays<T> a;
  const uint8_t* steps;  // [stored]
  const T* b;            // [batch, k, n]
  uint32_t row_bytes;    // of B
  uint32_t block_items;  // taken by a block each
  uint32_t warp_items;   // taken by a warp each
  uint32_t warp_blocks;  // ceil(warp_items / kStreamWarps)
  uint32_t count;        // of all items
  uint32_t n;
  bool alone;            // SpmmPlan::alone
  float alpha;
  float beta;
  bool whole;            // rows of C begin and end at multiples of 16 bytes
  T* c;  // [batch, m, n]
  int64_t ldc;
  int64_t values_stride;
  int64_t b_stride;
  int64_t c_stride;
  float* partial;  // [batch, segments, pitch]
  uint32_t pitch;
  int64_t segments;
};

// Blocks of a multiprocessor at least: warps in flight count more than what each has in flight. Single elements take a register each.
template <typename T, typename Columns>
constexpr int kStreamBlocks = Columns::kVector * (Columns::kPiece == 1 ? 4 : sizeof(T)) <= kVectorBytes ? 10 : 8;

// kPlain: beta is 0, and vectors of C are whole.
template <typename T, typename Columns, bool kPlain>
__global__ void __launch_bounds__(kStreamThreads, kStreamBlocks<T, Columns>) spmm_stream_kernel(const StreamParams<T> p) {
  static_assert(Columns::kLanes == kStreamLanes);
  constexpr int kVector = Columns::kVector, kTile = Columns::kTile;
  constexpr int kGroups = kWarpSize / kStreamLanes;
  __shared__ float warp_sums[kStreamWarps * kTile];
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int own = lane % kStreamLanes;
  const int group = lane / kStreamLanes;
  const bool by_block = blockIdx.x < p.block_items;
  const bool by_warp = !by_block && blockIdx.x < p.block_items + p.warp_blocks;
  // Of a block or a warp; the items of the groups follow those.
  const uint32_t long_item = by_block ? blockIdx.x : p.block_items + (blockIdx.x - p.block_items) * kStreamWarps + warp;

  // The pattern was written by copies from the host, which no kernel overlaps: it may be read while the kernel before this one ends.
  uint32_t first = 0;
  uint32_t last = 0;
  int row = 0;
  int empty_before = 0;
  if (by_block || by_warp) {
    if (long_item < p.block_items + p.warp_items) {
      const int4 item = p.items[long_item];
      const uint32_t past = item.y;
      const uint32_t length = past - item.x;
      const uint32_t parts = by_block ? kStreamWarps * kGroups : kGroups;
      const uint32_t share = (length + parts - 1) / parts;
      first = min(item.x + (by_block ? warp * kGroups + group : group) * share, past);
      last = min(first + share, past);
      row = max(item.z, 0);
    }
  } else {
    const uint32_t block = blockIdx.x - p.block_items - p.warp_blocks;
    const uint32_t at = p.block_items + p.warp_items + (block * kStreamWarps + warp) * kGroups + group;
    const int4 item = at < p.count ? p.items[at] : make_int4(0, 0, 0, 0);
    first = item.x;
    last = item.y;
    row = item.z - item.w;
    empty_before = item.w;
  }
  // An entry a lane; past the last one they end no row.
  int columns = 0;
  int steps = 0;
  T factors{};
  if (first + own < last) {
    columns = p.a.col[first + own];
    steps = p.steps[first + own];
  }
  follow_previous_kernel(p.alone);
  const T* values = p.a.values + blockIdx.z * p.values_stride;
  if (first + own < last) factors = values[first + own];
  const uint32_t column = blockIdx.y * kTile + Columns::first(lane);
  // Lanes outside still take part in the shuffles.
  const int pieces = Columns::pieces(column, p.n);
  const bool inside = pieces > 0;
  // Entries past the last one are of column 0, and lanes outside load the first columns: branches around loads would cost more.
  const T* b = p.b + blockIdx.z * p.b_stride + (inside ? column : 0);
  T* c = p.c + blockIdx.z * p.c_stride + row * p.ldc + column;
  float sum[kVector] = {};
  const auto store = [&](T* target) {
    store_columns<Columns>(target, sum, pieces, kPlain || p.whole, p.n - column, p.alpha, kPlain ? 0.0f : p.beta);
  };
  // Stores a row and the empty ones after it.
  const auto end_rows = [&](int count) {
    for (; count > 0; --count, c += p.ldc) {
      if (inside) store(c);
#pragma unroll
      for (int v = 0; v < kVector; ++v) sum[v] = 0;
    }
  };
  end_rows(empty_before);
  while (__any_sync(kFullMask, first < last)) {
    const int remaining = inside ? last - first : 0;
    first = min(first + kStreamLanes, last);
    const float own_factor = to_float(factors);
    int next_columns = 0;
    int next_steps = 0;
    T next_factors{};
    if (first + own < last) {
      next_columns = p.a.col[first + own];
      next_factors = values[first + own];
      next_steps = p.steps[first + own];
    }
#pragma unroll
    for (int from = 0; from < kStreamLanes; from += kChunk) {
      Pack<T, kVector> rows[kChunk];
#pragma unroll
      for (int u = 0; u < kChunk; ++u) {
        const int column_of = __shfl_sync(kFullMask, columns, from + u, kStreamLanes);
        rows[u] = Columns::load(row_of(b, column_of, p.row_bytes), max(pieces, 1));
      }
#pragma unroll
      for (int u = 0; u < kChunk; ++u) {
        const float factor = __shfl_sync(kFullMask, own_factor, from + u, kStreamLanes);
        const int step = __shfl_sync(kFullMask, steps, from + u, kStreamLanes);
        if (from + u < remaining) add_entry(factor, rows[u], sum);
        end_rows(step);
      }
    }
    columns = next_columns;
    steps = next_steps;
    factors = next_factors;
  }
  if (!by_block && !by_warp) return;

  // No row ended: its parts are in the groups.
#pragma unroll
  for (int offset = kStreamLanes; offset < kWarpSize; offset *= 2) {
#pragma unroll
    for (int v = 0; v < kVector; ++v) sum[v] += __shfl_xor_sync(kFullMask, sum[v], offset);
  }
  if (by_block) {
    float* mine = warp_sums + warp * kTile + own * kVector;
    if (group == 0) {
#pragma unroll
      for (int v = 0; v < kVector; ++v) mine[v] = sum[v];
    }
    __syncthreads();
    if (warp != 0) return;
#pragma unroll
    for (int other = 1; other < kStreamWarps; ++other) {
#pragma unroll
      for (int v = 0; v < kVector; ++v) sum[v] += mine[other * kTile + v];
    }
  }
  if (group != 0 || !inside || long_item >= p.block_items + p.warp_items) return;
  const int target = p.items[long_item].z;
  if (target >= 0) {
    store(c);
    return;
  }
  float* slot = p.partial + (blockIdx.z * p.segments + ~target) * p.pitch + column;
  Columns::each(pieces, [&](int piece) {
#pragma unroll
    for (int v = 0; v < Columns::kPiece; ++v) slot[piece * Columns::kApart + v] = sum[piece * Columns::kPiece + v];
  });
}

template <typename T>
StreamParams<T> stream_params(const SpmmParams& params, float* partial) {
  auto p = item_params<StreamParams, T>(params, kStreamWarps, partial);
  p.steps = params.bins.steps;
  p.alone = params.plan.alone;
  return p;
}

template <typename T, typename Columns>
Status launch_stream_columns(const SpmmParams& params, const LaunchContext& context) {
  constexpr int kItems = kStreamWarps * kWarpSize / kStreamLanes;
  float* partial = nullptr;
  WARPTILE_RETURN_IF_ERROR(allocate_segments(params, context, &partial));
  const auto p = stream_params<T>(params, partial);
  LaunchShape shape;
  shape.overlaps = true;
  shape.threads = kStreamThreads;
  shape.grid_x = p.block_items + p.warp_blocks + ceil_div(p.count - p.block_items - p.warp_items, kItems);
  shape.grid_y = ceil_div(params.n, Columns::kTile);
  shape.grid_z = params.batch;
  const bool plain = p.beta == 0 && (p.whole || !Columns::kWholeVectors);
  WARPTILE_RETURN_IF_ERROR(plain ? launch(context, spmm_stream_kernel<T, Columns, true>, shape, p)
                                 : launch(context, spmm_stream_kernel<T, Columns, false>, shape, p));
  return add_segments<T>(params, context, partial);
}

// Requires has_stream(params.dtype, params.plan), of eight lanes, and `steps`.
template <typename T>
Status launch_stream(const SpmmParams& params, const LaunchContext& context) {
  constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
  const int vector = params.plan.vector, piece = params.plan.piece;
  if (piece == 1) {
    return vector == 4 ? launch_stream_columns<T, LaneColumns<4, 1, kStreamLanes>>(params, context)
                       : launch_stream_columns<T, LaneColumns<8, 1, kStreamLanes>>(params, context);
  }
  if (piece == 2) {
    if constexpr (kVector == 4) {
      if (vector == 4) return launch_stream_columns<T, LaneColumns<4, 2, kStreamLanes>>(params, context);
    }
    return launch_stream_columns<T, LaneColumns<8, 2, kStreamLanes>>(params, context);
  }
  return launch_stream_columns<T, LaneColumns<kVector, kVector, kStreamLanes>>(params, context);
}

}  // namespace warptile::spmm_kernels
