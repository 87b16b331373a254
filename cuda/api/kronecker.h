// Y = X K^T (batch first) or Y = K X (batch last), plus a bias, for a Kronecker-sparse K: one factor or a chain.
#pragma once

#include <array>
#include <cstdint>

#include "common/context.h"
#include "common/dtype.h"
#include "common/status.h"

namespace warptile {

constexpr int kMaxKroneckerFactors = 32;  // as in lib/formats/kronecker-matrix.ts

// An abd x acd matrix whose entry (i b d + j d + l, i c d + k d + l) is values[i, j, k, l]; all others are zero.
struct KroneckerFactor {
  int64_t a = 1, b = 1, c = 1, d = 1;
  const void* values = nullptr;  // [a, b, c, d]

  int64_t inputs() const { return a * c * d; }
  int64_t outputs() const { return a * b * d; }
};

struct KroneckerParams {
  DType dtype = DType::kFloat32;  // of values, x, bias and y
  int64_t batch = 0;
  bool batch_last = false;
  // As in the product K = factors[0] factors[1] ...: the last is applied first. factors[s].inputs() equals
  // factors[s + 1].outputs(). N = inputs() of the last, M = outputs() of the first.
  int factor_count = 0;  // 1 to kMaxKroneckerFactors
  std::array<KroneckerFactor, kMaxKroneckerFactors> factors;
  const void* x = nullptr;     // [batch, N], or [N, batch] with batch_last
  const void* bias = nullptr;  // [M]; may be null
  void* y = nullptr;           // [batch, M], or [M, batch] with batch_last; shares no memory with the inputs
};

Status kronecker_matmul(const KroneckerParams& params, const LaunchContext& context);

}  // namespace warptile
