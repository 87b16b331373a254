#include "addon/operations.h"

#include "addon/operation_table.h"

namespace warptile::addon {

// One row an operation.
const std::vector<OperationRow>& operation_table() {
  static const std::vector<OperationRow> table = {
      {"attention", attention},
      {"diagnosticRead", diagnostic_read},
      {"diagnosticSpin", diagnostic_spin},
      {"diagnosticTrap", diagnostic_trap},
      {"kroneckerMatmul", kronecker_matmul},
      {"neighborhoodAttention", neighborhood_attention},
      {"sddmm", sddmm},
      {"sparseAttention", sparse_attention},
      {"sparseSoftmax", sparse_softmax},
      {"spmm", spmm},
      {"spmmFillStrips", spmm_fill_strips},
      {"spmmFillTiles", spmm_fill_tiles},
      {"transposeValues", transpose_values},
      {"w4a16Matmul", w4a16_matmul},
  };
  return table;
}

}  // namespace warptile::addon
