// Sparse products by copies of dense operands whose rows do not begin at multiples of 16 bytes, so that kernels for vectors take them.
#pragma once

#include "api/sddmm.h"
#include "api/spmm.h"

namespace warptile {

// As spmm, by a copy of B with rows of whole vectors; `params.plan` is one for the copy.
Status spmm_padded(const SpmmParams& params, const LaunchContext& context);

// As sddmm, by copies of A and B with rows of whole vectors; `params.plan` is one for the copies.
Status sddmm_padded(const SddmmParams& params, const LaunchContext& context);

}  // namespace warptile
