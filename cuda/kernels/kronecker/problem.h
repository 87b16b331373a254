// One factor applied to a batch: what both kernels compute.
#pragma once

#include <cstdint>

namespace warptile::kronecker {

// Where feature (i, k, l) of batch entry n lies: i * block + k * inner + l * lane + n * batch elements from the start.
struct Strides {
  int64_t block = 0, inner = 0, lane = 0, batch = 0;
};

// Features [a, inner, d] contiguous for each batch entry, or the batch contiguous for each feature.
inline Strides feature_strides(int64_t a, int64_t inner, int64_t d, int64_t batch, bool batch_last) {
  const int64_t step = batch_last ? batch : 1;
  return {inner * d * step, d * step, step, batch_last ? 1 : a * inner * d};
}

// y[i, j, l, n] = bias[i, j, l] + sum_k w[i, j, k, l] x[i, k, l, n].
template <typename In, typename Weight, typename Out>
struct FactorProblem {
  int64_t a, b, c, d, batch;
  const In* x;         // features (i, k, l) at x_strides
  const Weight* w;     // [a, b, c, d]
  const Weight* bias;  // [a, b, d]; may be null
  Out* y;              // features (i, j, l) at y_strides
  Strides x_strides;
  Strides y_strides;
};

}  // namespace warptile::kronecker
