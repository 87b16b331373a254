// SpMM, CSR of uneven rows times one column.        c[i] = alpha sum_p val[p] b[col[p]] + beta c[i]
// Layout    A: row_ptr[m+1], col/val[nnz];  b [k];  c [m];  items [count]: first and past the last entry, row or ~slot, rows
// Tiling    a block takes a stretch of at most 1024 whole rows and 1024 entries, counted from the multiple of four before the first one:
//
//               entries   | 4 a thread, products to shared memory |
//               rows      | a warp each, where they are at most 32; else a lane each, and then those of more than 32 entries a warp each |
//
//           Rows longer than that come first, a block each, in rounds of 1024 entries; past 8192 they are cut into segments of two
//           rounds, or of eight where entries are many, which a second kernel adds.
// Memory    shared: 6.2 KiB; 32 registers, for full occupancy
// Roofline  nnz (bytes of val + 4) + a sector of 32 bytes for each entry whose element of b is not near: bound by the L2 cache
// Numerics  float32 sums in a fixed order: bitwise repeatable. |error| <= (nnz of the row + 2) 2^-24 sum |a b|, then one rounding
// Requires  col and items 16-byte aligned; rows of b less than 4 GiB apart
// Source    Greathouse and Daga, "Efficient sparse matrix-vector multiplication on GPUs using the CSR storage format" (2014)
#pragma once

#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/entries.cuh"
#include "kernels/spmm/segments.cuh"
#include "kernels/spmm/stream.cuh"

namespace warptile::spmm_kernels {

// Products of the entries of a chunk that lie in [first, last); 0 for the others, whose elements of b are not read: they may be NaN.
template <typename T>
__device__ __forceinline__ Pack<float, kChunk> multiply_chunk(const ChunkColumns& columns, const ChunkValues<T>& values, uint32_t at,
                                                              uint32_t first, uint32_t last, const T* b, uint32_t row_bytes) {
  float elements[kChunk] = {};
  float factors[kChunk];
  Pack<float, kChunk> products;
#pragma unroll
  for (int u = 0; u < kChunk; ++u) {
    if (at + u >= first && at + u < last) elements[u] = to_float(*row_of(b, columns.items[u], row_bytes));
  }
  values.to_floats(factors);
#pragma unroll
  for (int u = 0; u < kChunk; ++u) {
    products.items[u] = at + u >= first && at + u < last ? factors[u] * elements[u] : 0.0f;
  }
  return products;
}

template <typename T>
__global__ void __launch_bounds__(kColumnThreads, kColumnBlocks)
    spmm_stream_column_kernel(const StreamParams<T> p, const int32_t* row_ptr) {
  __shared__ alignas(16) float products[kColumnEntries];
  __shared__ uint16_t starts[kColumnEntries + 1];  // of rows, in `products`
  __shared__ int long_rows[kColumnEntries / kWarpSize];
  __shared__ int long_count;
  const int thread = threadIdx.x;
  const int lane = thread % kWarpSize;
  const int warp = thread / kWarpSize;
  // The pattern was written by copies from the host, which no kernel overlaps: it may be read while the kernel before this one ends.
  const int4 item = p.items[blockIdx.x];
  const uint32_t first = item.x;
  const uint32_t last = item.y;
  const uint32_t base = first / kChunk * kChunk;
  uint32_t at = base + thread * kChunk;
  ChunkColumns columns{};
  if (at < last) columns = load_columns(p.a, at);
  const T* values = p.a.values + blockIdx.z * p.values_stride;
  const T* b = p.b + blockIdx.z * p.b_stride;
  const auto store = [&](int64_t row, const float (&sum)[1]) {
    store_whole<T, 1>(p.c + blockIdx.z * p.c_stride + row * p.ldc, sum, p.alpha, p.beta);
  };

  if (blockIdx.x < p.block_items) {
    follow_previous_kernel(p.alone);
    float sum[1] = {};
    while (at < last) {
      const auto part = multiply_chunk(columns, load_values(p.a, values, at), at, first, last, b, p.row_bytes);
      at += kColumnEntries;
      if (at < last) columns = load_columns(p.a, at);
      sum[0] += (part.items[0] + part.items[1]) + (part.items[2] + part.items[3]);
    }
    sum[0] = warp_sum(sum[0]);
    if (lane == 0) products[warp] = sum[0];
    __syncthreads();
    if (thread != 0) return;
    for (int other = 1; other < kColumnThreads / kWarpSize; ++other) sum[0] += products[other];
    if (item.z < 0) {
      p.partial[blockIdx.z * p.segments + ~item.z] = sum[0];
    } else {
      store(item.z, sum);
    }
    return;
  }

  const int rows = item.w;
  row_ptr += item.z;
#pragma unroll 4
  for (int row = thread; row <= rows; row += kColumnThreads) starts[row] = static_cast<uint16_t>(row_ptr[row] - base);
  if (thread == 0) long_count = 0;
  follow_previous_kernel(p.alone);
  if (at < last) {
    const auto part = multiply_chunk(columns, load_values(p.a, values, at), at, first, last, b, p.row_bytes);
    *reinterpret_cast<Pack<float, kChunk>*>(products + thread * kChunk) = part;
  }
  __syncthreads();
  const auto take_row = [&](int row) {
    float sum[1] = {};
    for (int i = starts[row] + lane; i < starts[row + 1]; i += kWarpSize) sum[0] += products[i];
    sum[0] = warp_sum(sum[0]);
    if (lane == 0) store(item.z + row, sum);
  };
  constexpr int kWarps = kColumnThreads / kWarpSize;
  if (rows <= kFewRows) {
    for (int row = warp; row < rows; row += kWarps) take_row(row);
    return;
  }
  for (int row = thread; row < rows; row += kColumnThreads) {
    const int start = starts[row];
    const int end = starts[row + 1];
    if (end - start > kWarpSize) {
      long_rows[atomicAdd(&long_count, 1)] = row;
      continue;
    }
    float sum[1] = {};
    for (int i = start; i < end; ++i) sum[0] += products[i];
    store(item.z + row, sum);
  }
  __syncthreads();
  // In whatever order they came: each is summed in its own.
  for (int i = warp; i < long_count; i += kWarps) take_row(long_rows[i]);
}

// Requires has_stream(params.dtype, params.plan), of one lane, and n = 1.
template <typename T>
Status launch_stream_column(const SpmmParams& params, const LaunchContext& context) {
  float* partial = nullptr;
  WARPTILE_RETURN_IF_ERROR(allocate_segments(params, context, &partial));
  LaunchShape shape;
  shape.overlaps = true;
  shape.threads = kColumnThreads;
  shape.grid_x = params.bins.items;
  shape.grid_z = params.batch;
  const auto p = stream_params<T>(params, partial);
  WARPTILE_RETURN_IF_ERROR(launch(context, spmm_stream_column_kernel<T>, shape, p, params.pattern.row_ptr));
  return add_segments<T>(params, context, partial);
}

}  // namespace warptile::spmm_kernels
