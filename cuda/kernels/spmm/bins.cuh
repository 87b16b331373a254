// SpMM, CSR with rows of very different lengths.   C[i,:] = alpha sum_p val[p] B[col[p],:] + beta C[i,:]
// Layout    A: row_ptr by `items`, col/val[nnz];  B [k,n];  C [m,n];  items [count]: first and past the last entry, row or ~slot, 0
// Tiling    an item is a row, or a segment of one too long; items descend by length. The first ones take a block each, then come
//           those of a warp each, then those of which a warp takes several, kLanes x kSplits lanes each:
//
//               blocks 0 ..      | item 0 | item 1 |                8 warps an item, 32 / kLanes groups of lanes in each
//               then             | 8 items | 8 items |              a warp an item
//               then             | 8 warps x kItems x rounds items |         kSplits groups of lanes an item
//
//           A group of lanes covers kLanes kVector columns, as in group.cuh; entries go in chunks of four, dealt out to the groups in
//           turn. The sums of segments go to slots of a workspace, which a second kernel adds (segments.cuh).
// Memory    shared: 8 warps x 1 KiB at most, for blocks that share an item
// Roofline  nnz (bytes of val + 4) + gathered rows of B + C. Where B outgrows the L2 cache, column tiles are narrow enough that
//           its part for one of them stays there: grid x runs over items, y over column tiles
// Numerics  float32 accumulators; groups, warps and segments are added in a fixed order: bitwise repeatable.
//           |error| <= (nnz of the row + 2) 2^-24 sum |a b|, then one rounding to the output
// Requires  as group.cuh; items 16-byte aligned; n and the batch within one grid
// Source    row binning as in CSR-adaptive SpMV (Greathouse and Daga, 2014), segments of long rows as in RoDe (PPoPP 2024)
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
struct BinParams {
  const int4* items;  // [items]
  EntryArrays<T> a;
  const T* b;
  uint32_t row_bytes;  // of B
  uint32_t block_items;  // taken by a block each
  uint32_t warp_items;   // taken by a warp each
  uint32_t warp_blocks;  // ceil(warp_items / 8)
  uint32_t count;        // of all items
  uint32_t rounds;       // items that a group of lanes takes one after another
  uint32_t n;
  float alpha;
  float beta;
  bool whole;  // rows of C begin and end at multiples of 16 bytes
  T* c;
  int64_t ldc;
  int64_t values_stride;
  int64_t b_stride;
  int64_t c_stride;
  float* partial;  // [batch, segments, pitch]
  uint32_t pitch;
  int64_t segments;
};

// First and past the last entry; none past the last item.
struct Span {
  uint32_t first, last;
};
__device__ __forceinline__ Span load_span(const int4* items, uint32_t item, uint32_t past) {
  if (item >= past) return {0, 0};
  const uint2 loaded = *reinterpret_cast<const uint2*>(items + item);
  return {loaded.x, loaded.y};
}

template <typename Columns, typename T>
__device__ __forceinline__ void store_item(const BinParams<T>& p, int target, uint32_t column, int pieces,
                                           const float (&sum)[Columns::kVector]) {
  if (target < 0) {
    float* slot = p.partial + (blockIdx.z * p.segments + ~target) * p.pitch + column;
    Columns::each(pieces, [&](int piece) {
#pragma unroll
      for (int v = 0; v < Columns::kPiece; ++v) slot[piece * Columns::kApart + v] = sum[piece * Columns::kPiece + v];
    });
  } else {
    T* c = p.c + blockIdx.z * p.c_stride + target * p.ldc + column;
    store_columns<Columns>(c, sum, pieces, p.whole, p.n - column, p.alpha, p.beta);
  }
}

// Adds up the sums of the groups of kLanes lanes in each `kSpan` lanes.
template <int kVector, int kLanes, int kSpan>
__device__ __forceinline__ void add_groups(float (&sum)[kVector]) {
#pragma unroll
  for (int offset = kLanes; offset < kSpan; offset *= 2) {
#pragma unroll
    for (int v = 0; v < kVector; ++v) sum[v] += __shfl_xor_sync(kFullMask, sum[v], offset);
  }
}

// An item by all groups of lanes of a warp or, with kWarps > 1, of a block.
template <typename Columns, int kWarps, typename T>
__device__ __forceinline__ void take_long_item(const BinParams<T>& p, uint32_t item, uint32_t past) {
  constexpr int kVector = Columns::kVector, kLanes = Columns::kLanes, kTile = Columns::kTile;
  constexpr int kGroups = kWarpSize / kLanes;
  __shared__ float warp_sums[kWarps > 1 ? kWarps * kTile : 1];
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int part = (kWarps > 1 ? warp * kGroups : 0) + lane / kLanes;
  const Span place = load_span(p.items, item, past);
  const uint32_t start = place.first / kChunk * kChunk + part * kChunk;
  ChunkColumns head{};
  if (start < place.last) head = load_columns(p.a, start);
  follow_previous_kernel();
  const uint32_t column = blockIdx.y * kTile + Columns::first(lane);
  // Lanes outside still take part in the shuffles.
  const int pieces = Columns::pieces(column, p.n);
  const bool inside = pieces > 0;
  float sum[kVector] = {};
  if (inside && start < place.last) {
    const T* values = p.a.values + blockIdx.z * p.values_stride;
    const T* b = p.b + blockIdx.z * p.b_stride + column;
    add_entries<Columns>(p.a, values, b, p.row_bytes, head, load_values(p.a, values, start), start, kWarps * kGroups * kChunk,
                         place.first, place.last, pieces, sum);
  }
  add_groups<kVector, kLanes, kWarpSize>(sum);
  if constexpr (kWarps > 1) {
    float* mine = warp_sums + warp * kTile + lane % kLanes * kVector;
    if (lane < kLanes) {
#pragma unroll
      for (int v = 0; v < kVector; ++v) mine[v] = sum[v];
    }
    __syncthreads();
    if (part == 0) {
#pragma unroll
      for (int other = 1; other < kWarps; ++other) {
#pragma unroll
        for (int v = 0; v < kVector; ++v) sum[v] += mine[other * kTile + v];
      }
    }
  }
  if (part == 0 && inside && item < past) store_item<Columns>(p, p.items[item].z, column, pieces, sum);
}

// Items of few entries, `rounds` by a group of lanes, one after another: while the rows of B of one are waited for, the entries of the
// next and the place of the one after it are under way.
template <typename Columns, int kSplits, typename T>
__device__ __forceinline__ void take_short_items(const BinParams<T>& p, uint32_t first_item) {
  constexpr int kVector = Columns::kVector, kLanes = Columns::kLanes;
  constexpr int kItems = kWarpSize / (kLanes * kSplits);
  const int lane = threadIdx.x % kWarpSize;
  const int part = lane / kLanes % kSplits;
  const uint32_t column = blockIdx.y * Columns::kTile + Columns::first(lane);
  const int pieces = Columns::pieces(column, p.n);
  const bool inside = pieces > 0;
  const T* b = p.b + blockIdx.z * p.b_stride + column;
  const T* values = p.a.values + blockIdx.z * p.values_stride;
  const auto start_of = [&](const Span& place) { return place.first / kChunk * kChunk + part * kChunk; };
  const auto has_entries = [&](const Span& place) { return start_of(place) < place.last; };
  uint32_t item = first_item + lane / (kLanes * kSplits);
  Span place = load_span(p.items, item, p.count);
  Span next = load_span(p.items, item + kItems, p.rounds > 1 ? p.count : 0);
  ChunkColumns columns{};
  if (has_entries(place)) columns = load_columns(p.a, start_of(place));
  follow_previous_kernel();
  ChunkValues<T> factors{};
  if (has_entries(place)) factors = load_values(p.a, values, start_of(place));
  for (uint32_t round = 0; round < p.rounds; ++round) {
    const Span after = load_span(p.items, item + 2 * kItems, round + 2 < p.rounds ? p.count : 0);
    ChunkColumns next_columns{};
    ChunkValues<T> next_factors{};
    if (has_entries(next)) {
      next_columns = load_columns(p.a, start_of(next));
      next_factors = load_values(p.a, values, start_of(next));
    }
    float sum[kVector] = {};
    const uint32_t start = start_of(place);
    const uint32_t last = place.last;
    if (inside && start < last) {
      add_entries<Columns>(p.a, values, b, p.row_bytes, columns, factors, start, kSplits * kChunk, place.first, last, pieces, sum);
    }
    __syncwarp();
    add_groups<kVector, kLanes, kLanes * kSplits>(sum);
    if (part == 0 && inside && item < p.count) store_item<Columns>(p, p.items[item].z, column, pieces, sum);
    item += kItems;
    place = next;
    next = after;
    columns = next_columns;
    factors = next_factors;
  }
}

// Pairs of columns fit the registers of as many blocks by themselves, and better.
template <typename T, typename Columns, int kSplits>
__global__ void __launch_bounds__(kBinThreads, Columns::kPiece == 2 ? kBinBlocks - 1 : kBinBlocks)
    spmm_bins_kernel(const BinParams<T> p) {
  constexpr int kItems = kWarpSize / (Columns::kLanes * kSplits);
  const uint32_t warp = threadIdx.x / kWarpSize;
  // The pattern was written by copies from the host, which no kernel overlaps: it may be read while the kernel before this one ends.
  if (blockIdx.x < p.block_items) {
    take_long_item<Columns, kBinWarps>(p, blockIdx.x, p.block_items);
  } else if (blockIdx.x < p.block_items + p.warp_blocks) {
    const uint32_t item = p.block_items + (blockIdx.x - p.block_items) * kBinWarps + warp;
    take_long_item<Columns, 1>(p, item, p.block_items + p.warp_items);
  } else {
    const uint32_t block = blockIdx.x - p.block_items - p.warp_blocks;
    const uint32_t first = p.block_items + p.warp_items + (block * kBinWarps + warp) * (kItems * p.rounds);
    take_short_items<Columns, kSplits>(p, first);
  }
}

template <typename T, typename Columns, int kSplits>
Status launch_bin_shape(const SpmmParams& params, const LaunchContext& context, float* partial) {
  constexpr int kItems = kWarpSize / (Columns::kLanes * kSplits);
  auto p = item_params<BinParams, T>(params, kBinWarps, partial);
  const int64_t others = params.bins.items - params.plan.block_items - params.plan.warp_items;
  const int64_t column_tiles = ceil_div(params.n, Columns::kTile);
  // Several items for each group of lanes only where warps are many.
  const int64_t warps = ceil_div(others, kItems) * column_tiles * params.batch;
  const int64_t filled = kBinFill * kBinBlocks * kBinWarps * static_cast<int64_t>(context.limits->multiprocessors);
  p.rounds = static_cast<uint32_t>(std::clamp<int64_t>(warps / filled, 1, kBinRounds));
  LaunchShape shape;
  shape.overlaps = true;
  shape.threads = kBinThreads;
  shape.grid_x = params.plan.block_items + p.warp_blocks + ceil_div(others, kBinWarps * kItems * p.rounds);
  shape.grid_y = column_tiles;
  shape.grid_z = params.batch;
  return launch(context, spmm_bins_kernel<T, Columns, kSplits>, shape, p);
}

template <typename T, typename Columns>
Status launch_bin_splits(const SpmmParams& params, const LaunchContext& context, float* partial) {
  if constexpr (Columns::kLanes <= 8) {
    if (params.plan.splits == kBinSplits) return launch_bin_shape<T, Columns, kBinSplits>(params, context, partial);
  }
  return launch_bin_shape<T, Columns, 1>(params, context, partial);
}

// Requires has_bins(params.dtype, params.plan).
template <typename T>
Status launch_bins(const SpmmParams& params, const LaunchContext& context) {
  float* partial = nullptr;
  WARPTILE_RETURN_IF_ERROR(allocate_segments(params, context, &partial));
  const auto run = [&](auto columns) { return launch_bin_splits<T, decltype(columns)>(params, context, partial); };
  WARPTILE_RETURN_IF_ERROR(dispatch_columns<T>(params.plan, run));
  return add_segments<T>(params, context, partial);
}

}  // namespace warptile::spmm_kernels
