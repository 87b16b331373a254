// SpMM, CSR x dense row-major.        C[i,:] = alpha sum_p val[p] B[col[p],:] + beta C[i,:]
// Layout    A: row_ptr[m+1], col/val[nnz];  B [k,n];  C [m,n]
// Tiling    a group of kLanes lanes takes one row times kLanes * kVector columns, 128 / kLanes rows a block:
//
//               columns ->   | lane 0 | lane 1 | ... | lane kLanes-1 |      kVector each
//               row i        |  sum += val[p] * B[col[p], these columns], p ascending
//
// Memory    no shared memory; at most 8 accumulators a thread, registers far below the limit of full occupancy
// Roofline  nnz (bytes of val + 4) + gathered rows of B + C; bound by L2 and by the latency of long rows
// Numerics  float32 accumulators, one per element of C, entries in ascending order: no reduction across threads,
//           bitwise repeatable; |error| <= (nnz of the row + 2) 2^-24 sum |a b|, then one rounding to the output
// Requires  ldb, the stride of B and n multiples of kVector and B 16-byte aligned, or a padded copy of B, else kVector = 1
// Source    Gale et al., "Sparse GPU Kernels for Deep Learning" (2020), 1-D tiling with subwarps; without row sorting,
//           shared-memory staging and reverse-offset alignment: this is the variant that always works

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/store.cuh"

namespace warptile::spmm_kernels {
namespace {

template <typename T, int kVector, int kLanes>
__global__ void __launch_bounds__(kCsrThreads) spmm_csr_row_kernel(const SpmmParams p, bool whole) {
  follow_previous_kernel();
  constexpr int kRows = kCsrThreads / kLanes;
  constexpr int kTile = kLanes * kVector;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x / kLanes;
  if (row >= p.pattern.rows) return;
  const int first = p.pattern.row_ptr[row];
  const int last = p.pattern.row_ptr[row + 1];
  const int64_t lane_column = static_cast<int64_t>(threadIdx.x % kLanes) * kVector;

  // The grid holds at most 65,535 problems and column tiles: the rest follows in these loops.
  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    const T* values = static_cast<const T*>(p.values) + problem * p.values_stride;
    const T* b = static_cast<const T*>(p.b) + problem * p.b_stride;
    T* c = static_cast<T*>(p.c) + problem * p.c_stride + row * p.ldc;
    for (int64_t tile = blockIdx.y; tile * kTile < p.n; tile += gridDim.y) {
      const int64_t column = tile * kTile + lane_column;
      // What rows of B have past n, a copy's padding, is computed and not stored.
      if (column >= p.n) continue;
      float sum[kVector] = {};
#pragma unroll 4
      for (int i = first; i < last; ++i) {
        const float a = to_float(values[i]);
        const auto pack = load_pack<T, kVector>(b + p.pattern.col[i] * p.ldb + column);
#pragma unroll
        for (int v = 0; v < kVector; ++v) sum[v] = fmaf(a, to_float(pack.items[v]), sum[v]);
      }
      store_results<T, kVector>(c + column, sum, kVector == 1 || whole, p.n - column, p.alpha, p.beta);
    }
  }
}

template <typename T, int kVector, int kLanes>
Status launch_rows(const SpmmParams& params, const LaunchContext& context) {
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = ceil_div(params.pattern.rows, kCsrThreads / kLanes);
  shape.grid_y = std::min(ceil_div(params.n, kLanes * kVector), kMaxGridYZ);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  shape.threads = kCsrThreads;
  return launch(context, spmm_csr_row_kernel<T, kVector, kLanes>, shape, params, writes_vectors(params, kVector));
}

}  // namespace

Status launch_csr(const SpmmParams& params, const LaunchContext& context) {
  return dispatch_float(params.dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
    if (reads_vectors(params)) {
      return params.n <= kNarrowLanes * kVector ? launch_rows<T, kVector, kNarrowLanes>(params, context)
                                                : launch_rows<T, kVector, kWideLanes>(params, context);
    }
    return params.n <= kNarrowLanes ? launch_rows<T, 1, kNarrowLanes>(params, context)
                                    : launch_rows<T, 1, kWideLanes>(params, context);
  });
}

}  // namespace warptile::spmm_kernels
