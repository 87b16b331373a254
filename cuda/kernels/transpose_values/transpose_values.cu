// The stored values of a transposed sparse matrix.   out[s, p, j, i] = values[s, order[p], i, j]
// Layout    values [sets, blocks, r, c], order [blocks], out [sets, blocks, c, r]; CSR has r = c = 1
// Tiling    1,024 consecutive elements of out by a block of 256 threads: thread t writes elements t, t + 256, ...
// Memory    no shared memory
// Roofline  order and out once, values by sectors of 32 bytes: with CSR a sector of values an element where neighbours in a column
//           of the matrix lie in different sectors, found in L2 again while the values fit it
// Numerics  elements are copied as they are, NaN included
// Requires  nothing of alignment
// Source    a gather; no paper

#include "api/transpose_values.h"

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"

namespace warptile {
namespace {

constexpr int kThreads = 256;
constexpr int kItems = 4;  // loads in flight a thread

// kBlocks: false for CSR, whose elements are their own blocks.
template <typename Word, bool kBlocks>
__device__ __forceinline__ int64_t source_of(const TransposeValuesParams& p, int64_t element) {
  if constexpr (!kBlocks) return p.order[element];
  const int size = p.block_rows * p.block_columns;
  const int64_t block = element / size;
  const int inner = static_cast<int>(element - block * size);
  const int j = inner / p.block_rows;
  const int i = inner - j * p.block_rows;
  return static_cast<int64_t>(p.order[block]) * size + i * p.block_columns + j;
}

template <typename Word, bool kBlocks>
__global__ void __launch_bounds__(kThreads) transpose_values_kernel(const TransposeValuesParams p) {
  const int64_t set_size = p.stored * p.block_rows * p.block_columns;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * (kThreads * kItems) + threadIdx.x;
  // The grid holds at most 65,535 sets: the rest follows in this loop.
  for (int64_t set = blockIdx.y; set < p.batch; set += gridDim.y) {
    const Word* values = static_cast<const Word*>(p.values) + set * set_size;
    Word* out = static_cast<Word*>(p.out) + set * set_size;
    Word items[kItems];
#pragma unroll
    for (int u = 0; u < kItems; ++u) {
      const int64_t element = first + u * kThreads;
      if (element < set_size) items[u] = values[source_of<Word, kBlocks>(p, element)];
    }
#pragma unroll
    for (int u = 0; u < kItems; ++u) {
      const int64_t element = first + u * kThreads;
      if (element < set_size) out[element] = items[u];
    }
  }
}

template <typename Word>
Status launch_words(const TransposeValuesParams& params, const LaunchContext& context) {
  const bool blocks = params.block_rows * params.block_columns > 1;
  LaunchShape shape;
  shape.grid_x = ceil_div(params.stored * params.block_rows * params.block_columns, kThreads * kItems);
  shape.grid_y = std::min(params.batch, kMaxGridYZ);
  shape.threads = kThreads;
  return blocks ? launch(context, transpose_values_kernel<Word, true>, shape, params)
                : launch(context, transpose_values_kernel<Word, false>, shape, params);
}

}  // namespace

Status transpose_values(const TransposeValuesParams& params, const LaunchContext& context) {
  return dtype_bytes(params.dtype) == sizeof(uint32_t) ? launch_words<uint32_t>(params, context)
                                                       : launch_words<uint16_t>(params, context);
}

}  // namespace warptile
