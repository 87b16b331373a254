// SDDMM, CSR mask.                    S[p] = alpha factor[p] A[row[p],:] . B[col[p],:]
// Layout    mask: row_ptr[m+1], col[nnz];  A [m,k];  B [n,k];  S [nnz]
// Tiling    a warp takes kSegment consecutive elements, whatever their rows, so that long rows spread over many warps. Four
//           groups of 8 lanes take one element each at a time; a lane sums every 8th vector of k:
//
//               group g, step s -> element first + 4 s + g;   lane l -> columns (l + 8 i) kVector, i = 0, 1, ...
//
//           The rows of the segment's ends are found by binary search of row_ptr, those between within them.
// Memory    no shared memory
// Roofline  nnz (4 + out) + gathered rows of A and B; bound by L2 bandwidth
// Numerics  float32: a lane in ascending order, then a butterfly over 8 lanes in fixed order: bitwise repeatable;
//           |error| <= (k + 2) 2^-24 sum |a b|, then one rounding
// Requires  k, lda, ldb and the strides multiples of kVector and 16-byte aligned bases, else kVector = 1
// Source    Gale et al., "Sparse GPU Kernels for Deep Learning" (2020), subwarp per dot product; segments of elements
//           instead of rows

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "kernels/sddmm/config.h"
#include "kernels/sddmm/find_row.cuh"

namespace warptile::sddmm_kernels {
namespace {

template <typename T, int kVector>
__global__ void __launch_bounds__(kCsrThreads) sddmm_csr_segment_kernel(const SddmmParams p) {
  follow_previous_kernel();
  constexpr int kGroups = kWarpSize / kLanes;
  const SparsePattern& s = p.pattern;
  const int lane = threadIdx.x % kLanes;
  const int group = threadIdx.x % kWarpSize / kLanes;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * (kCsrThreads / kWarpSize) + threadIdx.x / kWarpSize;
  const int64_t first = warp * kSegment;
  // All lanes of a warp leave together: the shuffles below need every one of them.
  if (first >= s.stored) return;
  const int64_t last = first + kSegment <= s.stored ? first + kSegment - 1 : s.stored - 1;
  const int first_row = find_row(s.row_ptr, 0, static_cast<int>(s.rows) - 1, first);
  const int last_row = find_row(s.row_ptr, first_row, static_cast<int>(s.rows) - 1, last);

  for (int64_t problem = blockIdx.y; problem < p.batch; problem += gridDim.y) {
    const T* a = static_cast<const T*>(p.a) + problem * p.a_stride;
    const T* b = static_cast<const T*>(p.b) + problem * p.b_stride;
    const T* factors = static_cast<const T*>(p.factors);
    T* out = static_cast<T*>(p.out) + problem * p.out_stride;
    for (int step = 0; step < kSegment / kGroups; ++step) {
      const int64_t element = first + step * kGroups + group;
      const bool live = element <= last;
      float sum = 0;
      if (live) {
        const T* left = a + find_row(s.row_ptr, first_row, last_row, element) * p.lda;
        const T* right = b + s.col[element] * p.ldb;
#pragma unroll 2
        for (int64_t column = lane * kVector; column < p.depth; column += kLanes * kVector) {
          const auto x = load_pack<T, kVector>(left + column);
          const auto y = load_pack<T, kVector>(right + column);
#pragma unroll
          for (int v = 0; v < kVector; ++v) sum = fmaf(to_float(x.items[v]), to_float(y.items[v]), sum);
        }
      }
      // The step count is the same for the whole warp, so all 32 lanes meet here.
      __syncwarp();
      sum = warp_sum<kLanes>(sum);
      if (live && lane == 0) {
        float value = p.alpha * sum;
        if (factors != nullptr) value *= to_float(factors[problem * p.factors_stride + element]);
        out[element] = from_float<T>(value);
      }
    }
  }
}

template <typename T, int kVector>
Status launch_segments(const SddmmParams& params, const LaunchContext& context) {
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = ceil_div(params.pattern.stored, kSegment * (kCsrThreads / kWarpSize));
  shape.grid_y = std::min(params.batch, kMaxGridYZ);
  shape.threads = kCsrThreads;
  return launch(context, sddmm_csr_segment_kernel<T, kVector>, shape, params);
}

}  // namespace

Status launch_csr(const SddmmParams& params, const LaunchContext& context) {
  return dispatch_float(params.dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
    return takes_vectors(params, kVector) ? launch_segments<T, kVector>(params, context) : launch_segments<T, 1>(params, context);
  });
}

}  // namespace warptile::sddmm_kernels
