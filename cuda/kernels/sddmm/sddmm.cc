// SDDMM: chooses between the CSR and the block-sparse kernel.

#include "api/sddmm.h"

#include "kernels/sddmm/config.h"

namespace warptile {

Status sddmm(const SddmmParams& params, const LaunchContext& context) {
  const SparsePattern& s = params.pattern;
  // A depth of 0 is no empty problem: its sums are 0.
  if (s.stored == 0 || params.batch == 0) return Status::ok();
  return s.is_csr() ? sddmm_kernels::launch_csr(params, context) : sddmm_kernels::launch_block(params, context);
}

}  // namespace warptile
