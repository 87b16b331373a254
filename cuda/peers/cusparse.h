// cuSPARSE's SpMM and SDDMM, for the benchmark to compare with: row-major dense operands, int32 indices, float32 sums.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/context.h"
#include "common/dtype.h"
#include "peers/plan.h"

namespace warptile::peers {

// Compressed rows of blocks; CSR has 1 x 1 blocks. Device pointers.
struct CusparseMatrix {
  int64_t rows = 0;
  int64_t columns = 0;
  int block_rows = 1;
  int block_columns = 1;
  int64_t stored = 0;                // blocks
  const int32_t* row_ptr = nullptr;  // [rows / block_rows + 1]
  const int32_t* col = nullptr;      // [stored]
  void* values = nullptr;            // [stored, block_rows, block_columns]
};

// C = alpha A B + beta C
struct CusparseSpmm {
  DType dtype = DType::kFloat32;
  CusparseMatrix a;         // [m, k]
  int64_t n = 0;
  const void* b = nullptr;  // [k, n], rows ldb apart
  int64_t ldb = 0;
  void* c = nullptr;  // [m, n], rows ldc apart
  int64_t ldc = 0;
  float alpha = 1;
  float beta = 0;
};

// S = alpha (A B^T) at the stored elements of S
struct CusparseSddmm {
  DType dtype = DType::kFloat32;
  CusparseMatrix s;  // [m, n]; its values are written
  int64_t depth = 0;
  const void* a = nullptr;  // [m, depth], rows lda apart
  int64_t lda = 0;
  const void* b = nullptr;  // [n, depth], rows ldb apart
  int64_t ldb = 0;
  float alpha = 1;
};

enum class CusparseSpmmAlgorithm { kDefault, kCsr1, kCsr2, kCsr3, kBsr1 };

// The library's file and version, or why there is none.
Status cusparse_library(std::string* description);

// Makes a plan: kUnsupported with the reason where the library is absent or does not take the problem. `workspace` must outlive
// the plan, and so must the problem's memory.
Status prepare_cusparse_spmm(CusparseSpmmAlgorithm algorithm, const CusparseSpmm& problem, cudaStream_t stream,
                             Workspace& workspace, std::unique_ptr<Plan>* plan);
Status prepare_cusparse_sddmm(const CusparseSddmm& problem, cudaStream_t stream, Workspace& workspace,
                              std::unique_ptr<Plan>* plan);

}  // namespace warptile::peers
