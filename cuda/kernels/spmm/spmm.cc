// SpMM: chooses between the CSR and the block-sparse kernel.

#include "api/spmm.h"

#include "kernels/spmm/config.h"

namespace warptile {

Status spmm(const SpmmParams& params, const LaunchContext& context) {
  const SparsePattern& a = params.pattern;
  if (a.rows == 0 || params.n == 0 || params.batch == 0) return Status::ok();
  return a.is_csr() ? spmm_kernels::launch_csr(params, context) : spmm_kernels::launch_block(params, context);
}

}  // namespace warptile
